"""Trees of programs without a data plate: the plates that there are, and one joint weight."""

import pyro
import pyro.distributions as dist
import torch

from ppgen import Pair, diagnostics

X, Y = torch.tensor([0.5, -1.0, 2.0]), torch.tensor(0.3)


def program(x, y):
    location = pyro.sample("location", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(location, 1.0), obs=y)
    with pyro.plate("reading", 3):
        pyro.sample("x", dist.Normal(location, 2.0), obs=x)


def test_log_likelihoods_keep_their_plates():
    """Catches observed sites left out, or summed over the plates that there are, where none goes over the data."""
    tree = diagnostics.from_pyro_svi(Pair(program, lambda x, y: pyro.sample("location", dist.Normal(0.5, 0.4))), (X, Y))
    found, location = tree.log_likelihood, torch.tensor(tree.posterior["location"].values)
    assert found["x"].dims == ("chain", "draw", "reading") and found["y"].dims == ("chain", "draw")
    expected = dist.Normal(location.unsqueeze(-1), 2.0).log_prob(X)
    torch.testing.assert_close(torch.tensor(found["x"].values).float(), expected)
    log_p = expected.sum(-1) + dist.Normal(location, 1.0).log_prob(Y) + dist.Normal(0.0, 1.0).log_prob(location)
    torch.testing.assert_close(torch.tensor(tree.sample_stats["log_p"].values).float(), log_p)
    assert tree.sample_stats["log_weight"].dims == ("chain", "draw")
