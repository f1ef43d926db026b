"""How many data there are: plates without a size, over another dimension than the rows, and scaled by hand."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import constraints
from pyro.infer import Trace_ELBO
from torch import Tensor

import ppgen
from ppgen import evaluation, inference

store = pytest.mark.uses_pyro_store
X = torch.tensor([1.0, 2.0, 3.0])


def without_size(x: Tensor, rows: int = 3) -> None:
    w = pyro.param("w", torch.tensor(0.4))
    with pyro.plate("data"):
        z = pyro.sample("z", dist.Normal(torch.zeros(rows), 1.0))
        pyro.sample("x", dist.Normal(z + w, 1.0), obs=x)


def its_guide(x: Tensor, rows: int = 3) -> None:
    a = pyro.param("a", torch.tensor(0.5))
    with pyro.plate("data"):
        pyro.sample("z", dist.Normal(a * x[:rows], 0.7))


@store
@pytest.mark.parametrize("loss", [inference.ELBO(), inference.ELBO(3), inference.IWELBO(1)], ids=str)
def test_a_plate_without_a_size_has_the_rows_of_its_sites(loss: inference.Objective) -> None:
    """Catches the size -1, Pyro's mark of a plate without one, as a number of data: the loss changes its sign."""
    numbers = []
    for each in (loss, Trace_ELBO(num_particles=loss.num_particles, vectorize_particles=True, max_plate_nesting=1)):
        torch.manual_seed(0)
        value = each.differentiable_loss(without_size, its_guide, X)
        parameters = [pyro.param(name).unconstrained() for name in ("w", "a")]
        numbers.append(torch.stack([value.detach(), *torch.autograd.grad(value, parameters)]))
    torch.testing.assert_close(*numbers)


def test_a_plate_without_a_size_in_fit_and_as_a_module() -> None:
    """Catches a number of rows that only the loss of SVI knows."""
    layout = inference.find_layout(ppgen.Pair(without_size, its_guide), X)
    assert (layout.num_rows, layout.plate_sizes) == (3, (3,))
    torch.manual_seed(0)
    module = inference.ELBO()(without_size, its_guide)
    assert float(module(X).detach()) > 0
    run = ppgen.fit(ppgen.Pair(without_size, its_guide), X, "elbo", steps=2, progress=False)
    assert -20 < run.curve("train_value")[-1] < 0


@store
def test_sites_that_do_not_agree_on_the_rows() -> None:
    """Catches one draw for all rows in a plate without a size, counted as if it were one for each."""
    with pytest.raises(ValueError, match="Plate 'data' has 1 rows at site 'z' and 3 at site 'x'"):
        inference.ELBO().loss(lambda x: without_size(x, 1), lambda x: its_guide(x, 1), X)


@store
def test_sizes_that_do_not_agree_in_svi() -> None:
    """Catches N taken from whichever program spoke last, where model and guide give the plate other sizes."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", 12, subsample=x):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x, 0.7))

    with pytest.raises(ValueError, match=r"Plate 'data' is given the sizes \[3, 12\]"):
        inference.ELBO().loss(model, guide, X)
    ppgen.fit(ppgen.Pair(model, guide, params={}), X, "elbo", steps=1, progress=False)  # where the data say N


def columns(x: Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
    with pyro.plate("data", x.shape[1]):
        pyro.sample("x", dist.Normal(mu.expand(x.shape[1], 2), 1.0).to_event(1), obs=x.T)


def normal(x: Tensor) -> None:
    scale = pyro.param("scale", torch.tensor(0.3), constraint=constraints.positive)
    pyro.sample("mu", dist.Normal(pyro.param("loc", torch.tensor(0.0)), scale))


@store
def test_data_whose_rows_are_not_the_plates() -> None:
    """Catches N read from the first dimension where the plate goes over another: a posterior five times too wide."""
    x = torch.randn(2, 50)
    message = r"Plate 'data' has 50 rows, but the batch has 2 \(of 2 in all\).*shape \(2, 50\)"
    with pytest.raises(ValueError, match=message):
        ppgen.fit(ppgen.Pair(columns, normal), x, "elbo", steps=1, progress=False)
    assert inference.ELBO().loss(columns, normal, x) > 0  # as a loss of SVI the plate says all that is needed


def test_evaluation_of_data_whose_rows_are_not_the_plates() -> None:
    """Catches a likelihood of columns given out as one of rows."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", x.shape[1]):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).expand([x.shape[1], len(x)]).to_event(1), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", x.shape[1]):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)) * x.sum(0), 1.0))

    with pytest.raises(ValueError, match="Plate 'data' has 50 rows, but the batch has 1"):
        evaluation.log_likelihood(ppgen.Pair(model, guide), torch.randn(2, 50))


