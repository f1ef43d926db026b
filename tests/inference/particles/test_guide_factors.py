"""Factors of a guide that are the log-density of draws made elsewhere: gradients by enumeration of those draws."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn.functional import softplus

from ppgen import inference
from ppgen.inference.structure.traces import sites

pytestmark = pytest.mark.uses_pyro_store
X = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
SHIFT = torch.tensor([0.0, 0.5, -0.2], dtype=torch.float64)


class Coins(Messenger):
    """Coins that a guide throws by itself, and at its sites; a test can say how they fall."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Iterator[float] | None = None
        self.log_mass = torch.zeros((), dtype=torch.float64)

    def throw(self, logits: Tensor) -> Tensor:
        """Values of a Bernoulli law that no site draws; computed from it, as draws are."""
        if self.given is None:
            return torch.bernoulli(logits.detach().sigmoid())
        value = torch.tensor([next(self.given) for _ in logits.flatten()]).to(logits).reshape(logits.shape)
        self.log_mass = self.log_mass + dist.Bernoulli(logits=logits.detach()).log_prob(value).sum()
        return value + 0 * logits.detach()

    def _pyro_sample(self, msg: Any) -> None:
        drawn = msg["value"] is None and not msg["is_observed"] and "enumerate" not in msg["infer"]
        if self.given is not None and drawn and isinstance(msg["fn"], dist.Bernoulli):
            msg["value"], msg["done"] = self.throw(msg["fn"].logits), True


COINS = Coins()


def falling(bits: tuple[float, ...]) -> Coins:
    COINS.given, COINS.log_mass = iter(bits), torch.zeros((), dtype=torch.float64)
    return COINS


def plate(x: Tensor, rows: Tensor | None) -> Any:
    return pyro.plate("data", len(x)) if rows is None else pyro.plate("data", len(X), subsample=rows)


def model(x: Tensor, rows: Tensor | None = None) -> None:
    with plate(x, rows):
        z = pyro.sample("z", dist.Bernoulli(torch.full_like(x, 0.3)))
        pyro.sample("x", dist.Normal(1.5 * z, 1.0), obs=x)


