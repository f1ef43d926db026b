"""Pseudo-likelihood against conditionals that are enumerated, and what it says where it cannot be had."""

import pyro
import pytest
import torch
from pyro.nn.module import PyroModule, pyro_method
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import ppgen
from ppgen import inference, models, testing
from ppgen.distributions import Bernoulli, BoltzmannMachine, Categorical, Dense, pseudo_log_likelihood
from ppgen.testing.examples import bit_vectors, enumerated, state_index
from ppgen.training.epochs.undirected_metrics import undirected_metrics
from ppgen.training.steps.traced_step import TracedStep

CHOSEN = inference.Inference(inference.ELBO(), negative_phase=inference.PseudoLikelihood())


def by_enumeration(log_weights: Tensor, states: Tensor) -> Tensor:
    """Sum over bits of log p(bit | all others) of every state, in binary order, from unnormalised log-densities."""
    total = torch.zeros_like(log_weights)
    for unit in range(states.shape[1]):
        flipped = states.clone()
        flipped[:, unit] = 1 - flipped[:, unit]
        other = log_weights[state_index(flipped)]
        total = total + log_weights - torch.logaddexp(log_weights, other)
    return total


@pytest.mark.parametrize("sizes", [(4, 3), (3, 2, 2), (2, 3, 2, 2)])
def test_every_side_against_enumeration(sizes: tuple[int, ...]) -> None:
    """Catches a flipped bit with the wrong sign, a layer whose neighbour above is forgotten, sides mixed up."""
    machine = testing.boltzmann_machine(sizes)
    states, log_weights = enumerated(machine)
    found = pseudo_log_likelihood(machine, states)
    testing.check_close(found, by_enumeration(log_weights, states), "all layers together")
    layers = dict(enumerate(states.split(list(sizes), -1)))
    for parity in (0, 1):
        names = [name for index, name in enumerate(machine.names) if index % 2 == parity]
        own = torch.cat([layers[index] for index in range(parity, len(sizes), 2)], -1)
        index = state_index(own)
        marginal = torch.stack([log_weights[index == state].logsumexp(0) for state in range(2 ** own.shape[1])])
        bits = bit_vectors(own.shape[1])
        found = pseudo_log_likelihood(machine.marginal(names), bits)
        testing.check_close(found, by_enumeration(marginal, bits), f"layers {names}")


def rbm(visible: int = 5, hidden: int = 3) -> models.RBM:
    generator = torch.Generator().manual_seed(3)
    shapes = ((visible, hidden), (visible,), (hidden,))
    return models.RBM.from_arrays(*(torch.randn(each, generator=generator, dtype=torch.float64) for each in shapes))


def test_the_step_climbs_it() -> None:
    """Catches a value that is another than what the gradient is of, and a pseudo-likelihood of hidden units."""
    pair, x = rbm(), bit_vectors(5)[::3]
    bound = CHOSEN.bind(pair, x, num_data=len(x))
    expected = pseudo_log_likelihood(pair.machine().marginal("visible"), x).mean()
    testing.check_close(bound.value(x), expected.detach(), "value")
    testing.check_close(bound.step(x).value, expected.detach(), "value of a step")
    testing.check_gradient(bound, x)
    named = dict(pair.named_parameters())
    for name, gradient in zip(named, torch.autograd.grad(expected, list(named.values())), strict=True):
        testing.check_close(bound.step(x).gradients[name], -gradient, name)


@pytest.mark.parametrize("objective", [inference.IWELBO(3), inference.MaximumLikelihood(), inference.Renyi(2)])
def test_every_objective_is_the_same(objective: inference.Objective) -> None:
    """Catches particles that see hidden units of their own."""
    pair, x = rbm(), bit_vectors(5)[::4]
    expected = CHOSEN.bind(pair, x, num_data=len(x)).value(x)
    bound = inference.Inference(objective, negative_phase=inference.PseudoLikelihood()).bind(pair, x, num_data=len(x))
    testing.check_close(bound.value(x), expected, "value")