def test_rows_are_looked_at_in_every_batch() -> None:
    """Catches a plate whose rows change after the first batch."""
    rows = [3]

    def model(x: Tensor) -> None:
        with pyro.plate("data", rows[0]):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[: rows[0]])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", rows[0]):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)), 0.7))

    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    bound = inference.Inference(inference.ELBO()).bind(pair, X, num_data=3)
    bound.step(X)
    rows[0] = 2
    with pytest.raises(ValueError, match="Plate 'data' has 2 rows, but the batch has 3"):
        bound.step(X)


NUM_DATA, BATCH = 400, 40


def mean_model(scaled: bool) -> object:
    def model(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 10.0))
        scale = poutine.scale(scale=NUM_DATA / len(y) if scaled else 1.0)
        with pyro.plate("data", len(y)), scale:
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    return model


@pytest.mark.parametrize("scaled", [False, True])
def test_a_scale_by_hand_that_the_plate_makes_anyway(scaled: bool) -> None:
    """Catches N / B counted twice in silence: at the exact posterior, of sd 0.050, the gradient is then not zero."""
    y = torch.randn(NUM_DATA)
    y = y - y.mean()
    sd = (NUM_DATA + 0.01) ** -0.5
    assert abs(sd - 0.050) < 1e-4

    def guide(y: Tensor) -> None:
        loc, log_scale = pyro.param("loc", torch.tensor(0.0)), pyro.param("log_scale", torch.tensor(sd).log())
        pyro.sample("mu", dist.Normal(loc, log_scale.exp()))

    pair = ppgen.Pair(mean_model(scaled), guide)
    batch = y[:BATCH] - y[:BATCH].mean()
    pair.prepare(batch)
    what = inference.Inference(inference.ELBO(2000))
    if scaled:
        with pytest.warns(UserWarning, match=r"'y' is scaled by 10, which is N / B = 400 / 40 rows.*delete poutine"):
            bound = what.bind(pair, batch, num_data=NUM_DATA)
    else:
        bound = what.bind(pair, batch, num_data=NUM_DATA)
    torch.manual_seed(0)
    gradient = float(bound.step(batch).gradients["captured.log_scale"]) * NUM_DATA
    # Of N times the bound in log sd: scale * N * sd^2 - 1, from 2000 draws of a chi-square variable.
    assert abs(gradient - (9.0 if scaled else 0.0)) < 4 * (10 if scaled else 1) * (2 / 2000) ** 0.5


def test_scales_that_are_something_else() -> None:
    """Catches a warning of a weight of the user's own, of an inner subsampled plate, or of a whole data set."""

    def model(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("time", 10, subsample=torch.zeros(1), dim=-1), poutine.scale(scale=0.5):
                pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    def guide(y: Tensor) -> None:
        with pyro.plate("data", len(y), dim=-2):
            pyro.sample("z", dist.Normal(pyro.param("a", torch.tensor(0.5)), 1.0))

    y = torch.randn(20, 1)
    pair = ppgen.Pair(model, guide)
    pair.prepare(y[:1])
    inference.Inference(inference.ELBO()).bind(pair, y[:2], num_data=20)  # the inner plate's factor is 10 too
    whole = ppgen.Pair(mean_model(True), normal)
    whole.prepare(y[:, 0])
    inference.Inference(inference.ELBO()).bind(whole, torch.randn(NUM_DATA), num_data=NUM_DATA)
