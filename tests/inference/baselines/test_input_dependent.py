"""A module of the user's own as baseline: trained in the step, state of the inference, saved and resumed with it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference, models, testing
from ppgen.diagnostics.gradients.reference import exact_gradient
from ppgen.inference.structure.layout import find_layout
from ppgen.training.epochs.callbacks import Event

BITS = torch.rand(40, 6, generator=torch.Generator().manual_seed(0)).lt(0.4).float()


def network(width: int = 4) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 1))


def belief_net() -> models.SigmoidBeliefNet:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return models.SigmoidBeliefNet((6, 3))


def bound_to(net: nn.Module | None, **arguments: Any) -> inference.BoundInference:
    baseline = inference.InputDependent(net, **arguments)
    pair = belief_net()
    return inference.Inference(inference.ELBO(2), inference.ScoreFunction(baseline)).bind(pair, BITS, len(BITS))


def same(left: nn.Module, right: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, right[name]) for name, value in left.state_dict().items())


def test_a_module_is_trained_as_the_network_of_a_width() -> None:
    """Catches another optimiser, signal or order for modules: the same network gives the same bits, step by step."""
    built_in = bound_to(None, hidden=4)
    torch.manual_seed(0)
    built_in.step(BITS)
    start = inference.InputDependent(hidden=4).init(BITS)

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("weight0", "bias0", "weight1", "bias1"):
                self.register_parameter(name, nn.Parameter(start[name].clone()))

        def forward(self, rows: Tensor) -> Tensor:
            return torch.tanh(rows @ self.weight0 + self.bias0) @ self.weight1 + self.bias1

    net = Same()
    own = bound_to(net)
    for bound in (built_in, own):
        torch.manual_seed(0)
        bound.load_state({})
    for seed in range(4):
        torch.manual_seed(seed)
        expected = built_in.step(BITS).gradients
        torch.manual_seed(seed)
        found = own.step(BITS).gradients
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
    for name in ("weight0", "bias1", "first_weight0", "second_bias0"):
        which, _, rest = name.rpartition("_")
        key = f"{which}_net/{rest}" if which else f"net/{rest}"
        assert torch.equal(own.state[f"baseline.z1.{key}"], built_in.state[f"baseline.z1.{name}"])
    assert not torch.equal(own.state["baseline.z1.net/weight0"], start["weight0"])
    assert same(net, start), "the module itself stays as it is"


def test_frozen_parameters_stay_and_buffers_go_along() -> None:
    """Catches a frozen layer that is trained, and running means kept in the module instead of the state."""
    net = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3), nn.Linear(3, 1), nn.Linear(1, 1))
    net[0].requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    bound = bound_to(net)
    for _ in range(3):
        bound.step(BITS)
    state = {name.removeprefix("baseline.z1.net/"): value for name, value in bound.state.items()}
    assert torch.equal(state["0/weight"], before["0.weight"]) and "baseline.z1.first_net/0/weight" not in state
    assert not torch.equal(state["2/weight"], before["2.weight"])
    assert int(state["1/num_batches_tracked"]) == 3 and not torch.equal(
        state["1/running_mean"], before["1.running_mean"]
    )
    assert same(net, before)


def test_a_module_learns_the_signal() -> None:
    """Catches steps away from the signal, or none: the residual of a signal that depends on the row goes to zero."""
    baseline = inference.InputDependent(network(8), lr=0.05, normalise=False)
    state = baseline.init(BITS)
    signal = (3 * BITS[:, 0] - 5 * BITS[:, 1]).expand(2, -1)
    for _ in range(300):
        residual, state = baseline.centred(signal, BITS, state)
    assert float(residual.square().mean()) < 0.01 * float(signal.var())


def test_normalisation_divides_the_gradient_of_the_guide_alone() -> None:
    """Catches a variance that reaches the model's gradient, one that counts the signal of this step (a bias that theory
    does not give), or a deviation that is not the square root: the guide's gradient is the exact one over 3."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        pair = models.SigmoidBeliefNet((6, 3)).double()
        for parameter in pair.parameters():
            torch.nn.init.normal_(parameter, std=0.7)
    few = BITS[:4].double()
    x = few.repeat(500, 1)
    baseline = inference.InputDependent(lr=1e-9)
    bound = inference.Inference(inference.ELBO(), inference.ScoreFunction(baseline)).bind(pair, x, len(x))
    bound.step(x)
    state = dict(bound.state)
    for name, number in (("variance", 9.0), ("mean", 0.0), ("steps", 1e4)):
        keys = [key for key in state if key.endswith(name)]
        assert keys, f"the state has no {name}: {list(state)}"
        state |= {key: torch.full_like(state[key], number) for key in keys}
    exact = exact_gradient(pair, few, inference.ELBO(), find_layout(pair, few), len(few))
    assert exact is not None
    draws: dict[str, list[Tensor]] = {name: [] for name in exact}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for _ in range(60):
            bound.load_state(state)
            for name, gradient in bound.step(x).gradients.items():
                draws[name].append(gradient)
    for name, found in draws.items():
        expected = exact[name] / 3 if name.startswith("encoders") else exact[name]
        testing.check_mean(torch.stack(found), expected, f"gradient of {name}")


