"""Training without a data plate, and with parameters for each row: all data at once, in their order."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal

import ppgen
from ppgen import datasets, inference

Y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
X = torch.tensor(2.0)
LOG_P = dist.Normal(0.0, 2.0).log_prob(X).item()


def line(x, terms=3, *, name="x"):
    w = pyro.sample("w", dist.Normal(torch.zeros(terms), 1.0).to_event(1))
    pyro.sample(name, dist.Normal(w.sum(-1), 1.0), obs=x)


def guide(x, terms=3, *, name="x"):
    """Near the exact posterior, N(x / 4, I - 11' / 4)."""
    mean = pyro.param("mean", torch.full((terms,), 0.4))
    start = torch.linalg.cholesky(torch.eye(terms) - 0.25 * torch.ones(terms, terms) / terms * 3)
    scale = pyro.param("scale", start, constraint=dist.constraints.lower_cholesky)
    pyro.sample("w", dist.MultivariateNormal(mean, scale_tril=scale))


def table(x):
    line(x.sum())


def conjugate(y):
    """Eight schools with known mean and spread: theta_j | y_j is Normal."""
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(theta, SIGMA / 10), obs=y / 10)


def train(pair, data, what="elbo", **options):
    return ppgen.fit(pair, data, what, **{"steps": 3, "progress": False, "compile": False, "seed": 0, **options})


@pytest.mark.parametrize("what", ["elbo", "iwae", inference.DReG(5), inference.STL(2)])
def test_a_program_without_a_plate_is_one_datum(what, capsys):
    """Catches an epoch of several steps, a value by another count than the evidence of all data, or silence."""
    run = train(ppgen.Pair(line, guide), X, what, steps=60, lr=0.03, progress=True)
    assert sum(run.curve("train_value")[-20:]) / 20 == pytest.approx(LOG_P, abs=0.1)
    assert len(run.metrics) == 60 and run.pair.plate is None
    told = "no data plate: values are nats of all data together"
    assert told in capsys.readouterr().out and told in repr(run)


def test_arguments_go_in_whole():
    """Catches numbers and words refused or cut into rows, arguments by name among them."""
    for data in ((X, 3), {"x": X, "terms": 3}, {"x": X, "terms": 3, "name": "seen"}, (X.numpy(), 3)):
        run = train(ppgen.Pair(line, guide), data)
        assert run.dataset == f"{len(data)} arguments as one datum" and len(run.metrics) == 3
    with pytest.raises(ValueError, match=r"batch_size=2 divides rows.*no data plate.*Pair\(\.\.\., plate=\.\.\.\)"):
        train(ppgen.Pair(line, guide), X, batch_size=2)
    with pytest.raises(ValueError, match=r"data set of rows.*data\.train\[:\]"):
        train(ppgen.Pair(table, guide), datasets.as_dataset(torch.ones(9, 2)))
    with pytest.raises(TypeError, match="one row a datum"):
        train(ppgen.Pair(conjugate, AutoNormal(conjugate), plate="school"), (Y, 3))


def test_traced_steps_take_constants():
    """Catches a graph that cannot hold an argument which is no tensor, or that takes it for one."""
    eager, traced = (train(ppgen.Pair(line, guide), (X, 3), steps=6, compile=c) for c in (False, "auto"))
    assert eager.curve("train_value") == pytest.approx(traced.curve("train_value"), rel=1e-5)


def test_a_run_of_one_datum_is_resumed_and_loaded(tmp_path):
    """Catches a checkpoint that does not know an argument, goes on otherwise, or takes other data for the same."""
    options = {"steps": 6, "checkpoint_minutes": 0.0}
    whole = train(ppgen.Pair(line, guide), (X, 3), **options)

    class Stop(Exception):
        pass

    def stop(event):
        if event.run.state.get("step", 0) >= 3 or getattr(event, "step", 0) >= 3:
            raise Stop

    with pytest.raises(Stop):
        train(ppgen.Pair(line, guide), (X, 3), folder=tmp_path / "run", callbacks=[stop], **options)
    run = train(ppgen.Pair(line, guide), (X, 3), folder=tmp_path / "run", resume=True, **options)
    assert run.curve("train_value") == whole.curve("train_value")
    loaded = ppgen.load(tmp_path / "run", pair=ppgen.Pair(line, guide))
    assert torch.equal(loaded.pair.state_dict()["captured.mean"], run.pair.state_dict()["captured.mean"])
    assert loaded.pair.plate is None and "no data plate" in repr(loaded)
    with pytest.raises(ValueError, match="data"):
        train(ppgen.Pair(line, guide), (X, 4), folder=tmp_path / "run", resume=True, **options)


