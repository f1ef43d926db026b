"""Trials of programs at given values: with sites summed out, and with plates that take rows at random."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.ops.indexing import Vindex

import ppgen
from ppgen import evaluation, inference
from ppgen.inference.particles.given_values import with_same_rows

X = torch.tensor([0.0, 1.0, 2.0])
OFFSET = torch.tensor([-10.0, -5.0, 0.0, 5.0, 10.0, 15.0])
EVEN = torch.ones(2)


@pytest.fixture(autouse=True)
def _empty_store():
    yield
    pyro.clear_param_store()


def guide(x):
    pyro.sample("w", dist.Normal(torch.zeros(2), 0.5).to_event(1))


def two_classes(total):
    """A mixture whose means are common to all rows, added up by a function of one's own."""

    def model(x):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Categorical(EVEN), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(total(w) + 0.1 * c, 1.0), obs=x)

    return model


def test_particles_mixed_up_beside_a_summed_site():
    """Catches a mixture that takes particles together, whose evidence and bound are then those of no model."""
    alone = ppgen.Pair(two_classes(lambda w: w.sum(-1)), guide)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sound = evaluation.log_evidence(alone, X, num_particles=100)
    with pytest.warns(UserWarning, match="Site 'x' has another log-density when many particles are run at once"):
        mixed = evaluation.log_evidence(ppgen.Pair(two_classes(torch.sum), guide), X, num_particles=100)
    assert abs(mixed.value - sound.value) < 4 * (mixed.se**2 + sound.se**2) ** 0.5
    pair = ppgen.Pair(two_classes(torch.sum), guide)
    pair.prepare(X)
    with pytest.warns(UserWarning, match="run one by one"):
        inference.Inference(inference.IWELBO(4)).bind(pair, X, num_data=3)


def shifted(x):
    """A mixture with a constant of each row from outside."""
    slope = pyro.param("slope", torch.tensor(0.0))
    with pyro.plate("data", len(x)):
        c = pyro.sample("c", dist.Categorical(EVEN), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(slope * OFFSET[: len(x)] + 0.1 * c, 1.0), obs=x)


def local(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 10.0))
        c = pyro.sample("c", dist.Categorical(EVEN), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(z + 0.1 * c, 1.0), obs=x)


def row_parameters(x):
    loc = pyro.param("loc", torch.zeros(len(x)))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, 1.0))


def amortised(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("w", torch.tensor(1.0)) * x, 1.0))


def empty(x):
    return None


@pytest.mark.parametrize(
    ("model", "guide", "kept"), [(shifted, empty, True), (local, row_parameters, True), (local, amortised, False)]
)
def test_rows_told_apart_beside_a_summed_site(model, guide, kept):
    """Catches rows of a mixture shuffled against the parameters, or the constants, that each of them has."""
    pair = ppgen.Pair(model, guide)
    pair.prepare(OFFSET)
    assert inference.Inference(inference.ELBO()).bind(pair, OFFSET, num_data=6).keeps_order is kept


def subsampled(x):
    mean = pyro.sample("mean", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).to_event(1))
    with pyro.plate("data", len(x), subsample_size=2) as index:
        c = pyro.sample("c", dist.Categorical(EVEN), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(Vindex(mean)[..., c], 0.5), obs=x[index])


def mean_guide(x):
    pyro.sample("mean", dist.Normal(torch.tensor([-1.0, 1.0]), 0.3).to_event(1))


def test_trials_of_a_subsampled_plate():
    """Catches other rows in one trial than in the next, after which a sound program is warned of or refused."""
    torch.manual_seed(0)
    x = torch.tensor([-5.0, 1.0, 8.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(12):
            assert inference.ELBO(num_particles=2).loss(subsampled, mean_guide, x) > 0


def test_rows_are_taken_again():
    """Catches values of a guide that lose the rows that the model's plate took."""
    drawn = poutine.trace(mean_guide).get_trace(X)
    model = poutine.trace(poutine.replay(subsampled, trace=drawn)).get_trace(X)
    values = with_same_rows(drawn, model)
    assert "data" not in drawn.nodes
    for _ in range(8):
        again = poutine.trace(poutine.replay(subsampled, trace=values)).get_trace(X)
        assert torch.equal(again.nodes["x"]["value"], model.nodes["x"]["value"])
