"""Programs of Pyro's other features: they run, or what is wrong is told by site, plate and argument."""

from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.infer.autoguide import AutoDelta, AutoNormal, AutoStructured
from torch import Tensor, nn

import ppgen
from ppgen import inference

X = torch.tensor([0.3, 1.2, -0.7, 2.0])


def fit(model: Any, guide: Any, what: Any = "elbo", **arguments: Any) -> Any:
    return ppgen.fit(ppgen.Pair(model, guide), X, what, steps=2, progress=False, **arguments)


def positive_model(x: Tensor) -> None:
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, sigma), obs=x)


def test_a_normal_guide_of_a_positive_site_is_named() -> None:
    """Catches the observed site blamed for a scale that the guide drew below zero."""

    def guide(x: Tensor) -> None:
        pyro.sample("sigma", dist.Normal(pyro.param("m", torch.tensor(-3.0)), 0.1))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    message = r"'sigma' outside of its support in the model \(HalfNormal: .*instead of a Normal, such as dist.LogNormal"
    with pytest.raises(ValueError, match=message):
        fit(positive_model, guide)


def test_a_subsample_in_the_program_is_told_before_an_index_error() -> None:
    """Catches an index out of range in the place of what is wrong: a plate that draws rows of batches by itself."""

    def program(observed: bool) -> Any:
        def run(x: Tensor) -> None:
            with pyro.plate("data", 100, subsample_size=50) as rows:
                z = pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.1)), 1.0))
                if observed:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows])

        return run

    with pytest.raises(ValueError, match="Plate 'data' draws a subsample by itself.*two subsamplings"):
        fit(program(True), program(False))


def test_another_index_error_is_left_as_it_is() -> None:
    """Catches every index out of range blamed on a plate."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[[17]], 1.0))

    with pytest.raises(IndexError, match="17 is out of bounds"):
        fit(model, model)


def latent_model(x: Tensor) -> None:
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.LogNormal(a, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(a, b), obs=x)


@pytest.mark.parametrize("what", [inference.ELBO(), inference.ELBO(3), inference.STL(2), inference.IWELBO(3)], ids=str)
@pytest.mark.parametrize("conditionals", ["normal", "mvn", "delta"])
def test_structured_autoguides(conditionals: str, what: Any) -> None:
    """Catches a KeyError in the prototype that AutoStructured empties."""
    if conditionals == "delta" and what in (inference.STL(2), inference.IWELBO(3)):
        return
    assert fit(latent_model, AutoStructured(latent_model, conditionals=conditionals), what).curve("train_value")


def test_structured_autoguides_of_the_data_plate_are_refused() -> None:
    """Catches a guide of the size of one batch, because its sites are not where other AutoGuides keep them."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    with pytest.raises(ValueError, match="AutoStructured gives site 'z' one set of parameters per row"):
        fit(model, AutoStructured(model), batch_size=2)
    assert fit(model, AutoStructured(model)).curve("train_value")


@pytest.mark.parametrize("autoguide", [AutoDelta, AutoNormal])
@pytest.mark.parametrize("blocked", [{"expose": ["a"]}, {"hide": ["x"]}], ids=str)
def test_autoguides_of_a_blocked_model_with_modules(autoguide: Any, blocked: dict[str, list[str]]) -> None:
    """Catches parameters behind a block, which Pyro's store would get, or a NotImplementedError of Pyro's."""
    network = nn.Linear(1, 1)
    before = network.weight.detach().clone()

    def model(x: Tensor) -> None:
        pyro.module("network", network)
        a = pyro.sample("a", dist.Normal(pyro.param("prior", torch.tensor(0.1)), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(network(x.new_ones(1)) + a, 1.0), obs=x)

    run = fit(model, autoguide(poutine.block(model, **blocked)))
    assert {"captured.prior", "captured.network.weight"} <= dict(run.pair.named_parameters()).keys()
    assert not torch.equal(network.weight, before)


def test_a_law_without_density_under_the_closed_form() -> None:
    """Catches the divergence 0 of two masked laws, which torch gives as a number."""

    def program(observed: bool) -> Any:
        def run(x: Tensor) -> None:
            loc = pyro.param("loc", torch.tensor(0.5)) * x
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(loc, 1.0).mask(False))
                if observed:
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

        return run

    values = []
    for estimator in (inference.AnalyticKL(), inference.Pathwise()):
        pair = ppgen.Pair(program(True), program(False))
        pair.prepare(X)
        bound = inference.Inference(inference.ELBO(), estimator).bind(pair, X, num_data=len(X))
        torch.manual_seed(0)
        values.append(bound.step(X).value)
    assert torch.equal(*values)


def bits_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def bits_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(logits=pyro.param("slope", torch.tensor(0.5)) * x))


def test_draws_of_the_model_in_the_place_of_sums_are_refused() -> None:
    """Catches config_enumerate(num_samples=...) of a model, ignored in silence."""
    marked = config_enumerate(bits_model, "parallel", num_samples=5)
    with pytest.raises(ValueError, match="'z' of the model is marked to be drawn num_samples=5 times"):
        fit(marked, lambda x: pyro.param("other", torch.tensor(0.5)))


@dataclass(frozen=True)
class OnlyValue(inference.Objective):
    """An objective of a user's own that says no more than its value."""

    def value(self, weights: inference.LogWeights, num_data: int) -> Tensor:
        """The mean log-weight."""
        return weights.local.mean()


@pytest.mark.parametrize("count", [1, 3])
def test_an_objective_without_a_signal(count: int) -> None:
    """Catches an AttributeError in the first step, where discrete latents need more than a value."""
    with pytest.raises(ValueError, match=r"OnlyValue says its value and not what of it a draw at site 'z' changes"):
        fit(bits_model, bits_guide, OnlyValue(count))
