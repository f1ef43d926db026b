"""Programs with priors that nothing can be drawn from, as ArviZ reads them."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics

X = torch.tensor([0.5, 1.5, 1.0])
FLAT = {
    "ImproperUniform": lambda: dist.ImproperUniform(dist.constraints.real, (), ()),
    "masked": lambda: dist.Normal(0.0, 1.0).mask(False),
}


@pytest.mark.parametrize("which", FLAT)
def test_no_prior_group(which):
    """Catches a converter that raises where a prior is improper, or writes draws of a law that the model has not."""

    def model(x):
        mean = pyro.sample("mean", FLAT[which]())
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(x):
        pyro.sample("mean", dist.Normal(pyro.param("m", torch.tensor(1.0)), 0.6))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = diagnostics.from_pyro_svi(ppgen.Pair(model, guide), X, num_samples=5)
    assert "posterior" in tree.children and not {"prior", "prior_predictive"} & set(tree.children)
    assert tree.attrs["left_out"].count("'mean' has a") + tree.attrs["left_out"].count("'mean' has an") >= 1
    assert "nothing can be drawn" in tree.attrs["left_out"]
