"""The discriminator against the best one of two enumerated laws, and what its value is then."""

import math

import pytest
import torch
from torch import Tensor, nn

from ppgen import inference

# Counts of eight states in the data and in the draws, so that a batch is its law exactly.
P = torch.tensor([8, 1, 4, 2, 6, 3, 5, 3])
Q = torch.tensor([2, 7, 1, 5, 3, 3, 1, 10])
ROWS = torch.eye(8, dtype=torch.float64)


def batches() -> tuple[Tensor, Tensor]:
    return ROWS.repeat_interleave(P, 0), ROWS.repeat_interleave(Q, 0)


def trained(loss: str, steps: int, lr: float) -> tuple[inference.Adversarial, dict[str, Tensor], Tensor, Tensor]:
    """A table of eight numbers for a discriminator, trained on fixed draws."""
    x, y = batches()
    objective = inference.Adversarial(nn.Linear(8, 1), loss=loss, lr=lr, momentum=0.9)
    state = objective.init(x)
    for _ in range(steps):
        state = objective.followed(lambda: y, x, state).state
    return objective, state, x, y


@pytest.mark.parametrize("loss", ["jensen-shannon", "non-saturating"])
def test_the_best_discriminator(loss: str) -> None:
    """Catches a discriminator that is not p / (p + q), and a value that is not JSD: V = 2 JSD - log 4."""
    objective, state, x, y = trained(loss, 600, 0.05)
    p, q = P / P.sum(), Q / Q.sum()
    outputs = torch.sigmoid(state["net/weight"][0] + state["net/bias"])
    assert float((outputs - p / (p + q)).abs().max()) < 1e-3
    middle = (p + q) / 2
    divergence = float((p * (p / middle).log() + q * (q / middle).log()).sum() / 2)
    cross = float((p * outputs.log()).sum() + (q * (1 - outputs).log()).sum())
    assert cross == pytest.approx(2 * divergence - math.log(4), abs=1e-5)
    assert float(objective.distance(y, x, state)) == pytest.approx(divergence, abs=1e-5)


def test_the_hinge_tells_the_total_variation() -> None:
    """Catches a hinge whose value is another than the distance that it is said to be."""
    objective, state, x, y = trained("hinge", 400, 0.02)
    distance = float((P / P.sum() - Q / Q.sum()).abs().sum() / 2)
    assert float(objective.distance(y, x, state)) == pytest.approx(distance, abs=0.02)


def test_the_critic_tells_a_wasserstein_distance() -> None:
    """Catches a penalty of the wrong weight or slope: of draws 2 to the right, a line falls by 1 + 2 / (2 penalty)."""
    x = torch.randn(16, 1, dtype=torch.float64)
    objective = inference.Adversarial(nn.Linear(1, 1), loss="wasserstein-gp", lr=0.05)
    state = objective.init(x)
    for _ in range(150):
        state = objective.followed(lambda: x + 2, x, state).state
    assert float(state["net/weight"]) == pytest.approx(-1.1, abs=1e-3)
    assert float(objective.distance(x + 2, x, state)) == pytest.approx(2.2, abs=2e-3)


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        ("jensen-shannon", lambda d: -d),  # of log(1 - D) in the logit
        ("non-saturating", lambda d: d - 1),
        ("wasserstein-gp", lambda d: torch.full_like(d, -1)),
        ("hinge", lambda d: torch.full_like(d, -1)),
    ],
)
def test_what_the_generator_descends(loss: str, slope) -> None:
    """Catches a generator's loss with the sign or the slope of another, or one of the discriminator before its step."""
    net = nn.Linear(1, 1)
    objective = inference.Adversarial(net, loss=loss, lr=0.1)
    x = torch.tensor([[0.5], [1.0]])
    draws = torch.tensor([[2.0], [-1.0]], requires_grad=True)
    found = objective.followed(lambda: draws, x, objective.init(x))
    weight, bias = found.state["net/weight"], found.state["net/bias"]
    logits = draws.detach() @ weight.T + bias
    expected = slope(torch.sigmoid(logits)) * weight / 2
    (gradient,) = torch.autograd.grad(found.loss, draws)
    torch.testing.assert_close(gradient, expected)
    assert not torch.equal(weight, net.weight) and found.state["updates"] == 1


def test_buffers_of_a_discriminator_are_kept_in_the_state() -> None:
    """Catches running means that are written into the user's module, or lost, and values that move them."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    objective = inference.Adversarial(net, discriminator_steps=2)
    x = torch.rand(6, 2)
    state = objective.followed(lambda: torch.rand(6, 2), x, objective.init(x)).state
    assert int(state["net/1/num_batches_tracked"]) == 5  # two of each step, and one of the generator
    assert bool(state["net/1/running_mean"].abs().sum() > 0)
    kept = {name: value.clone() for name, value in state.items()}
    objective.distance(torch.rand(6, 2), x, state)
    assert all(torch.equal(state[name], value) for name, value in kept.items()) and net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert objective.roles["net/1/num_batches_tracked"] == "own" and objective.roles["net/0/weight"] == "common"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"discriminator": 3}, TypeError, "torch.nn.Module"),
        ({"loss": "minimax"}, ValueError, "'jensen-shannon', 'non-saturating', 'wasserstein-gp', 'hinge'"),
        ({"discriminator": nn.Linear(2, 1), "hidden": (3,)}, ValueError, "not both"),
        ({"lr": 0.0}, ValueError, "lr must be positive"),
        ({"discriminator_steps": 0}, ValueError, "discriminator_steps"),
    ],
)
def test_refusals(given, error, message) -> None:
    """Catches settings under which no discriminator would learn."""
    with pytest.raises(error, match=message):
        inference.Adversarial(**given)