def test_a_plate_that_was_found_is_told(capsys):
    """Catches a plate that is taken without a word."""
    train(ppgen.Pair(conjugate, AutoNormal(conjugate)), Y, progress=True)
    assert "plate 'school' goes over the data" in capsys.readouterr().out
    train(ppgen.Pair(conjugate, AutoNormal(conjugate), plate="school"), Y, progress=True)
    assert "goes over the data" not in capsys.readouterr().out


def test_rows_with_parameters_of_their_own_keep_their_order():
    """Catches rows shuffled against the parameters of an AutoGuide, whose posterior is then that of no datum."""
    pair = ppgen.Pair(conjugate, AutoNormal(conjugate), plate="school")
    train(pair, Y, inference.STL(5), steps=150, lr=0.05)
    precision = 1 + 100 / SIGMA.square()
    found = pair.programs[1].median(Y)["theta"].detach()
    torch.testing.assert_close(found, 10 * Y / SIGMA.square() / precision, rtol=0.05, atol=0.05)
    with pytest.raises(ValueError, match=r"one set of parameters per row.*batch_size=8"):
        train(ppgen.Pair(conjugate_of_any, AutoNormal(conjugate_of_any), plate="school"), (Y, SIGMA), batch_size=4)


def test_rows_with_parameters_of_a_guide_keep_their_order():
    """Catches rows shuffled against parameters that a user's guide has for each, or a constant from outside."""

    def own(y):
        loc, scale = pyro.param("loc", torch.zeros(8)), pyro.param("scale", torch.ones(8), dist.constraints.positive)
        with pyro.plate("school", len(y)):
            pyro.sample("theta", dist.Normal(loc, scale))

    def amortised(y):
        slope = pyro.param("slope", torch.tensor(0.1))
        with pyro.plate("school", len(y)):
            pyro.sample("theta", dist.Normal(slope * y, 0.5))

    def plain(y):
        with pyro.plate("school", len(y)):
            theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(theta, 1.0), obs=y / 10)

    for model, guide, kept in ((plain, own, True), (plain, amortised, False), (conjugate, amortised, True)):
        pair = ppgen.Pair(model, guide, plate="school")
        pair.prepare(Y)
        assert inference.Inference(inference.ELBO()).bind(pair, Y, num_data=8).keeps_order is kept
    pair = ppgen.Pair(conjugate, own, plate="school")
    train(pair, Y, inference.STL(5), steps=150, lr=0.05)
    expected = 10 * Y / SIGMA.square() / (1 + 100 / SIGMA.square())
    torch.testing.assert_close(pair.captured.loc.detach(), expected, rtol=0.05, atol=0.05)


def conjugate_of_any(y, sigma):
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(0.0, 5.0))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def test_eight_schools():
    """Catches a hierarchy with latents inside and outside the plate whose bound is another than quadrature's."""

    def schools(sigma, y=None):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("school", len(sigma)):
            theta = pyro.sample("theta", dist.Normal(0.0, 1.0))
            return pyro.sample("y", dist.Normal(mu + tau * theta, sigma), obs=y)

    pair = ppgen.Pair(schools, AutoMultivariateNormal(schools), plate="school")
    train(pair, (SIGMA, Y), steps=250, lr=0.05)
    tau = torch.linspace(0.0, 400.0, 40_001)[:, None]  # mu and theta are summed out in closed form
    spread = tau.square() + SIGMA.square()
    a, b, c = (1 / spread).sum(1) + 1 / 25, (Y / spread).sum(1), (Y.square() / spread).sum(1)
    log_y = -0.5 * (2 * math.pi * spread).log().sum(1) - 0.5 * (25 * a).log() - 0.5 * (c - b.square() / a)
    grid = dist.HalfCauchy(5.0).log_prob(tau[:, 0]) + log_y
    evidence = torch.trapezoid(grid.exp().double(), tau[:, 0].double()).log().item()
    with torch.no_grad():
        joint = inference.log_weights(pair, (SIGMA, Y), 4000).joint
    assert evidence - 2 < joint.mean().item() < evidence
    assert (joint.logsumexp(0) - math.log(4000)).item() == pytest.approx(evidence, abs=0.3)
