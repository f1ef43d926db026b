"""Gradients on hard structures (inner plates, global latents, masks, scales, mixed sites) against exact sums."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.inference.objective import average_in_log
from ppgen.testing.enumeration import enumerated, jointly, particles

ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
COPIES, STEPS, SIGMAS, NODES = 300, 24, 4.5, 8


class Structure(ppgen.GenerativeModel):
    """One program of every structure; `normal` chooses the law of the latents inside the data plate."""

    def __init__(self, structure: str, normal: bool, size: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.structure, self.normal, self.size = structure, normal, size
        self.prior, self.weight, self.bias = weights(2), weights(2), weights(2)
        self.up, self.up_bias, self.top_prior, self.down = weights(2), weights(2), weights(1), weights(2)
        self.high_weight, self.high_bias, self.across = weights(2), weights(1), weights(2)

    def law(self, logits: Tensor, scale: float) -> dist.TorchDistribution:
        if self.normal:
            return dist.Normal(0.5 * logits, scale * torch.ones_like(logits))
        return dist.Bernoulli(logits=logits)

    def rows(self, x: Tensor, dim: int = -1) -> pyro.plate:
        if self.size is None:
            return pyro.plate("data", len(x), dim=dim)
        return pyro.plate("data", self.size, subsample=x, dim=dim)

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        getattr(self, f"{self.structure}_model")(x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        getattr(self, f"{self.structure}_guide")(x)

    def inner_model(self, x: Tensor) -> None:
        with self.rows(x, -2):
            top = pyro.sample("top", dist.Bernoulli(logits=self.top_prior))
            with pyro.plate("column", 2, dim=-1):
                low = pyro.sample("low", self.law(self.prior + top * self.down, 1.2))
                pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias), obs=x)

    def inner_guide(self, x: Tensor) -> None:
        with self.rows(x, -2):
            top = pyro.sample("top", dist.Bernoulli(logits=(x @ self.high_weight).unsqueeze(-1) + self.high_bias))
            with pyro.plate("column", 2, dim=-1):
                pyro.sample("low", self.law(x * self.up + self.up_bias + top * self.across, 0.7))

    def global_model(self, x: Tensor) -> None:
        top = pyro.sample("top", dist.Bernoulli(logits=self.top_prior[0]))
        with self.rows(x):
            low = pyro.sample("low", self.law(self.prior[0] + top * self.down[0], 1.2))
            logits = low.unsqueeze(-1) * self.weight + self.bias + 0.3 * top.unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def global_guide(self, x: Tensor) -> None:
        top = pyro.sample("top", dist.Bernoulli(logits=self.high_bias[0]))
        with self.rows(x):
            pyro.sample("low", self.law(x @ self.up + self.up_bias[0] + top * self.across[0], 0.7))

    def mask_model(self, x: Tensor) -> None:
        with self.rows(x):
            with poutine.mask(mask=x[..., 0] > 0.5):
                low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            with poutine.mask(mask=x[..., 1] > 0.5):
                logits = low * self.weight + self.bias + low.sum(-1, keepdim=True)
                pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def mask_guide(self, x: Tensor) -> None:
        with self.rows(x), poutine.mask(mask=x[..., 0] > 0.5):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def law_mask_model(self, x: Tensor) -> None:
        with self.rows(x):
            bits = (x[..., :1] > 0.5).expand(x.shape)
            low = pyro.sample("low", self.law(self.prior, 1.2).mask(bits).to_event(1))
            seen = (x[..., 1:] > 0.5).expand(x.shape)
            logits = low * self.weight + self.bias + low.sum(-1, keepdim=True)
            pyro.sample("x", dist.Bernoulli(logits=logits).mask(seen).to_event(1), obs=x)

    def law_mask_guide(self, x: Tensor) -> None:
        with self.rows(x):
            bits = (x[..., :1] > 0.5).expand(x.shape)
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).mask(bits).to_event(1))

    def scale_model(self, x: Tensor) -> None:
        with self.rows(x):
            with poutine.scale(scale=0.3):
                low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias).to_event(1), obs=x)

    def scale_guide(self, x: Tensor) -> None:
        with self.rows(x), poutine.scale(scale=0.3):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def plain_model(self, x: Tensor) -> None:
        with self.rows(x):
            low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias).to_event(1), obs=x)

    def plain_guide(self, x: Tensor) -> None:
        with self.rows(x):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def mixed_model(self, x: Tensor) -> None:
        with self.rows(x):
            high = pyro.sample("high", dist.Bernoulli(logits=self.top_prior[0]))
            low = pyro.sample("low", dist.Normal(self.prior + high.unsqueeze(-1) * self.down, 1.2).to_event(1))
            logits = low * self.weight + self.bias + high.unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def mixed_guide(self, x: Tensor) -> None:
        with self.rows(x):
            if self.normal:  # the continuous site first
                low = pyro.sample("low", dist.Normal(x * self.up + self.up_bias, 0.7).to_event(1))
                pyro.sample("high", dist.Bernoulli(logits=low @ self.high_weight + self.high_bias[0]))
            else:
                high = pyro.sample("high", dist.Bernoulli(logits=x @ self.high_weight + self.high_bias[0]))
                mean = x * self.up + self.up_bias + high.unsqueeze(-1) * self.across
                pyro.sample("low", dist.Normal(mean, 0.7).to_event(1))


def average(objective: inference.Objective, log_weights: Tensor) -> Tensor:
    """The objective of (particles, ...) log-weights."""
    if isinstance(objective, inference.ELBO):
        return log_weights.mean(0)
    power = getattr(objective, "power", 1.0)
    return average_in_log(power * log_weights) / power


def expected(
    pair: Structure, objective: inference.Objective, num_data: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Exact objective per datum and the gradient of minus it."""
    weights, mass = enumerated(pair, ROWS, nodes=NODES)
    if pair.structure == "global" and not isinstance(objective, inference.ELBO):
        outer = weights.guide_terms["top"].squeeze(1)
        table, probability = jointly(weights, mass, outer)
        local, probability = particles(table, probability, objective.num_particles)
        value = (probability.exp() * average(objective, local)).sum() / len(ROWS)
    else:
        count = 1 if isinstance(objective, inference.ELBO) else objective.num_particles
        local, probability = particles(weights.local, mass, count)
        value = (probability.exp() * average(objective, local)).sum(0).mean()
        if weights.outside is not None:
            value = value + (mass.exp()[:, 0] * weights.outside).sum() / (num_data or len(ROWS))
    named = dict(pair.named_parameters())
    gradients = torch.autograd.grad(-value, list(named.values()), allow_unused=True)
    return value.detach(), {name: g for name, g in zip(named, gradients, strict=True) if g is not None}


