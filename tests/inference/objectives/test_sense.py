"""Which way an objective errs: upper bounds are descended, and a wrong direction fails the contract."""

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import inference, testing
from ppgen.inference.objectives.objective import MultiSampleObjective, average_in_log
from ppgen.testing.objectives import _check_direction

X = torch.tensor([0.7, -1.3, 2.1], dtype=torch.float64)


def normal_pair(rows: int, log_scale: float) -> ppgen.Pair:
    """z ~ N(0, 1), x | z ~ N(z, 1), whose posterior has the standard deviation 0.707, and a guide N(a x, exp(s)^2)."""
    start = {"a": 0.2, "s": log_scale}

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        a, s = (pyro.param(name, torch.tensor(value, dtype=x.dtype)) for name, value in start.items())
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(a * x, s.exp()))

    pair = ppgen.Pair(model, guide)
    pair.prepare(torch.zeros(rows, dtype=torch.float64))
    return pair


@dataclass(frozen=True)
class ChiSquare(MultiSampleObjective):
    """A user's own upper bound that says no more than its value, and no sense."""

    def average(self, log_weights: Tensor) -> Tensor:
        """Half the log of the mean squared weight."""
        return average_in_log(2 * log_weights) / 2


@dataclass(frozen=True)
class Descended(ChiSquare):
    """The same with its sense."""

    sense: ClassVar[str] = "upper bound"
    value_kind: ClassVar[str] = "estimate"  # type: ignore[assignment]


@dataclass(frozen=True)
class Climbed(inference.CUBO):
    """A copy of CUBO with the wrong sign."""

    def surrogate(self, weights, pair, batch, layout) -> Tensor:
        """Up instead of down."""
        return -super().surrogate(weights, pair, batch, layout)


@pytest.mark.parametrize("count", [3, 20])
def test_an_upper_bound_that_is_climbed_fails_the_contract(count: int) -> None:
    """Catches a contract that such a bound passes while few particles keep its value below log p(x)."""
    with pytest.raises(AssertionError, match="away from the posterior|above log p"):
        testing.check_objective(ChiSquare(count), num_draws=20)
    with pytest.raises(AssertionError, match="nats away from the posterior. Its sense is 'lower bound'"):
        _check_direction(ChiSquare(count), X)


@pytest.mark.parametrize("count", [2, 4, 50])
def test_a_copy_of_cubo_with_the_wrong_sign_fails_the_contract(count: int) -> None:
    """Catches a contract that only looks at values, which are the same."""
    with pytest.raises(AssertionError, match="60 steps of Climbed took the guide .* away from the posterior"):
        testing.check_objective(Climbed(count), num_draws=5)


@pytest.mark.parametrize("wrong", [inference.ELBO, inference.IWELBO, inference.ReweightedWakeSleep])
def test_a_lower_bound_that_says_upper_fails_the_contract(wrong: type[inference.Objective]) -> None:
    """Catches a sense that is taken for granted, and one that moves an objective which says what it climbs."""
    objective = type("Turned", (wrong,), {"sense": "upper bound"})(3)
    with pytest.raises(AssertionError, match="below log p|away from the posterior"):
        testing.check_objective(objective, num_draws=100)


def test_a_value_on_the_wrong_side_fails_the_contract() -> None:
    """Catches an upper bound whose values by few draws lie below log p(x), told as a bound."""
    objective = type("Told", (inference.CUBO,), {"value_kind": "upper bound"})(2)
    with pytest.raises(AssertionError, match="below log p.* and says that it is 'upper bound'"):
        testing.check_objective(objective, num_draws=100)


def test_the_engine_descends_upper_bounds() -> None:
    """Catches an upper bound that is climbed: 3.12 is where its guide went, 0.707 the posterior's deviation."""
    x = torch.linspace(-2, 2, 200, dtype=torch.float64)
    pair = normal_pair(len(x), 0.5)
    bound = inference.Inference(Descended(200)).bind(pair, x, num_data=len(x))
    testing.pairs.check_gradient(bound, x)
    optimizer = torch.optim.Adam(pair.parameters(), lr=0.02)
    for _ in range(120):
        gradients = bound.step(x).gradients
        for name, value in pair.named_parameters():
            value.grad = gradients[name]
        optimizer.step()
    found = dict(pair.named_parameters())
    assert float(found["captured.s"].detach().exp()) == pytest.approx(0.707, abs=0.03)


