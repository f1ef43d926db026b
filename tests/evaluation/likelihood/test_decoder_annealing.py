"""Annealing of latents against closed forms and quadrature, in both directions, and the errors that go with it."""

import linear_gaussian as lg
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation, inference, models
from ppgen.evaluation.likelihood import latent_annealing as decoder_annealing
from ppgen.inference.annealing.annealing import make_betas
from ppgen.undisturbed import evaluating

BETAS = [0.0, 0.05, 0.2, 0.6, 1.0]  # short and uneven, so that weights are far from constant
CHAINS = 4000


def path_and_steps(pair, x, start, betas=BETAS, num_chains=CHAINS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layout = inference.find_layout(pair, x)
    kernel = inference.HMC(num_steps=3)
    path, steps = decoder_annealing.prepared(
        pair, x, betas, generator, num_chains=num_chains, start=start, kernel=kernel, layout=layout
    )
    return path, steps, generator


def assert_mean_one(weights):
    """Each datum's weights over its evidence have mean one, within four errors; and they vary."""
    error = weights.std(0) / len(weights) ** 0.5
    assert ((weights.mean(0) - 1).abs() < 4 * error).all(), (weights.mean(0), error)
    assert (error < 0.1).all() and (weights.std(0) > 0.05).all()


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_forward_weights_have_mean_p_of_x(start):
    """Catches a chain weighed after its move, a density of the start left out, and moves that do not leave f_beta as it
    is: E[w] = p(x) holds for any ladder."""
    x = lg.data(3)
    with evaluating(lg.pair(), seed=1):
        path, steps, generator = path_and_steps(lg.pair(), x, start)
        log_weights = decoder_annealing.forward(path, BETAS, steps, generator)
    assert log_weights.shape == (CHAINS, 3) and log_weights.dtype == torch.float64
    assert_mean_one((log_weights - lg.log_evidence(x)).exp())


def faint(x):
    """A likelihood so weak that 1 / w has moments enough from the prior too, whatever the moves do."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("x", dist.Normal(0.7 * z + 0.2, 1.5), obs=x)


def faint_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_full((), 0.2), 1.1))


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_reverse_weights_have_mean_one_over_p_of_x(start):
    """Catches levels of the way back that are not those of the way there, and a weight of the wrong end: E[1 / w] =
    1 / p(x) for any ladder."""
    x = torch.tensor([0.5, 3.0, -4.0], dtype=torch.float64)
    truth = torch.distributions.Normal(0.2, (0.7**2 + 1.5**2) ** 0.5).log_prob(x)
    precision = torch.tensor(1 + 0.7**2 / 1.5**2).double()
    posterior = torch.distributions.Normal((x - 0.2) * 0.7 / 1.5**2 / precision, precision.rsqrt())
    pair = ppgen.Pair(faint, faint_guide)
    with evaluating(pair, seed=1):
        path, steps, generator = path_and_steps(pair, x, start)
        exact = path.density.position({"z": posterior.sample((CHAINS,))})
        log_weights = decoder_annealing.reverse(path, BETAS, steps, exact, generator)
    assert_mean_one((truth - log_weights).exp())


@pytest.mark.parametrize("start", ["prior", "guide"])
def test_positive_latents_against_quadrature(start):
    """Catches a log-determinant in one of the two ends of the path only."""
    x = torch.tensor([0.2, 1.0, 6.0], dtype=torch.float64)
    truth, _, _ = lg.positive_quadrature(x)
    with evaluating(lg.positive_pair(), seed=1):
        path, steps, generator = path_and_steps(lg.positive_pair(), x, start)
        log_weights = decoder_annealing.forward(path, BETAS, steps, generator)
    assert_mean_one((log_weights - truth).exp())


def test_step_sizes_follow_the_ladder_and_the_datum():
    """Catches one size for all levels: a posterior narrower than its prior needs smaller steps at its end."""
    x = torch.zeros(2, 1, dtype=torch.float64)
    noise = torch.tensor([[0.02], [0.5]], dtype=torch.float64)

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, noise[: len(x)]).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.1).to_event(1))

    betas = make_betas(torch.cat([torch.zeros(1), torch.logspace(-4, 0, 60, dtype=torch.float64)]))
    with evaluating(ppgen.Pair(model, guide), seed=0):
        _, steps, _ = path_and_steps(ppgen.Pair(model, guide), x, "prior", betas, num_chains=10)
    ratio = steps[10] / steps[-1]
    assert ratio[0] > 4 and ratio[1] < 3.5


def test_log_likelihood_by_annealing_is_calibrated():
    """Catches an error bar of the wrong size, rows out of order across blocks, and an estimate above its bound."""
    x = lg.data(6)
    truth = lg.log_evidence(x).numpy()
    found = [
        evaluation.log_likelihood(
            lg.pair(),
            x,
            method="ais",
            start="guide",
            betas=5,
            num_chains=100,
            chunk=300,
            seed=seed,
            kernel=inference.HMC(num_steps=3),
        )
        for seed in range(6)
    ]
    scores = np.array([(each.per_datum["log_likelihood"] - truth) / each.per_datum["se"] for each in found])
    assert abs(scores.mean()) < 4 / scores.size**0.5
    assert 0.6 < scores.std() < 1.4
    assert abs(scores).max() < 5
    assert found[0].kind == "lower bound" and found[0].method == "AIS from the guide (100 chains x 5 betas)"
    assert found[0].num_draws == 100 and 1 < found[0].ess < 100


def test_a_longer_ladder_is_nearer():
    """Catches levels that do nothing: the error must fall with their number."""
    errors = [
        evaluation.log_likelihood(lg.pair(), lg.data(5), method="ais", betas=betas, num_chains=50).se
        for betas in (3, 30)
    ]
    assert errors[1] < errors[0] / 2


def test_few_runs_that_carry_all_are_told():
    """Catches a ladder far too short that passes without a word."""
    found = evaluation.log_likelihood(lg.pair(), 20 + lg.data(3), method="ais", betas=1, num_chains=50)
    assert "more betas" in found.warning


def test_seeds_decide_and_the_caller_is_left_alone():
    """Catches draws from the caller's random state, and runs that do not repeat."""
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    before = torch.get_rng_state()
    values = [
        evaluation.log_likelihood(vae, torch.ones(3, 4), method="ais", betas=2, num_chains=4, seed=seed).value
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]
    assert torch.equal(torch.get_rng_state(), before) and vae.training
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_machines_still_anneal_log_z():
    """Catches another meaning of "ais" for undirected pairs."""
    rbm = models.RBM(visible=4, hidden=3)
    found = evaluation.log_likelihood(rbm, torch.ones(2, 4), method="ais", betas=5, num_chains=10)
    assert found.method == "AIS (10 chains x 5 betas)" and found.log_partition_se is not None


def bits(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(x.new_full((), 0.5)))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def bits_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Bernoulli(x.new_full((), 0.4)))


def observed(x):
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(x.new_zeros(()), 1.0), obs=x)


def silent(x):
    with pyro.plate("data", len(x)):
        pass


@pytest.mark.parametrize(
    ("pair", "options", "error", "message"),
    [
        (ppgen.Pair(bits, bits_guide), {}, ValueError, "'z' is discrete.*importance"),
        (ppgen.Pair(observed, silent), {}, ValueError, "no latent site"),
        (lg.positive_pair(), {"betas": 0}, ValueError, "betas"),
        (lg.positive_pair(), {"betas": [0.5, 0.2, 1.0]}, ValueError, "betas must increase"),
        (lg.positive_pair(), {"num_chains": 1}, ValueError, "num_chains.*at least 2"),
        (lg.positive_pair(), {"start": "posterior"}, ValueError, "'guide', 'prior'"),
        (lg.positive_pair(), {"kernel": "hmc"}, TypeError, "inference.HMC"),
    ],
)
def test_what_cannot_be_annealed_is_told(pair, options, error, message):
    """Catches a crash without a name in the depth of the ladder."""
    with pytest.raises(error, match=message):
        evaluation.log_likelihood(pair, torch.ones(2).double(), method="ais", **({"betas": 3} | options))
