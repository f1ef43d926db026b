"""Parameters that a pair takes from Pyro's store, as after training by `pyro.infer.SVI`."""

import warnings
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.infer import SVI, Trace_ELBO
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics

store = pytest.mark.uses_pyro_store
X = torch.tensor([0.3, 1.2, -0.7, 2.0])
HALVES = torch.full((2,), 0.5)


def programs(network: nn.Module) -> tuple[Any, Any]:
    def model(x: Tensor) -> None:
        a = pyro.param("a", torch.tensor(0.06), constraint=constraints.positive)
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(network(x.new_ones(1)).squeeze() + a, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        weights = pyro.param("mixed", torch.full((2,), 0.5), constraint=constraints.simplex)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(weights[0] * x, 0.7))

    return model, guide


def trained() -> tuple[Any, Any, nn.Module]:
    network = nn.Linear(1, 1)
    model, guide = programs(network)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), loss=Trace_ELBO())
    for _ in range(20):
        svi.step(X)
    return model, guide, network


def value(pair: ppgen.Pair, name: str, constraint: constraints.Constraint) -> Tensor:
    return pair.captured.get(name, None, constraint, None).detach()


@store
def test_a_pair_takes_the_trained_parameters() -> None:
    """Catches the prior guess in the place of what SVI has learned, and a store that is trained along."""
    model, guide, network = trained()
    pair = ppgen.Pair(model, guide, params=pyro.get_param_store())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pair.prepare(X)
    a, mixed = pyro.param("a").detach().clone(), pyro.param("mixed").detach().clone()
    assert abs(float(a) - 0.06) > 1e-4
    torch.testing.assert_close(value(pair, "a", constraints.positive), a)
    torch.testing.assert_close(value(pair, "mixed", constraints.simplex), mixed)
    ppgen.fit(pair, X, "elbo", steps=3, lr=0.1, progress=False)
    assert torch.equal(pyro.param("a"), a) and not torch.equal(value(pair, "a", constraints.positive), a)


@store
def test_modules_of_a_saved_store() -> None:
    """Catches the values of a `pyro.module` that stand in the store alone, where the module was made anew."""
    _, _, network = trained()
    kept = {name: each.detach().clone() for name, each in pyro.get_param_store().items()}
    pyro.clear_param_store()
    other = nn.Linear(1, 1)
    pair = ppgen.Pair(*programs(other), params=kept)
    pair.prepare(X)
    assert torch.equal(other.weight, network.weight) and torch.equal(other.bias, network.bias)


@store
def test_a_store_that_was_not_given_is_told_once() -> None:
    """Catches untrained numbers in silence, and a warning at every call."""
    model, guide, _ = trained()
    pair = ppgen.Pair(model, guide)
    with pytest.warns(UserWarning, match=r"Pyro's parameter store holds all.*params=pyro.get_param_store\(\)") as told:
        diagnostics.from_pyro_svi(pair, X, num_samples=3)
        pair.prepare(X)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ppgen.Pair(model, guide, params={}).prepare(X)  # afresh, and said so
        pyro.get_param_store().__delitem__("mixed")
        ppgen.Pair(model, guide).prepare(X)  # a store of something else


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (3, TypeError, "params must be Pyro's store"),
        ({"a": 0.5}, TypeError, r"params\['a'\] must be a tensor, got float"),
        (
            {"a": torch.zeros(2), "mixed": torch.full((2,), 0.5)},
            ValueError,
            r"shape of its pyro.param .*\(\), got \(2,\)",
        ),
        (
            {"a": torch.tensor(-1.0), "mixed": torch.full((2,), 0.5)},
            ValueError,
            r"params\['a'\] must lie in the constr",
        ),
        ({"a": torch.tensor(1.0), "mixed": torch.full((2,), 0.5), "network$$$bias": X}, ValueError, r"\$bias'\] must"),
        ({"a": torch.tensor(1.0)}, UserWarning, "params holds no 'mixed'"),
    ],
    ids=["kind", "number", "shape", "constraint", "module", "missing"],
)
def test_wrong_params(params: Any, error: type[Exception], message: str) -> None:
    """Catches values that are taken though they cannot be the parameter's, and one that is missing in silence."""
    with pytest.raises(error, match=message):
        ppgen.Pair(*programs(nn.Linear(1, 1)), params=params).prepare(X)
