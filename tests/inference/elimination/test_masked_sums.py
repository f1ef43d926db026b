"""Sums over discrete sites under masks: a mask leaves out terms, and never what is summed over."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO

import ppgen
from ppgen import inference

MARK = {"enumerate": "parallel"}
X, SEEN = torch.tensor([0.3, -1.0, 2.0]), torch.tensor([True, False, True])
WEIGHTS, LOCS = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-1.0, 0.0, 2.0])


def around(x):
    """The mask around the site and what depends on it."""
    with pyro.plate("data", len(x)), poutine.mask(mask=SEEN):
        c = pyro.sample("c", dist.Categorical(pyro.param("weights", WEIGHTS)), infer=MARK)
        pyro.sample("x", dist.Normal(LOCS[c], 1.0), obs=x)


def of_the_law(x):
    """The mask on the law of the site itself."""
    with pyro.plate("data", len(x)):
        c = pyro.sample("c", dist.Categorical(pyro.param("weights", WEIGHTS)).mask(SEEN), infer=MARK)
        pyro.sample("x", dist.Normal(LOCS[c], 1.0).mask(SEEN), obs=x)


def bits(x):
    """The mask around a site that is no category."""
    with pyro.plate("data", len(x)), poutine.mask(mask=SEEN):
        b = pyro.sample("b", dist.Bernoulli(pyro.param("weights", torch.tensor(0.3))), infer=MARK)
        pyro.sample("x", dist.Normal(2.0 * b, 1.0), obs=x)


def exact(model):
    weights, locs = (torch.tensor([0.7, 0.3]), torch.tensor([0.0, 2.0])) if model is bits else (WEIGHTS, LOCS)
    rows = (dist.Normal(locs, 1.0).log_prob(X[:, None]) + weights.log()).logsumexp(-1)
    return rows.masked_fill(~SEEN, 0.0).mean().item()


@pytest.mark.parametrize("model", [around, of_the_law, bits])
@pytest.mark.parametrize("vectorize", [True, False])
def test_a_row_that_is_not_seen_has_no_term(model, vectorize):
    """Catches a mask on the site's own law: a row that is not seen would add the logarithm of the number of values."""
    pair = ppgen.Pair(model, lambda x: None)
    found = inference.log_weights(pair, X, vectorize=vectorize).local
    assert found.mean().item() == pytest.approx(exact(model), abs=1e-5)
    assert found[0, 1].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.uses_pyro_store
@pytest.mark.parametrize("model", [around, bits])
def test_pyro_agrees(model):
    """Catches a convention of masks that is not Pyro's."""
    pyro.clear_param_store()
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda x: None, X)
    pyro.clear_param_store()
    assert loss == pytest.approx(-3 * exact(model), abs=1e-4)