def test_losses_of_svi_go_down() -> None:
    """Catches a loss that is minus an upper bound, which SVI and a module's backward() would climb."""
    module = Descended(50)
    x = torch.linspace(-2, 2, 60, dtype=torch.float64)
    pair = normal_pair(len(x), 0.5)
    loss = module(pair.model, pair.guide)
    torch.manual_seed(0)
    first = loss(x)
    first.backward()
    torch.manual_seed(0)
    value = inference.Inference(module).bind(pair, x, num_data=len(x)).value(x)
    assert float(first.detach()) == pytest.approx(60 * float(value))
    assert float(dict(pair.named_parameters())["captured.s"].grad) > 0  # the guide is too wide


def test_fit_narrows_a_guide_by_cubo() -> None:
    """Catches a fit that climbs it, moves the model, or takes an estimate for the best epoch's sake."""
    x = torch.linspace(-2, 2, 300, dtype=torch.float64)
    pair = normal_pair(len(x), math.log(2.0))
    options = {"epochs": 12, "batch_size": 50, "lr": 0.03, "progress": False, "seed": 1}
    run = ppgen.fit(pair, x, inference.CUBO(4), **options)
    assert float(dict(pair.named_parameters())["captured.s"].detach().exp()) == pytest.approx(0.707, abs=0.02)
    assert run.state["monitor"] is None and run.state["best_epoch"] is None
    assert "values are estimates that err both ways, no bound of log p(x)" in repr(run)
    for wrong in ({"early_stopping": 3}, {"restore_best": True}, {"monitor": "train_value"}):
        with pytest.raises(ValueError, match="estimates that err both ways"):
            ppgen.fit(pair, x, inference.CUBO(4), **options, **wrong)


def test_the_best_epoch_of_an_upper_bound_is_its_least() -> None:
    """Catches early stopping that keeps the worst epoch of a bound which is descended."""
    told = type("Told", (Descended,), {"value_kind": "upper bound"})
    x = torch.linspace(-2, 2, 100, dtype=torch.float64)
    pair = normal_pair(len(x), 0.5)
    run = ppgen.fit(pair, x, told(100), epochs=4, batch_size=50, lr=0.05, progress=False, restore_best=True)
    values = run.curve(run.state["monitor"])
    assert run.state["best_epoch"] == 1 + values.index(min(values)) and run.state["best_value"] == min(values)
    assert "upper bound of log p(x), less is better" in repr(run)


def test_what_cubo_says_of_log_p() -> None:
    """Catches an estimate that is taken for a bound: by one weight it lies below log p(x), by four above."""
    pair, x = normal_pair(1, 0.5), torch.tensor([0.7], dtype=torch.float64)
    evidence = float(dist.Normal(torch.zeros(1, dtype=torch.float64), 2.0**0.5).log_prob(x))
    torch.manual_seed(0)
    weights = inference.log_weights(pair, x, 400_000).local.detach()
    by_one, by_four, by_all = (
        float(inference.CUBO().average(weights.reshape(count, -1)).mean()) for count in (1, 4, len(weights))
    )
    assert by_one < evidence - 0.01 < evidence + 0.01 < by_all and by_one < by_four < by_all


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inference.CUBO(1), "num_particles must be at least 2: .* got 1"),
        (lambda: inference.CUBO(n=1), "n must be a finite number above 1, got 1"),
        (lambda: inference.CUBO(n=math.nan), "n must be a finite number above 1, got nan"),
        (lambda: type("Typo", (inference.ELBO,), {"sense": "upper"})().descended, "sense of Typo must be one of"),
    ],
)
def test_bad_senses_and_orders(call, message: str) -> None:
    """Catches one particle, whose gradient is zero, and a sense that is misspelt and climbed in silence."""
    with pytest.raises(ValueError, match=message):
        call()


