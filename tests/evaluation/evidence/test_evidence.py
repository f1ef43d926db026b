"""Evidence of models with latents common to all data, against closed forms and quadrature."""

import math

import hierarchies
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

import ppgen
from ppgen import evaluation, inference, models
from ppgen.evaluation.evidence.joint_weights import joint_log_weight, summary
from ppgen.inference.particles.factors import Factor
from ppgen.inference.particles.log_weights import LogWeights

X = hierarchies.DATA


def test_exact_posterior_gives_the_evidence_without_error():
    """Catches a term of the joint weight left out, counted once a datum instead of once, or with the wrong sign."""
    found = evaluation.log_evidence(hierarchies.pair(), X, num_particles=50)
    assert found.value == pytest.approx(hierarchies.log_evidence(X), abs=1e-4)
    assert found.se < 1e-4 and found.ess == pytest.approx(50) and found.pareto_k == 0.0
    assert (found.unit, found.kind, found.num_data) == ("nats", "lower bound", 4)


@pytest.mark.parametrize("options", [{"num_particles": 4000}, {"num_particles": 800, "vectorize_particles": False}])
def test_guide_that_is_no_posterior(options):
    """Catches the mean of log-weights instead of the logarithm of their mean, and an error bar of another estimate."""
    found = evaluation.log_evidence(hierarchies.pair(width=1.3, shift=0.2), X, **options)
    assert abs(found.value - hierarchies.log_evidence(X)) < 4 * found.se
    assert 0.001 < found.se < 0.1 and found.pareto_k < 0.5 and found.warning is None


def test_errors_are_those_of_other_seeds():
    """Catches an error bar that is too small or too large: of 100 seeds 95 lie within two of them."""
    pair, truth = hierarchies.pair(width=1.2), hierarchies.log_evidence(X)
    found = [evaluation.log_evidence(pair, X, num_particles=200, chunk=800, seed=seed) for seed in range(60)]
    scores = np.array([(each.value - truth) / each.se for each in found])
    assert (abs(scores) < 2).mean() > 0.85 and scores.std() > 0.6


