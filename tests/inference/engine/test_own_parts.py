"""Objectives and estimators of a user's own: asked what they are, never known by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import extension, inference
from ppgen.inference.engine.plan import sound
from ppgen.inference.objectives.objective import MultiSampleObjective, average_in_log
from ppgen.inference.structure.layout import DISCRETE, EXACT_POSTERIOR, MEAN_FIELD, REPARAMETERISED

X = torch.tensor([1.0, 0.0, 1.0, 1.0])


def bit_pair() -> ppgen.Pair:
    """A pair with one bit a datum."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3))
            pyro.sample("x", dist.Bernoulli(logits=1.5 * z - 0.5), obs=x)

    def guide(x: Tensor) -> None:
        slope, bias = pyro.param("slope", torch.tensor(0.3)), pyro.param("bias", torch.tensor(-0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=slope * x + bias))

    return ppgen.Pair(model, guide)


@dataclass(frozen=True)
class Tempered(MultiSampleObjective):
    """A multi-sample bound that nobody registered."""

    num_particles: int = 4

    def average(self, log_weights: Tensor) -> Tensor:
        """The power mean of order a half, as `Renyi` has it."""
        return average_in_log(0.5 * log_weights) / 0.5

    @property
    def power(self) -> float:
        """A half."""
        return 0.5


@dataclass(frozen=True)
class Doubled(inference.ELBO):
    """An ELBO under another name."""

    num_particles: int = 2


@dataclass(frozen=True)
class Clipped(inference.ELBO):
    """An ELBO with another value, of which the ELBO's signal says nothing."""

    def value(self, weights: inference.LogWeights, num_data: int) -> Tensor:
        """The mean of clipped log-weights."""
        return weights.local.clamp(min=-1.0).mean()


def gradients(objective: inference.Objective, estimator: Any) -> dict[str, Tensor]:
    torch.manual_seed(5)
    bound = inference.Inference(objective, estimator).bind(_prepared(), X, num_data=4)
    return bound.step(X).gradients


def _prepared() -> ppgen.Pair:
    pair = bit_pair()
    pair.prepare(X)
    return pair


@pytest.mark.parametrize(
    ("own", "known", "estimators"),
    [
        (Tempered(4), inference.Renyi(4, alpha=0.5), ["auto", inference.LeaveOneOut(), inference.ScoreFunction()]),
        (
            Doubled(2),
            inference.ELBO(2),
            ["auto", inference.LeaveOneOut(), inference.DisARM(), inference.Enumerate(), inference.ScoreFunction()],
        ),
    ],
    ids=["multi-sample", "ELBO"],
)
def test_what_auto_picks_may_be_asked_for(own: Any, known: Any, estimators: list[Any]) -> None:
    """Catches LeaveOneOut refused for a new objective, with the advice to use "auto", which picks LeaveOneOut."""
    for estimator in estimators:
        found, expected = gradients(own, estimator), gradients(known, estimator)
        assert set(found) == set(expected) and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("estimator", ["auto", inference.LeaveOneOut(), inference.ScoreFunction()], ids=str)
def test_another_value_needs_a_signal_of_its_own(estimator: Any) -> None:
    """Catches a score term of the ELBO under a value that is not the ELBO: a gradient of something else."""
    with pytest.raises(ValueError, match="site 'z'.*Use inference.ELBO\\(\\).*by signal and columns"):
        inference.Inference(Clipped(3), estimator).bind(_prepared(), X, num_data=4)
    with pytest.raises(ValueError, match="DisARM under Clipped is not sound at site 'z'"):
        inference.Inference(Clipped(3), inference.DisARM()).bind(_prepared(), X, num_data=4)


@pytest.mark.parametrize("kind", [DISCRETE, REPARAMETERISED, MEAN_FIELD, EXACT_POSTERIOR])
@pytest.mark.parametrize("objective", [Tempered, Doubled, Clipped, inference.IWELBO, inference.CUBO], ids=repr)
def test_auto_is_legal_where_what_it_picks_is(objective: type[inference.Objective], kind: str) -> None:
    """Catches an "auto" that is legal by its name."""
    wanted = objective is not Clipped or kind in (REPARAMETERISED, EXACT_POSTERIOR)
    assert sound(objective, None, kind) == wanted


@dataclass(frozen=True)
class Halved(inference.Estimator):
    """A score function of a user's own: half of the last signal's mean is its baseline, and it notes each check."""

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE})
    needs: ClassVar[str] = "a log-density in the guide"
    scores: ClassVar[bool] = True
    told: list[str] = field(default_factory=list, compare=False)

    def check_plan(self, site: str, plan: Mapping[str, Any], layout: inference.Layout, objective: Any) -> None:
        """Take note."""
        self.told.append(f"plan {site} {sorted(plan)} {type(objective).__name__}")

    def check_rows(self, site: str, rows: Any) -> None:
        """Take note."""
        self.told.append(f"rows {tuple(rows().shape)}")

    def centred(self, signal: Tensor, inputs: Any) -> tuple[Tensor, Any]:
        """Less half the mean of the last step."""
        mean = signal.mean()
        last = mean.new_zeros(()) if inputs.state is None else inputs.state["mean"]
        return signal - 0.5 * last, {"mean": mean}


def test_an_estimator_of_ones_own_is_asked() -> None:
    """Catches an engine that knows the estimators which have a check, a control variate or a state."""
    estimator = Halved()
    bound = inference.Inference(inference.ELBO(2), estimator).bind(_prepared(), X, num_data=4)
    assert estimator.told == ["plan z ['z'] ELBO", "rows (4, 1)"]
    first = bound.step(X)
    assert float(bound.state["baseline.z.mean"]) == pytest.approx(float(first.value), abs=1e-6)
    assert bound.step(X).gradients


@dataclass(frozen=True)
class Eager(Halved):
    """One that is to be picked at discrete sites."""

    @classmethod
    def preferred(cls, kind: str, marked: bool) -> bool:
        """At every discrete site."""
        return kind == DISCRETE


def test_a_registered_estimator_says_where_auto_picks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an "auto" that knows by name which estimators come before those that serve every site."""
    monkeypatch.setattr(extension, "_REGISTERED", {kind: {} for kind in extension.GROUPS})
    assert isinstance(
        inference.Inference(inference.ELBO(2)).bind(_prepared(), X, num_data=4).plan["z"], inference.LeaveOneOut
    )
    ppgen.register("estimator", "Eager", Eager)
    assert isinstance(inference.Inference(inference.ELBO(2)).bind(_prepared(), X, num_data=4).plan["z"], Eager)
    exact = inference.Inference(inference.MaximumLikelihood()).bind
    with pytest.raises(ValueError, match="not sound at site 'z'"):
        exact(_prepared(), X, num_data=4)  # where it is not sound, it is not picked
