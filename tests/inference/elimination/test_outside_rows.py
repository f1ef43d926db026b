"""Sums over discrete sites that join the rows: the program has one joint weight, whatever the size of its data."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation

MARK = {"enumerate": "parallel"}


def model(x):
    """Rows around one of two locations, which one is common to all."""
    locs = pyro.param("locs", torch.tensor([-1.0, 1.0]))
    g = pyro.sample("g", dist.Categorical(torch.tensor([0.3, 0.7])), infer=MARK)
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(locs[g], 1.0), obs=x)


def guide(x):
    """Draws nothing."""


def drawing(x):
    pyro.sample("g", dist.Categorical(logits=pyro.param("q", torch.zeros(2))))


def exact(x):
    rows = torch.stack([dist.Normal(at, 1.0).log_prob(x).sum() for at in (-1.0, 1.0)])
    return (rows + torch.tensor([0.3, 0.7]).log()).logsumexp(0).item()


@pytest.mark.parametrize("size", [5, 200])
def test_joint_weight(size):
    """Catches a data plate that is taken though a sum joins its rows: refused, or a sum for each row by itself."""
    x = torch.randn(size, generator=torch.Generator().manual_seed(0)) * 0.2
    run = ppgen.fit(ppgen.Pair(model, guide), x, "elbo", steps=1, lr=1e-9, compile=False, progress=False)
    assert run.pair.plate is None
    assert run.curve("train_value")[0] == pytest.approx(exact(x), abs=1e-2)
    assert evaluation.log_evidence(run.pair, x, num_particles=2).value == pytest.approx(exact(x), abs=1e-2)


def test_rows_stay_where_the_guide_draws_the_site():
    """Catches a data plate that is lost for a mark on a site that the guide draws."""
    run = ppgen.fit(ppgen.Pair(model, drawing), torch.zeros(200), "elbo", steps=1, compile=False, progress=False)
    assert run.pair.plate == "data"


def test_batches_are_refused():
    """Catches batches of rows that a sum joins."""
    with pytest.raises(ValueError, match="batch_size=5 divides rows, and the program has no data plate"):
        ppgen.fit(ppgen.Pair(model, guide), torch.zeros(20), "elbo", steps=1, batch_size=5, progress=False)