def school_model(sigma, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        pyro.sample("y", dist.Normal(mu, (tau**2 + sigma**2).sqrt()), obs=y)


def school_guide(sigma, y):
    pyro.sample("mu", dist.Normal(4.5, 4.5))
    pyro.sample("tau", dist.LogNormal(1.0, 1.2))


def test_two_latents_by_quadrature():
    """Catches a prior left out, on eight schools with their effects integrated out: -31.4 nats by a grid."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    mu, log_tau = torch.linspace(-30, 30, 601).double(), torch.linspace(-12, 8, 801).double()
    tau = log_tau.exp()
    scale = (tau[:, None, None] ** 2 + sigma**2).sqrt()
    log_joint = (
        dist.Normal(mu[:, None], scale).log_prob(y).sum(-1)
        + dist.Normal(0.0, 5.0).log_prob(mu)
        + (dist.HalfCauchy(5.0).log_prob(tau) + log_tau)[:, None]
    )
    truth = log_joint.flatten().logsumexp(0) + math.log(float((mu[1] - mu[0]) * (log_tau[1] - log_tau[0])))
    pair = ppgen.Pair(school_model, school_guide, plate="school")
    found = evaluation.log_evidence(pair, (sigma, y), num_particles=4000)
    assert abs(found.value - float(truth)) < 4 * found.se < 0.1


def test_sums_over_rows_are_in_float64():
    """Catches a sum of many rows in float32, which errs by nats: three rounding errors of 1e6."""
    rows = torch.full((2, 100_001), -11.1)
    factors = (
        Factor.of_columns("x", 1, rows, "data", inside=True),
        Factor.of_columns("z", -1, -torch.tensor([[0.25], [0.5]]), "data", inside=False),
    )
    found = joint_log_weight(LogWeights(factors, 2, 100_001, 100_001, "data"))
    expected = float(rows[0, 0].double()) * 100_001
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([expected + 0.25, expected + 0.5], abs=1e-6)


def test_memory_is_bounded_by_the_chunk(monkeypatch):
    """Catches all particles at once, and a last part that is left out or too many."""
    counts = []
    log_weights = inference.log_weights

    def counted(pair, batch, num_particles, **options):
        counts.append(num_particles)
        return log_weights(pair, batch, num_particles, **options)

    monkeypatch.setattr(inference, "log_weights", counted)
    evaluation.log_evidence(hierarchies.pair(), X, num_particles=10, chunk=17)
    assert counts == [4, 4, 2]
    counts.clear()
    evaluation.log_evidence(hierarchies.pair(), X, num_particles=3, chunk=1)
    assert counts == [1, 1, 1]


def test_independent_rows_are_summed():
    """Catches one weight for all rows where each has its own, whose error grows exponentially with their number."""
    torch.manual_seed(0)
    pair, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.eye(4).repeat(3, 1)
    each = evaluation.log_likelihood(pair, x, num_particles=300)
    found = evaluation.log_evidence(pair, x, num_particles=300)
    assert found.value == pytest.approx(12 * each.value) and found.se == pytest.approx(12 * each.se)
    assert found.unit == "nats" and found.data_se is None and "sum over rows" in found.method


def test_the_pair_and_the_caller_are_left_alone():
    """Catches seeds that leak, training flags that move, and values that depend on the caller's random state."""
    pair = hierarchies.pair(width=1.2)
    pair.train()
    torch.manual_seed(3)
    first = evaluation.log_evidence(pair, X, num_particles=50, seed=1)
    drawn = torch.rand(1)
    assert pair.training and float(evaluation.log_evidence(pair, X, num_particles=50, seed=1)) == float(first)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert float(evaluation.log_evidence(pair, X, num_particles=50, seed=2)) != float(first)


def test_few_effective_particles_are_told():
    """Catches an estimate that one draw carries, printed with an error bar and without a warning."""
    found = evaluation.log_evidence(hierarchies.pair(width=0.05, shift=1.0), X, num_particles=200)
    assert "errs low" in found.warning and "better guide" in found.warning
    assert found.value < hierarchies.log_evidence(X) - 4
    lone = summary(torch.tensor([0.0, -50.0, -60.0] + [-70.0] * 40, dtype=torch.float64))
    assert math.isnan(lone.se) and "the error is unknown" in lone.warning
    assert summary(torch.zeros(3, dtype=torch.float64)).warning is None


def test_estimate_says_what_the_tail_is():
    """Catches a tail of the joint weights told as one of the rows, and a field more in what other estimates store."""
    found = evaluation.log_evidence(hierarchies.pair(width=1.2), X, num_particles=200)
    assert "Pareto k" in repr(found) and "of rows" not in repr(found) and "nats, lower bound" in repr(found)
    assert found.to_dict()["joint_pareto_k"] == found.pareto_k
    assert "joint_pareto_k" not in evaluation.Estimate(-1.0, 0.0, "exact", "exact").to_dict()


def improper(law):
    def program(x):
        mean = pyro.sample("mean", law)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    return ppgen.Pair(program, lambda x: pyro.sample("mean", dist.Normal(x.mean(), 0.5)))


def scaled(x):
    with poutine.scale(scale=0.5):
        hierarchies.model(x)


def point(x):
    mean = pyro.sample("mean", dist.Delta(pyro.param("point", torch.tensor(0.0))))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(mean, 1.0))


def test_annealing_asks_nothing_of_the_guide():
    """Catches annealing of single rows, a block of runs left out, and evidence by the weights of a guide of points."""
    pair = ppgen.Pair(hierarchies.model, point)
    with pytest.raises(ValueError, match="'mean'.*point.*method='ais'"):
        evaluation.log_evidence(pair, X, method="importance")
    found = evaluation.log_evidence(pair, X, betas=12, num_chains=60, chunk=100, kernel=inference.HMC(num_steps=4))
    assert abs(found.value - hierarchies.log_evidence(X)) < 4 * found.se < 2.0
    assert found.num_draws == 60 and found.unit == "nats"
    assert found.method == "AIS from the prior (60 chains x 12 betas)"


