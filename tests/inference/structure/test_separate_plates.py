"""Plates that keep their elements apart, and those that only say so."""

import itertools

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.separate_plates import _halves, separate_plates

X = torch.linspace(-1, 1, 10).reshape(5, 2)


def _attended(z):
    weights = torch.softmax(z.T.unsqueeze(-1) * z.T.unsqueeze(-2), -1)  # (rows, inner, inner)
    return (weights @ z.T.unsqueeze(-1)).squeeze(-1).T


LOCATIONS = {
    "own": (lambda z: 2 * z - 1, True),
    "over rows": (lambda z: z + z.mean(-1, keepdim=True), True),  # joins the rows, which is not what is asked
    "noise": (lambda z: z + torch.rand(5, 2), True),
    "shifted": (lambda z: z.roll(1, -2), False),
    "one of another": (lambda z: torch.cat([z[:4], z[1:2]]), False),
    "sum": (lambda z: z.sum(-2, keepdim=True) - z, False),
    "attention": (_attended, False),
    "branch": (lambda z: z if z.sum() > 4 else -z, False),
}


@pytest.mark.parametrize(
    ("name", "law"), [*((name, "binary") for name in LOCATIONS), ("own", "normal"), ("sum", "normal")]
)
def test_elements_that_see_each_other(name, law):
    """Catches a plate that is trusted although one of its elements reads the draw of another."""
    location, separate = LOCATIONS[name]

    def draw():
        zeros = torch.zeros(5, 2)
        return pyro.sample("z", dist.Bernoulli(zeros + 0.4) if law == "binary" else dist.Normal(zeros, 1.0))

    def model(x):
        with pyro.plate("data", 2, dim=-1), pyro.plate("inner", 5, dim=-2):
            pyro.sample("x", dist.Normal(location(draw()), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", 2, dim=-1), pyro.plate("inner", 5, dim=-2):
            draw()

    pair = ppgen.Pair(model, guide)
    layout = find_layout(pair, X)
    state = torch.get_rng_state()
    assert separate_plates(pair, X, layout, ["z"]) == ({"inner"} if separate else frozenset())
    assert torch.equal(torch.get_rng_state(), state)
    assert separate_plates(pair, X, layout, []) == frozenset()


def test_each_element_moves_while_any_other_is_held():
    """Catches a pair of elements that always move together, so that one that reads the other is not found out."""
    for size in (1, 2, 5, 8):
        halves = list(_halves(size))
        for moved, held in itertools.permutations(range(size), 2):
            assert any(half[moved] and not half[held] for half in halves)
