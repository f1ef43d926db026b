"""Gradients of every objective under every estimator against exact sums and quadrature, in model and guide."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.objective import average_in_log
from ppgen.testing.enumeration import enumerated, particles

ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
COPIES, STEPS, SIGMAS = 1400, 24, 4.5
PROGRAMS = (
    "bernoulli",
    "two bernoulli layers",
    "normal",
    "two normal layers",
    "normal over bernoulli",
    "bernoulli over normal",
)


class Program(ppgen.GenerativeModel):
    """Latents of two layers, each Bernoulli or Normal, with weights without symmetry; the upper one drawn last."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.kind = kind
        self.layers = 2 if "two" in kind or "over" in kind else 1
        self.low_normal = kind in ("normal", "two normal layers", "bernoulli over normal")
        low = 1 if self.low_normal else 2
        self.high_normal = kind in ("two normal layers", "normal over bernoulli")
        self.visible, self.visible_bias = weights(low, 2), weights(2)
        self.prior, self.up, self.up_bias = weights(low), weights(2, low), weights(low)
        if self.layers == 2:
            self.top, self.down = weights(1), weights(1, low)
            self.upper, self.upper_bias = weights(low, 1), weights(1)

    @staticmethod
    def law(logits: Tensor, normal: bool, scale: float) -> dist.TorchDistribution:
        if normal:
            return dist.Normal(0.5 * logits, scale * torch.ones_like(logits)).to_event(1)
        return dist.Bernoulli(logits=logits).to_event(1)

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            logits = self.prior
            if self.layers == 2:
                high = pyro.sample("high", self.law(self.top, self.high_normal, 0.8))
                logits = self.prior + high @ self.down
            low = pyro.sample("low", self.law(logits, self.low_normal, 1.2))
            pyro.sample("x", dist.Bernoulli(logits=low @ self.visible + self.visible_bias).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", self.law(x @ self.up + self.up_bias, self.low_normal, 0.7))
            if self.layers == 2:
                pyro.sample("high", self.law(low @ self.upper + self.upper_bias, self.high_normal, 0.6))


def count(objective: inference.Objective) -> int:
    """Particles that the expectation depends on."""
    return 1 if isinstance(objective, (ELBO, inference.WakeSleep)) else objective.num_particles


def expected(pair: Program, objective: inference.Objective, surrogate: bool = False) -> dict[str, Tensor]:
    """Exact gradient of minus the objective, or of what wake-sleep climbs, averaged over the rows."""
    named = dict(pair.named_parameters())
    weights, mass = enumerated(pair, ROWS, detached=surrogate)
    local, probability = particles(weights.local, mass, count(objective))
    if isinstance(objective, ELBO):
        values = local.mean(0)
    elif isinstance(objective, inference.Renyi):
        values = average_in_log(objective.power * local) / objective.power
    else:
        values = average_in_log(local)
    if surrogate:  # each particle's log p, and log q where the guide follows it, by its normalised weight
        density = sum(weights.guide_terms.values()).expand(weights.local.shape)
        density, _ = particles(density, mass, count(objective))
        follows = isinstance(objective, inference.ReweightedWakeSleep) and objective.wake
        climbed = local + density * (1 + (0.5 if getattr(objective, "sleep", False) else 1.0) if follows else 1)
        share = local.softmax(0) if isinstance(objective, inference.ReweightedWakeSleep) else 1 / len(local)
        total = (probability.exp().detach() * (torch.as_tensor(share).detach() * climbed).sum(0)).sum(0).mean()
    else:
        total = (probability.exp() * values).sum(0).mean()
    gradients = torch.autograd.grad(-total, list(named.values()), allow_unused=True)
    return {name: g for name, g in zip(named, gradients, strict=True) if g is not None}


def measured(pair: Program, what: inference.Inference) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients of independent steps, (steps, ...), and their values."""
    batch = ROWS.repeat(COPIES, 1)
    torch.manual_seed(11)
    bound = what.bind(pair, batch, num_data=len(batch))
    results = [bound.step(batch) for _ in range(STEPS + 5)][5:]  # baselines have settled, unbiased as they are
    names = results[0].gradients
    return {name: torch.stack([r.gradients[name] for r in results]) for name in names}, torch.stack(
        [r.value for r in results]
    )


def check(found: dict[str, Tensor], exact: dict[str, Tensor]) -> None:
    assert set(found) == set(exact)
    for name, draws in found.items():
        error = draws.std(0) / math.sqrt(len(draws))
        score = (draws.mean(0) - exact[name]).abs() / (error + 1e-12)
        small = (draws.mean(0) - exact[name]).abs() < 1e-7  # quadrature, where there is no noise
        assert bool(((score < SIGMAS) | small).all()), (name, float(score.max()))


def network() -> nn.Module:
    """A baseline of the user's own: two layers and weights that are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0))


def _cases() -> list[tuple[str, inference.Inference]]:
    objectives = [inference.ELBO(1), inference.ELBO(3), inference.IWELBO(2), inference.Renyi(2, alpha=0.5)]
    estimators = [
        inference.Pathwise(),
        inference.AnalyticKL(),
        inference.StickTheLanding(),
        inference.DoublyReparameterized(),
        inference.ScoreFunction(None),
        inference.ScoreFunction(),
        inference.ScoreFunction(inference.InputDependent(hidden=5, normalise=False)),
        inference.ScoreFunction(inference.InputDependent(network(), normalise=False)),
        inference.LeaveOneOut(),
        inference.DisARM(),
        {"low": inference.DisARM()},
        {"high": inference.DisARM()},
        {"low": inference.DisARM(), "high": inference.ScoreFunction(None)},
        {"low": inference.DisARM(), "high": inference.AnalyticKL()},
        {"low": inference.DisARM(), "high": inference.StickTheLanding()},
        {"low": inference.StickTheLanding(), "high": inference.DisARM()},
        "auto",
    ]
    cases = []
    for kind in PROGRAMS:
        pair = Program(kind)
        for objective in objectives:
            for estimator in estimators:
                what = inference.Inference(objective, estimator)
                try:
                    what.bind(pair, ROWS, num_data=3)
                except ValueError:
                    continue  # not legal here; the table of legality has tests of its own
                cases.append((kind, what))
    return cases


@pytest.mark.parametrize(("kind", "what"), _cases(), ids=str)
def test_gradients_are_those_of_the_exact_objective(kind, what) -> None:
    """Catches a score term that is missing, doubled or weighted by its own particle, and a baseline that sees it."""
    pair = Program(kind)
    found, values = measured(pair, what)
    weights, mass = enumerated(pair, ROWS)
    local, probability = particles(weights.local.detach(), mass.detach(), count(what.objective))
    exact = {
        "ELBO": lambda: local.mean(0),
        "IWELBO": lambda: average_in_log(local),
        "Renyi": lambda: average_in_log(0.5 * local) / 0.5,
    }[type(what.objective).__name__]()
    value = float((probability.exp() * exact).sum(0).mean())
    assert abs(float(values.mean()) - value) < SIGMAS * float(values.std()) / math.sqrt(len(values)) + 1e-9
    check(found, expected(pair, what.objective))


def _wake_cases() -> list[tuple[str, inference.Objective, object]]:
    rws = [inference.ReweightedWakeSleep(2), inference.ReweightedWakeSleep(2, sleep=True)]
    cases: list[tuple[str, inference.Objective, object]] = [
        (kind, objective, "auto") for objective in (inference.WakeSleep(), *rws) for kind in PROGRAMS
    ]
    for kind in ("normal", "two normal layers"):
        cases += [(kind, objective, inference.DoublyReparameterized()) for objective in rws]
    one_by_one = inference.ReweightedWakeSleep(3, vectorize_particles=False)
    return [*cases, ("normal", one_by_one, inference.DoublyReparameterized())]


@pytest.mark.parametrize(("kind", "objective", "estimator"), _wake_cases(), ids=str)
def test_wake_sleep_climbs_what_theory_says(kind, objective, estimator) -> None:
    """Catches weights that are differentiated, phases that train the wrong half, and fantasies of the wrong law."""
    pair = Program(kind)
    found, _ = measured(pair, inference.Inference(objective, estimator))
    exact = expected(pair, objective, surrogate=True)
    guide = {"up", "up_bias", "upper", "upper_bias"}
    if isinstance(objective, inference.WakeSleep):
        exact = {name: g for name, g in exact.items() if name not in guide}
        check({name: g for name, g in found.items() if name not in guide}, exact)
    elif not objective.sleep:
        check(found, exact)
    else:  # the wake half of the guide, added to the sleep half
        sleep, _ = measured(pair, inference.Inference(inference.WakeSleep()))
        for name in guide & set(found):
            exact[name] = exact[name] + 0.5 * sleep[name].mean(0)
        check({name: g for name, g in found.items() if name in exact}, exact)


@pytest.mark.parametrize("kind", ["normal", "two normal layers"])
def test_the_reparameterised_wake_update_has_less_variance(kind) -> None:
    """Catches the score of the guide left in the gradient, which the mean over draws does not show."""
    objective = inference.ReweightedWakeSleep(10)
    spread = []
    for estimator in ("auto", inference.DoublyReparameterized()):
        found, _ = measured(Program(kind), inference.Inference(objective, estimator))
        spread.append({name: float(draws.var(0).sum()) for name, draws in found.items() if name.startswith("up")})
    plain, reparameterised = spread
    assert set(plain) == set(reparameterised) and len(plain) > 1
    assert all(reparameterised[name] < 0.7 * plain[name] for name in plain), spread


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (inference.ReweightedWakeSleep(2, wake=False, sleep=True), "wake update of the guide, which wake=False"),
        (inference.ReweightedWakeSleep(1, sleep=True), "num_particles of at least 2, got 1"),
        (inference.WakeSleep(2), "WakeSleep says by itself"),
    ],
    ids=str,
)
def test_a_wake_update_that_is_not_there_is_refused(objective, message) -> None:
    """Catches a guide that stays as it is without a word."""
    what = inference.Inference(objective, inference.DoublyReparameterized())
    with pytest.raises(ValueError, match=f"DoublyReparameterized .*site 'low'.*{message}"):
        what.bind(Program("normal"), ROWS, num_data=3)


def test_a_neighbour_drawn_without_gradient_is_refused() -> None:
    """Catches a wake update that follows one site's path and forgets the other's score."""
    what = inference.Inference(inference.ReweightedWakeSleep(2), {"low": inference.DoublyReparameterized()})
    with pytest.raises(ValueError, match="site 'low' is sound only where .* site 'high' has estimator=\"auto\""):
        what.bind(Program("two normal layers"), ROWS, num_data=3)