def measured(
    pair: Structure, what: inference.Inference, batch: Tensor, steps: int, num_data: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Values and gradients of independent steps: (steps, ...)."""
    torch.manual_seed(11)
    bound = what.bind(pair, batch, num_data=num_data or len(batch))
    results = [bound.step(batch) for _ in range(steps + 5)][5:]  # baselines have settled, unbiased as they are
    names = results[0].gradients
    values = torch.stack([result.value for result in results])
    return values, {name: torch.stack([r.gradients[name] for r in results]) for name in names}


def check(found: tuple[Tensor, dict[str, Tensor]], exact: tuple[Tensor, dict[str, Tensor]]) -> None:
    every = {"value": (found[0], exact[0])}
    for name, gradient in exact[1].items():
        if name in found[1]:
            every[name] = (found[1][name], gradient)
        else:
            assert float(gradient.abs().max()) < 1e-8, f"no gradient of {name}"
    for name, (draws, number) in every.items():
        error = draws.std(0) / math.sqrt(len(draws))
        deviation = (draws.mean(0) - number).abs()
        good = (deviation < SIGMAS * error) | (deviation < 1e-5)  # quadrature, where there is no noise
        assert bool(good.all()), (name, draws.mean(0), number, error)


OBJECTIVES = [inference.ELBO(2), inference.IWELBO(2), inference.Renyi(2, alpha=0.5)]
ESTIMATORS = [
    "auto",
    inference.Pathwise(),
    inference.AnalyticKL(),
    inference.StickTheLanding(),
    inference.DoublyReparameterized(),
    inference.ScoreFunction(),
    inference.LeaveOneOut(),
]


def legal(pair: Structure, objective: inference.Objective, estimator: object) -> inference.Inference | None:
    choice: object = estimator
    if "inner" in pair.structure and isinstance(estimator, inference.Estimator):
        choice = {"low": estimator}  # the discrete site above it is left to "auto"
    what = inference.Inference(objective, choice)
    try:
        what.bind(pair, ROWS, num_data=len(ROWS))
    except ValueError:
        return None  # not legal here; the table of legality has tests of its own
    return what


def _cases() -> list[tuple[str, bool, inference.Inference]]:
    cases = []
    for structure in ("inner", "mask", "law_mask", "scale"):
        for normal in (False, True):
            pair = Structure(structure, normal)
            found = [legal(pair, objective, estimator) for objective in OBJECTIVES for estimator in ESTIMATORS]
            cases += [(structure, normal, what) for what in found if what is not None]
    return cases


@pytest.mark.parametrize(("structure", "normal", "what"), _cases(), ids=str)
def test_inner_plates_masks_and_scales(structure: str, normal: bool, what: inference.Inference) -> None:
    """Catches plates summed over particles, a score that is scaled or masked though the draw is not, a lost KL."""
    pair = Structure(structure, normal)
    check(measured(pair, what, ROWS.repeat(COPIES, 1), STEPS), expected(pair, what.objective))


@pytest.mark.parametrize("estimator", ["auto", inference.ScoreFunction(), inference.LeaveOneOut()], ids=str)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_a_global_latent_joins_the_rows(objective, estimator) -> None:
    """Catches a weight of one row where the whole data set's is meant, and a score of a row that sees its row alone."""
    pair = Structure("global", False)
    found = measured(pair, inference.Inference(objective, estimator), ROWS, 500)
    check(found, expected(pair, objective))


@pytest.mark.parametrize("estimator", ["auto", inference.ScoreFunction(), inference.LeaveOneOut()], ids=str)
@pytest.mark.parametrize("size", [None, 8])
def test_a_global_latent_in_minibatches(size, estimator) -> None:
    """Catches terms outside the data plate that count once a batch instead of once a data set."""
    pair = Structure("global", False, size)
    objective = inference.ELBO(100)
    found = measured(pair, inference.Inference(objective, estimator), ROWS, 60, num_data=8)
    check(found, expected(pair, objective, num_data=8))


@pytest.mark.parametrize("normal", [False, True], ids=["discrete first", "continuous first"])
@pytest.mark.parametrize(
    ("objective", "estimators"),
    [
        (inference.ELBO(2), {"low": inference.AnalyticKL(), "high": inference.ScoreFunction()}),
        (inference.ELBO(2), {"low": inference.AnalyticKL(), "high": inference.LeaveOneOut()}),
        (inference.ELBO(2), {"low": inference.StickTheLanding(), "high": inference.LeaveOneOut()}),
        (inference.ELBO(2), {"low": inference.ScoreFunction(), "high": inference.LeaveOneOut()}),
        (inference.ELBO(2), {"low": inference.Pathwise(), "high": inference.ScoreFunction(None)}),
        (inference.IWELBO(2), {"low": inference.Pathwise(), "high": inference.ScoreFunction()}),
        (inference.IWELBO(2), {"low": inference.LeaveOneOut(), "high": inference.ScoreFunction()}),
        (inference.IWELBO(2), {"low": inference.Pathwise()}),
        (inference.IWELBO(2), {"low": inference.DoublyReparameterized(), "high": inference.LeaveOneOut()}),
        (inference.Renyi(2, alpha=0.5), {"low": inference.Pathwise(), "high": inference.LeaveOneOut()}),
    ],
    ids=str,
)
def test_each_site_has_its_estimator(normal, objective, estimators) -> None:
    """Catches a score that forgets the path through a site drawn before it, and sites served by a neighbour's rule."""
    pair = Structure("mixed", normal)
    what = inference.Inference(objective, estimators)
    try:
        what.bind(pair, ROWS, num_data=3)
    except ValueError as error:
        assert type(estimators["low"]).__name__ in str(error)
        return
    check(measured(pair, what, ROWS.repeat(COPIES, 1), STEPS), expected(pair, objective))


@pytest.mark.parametrize(
    ("normal", "what"),
    [
        (True, inference.Inference(inference.ELBO(2, False), inference.Pathwise())),
        (True, inference.Inference(inference.ELBO(2, False), inference.AnalyticKL())),
        (True, inference.Inference(inference.ELBO(2, False), inference.StickTheLanding())),
        (True, inference.Inference(inference.IWELBO(2, False), inference.DoublyReparameterized())),
        (True, inference.Inference(inference.Renyi(2, False, alpha=0.5), inference.ScoreFunction())),
        (False, inference.Inference(inference.IWELBO(2, False), inference.LeaveOneOut())),
        (False, inference.Inference(inference.ELBO(2, False), inference.ScoreFunction())),
    ],
    ids=str,
)
def test_particles_one_by_one(normal, what) -> None:
    """Catches an estimator whose parts are lost when particles are put together one by one."""
    pair = Structure("plain", normal)
    check(measured(pair, what, ROWS.repeat(COPIES, 1), STEPS), expected(pair, what.objective))


@pytest.mark.parametrize("size", [None, 8])
@pytest.mark.parametrize(
    ("normal", "what"),
    [
        (True, inference.IWAE(2)),
        (True, inference.STL(2)),
        (True, inference.DReG(2)),
        (True, inference.Inference(inference.ELBO(), inference.AnalyticKL())),
        (False, inference.VIMCO(2)),
        (False, inference.RLOO(2)),
        (False, inference.Inference(inference.ELBO(), inference.ScoreFunction())),
    ],
    ids=str,
)
def test_a_ragged_last_batch(normal, what, size) -> None:
    """Catches a gradient of 5 rows out of 8 that is scaled by the size of the data plate or of an earlier batch."""
    pair, batch = Structure("plain" if normal else "inner", normal, size), ROWS.repeat(2, 1)[:5]
    torch.manual_seed(0)
    bound = what.bind(pair, batch[:4], num_data=8)
    bound.step(batch[:4])
    state = bound.state
    torch.manual_seed(3)
    found = bound.step(batch)
    alone = what.bind(Structure(pair.structure, pair.normal), batch, num_data=5)
    alone.load_state(state)
    torch.manual_seed(3)
    other = alone.step(batch)
    torch.testing.assert_close(found.value, other.value)
    for name, gradient in other.gradients.items():
        torch.testing.assert_close(found.gradients[name], gradient)