def thrown(x: Tensor, rows: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of all rows, those of the batch, and a draw of the batch: no site."""
    every = pyro.param("a", lambda: torch.tensor(0.4, dtype=torch.float64)) + SHIFT[: len(x if rows is None else X)]
    logits = every if rows is None else every[rows]
    return every, logits, COINS.throw(logits)


def whole_guide(x: Tensor, rows: Tensor | None = None) -> None:
    _, logits, z = thrown(x, rows)
    with plate(x, rows):
        pyro.sample("z", dist.Delta(z))
        pyro.factor("law", dist.Bernoulli(logits=logits).log_prob(z), has_rsample=False)


def split_guide(x: Tensor, rows: Tensor | None = None) -> None:  # an energy, and minus log Z of all rows
    every, logits, z = thrown(x, rows)
    with plate(x, rows):
        pyro.sample("z", dist.Delta(z))
        pyro.factor("energy", z * logits, has_rsample=False)
    pyro.factor("log_z", -softplus(every).sum(), has_rsample=False)


def chain_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Bernoulli(torch.full_like(x, 0.6)))
        z = pyro.sample("z", dist.Bernoulli(0.3 + 0.4 * u))
        v = pyro.sample("v", dist.Bernoulli(0.2 + 0.5 * z))
        pyro.sample("x", dist.Normal(1.5 * z - v, 1.0), obs=x)


def chain_guide(x: Tensor, marks: dict[str, Any] | None = None) -> None:  # a site above the draw and one below it
    a = pyro.param("a", lambda: torch.tensor([0.3, -0.4, 0.5, 0.2, -0.6], dtype=torch.float64))
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Bernoulli(logits=a[0].expand(x.shape)), infer=marks)
        logits = a[1] + a[2] * u
        z = COINS.throw(logits)
        pyro.sample("z", dist.Delta(z))
        pyro.factor("law", dist.Bernoulli(logits=logits).log_prob(z), has_rsample=False)
        pyro.sample("v", dist.Bernoulli(logits=a[3] + a[4] * z))


def marked_guide(x: Tensor) -> None:
    chain_guide(x, {"enumerate": "parallel"})


CASES = {
    "whole": (model, whole_guide, (X,), 3),
    "energy and log Z": (model, split_guide, (X,), 3),
    "between two sites": (chain_model, chain_guide, (X[:1],), 3),
}


def each(count: int) -> Iterator[tuple[float, ...]]:
    return itertools.product((0.0, 1.0), repeat=count)


def gradient() -> Tensor:
    """The gradient of the parameter, which is then taken away."""
    (value,) = dict(pyro.get_param_store().named_parameters()).values()
    found = torch.zeros_like(value) if value.grad is None else value.grad.clone()
    value.grad = None
    return found


def mean_gradient(loss: Any, stated: Any, guide: Any, args: tuple[Any, ...], coins: int) -> Tensor:
    """Gradient of a loss at its second step, its mean over all coins; the first one leaves a baseline behind."""
    torch.manual_seed(1)
    loss.loss_and_grads(stated, guide, *args)
    gradient()
    ((bound,),) = ([each for found in by.values() for each in found.values()] for by in loss._bound_to.values())
    state, total = bound.state, 0.0
    for bits in each(coins):
        bound.load_state(state)
        with falling(bits):
            loss.loss_and_grads(stated, guide, *args)
        assert next(COINS.given, None) is None
        COINS.given = None
        total = total + COINS.log_mass.exp() * gradient()
    return total


def exact_gradient(
    bound: Callable[[Tensor, Tensor, Tensor], Tensor],
    stated: Any,
    guide: Any,
    args: tuple[Any, ...],
    coins: int,
    particles: int = 1,
) -> Tensor:
    """Gradient of minus the mean of a bound over all coins, whose law is the guide's.

    The bound is one of log-weights, (particles, rows), or (particles, 1) where a factor lies outside of the plate, of
    the guide's log-densities alike, and of their sum.
    """
    runs = []
    for bits in each(coins):
        with falling(bits):
            drawn = pyro.poutine.trace(guide).get_trace(*args)
        COINS.given = None
        told = pyro.poutine.trace(pyro.poutine.replay(stated, trace=drawn)).get_trace(*args)
        told.compute_log_prob()
        drawn.compute_log_prob()
        found = [[site["log_prob"] for site in sites(run).values()] for run in (told, drawn)]
        joint = any(not density.dim() for density in found[1])
        found = [[density.sum().reshape(1) if joint else density for density in densities] for densities in found]
        runs.append(torch.stack([torch.stack(densities).sum(0) for densities in found]))
    total: Any = 0.0
    for several in itertools.product(runs, repeat=particles):
        told_of, drawn_by = torch.stack(several).unbind(1)
        total = total - bound(told_of - drawn_by, drawn_by, drawn_by.sum())
    total.backward()
    return gradient()


def over(bound: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A bound of log-weights, whose gradient is that of its mean."""
    return lambda weights, density, log_mass: log_mass.exp() * bound(weights).sum()


def power_mean(power: float) -> Callable[[Tensor], Tensor]:
    return lambda weights: ((power * weights).logsumexp(0) - math.log(len(weights))) / power


def wake(weights: Tensor, density: Tensor, log_mass: Tensor) -> Tensor:
    """The wake update of a guide: log-densities by their weights."""
    return log_mass.exp().detach() * (weights.detach().softmax(0) * density).sum()


MEAN = over(lambda weights: weights.mean(0))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("estimator", [inference.ScoreFunction(None), "auto"], ids=["plain", "moving average"])
def test_score(name: str, estimator: Any) -> None:
    """Catches a cost that one part of a law has and the other has not, and a baseline that is not the same for both."""
    found = mean_gradient(inference.Inference(inference.ELBO(), estimator), *CASES[name])
    assert torch.allclose(found, exact_gradient(MEAN, *CASES[name]), atol=1e-9)


def test_score_beside_a_sum() -> None:
    """Catches a draw, made for each state of a site that is summed out, whose score has another state's mass."""
    found = mean_gradient(inference.ELBO(vectorize_particles=False), chain_model, marked_guide, (X[:1],), 4)
    assert torch.allclose(found, exact_gradient(MEAN, *CASES["between two sites"]), atol=1e-9)


@pytest.mark.parametrize("guide", [whole_guide, split_guide], ids=["whole", "energy and log Z"])
def test_score_in_batches(guide: Any) -> None:
    """Catches products of two rows that count as often in a batch as one row does."""
    batches = [(X[rows], rows) for rows in map(torch.tensor, itertools.combinations(range(3), 2))]
    loss = inference.Inference(inference.ELBO(), inference.ScoreFunction(None))
    found = [mean_gradient(loss, model, guide, batch, 2) for batch in batches]
    assert torch.allclose(torch.stack(found).mean(0), exact_gradient(MEAN, model, guide, (X,), 3), atol=1e-9)


@pytest.mark.parametrize(
    ("objective", "bound"),
    [
        (inference.ELBO, MEAN),
        (inference.IWELBO, over(power_mean(1.0))),
        (inference.Renyi, over(power_mean(0.5))),
        (inference.ReweightedWakeSleep, wake),
    ],
)
def test_several_particles(objective: Any, bound: Any) -> None:
    """Catches a bound of several particles that scores the parts of a law by other signals."""
    args = (model, split_guide, (X[:2],))
    found = mean_gradient(objective(2, vectorize_particles=False), *args, 4)
    assert torch.allclose(found, exact_gradient(bound, *args, 2, 2), atol=1e-9)


def test_particles_share_no_draw() -> None:
    """Catches particles that are run at once, all of which would have the one draw that no site made."""
    loss, seen = inference.IWELBO(3), []

    def stated(x: Tensor) -> None:
        model(x)

    def guide(x: Tensor) -> None:
        whole_guide(x)
        seen.append(x)

    with pytest.warns(UserWarning, match=r"'law' \(has_rsample=False\) .* they are run one by one"):
        loss.loss_and_grads(stated, guide, X)
    seen.clear()
    loss.loss_and_grads(stated, guide, X)
    assert len(seen) == 3


def test_a_row_alone_meets_no_other() -> None:
    """Catches a division by zero in the place of an error."""
    with pytest.raises(ValueError, match="a batch of one row of 3 says nothing: use two rows or more"):
        inference.ELBO().loss_and_grads(model, split_guide, X[:1], torch.tensor([0]))


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        ({"energy": inference.ScoreFunction(None)}, "are one log-density.* Give both the same estimator"),
        (inference.ScoreFunction(inference.InputDependent()), "is not the same for a row as for all of them"),
    ],
)
def test_parts_of_a_law_apart(estimator: Any, said: str) -> None:
    """Catches two baselines for parts of a law, neither of whose scores has a mean of zero."""
    with pytest.raises(ValueError, match=said):
        inference.Inference(inference.ELBO(), estimator).loss_and_grads(model, split_guide, X)


def test_factor_says_what_it_is() -> None:
    """Catches a penalty that is scored as a log-density, because nothing said that it is none."""

    def guide(x: Tensor) -> None:
        z = pyro.param("a", lambda: torch.tensor(0.4, dtype=torch.float64))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=z.expand(x.shape)))
            pyro.factor("penalty", z.square().expand(x.shape))

    with pytest.raises(ValueError, match="'penalty' of the guide does not say how the draws .* has_rsample=True"):
        inference.ELBO().loss_and_grads(model, guide, X)
