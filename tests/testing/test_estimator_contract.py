"""The contract of estimators holds for right ones and for no wrong one."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch

from ppgen import inference, testing
from ppgen.inference.structure.layout import DISCRETE, REPARAMETERISED


@dataclass(frozen=True)
class Flipped(inference.DisARM):
    """The right term with a wrong sign."""

    def term(self, *args: Any) -> Any:
        found, *rest = super().term(*args)
        return (-found, *rest)


@dataclass(frozen=True)
class Untrained(inference.Estimator):
    """Leaves out the score of discrete draws."""

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE, REPARAMETERISED})


@dataclass(frozen=True)
class Halved(inference.Pathwise):
    """Half of the path."""

    def draw(self, name: str, fn: Any, steps: torch.Tensor | None) -> torch.Tensor:
        value = fn.rsample()
        return 0.5 * value + 0.5 * value.detach()


@dataclass(frozen=True)
class Steep(inference.Pathwise):
    """The right value, with an infinite slope."""

    def draw(self, name: str, fn: Any, steps: torch.Tensor | None) -> torch.Tensor:
        value = fn.rsample()
        return value + (value - value.detach()).sqrt()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Flipped(), "Flipped at a not reparameterised site.*standard errors away"),
        (Untrained(), "Untrained at a not reparameterised site.*slope.*standard errors away"),
        (Halved(), "Halved at a reparameterised site.*standard errors away"),
        (inference.StraightThrough(), "StraightThrough at a not reparameterised.*standard errors away"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wrong_gradients_are_caught(estimator: inference.Estimator, message: str) -> None:
    """Catches a contract that a wrong sign, a lost half or a missing term passes."""
    with pytest.raises(AssertionError, match=message):
        testing.check_estimator(estimator, num_draws=40)


def test_biased_estimators_are_held_to_the_rest() -> None:
    """Catches a contract that a useful biased estimator cannot pass at all, or that lets its gradient be infinite."""
    testing.check_estimator(inference.StraightThrough(), unbiased=False)
    with pytest.raises(AssertionError, match="not finite"):
        testing.check_estimator(Steep(), unbiased=False)


def test_an_estimator_for_other_sites_is_refused() -> None:
    """Catches a contract that passes by comparing nothing."""
    with pytest.raises(ValueError, match="MeanField is sound at neither"):
        testing.check_estimator(inference.MeanField())