def test_cubo_covers_what_the_elbo_leaves_out() -> None:
    """Catches a guide that shrinks: of two correlated latents CUBO's is wider than the ELBO's, as the marginal."""
    precision, rows = torch.tensor([[2.0, 1.4], [1.4, 2.0]], dtype=torch.float64), 200
    law = dist.MultivariateNormal(torch.zeros(2, dtype=torch.float64), precision_matrix=precision)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", law)
            pyro.sample("x", dist.Normal(0.0 * z[..., 0], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        s = pyro.param("s", torch.zeros(2, dtype=torch.float64))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(s), s.exp()).to_event(1))

    scales = {}
    for objective in (inference.CUBO(20), inference.ELBO(5)):
        pair = ppgen.Pair(model, guide)
        ppgen.fit(pair, torch.zeros(rows, dtype=torch.float64), objective, steps=150, lr=0.02, progress=False)
        scales[type(objective).__name__] = float(pair.state_dict()["captured.s"].exp().mean())
    marginal = float(law.covariance_matrix[0, 0].sqrt())
    assert scales["ELBO"] == pytest.approx(2.0**-0.5, abs=0.03)
    assert scales["CUBO"] == pytest.approx(marginal, abs=0.05) and marginal > scales["ELBO"] + 0.2, (scales, marginal)


def test_replacing_keeps_the_value() -> None:
    """Catches a field that a copy of CUBO loses."""
    assert dataclasses.replace(inference.CUBO(4, n=3), num_particles=5) == inference.CUBO(5, n=3)


def expected_estimate(objective: inference.Renyi, posterior: float, chance: float) -> float:
    """Mean of the K-particle value for a bit with p(x) = 1, by the sum over the number of draws of 1."""
    ones, zeros, count = math.log(posterior / chance), math.log((1 - posterior) / (1 - chance)), objective.num_particles
    total = 0.0
    for k in range(count + 1):
        drawn = torch.tensor([ones] * k + [zeros] * (count - k), dtype=torch.float64).unsqueeze(1)
        total += math.comb(count, k) * chance**k * (1 - chance) ** (count - k) * float(objective.average(drawn))
    return total


def test_the_estimate_of_an_upper_bound_is_nothing_to_train_by() -> None:
    """Catches a bound of negative order that is raised, or one that is lowered: neither leads to the posterior."""
    grid = [index / 100 for index in range(1, 100)]
    for alpha, best in ((-1.0, 0.81), (0.0, 0.3)):
        objective = inference.Renyi(num_particles=8, alpha=alpha)
        values = [expected_estimate(objective, 0.3, chance) for chance in grid]
        assert grid[max(range(99), key=values.__getitem__)] == best  # the posterior is 0.3
        assert grid[min(range(99), key=values.__getitem__)] == 0.99
        assert objective.value_kind == ("estimate" if alpha < 0 else "lower bound")


def test_negative_orders_are_refused_before_training() -> None:
    """Catches an upper bound whose estimate is raised, in `fit` and as a loss of Pyro's."""
    objective = inference.Renyi(num_particles=4, alpha=-0.5)
    told = r"Renyi\(alpha=-0.5\) is an upper bound .* CUBO\(n=1.5\)"
    with pytest.raises(ValueError, match=told):
        ppgen.fit(normal_pair(3, 0.0), X, objective, epochs=1, progress=False)
    with pytest.raises(ValueError, match=told):
        inference.Inference(objective).bind(normal_pair(3, 0.0), X, num_data=3)
    pair = normal_pair(3, 0.0)
    with pytest.raises(ValueError, match=told):
        objective.loss(pair.model, pair.guide, X)


@pytest.mark.parametrize("count", [1, 2])
def test_a_lone_particle_without_fantasies_trains_no_guide(count: int) -> None:
    """Catches a wake update whose gradient is noise around zero: one particle has all of the weight."""
    objective = inference.ReweightedWakeSleep(count)
    if count == 1:
        with pytest.raises(ValueError, match="num_particles of at least 2, got 1: .* at site 'z'.* sleep=True"):
            ppgen.fit(normal_pair(3, 0.0), X, objective, epochs=1, progress=False)
        inference.Inference(inference.ReweightedWakeSleep(1, sleep=True)).bind(normal_pair(3, 0.0), X, num_data=3)
        rbm = ppgen.models.RBM(visible=3, hidden=2).double()  # its guide is exact, and not trained
        inference.Inference(objective, negative_phase=inference.CD()).bind(rbm, (X > 0).double()[None], num_data=1)
    else:
        inference.Inference(objective).bind(normal_pair(3, 0.0), X, num_data=3)
