"""Whether rows are told apart by their places."""

import hierarchies
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppgen
from ppgen.inference.particles.row_order import rows_have_places
from ppgen.inference.structure.layout import find_layout

X = hierarchies.DATA
NOISE = torch.tensor([0.5, 1.0, 0.2, 2.0])


def known_noise(x):
    """A constant by row from outside of the arguments."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, NOISE), obs=x)


def lines(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.5 * x, 0.7))


def dropped(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(nn.functional.dropout(x, 0.5, training=True), 0.7))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: ppgen.Pair(hierarchies.model, hierarchies.fitted_guide), True),
        (lambda: ppgen.Pair(known_noise, lines), True),
        (lambda: ppgen.Pair(hierarchies.model, hierarchies.guide()), False),
        (lambda: ppgen.Pair(hierarchies.model, hierarchies.amortised_guide), False),
        (lambda: ppgen.Pair(known_noise, dropped), False),  # cannot be told
    ],
)
def test_places_are_seen(make, expected):
    """Catches parameters or constants by row that are not seen, and programs without any whose order would change."""
    pair = make()
    pair.prepare(X)
    if expected:
        with torch.no_grad():
            for value in pair.parameters():
                value.add_(0.3 * torch.arange(len(value)))
    before = torch.get_rng_state()
    assert rows_have_places(pair, X, find_layout(pair, X)) == expected
    assert torch.equal(before, torch.get_rng_state())


def test_a_guide_with_parameters_by_row_finds_each_posterior():
    """Catches rows shuffled under parameters of their own: all of them got the mean of all posteriors."""
    pair = ppgen.Pair(hierarchies.model, hierarchies.fitted_guide)
    ppgen.fit(pair, X, "elbo", steps=150, lr=0.1, batch_size=4, progress=False, compile=False, seed=0)
    (loc,) = (value.detach() for name, value in pair.named_parameters() if name.endswith("loc"))
    mean, _ = hierarchies.posterior_of_mean(X)
    torch.testing.assert_close(loc[1:], mean + 0.8 * (X - mean), atol=0.25, rtol=0.0)