def test_the_truth_is_a_stationary_point() -> None:
    """Catches terms that are counted twice: under the machine's own law the gradient must vanish in expectation."""
    pair, x = rbm(), bit_vectors(5)
    law = pair.machine().marginal("visible")
    p = law.unnormalised(x).softmax(0).detach()
    expected = p @ pseudo_log_likelihood(law, x)
    parameters = list(pair.parameters())
    for gradient in torch.autograd.grad(expected, parameters, retain_graph=True):
        testing.check_close(gradient, torch.zeros_like(gradient), "gradient at the truth", atol=1e-10)
    with torch.no_grad():
        pair.weight.add_(0.3 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
        assert float(p @ pseudo_log_likelihood(pair.machine().marginal("visible"), x)) < float(expected.detach())


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that is made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else (found,):
            self.numel = max(self.numel, each.numel() if isinstance(each, Tensor) else 0)
        return found


@pytest.mark.parametrize("kind", ["bits", "groups"])
def test_memory_is_bounded_and_few_digits_are_lost(kind: str) -> None:
    """Catches rows x visible x hidden numbers that are held at once, and sums of which the difference is lost."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((90, 300), (300,)) if kind == "bits" else ((90, 300), (30, 3))
    weight, bias, upper, signal = (
        torch.randn(shape, generator=generator) for shape in (shapes[0], shapes[1], (300,), (200, 90))
    )
    units = Bernoulli if kind == "bits" else Categorical
    bias = bias[:90] if kind == "bits" else bias
    x = (signal > 0).float() if kind == "bits" else torch.eye(3)[signal.reshape(200, 30, 3).argmax(-1)].flatten(1)
    found = []
    for dtype in (torch.float32, torch.float64):
        parameters = [each.to(dtype).requires_grad_() for each in (bias, upper + 20, weight / 10)]
        law = BoltzmannMachine(
            {"a": units(parameters[0]), "b": Bernoulli(parameters[1])}, [Dense(parameters[2])]
        ).marginal("a")
        with Largest() as largest:
            value = pseudo_log_likelihood(law, x.to(dtype))
            found.append([value.detach(), *torch.autograd.grad(value.mean(), parameters)])
        assert largest.numel <= 2**22 < 200 * 90 * 300
    # Of the values: measured 0.0013 and 0.0005, and by the difference of sums 0.047 and 0.017.
    for single, double, atol in zip(*found, (4e-3, 2e-5, 2e-5, 2e-5), strict=True):
        testing.check_close(single.double(), double, "in float32", atol=atol)


def test_rows_of_the_energy_are_no_changes() -> None:
    """Catches the bits of one value that are taken for rows of the machine, where there are as many of them."""
    machine = testing.boltzmann_machine((3, 2))
    held = torch.tensor([[1.0, 0.0], [0.0, float("nan")], [1.0, 1.0]], dtype=torch.float64)
    value = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    expected = [
        pseudo_log_likelihood(machine.condition({"layer1": row}).marginal("layer0"), value).detach() for row in held
    ]
    found = pseudo_log_likelihood(machine.condition({"layer1": held}).marginal("layer0"), value)
    testing.check_close(found.detach(), torch.stack(expected), "one value under three machines")


def test_observed_machines() -> None:
    """Catches a machine that is observed by itself, without a latent site, or under both its layers."""

    class Observed(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.inner = rbm()

        @pyro_method
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("x", self.inner.machine().marginal("visible"), obs=x)

        @pyro_method
        def guide(self, x: Tensor) -> None:
            pass

    module, x = Observed(), bit_vectors(5)[::3]
    pair = ppgen.Pair(module.model, module.guide)
    pair.prepare(x)
    testing.check_close(
        CHOSEN.bind(pair, x, num_data=len(x)).value(x), CHOSEN.bind(rbm(), x, num_data=len(x)).value(x), "observed"
    )


def test_groups_beside_an_upper_layer_of_groups() -> None:
    """Catches values of a group that are compared with those of another, and moves that are summed over groups."""
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(each, generator=generator, dtype=torch.float64) for each in ((2, 3), (2,), (6, 2))]
    machine = BoltzmannMachine({"a": Categorical(draw[0]), "b": Bernoulli(draw[1])}, [Dense(draw[2])])
    law = machine.marginal("a")
    states = machine.base_energy.states(0, 0, 9)
    log_weights = law.unnormalised(states).reshape(3, 3)
    expected = (log_weights.log_softmax(0) + log_weights.log_softmax(1)).flatten()
    testing.check_close(pseudo_log_likelihood(law, states), expected, "even side")
    turned = BoltzmannMachine({"b": Bernoulli(draw[1]), "a": Categorical(draw[0])}, [Dense(draw[2].mT)])
    testing.check_close(pseudo_log_likelihood(turned.marginal("a"), states), expected, "odd side")


def test_training_by_name() -> None:
    """Catches a name that is not known, free energies under another name, a step that does not climb."""
    torch.manual_seed(0)
    x = (torch.rand(400, 1) < 0.5).float().repeat(1, 6)
    x = torch.where(torch.rand(400, 6) < 0.1, 1 - x, x)
    pair = models.RBM(6, 2)
    run = ppgen.fit(pair, x, "pseudo-likelihood", epochs=40, batch_size=50, lr=0.3, compile=False, progress=False)
    assert inference.resolve("pseudo-likelihood", pair) == CHOSEN
    found = float(pseudo_log_likelihood(pair.machine().marginal("visible"), x).mean().detach())
    assert found > -2.6 > 6 * -0.69  # of single bits: entropy of a flip, 0.33 nats, and little more
    curve = run.curve("pseudo_log_likelihood")
    assert curve[-1] > curve[0] + 0.5
    metrics = undirected_metrics(CHOSEN.bind(pair, x, num_data=400), x)
    energy = float(pair.machine().free_energy(x).mean().detach())
    assert float(metrics["pseudo_log_likelihood"]) == pytest.approx(found, rel=1e-5)
    assert float(metrics["free_energy"]) == pytest.approx(energy, rel=1e-5)


def test_the_step_can_be_traced() -> None:
    """Catches rows and signs that are frozen into a graph."""
    pair, x = models.RBM(6, 3), (torch.rand(40, 6, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    pair.prepare(x)
    bound = CHOSEN.bind(pair, x[:20], 40)
    bound.step(x[:20])
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(x[:20]) is None and traced.check(x[20:]) is None and traced.num_traces == 1


def test_errors() -> None:
    """Catches deep machines, real and counted visible units, and hidden units that were not summed out."""
    bits = bit_vectors(4).float()
    for pair, site in ((models.DBM(4, (3, 2)), "hidden"), (models.DBN(4, (3, 2)), "z1")):
        with pytest.raises(ValueError, match=rf"'{site}'.*exact posterior.*Use a negative phase.*inference\.PCD"):
            CHOSEN.bind(pair, bits, num_data=16)
    with pytest.raises(ValueError, match=r"Bernoulli or Categorical units.*'visible' are Gaussian.*Use inference\.CD"):
        CHOSEN.bind(models.GaussianRBM(4, 2), bits, num_data=16)
    with pytest.raises(ValueError, match=r"'visible' are Multinomial.*Use inference\.CD"):
        CHOSEN.bind(models.ReplicatedSoftmax(4, 2), bits + 1, num_data=16)

    class Apart(models.RBM):
        @pyro_method
        def guide(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                law = self.machine().conditional("hidden", given=x + 0.0)
                pyro.sample("hidden", law, infer={"posterior": "exact"})

    with pytest.raises(ValueError, match="'hidden' to be summed out, and they were not"):
        CHOSEN.bind(Apart(4, 2), bits, num_data=16).step(bits)
    with pytest.raises(TypeError, match=r"law must be a BoltzmannMachine or a marginal of one, got RBM"):
        pseudo_log_likelihood(models.RBM(4, 2), bits)  # type: ignore[arg-type]
    for law in (models.RBM(3, 2).machine(), models.RBM(3, 2).machine().marginal("visible")):
        with pytest.raises(ValueError, match=r"value must have \d units in the last dimension.*got shape \(16, 4\)"):
            pseudo_log_likelihood(law, bits)