def test_a_run_goes_on_with_its_module(tmp_path: Path) -> None:
    """Catches a baseline that starts anew after an interruption, and a run that goes on with another network."""
    arguments: dict[str, Any] = {"epochs": 4, "batch_size": 16, "seed": 3, "compile": False, "progress": False}
    whole = ppgen.fit(belief_net(), BITS, inference.NVIL(net=network()), **arguments)

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            event.stop()

    ppgen.fit(belief_net(), BITS, inference.NVIL(net=network()), folder=tmp_path, callbacks=[stop], **arguments)
    assert ppgen.load(tmp_path).pair.inference_state
    with pytest.raises(ValueError, match=r"another run.*net\.shapes\.0\.weight: \[4, 6\] there, \[5, 6\] in this call"):
        ppgen.fit(belief_net(), BITS, inference.NVIL(net=network(5)), folder=tmp_path, resume=True, **arguments)
    again = ppgen.fit(belief_net(), BITS, inference.NVIL(net=network()), folder=tmp_path, resume=True, **arguments)
    assert set(again.inference_state) == set(whole.inference_state)
    assert all(torch.equal(again.inference_state[name], value) for name, value in whole.inference_state.items())
    assert same(whole.pair, again.pair.state_dict())
    loaded = ppgen.load(tmp_path)
    assert all(torch.equal(loaded.inference_state[name], value) for name, value in whole.inference_state.items())
    assert inference.describe(loaded.inference) == inference.describe(inference.NVIL(net=network()))
    with pytest.raises(ValueError, match="'z1': net=Sequential is known by its description only.*holds the module"):
        ppgen.fit(belief_net(), BITS, loaded.inference, **arguments)


def test_a_configuration_describes_the_module() -> None:
    """Catches a description that is not JSON, changes when it is read, or says nothing of the tensors."""
    config = inference.to_config(inference.NVIL(net=network()))
    net = config["estimator"]["baseline"]["net"]
    shapes = {"0.weight": [4, 6], "0.bias": [4], "2.weight": [1, 4], "2.bias": [1]}
    assert net == {"kind": "module", "name": "Sequential", "shapes": shapes}
    assert inference.to_config(inference.from_config(config)) == config
    plain = inference.NVIL(hidden=7)
    assert inference.from_config(inference.to_config(plain)) == plain


def test_one_module_is_one_value() -> None:
    """Catches a baseline that cannot be compared or put into a set, as the other parts of an inference can."""
    net = network()
    assert inference.InputDependent(net) == inference.InputDependent(net) != inference.InputDependent(network())
    assert len({inference.NVIL(net=net), inference.NVIL(net=net), inference.NVIL()}) == 2
    assert "\n" not in inference.describe(inference.NVIL(net=net))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Linear(6, 2), r"rows of shape \(40, 6\) to one number each, \(40,\) or \(40, 1\), got \(40, 2\)"),
        (nn.Linear(5, 1), r"could not be run on rows of shape \(40, 6\): .*mat1 and mat2"),
        (nn.LSTM(6, 1), "got tuple"),
        (nn.LazyLinear(1), "could not be run on rows"),
    ],
    ids=str,
)
def test_a_module_that_does_not_fit_is_refused_before_training(net: nn.Module, message: str) -> None:
    """Catches a failure in the middle of the first step, and numbers that broadcast over rows."""
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"InputDependent at site 'z1': net={type(net).__name__} .*{message}"):
        bound_to(net)
    assert torch.equal(state, torch.get_rng_state())


def test_arguments() -> None:
    """Catches a width in the place of a module, both at once, and rates that cannot be."""
    with pytest.raises(TypeError, match=r"net must be a torch.nn.Module .*got 4. Give the width .*hidden="):
        inference.InputDependent(4)
    with pytest.raises(ValueError, match="give it or net, not both"):
        inference.InputDependent(network(), hidden=4)
    with pytest.raises(ValueError, match="hidden and lr must be positive"):
        inference.InputDependent(network(), lr=-math.inf)
