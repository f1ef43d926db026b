"""Tempered chains in training: replicas that keep their laws, gradients, the ladder and the base rates."""

import pytest
import torch

import ppgen
from ppgen import inference, models, testing
from ppgen.distributions import BaseRatePath
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.testing.examples import state_index
from ppgen.training.steps.traced_step import TracedStep

CHAINS = 20_000


@pytest.mark.parametrize("sizes", [(4, 3), (3, 2, 2)])
@pytest.mark.parametrize("k", [1, 2])
def test_replicas_keep_their_laws(sizes: tuple[int, ...], k: int) -> None:
    """Catches chains of a wrong temperature in the gradient, swaps by another ladder, base rates left out."""
    torch.manual_seed(0)
    law = testing.boltzmann_machine(sizes).marginal(["layer1"])
    phase = inference.TemperedPCD(k=k, num_chains=CHAINS, num_temperatures=3)
    energy = law.base_energy
    rates = torch.rand(energy.size(EVEN), dtype=torch.float64)
    state = phase.init(law, torch.zeros(5, sizes[1], dtype=torch.float64))
    state |= {"base_offset": rates, "ladder": torch.tensor([0.3], dtype=torch.float64)}
    path, states = BaseRatePath(energy, rates), energy.states(EVEN, 0, int(energy.num_states(EVEN)))
    laws = [path.log_density(states, beta).detach().softmax(0) for beta in (0.0, 0.3, 1.0)]
    index = [torch.multinomial(each, CHAINS, replacement=True) for each in laws]
    state |= {"hot_chains": torch.stack([states[each] for each in index[:2]], 1), "chains": states[index[2]]}
    for step in range(2):  # the second one goes on from the odd side that the first one left
        surrogate, following = phase.surrogate(law, states[:5], state)
        even = [*following["hot_chains"].unbind(1), following["chains"]]
        for value, expected, beta in zip(even, laws, (0.0, 0.3, 1.0), strict=True):
            testing.check_frequencies(state_index(value), expected, f"beta = {beta}, step {step}")
        assert int(following["parity"]) == (step + 1) * k % 2
        state = following | {"ladder": state["ladder"]}  # at a new ladder they would not be exact any more
    found = torch.autograd.grad(surrogate, energy.parameters())
    expected = torch.autograd.grad(-energy.free_energy(state["chains"], EVEN).mean(), energy.parameters())
    for gradient, each in zip(found, expected, strict=True):
        testing.check_close(gradient, each, "gradient by the chains at beta = 1")


def test_the_ladder_follows_rejected_swaps() -> None:
    """Catches a ladder that stays where it was, that turns around, or that moves under ladder_rate=0."""
    torch.manual_seed(1)
    weight = torch.full((6, 6), 12.0)
    rbm = models.RBM.from_arrays(weight, torch.full((6,), -36.0), torch.full((6,), -36.0))
    x = torch.cat([torch.zeros(10, 6), torch.ones(10, 6)])
    spread = []
    for rate in (0.0, 0.05):
        phase = inference.TemperedPCD(num_chains=200, ladder_rate=rate)
        bound = inference.Inference(inference.ELBO(), negative_phase=phase).bind(rbm, x, num_data=20)
        for _ in range(150):
            bound.step(x)
        ladder = bound.state["hidden.ladder"]
        assert (ladder.diff() > 0).all() and ladder[0] > 0 and ladder[-1] < 1
        testing.check_close(bound.state["hidden.base_offset"], torch.full((6,), 0.5), "base rates", atol=1e-6)
        equal = torch.arange(1, 9) / 9
        assert torch.equal(ladder, equal) if rate == 0 else (ladder - equal).abs().max() > 0.1
        means = bound.state["hidden.chains"].mean(-1)
        spread.append(((means > 0.9) | (means < 0.1)).double().mean())
        if rate:
            rejections = bound.state["hidden.rejections"]
            assert rejections.max() - rejections.min() < 0.2
            testing.check_mean(means.round(), torch.tensor(0.5), "both modes under the tempered chains")
    assert min(spread) > 0.95


def test_training_learns_both_modes() -> None:
    """Catches a gradient of the wrong replicas, which would leave one mode of the data without its weight."""
    x = torch.cat([torch.zeros(20, 8), torch.ones(40, 8)])
    torch.manual_seed(2)
    rbm = models.RBM(8, 4)
    phase = inference.TemperedPCD(k=1, num_chains=60, num_temperatures=5)
    ppgen.fit(rbm, x, phase, steps=200, batch_size=60, lr=0.3, seed=0, compile=False, progress=False)
    states, log_weights = testing.enumerated(rbm.machine())
    on = log_weights.softmax(0)[(states[:, :8].mean(-1) > 0.8)].sum()
    off = log_weights.softmax(0)[(states[:, :8].mean(-1) < 0.2)].sum()
    assert on + off > 0.85 and 0.5 < on / (on + off) < 0.8


def test_state_of_a_step() -> None:
    """Catches a state of other shapes after the first step, which is traced twice, and chains that do not lead."""
    pair = models.DBM(6, (4, 3))
    x = torch.randint(2, (10, 6)).float()
    bound = inference.resolve(inference.TemperedPCD(num_chains=7, num_temperatures=2), pair).bind(pair, x, 10)
    bound.step(x)
    shapes = {name: value.shape for name, value in bound.state.items()}
    assert {name: shape[0] for name, shape in shapes.items() if name.endswith("chains")} == {
        "hidden.chains": 7,
        "hidden.hot_chains": 7,
        "hidden.odd_chains": 7,
    }
    assert shapes["hidden.ladder"] == (0,) and shapes["hidden.rejections"] == (1,)
    bound.step(x)
    assert {name: value.shape for name, value in bound.state.items()} == shapes
    traced = TracedStep(bound, dict(pair.named_parameters()))
    for _ in range(3):
        traced(x)
    assert traced.num_traces == 1
