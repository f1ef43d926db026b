"""Latent sites are the same variables in model and guide; programs of every other form that Pyro allows are taken."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import inference

X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0]])
Program = Callable[[Tensor], Any]


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def guide(size: int, inside: bool = True) -> Program:
    """A guide whose site has another size than the model's, or stands outside the data plate."""

    def drawn(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(size))
        if not inside:
            pyro.sample("z", dist.Normal(loc.expand(len(x), size), 1.0).to_event(2))
            return
        with pyro.plate("data", len(x)):
            shift = pyro.deterministic("shift", loc + 1, event_dim=1)
            pyro.sample("z", dist.Normal(shift, 1.0).to_event(1))

    return drawn


def bound(program: Program, guide: Program, objective: inference.Objective, estimator: Any = "auto") -> Any:
    pair = ppgen.Pair(program, guide)
    pair.prepare(X)
    return inference.Inference(objective, estimator).bind(pair, X, num_data=len(X))


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (guide(1), r"'z' has shape \(3, 2\) in the model and \(3, 1\) in the guide"),
        (guide(2, inside=False), "'z' lies inside plate 'data' in the model and outside of it in the guide"),
    ],
)
def test_another_variable_in_the_guide(drawn: Program, message: str) -> None:
    """Catches a density of the guide that broadcasts: counted once a row, or one value for several variables."""
    with pytest.raises(ValueError, match=message):
        bound(model, drawn, inference.ELBO())


def test_a_deterministic_site_of_the_guide() -> None:
    """Catches a quantity that a guide only records, taken for a latent that the model misses."""
    step = bound(model, guide(2), inference.ELBO()).step(X)
    assert step.gradients["captured.loc"].isfinite().all()


def test_a_number_outside_its_support() -> None:
    """Catches a bare shape error where the observed value that is wrong belongs to the whole data set."""

    def counted(x: Tensor) -> None:
        pyro.sample("n", dist.Poisson(2.0), obs=torch.tensor(2.5))
        model(x)

    with pytest.raises(ValueError, match="Data at site 'n' must lie in the support"):
        bound(counted, guide(2), inference.ELBO())