def test_annealing_from_the_posterior_is_exact():
    """Catches a base density of single rows, and the Jacobian counted on one side."""
    found = evaluation.log_evidence(hierarchies.pair(), X, method="ais", start="guide", betas=2, num_chains=4)
    assert found.value == pytest.approx(hierarchies.log_evidence(X), abs=1e-3) and found.warning is None


def larger(x):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", 100, subsample=x):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: improper(dist.ImproperUniform(dist.constraints.real, (), ())),
            "not defined: .*'mean'.*ImproperUniform",
        ),
        (lambda: improper(dist.Normal(0.0, 1.0).mask(False)), "not defined: .*'mean' has a masked prior.*improper"),
        (lambda: ppgen.Pair(scaled, hierarchies.guide()), "have a scale of their own"),
        (lambda: ppgen.Pair(larger, lambda x: pyro.sample("mean", dist.Normal(0.0, 1.0))), "size 100, and data hold 4"),
    ],
)
def test_what_has_no_evidence_is_refused(make, message):
    """Catches a number for p(all data) of a model that has none, or of a part of the data."""
    with pytest.raises(ValueError, match=message):
        evaluation.log_evidence(make(), X)


def test_the_likelihood_of_a_datum_points_here():
    """Catches a refusal that leaves the user without the number that there is."""
    with pytest.raises(ValueError, match=r"evaluation\.log_evidence\(pair, x\) gives log p of all data"):
        evaluation.log_likelihood(hierarchies.pair(), X)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_particles": 0}, ValueError),
        ({"chunk": 0}, ValueError),
        ({"seed": -1}, ValueError),
        ({"vectorize_particles": "yes"}, TypeError),
        ({"log_partition": 0.0}, ValueError),
        ({"method": "elbo"}, ValueError),
        ({"num_chains": 1}, ValueError),
        ({"betas": 0, "method": "ais"}, ValueError),
        ({"start": "posterior"}, ValueError),
    ],
)
def test_arguments_are_checked(options, error):
    """Catches an argument that is taken for another, or found wrong after the work."""
    name = next(iter(options))
    with pytest.raises(error, match=name):
        evaluation.log_evidence(hierarchies.pair(), X, **options)


def summed(keepdim):
    def program(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
        total = z.sum(-1, keepdim=keepdim)
        pyro.sample("sum", dist.Normal(total, 1.0), obs=x.sum())

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    return ppgen.Pair(program, guide)


def test_particles_are_not_added_up():
    """Catches particles in the dimension of a plate that was summed out: evidence was -3316 nats instead of -2.5, with
    all particles alike, no error and no warning."""
    truth = float(dist.Normal(0.0, 5**0.5).log_prob(X.sum()))
    found = evaluation.log_evidence(summed(keepdim=True), X, num_particles=4000)
    assert abs(found.value - truth) < 4 * found.se < 0.4
    with pytest.warns(UserWarning, match="'sum' has another log-density when many particles are run at once"):
        found = evaluation.log_evidence(summed(keepdim=False), X, num_particles=200)
    assert abs(found.value - truth) < 4 * found.se < 0.6


def plane(x):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("x", dist.Normal(weight.sum(-1), 1.0), obs=x)


def plane_posterior(x):
    covariance = torch.eye(3) - 0.25
    pyro.sample("weight", dist.MultivariateNormal(x / 4 * torch.ones(3), covariance))


def test_data_that_are_one_datum():
    """Catches a program without a plate refused, or its one datum told as rows; x ~ N(0, 4) of weights summed out."""
    pair, x = ppgen.Pair(plane, plane_posterior), torch.tensor(2.0)
    truth = float(dist.Normal(0.0, 2.0).log_prob(x))
    for data in (x, (x,), {"x": x}, x.numpy()):
        found = evaluation.log_evidence(pair, data, num_particles=20)
        assert found.value == pytest.approx(truth, abs=1e-4) and found.num_data is None and "rows" not in repr(found)
