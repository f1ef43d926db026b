"""Observed sites without a value are predicted: `model(x, y=None)`; and data with several observed sites."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from arviz_stats import loo
from pyro.infer import MCMC, NUTS

import ppgen
from ppgen import diagnostics

WEIGHT = torch.tensor([1.0, -2.0])
X = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
Y = X @ WEIGHT
NEW = torch.randn(7, 2, generator=torch.Generator().manual_seed(1))


def _regression(x, y=None):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal((x * weight).sum(-1), 0.1), obs=y)


def _known(x, y=None):
    pyro.sample("weight", dist.Normal(pyro.param("at", WEIGHT.clone()), 0.01).to_event(1))


def _latent(x, y=None):
    """A law of y given x with a latent of each datum."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x[:, 0], 0.01))
        pyro.sample("y", dist.Normal(10 * z, 0.01), obs=y)


def _encoder(x, y=None):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("slope", torch.ones(())) * x[:, 0], 0.01))


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize(
    "new",
    [(NEW,), {"x": NEW}, (NEW, None), {"x": NEW, "y": None}],
    ids=["positional", "keyword", "positional, None", "keyword, None"],
)
def test_a_site_without_a_value_is_predicted(new, vectorize):
    """Catches a site that is taken for a latent one because new data have no value for it, and draws of old rows."""
    pair = ppgen.Pair(_regression, _known)
    tree = diagnostics.from_pyro_svi(
        pair, (X, Y), predictions=new, num_samples=40, prior=False, vectorize_particles=vectorize
    )
    drawn = tree.predictions["y"]
    assert dict(drawn.sizes) == {"chain": 1, "draw": 40, "data": 7}
    error = drawn.mean(("chain", "draw")).values - (NEW @ WEIGHT).numpy()
    assert np.abs(error).max() < 4 * 0.11 / 40**0.5
    assert list(tree.predictions) == ["y"]


def test_predictions_of_data_with_values_stay_what_they_were():
    """Catches another stream of draws, or values given that are handed back as predictions."""
    pair = ppgen.Pair(_latent, _encoder)
    both = diagnostics.from_pyro_svi(
        pair, (X, Y), predictions=(NEW, torch.full((7,), 1e3)), num_samples=20, prior=False
    )
    alone = diagnostics.from_pyro_svi(pair, (X, Y), predictions=(NEW,), num_samples=20, prior=False)
    for tree in (both, alone):
        found = tree.predictions["y"].mean(("chain", "draw")).values
        assert np.abs(found - 10 * NEW[:, 0].numpy()).max() < 0.3


@pytest.mark.parametrize("like", [(NEW,), (NEW, None), {"x": NEW}, {"x": NEW, "y": None}, NEW])
def test_draws_of_what_was_not_given(like):
    """Catches a model that is said to observe nothing because it was given nothing to observe."""
    drawn = ppgen.sample(ppgen.Pair(_latent, _encoder), 7, like=like)
    assert drawn.samples.shape == (7,) and drawn.means is not None
    assert (drawn.samples - 10 * NEW[:, 0]).abs().max() < 1


def test_like_without_rows_is_refused():
    """Catches the bare error of a None that has no length."""
    with pytest.raises(ValueError, match="like must hold at least one tensor with num_samples=7 rows"):
        ppgen.sample(ppgen.Pair(_latent, _encoder), 7, like={"x": None})
    with pytest.raises(ValueError, match="like must have num_samples=7 rows, got 30"):
        ppgen.sample(ppgen.Pair(_latent, _encoder), 7, like=(X, None))


def _two(x, y):
    weight = pyro.sample("weight", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(weight.unsqueeze(-1) + torch.zeros(2), 1.0).to_event(1), obs=x)
        pyro.sample("y", dist.Normal(weight, 1.0), obs=y)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_the_likelihood_of_several_sites_is_joint():
    """Catches leave-one-out that leaves out a part of a datum: the sum over its sites is one variable."""
    pair = ppgen.Pair(_two, lambda x, y: pyro.sample("weight", dist.Normal(pyro.param("at", torch.zeros(())), 0.1)))
    tree = diagnostics.from_pyro_svi(pair, (X, Y), num_samples=30, prior=False)
    each = tree.log_likelihood
    assert np.allclose(each["joint"], each["x"] + each["y"]) and each["joint"].dims == ("chain", "draw", "data")
    assert np.isfinite(loo(tree, var_name="joint").elpd)
    alone = diagnostics.from_pyro_svi(ppgen.Pair(_latent, _encoder), (X, Y), num_samples=5, prior=False)
    assert list(alone.log_likelihood) == ["y"]


def _plates(x, y):
    weight = pyro.sample("weight", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x), dim=-2):
        with pyro.plate("feature", 2, dim=-1):
            pyro.sample("x", dist.Normal(weight, 1.0), obs=x)
        pyro.sample("y", dist.Normal(weight, 1.0), obs=y[:, None])


def test_the_joint_likelihood_of_markov_chains_sums_inner_plates():
    """Catches a sum over data, or one that broadcasts a datum's value over its features."""
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(_plates), num_samples=5, warmup_steps=5, disable_progbar=True)
    mcmc.run(X, Y)
    found = diagnostics.from_pyro(mcmc).log_likelihood
    assert found["joint"].dims == ("chain", "draw", "data")
    inner = [dim for dim in found["x"].dims if dim not in ("chain", "draw", "data")]
    y = found["y"].sum([dim for dim in found["y"].dims if dim not in ("chain", "draw", "data")])
    assert np.allclose(found["joint"], found["x"].sum(inner) + y)
