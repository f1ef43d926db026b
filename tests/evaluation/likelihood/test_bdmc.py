"""The sandwich of bidirectional Monte Carlo against closed forms, and the errors that go with it."""

import linear_gaussian as lg
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

import ppgen
from ppgen import evaluation, inference, models
from ppgen.evaluation.likelihood.bidirectional import simulate
from ppgen.undisturbed import evaluating

KERNEL = inference.HMC(num_steps=5)


def test_simulated_data_come_with_their_latents():
    """Catches latents of other rows than the data's, and data that were not replaced."""
    x = torch.zeros(4000, 4, dtype=torch.float64)
    with evaluating(lg.pair(), seed=0):
        drawn, latents = simulate(lg.pair(), 4000, x)
    noise = drawn - latents["z"] @ lg.WEIGHT.T - lg.OFFSET
    assert abs(noise.std().item() / lg.NOISE - 1) < 4 / (2 * noise.numel()) ** 0.5
    covariance = drawn.T.cov()
    assert ((covariance - lg.COVARIANCE).abs() < 4 * 2**0.5 * lg.COVARIANCE.diagonal().max() / 4000**0.5).all()


@pytest.mark.parametrize(("start", "betas"), [("prior", 30), ("guide", 6)])
def test_the_sandwich_holds_the_truth(start, betas):
    """Catches bounds exchanged, a reverse run from another point than the exact draw, rows of one block given the draws
    of another, and a gap that is not their difference."""
    found = evaluation.bdmc(
        lg.pair(),
        like=torch.zeros(200, 4, dtype=torch.float64),
        num_chains=5,
        betas=betas,
        start=start,
        kernel=KERNEL,
        chunk=600,
    )
    truth = lg.log_evidence(found.x).numpy()
    assert found.num_data == 200 and found.per_datum["gap"].shape == (200,)
    below, above = truth - found.per_datum["lower"], found.per_datum["upper"] - truth
    for error in (below, above):  # each positive in expectation, and small
        assert error.mean() > -4 * error.std() / 200**0.5
        assert error.mean() < 0.5
    assert found.gap > 0
    assert found.gap == pytest.approx(found.upper - found.lower)
    assert found.gap_se == pytest.approx(found.per_datum["gap"].std(ddof=1) / 200**0.5)
    if start == "prior":  # a short ladder: both bounds miss the truth, each on its own side
        assert below.mean() > 0.01 and above.mean() > 0.01
    assert abs(below.mean()) < 0.2 + 4 * found.lower_se
    assert repr(found).count(" ± ") == 3 and "200 simulated rows" in repr(found)


def test_a_longer_ladder_closes_the_gap():
    """Catches a gap that measures something else than the annealing."""
    gaps = [
        evaluation.bdmc(
            lg.pair(), like=torch.zeros(50, 4, dtype=torch.float64), num_chains=4, betas=betas, kernel=KERNEL
        ).gap
        for betas in (3, 60)
    ]
    assert gaps[1] < gaps[0] / 4


def test_positive_latents():
    """Catches a Jacobian that one direction has and the other has not."""
    like = torch.ones(150, dtype=torch.float64)
    found = evaluation.bdmc(lg.positive_pair(), like=like, num_chains=5, betas=15, kernel=KERNEL)
    truth = lg.positive_quadrature(found.x)[0].numpy()
    for error in (truth - found.per_datum["lower"], found.per_datum["upper"] - truth):
        assert -4 * error.std() / 150**0.5 < error.mean() < 0.2


def test_models_of_the_zoo_are_simulated_by_number():
    """Catches the importance estimate outside the sandwich, data that the model cannot take, and seeds without
    effect."""
    torch.manual_seed(3)
    vae = models.VAE(features=12, latent=2, hidden=(8,))
    for parameter in vae.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    before = torch.get_rng_state()
    found = [evaluation.bdmc(vae, num_data=20, num_chains=10, betas=20, seed=seed, kernel=KERNEL) for seed in (0, 0, 1)]
    assert found[0].gap == found[1].gap != found[2].gap
    assert torch.equal(torch.get_rng_state(), before) and vae.training
    assert found[0].x.shape == (20, 12)
    between = evaluation.log_likelihood(vae, found[0].x, num_particles=20_000)
    error = np.hypot(between.se, found[0].gap_se)
    assert found[0].lower - 4 * error < between.value < found[0].upper + 4 * error


def labelled(x, y):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x, 1.0))
        pyro.sample("y", dist.Normal(2 * z, 0.5), obs=y)


def labelled_guide(x, y):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x, 1.0))


@pytest.mark.parametrize("as_mapping", [False, True])
def test_only_what_is_observed_is_simulated(as_mapping):
    """Catches an input that is replaced along with the observation."""
    x, y = torch.linspace(-3, 3, 100).double(), torch.zeros(100).double()
    like = {"x": x, "y": y} if as_mapping else (x, y)
    found = evaluation.bdmc(ppgen.Pair(labelled, labelled_guide), like=like, num_chains=4, betas=30, kernel=KERNEL)
    given, simulated = found.x.values() if as_mapping else found.x
    assert torch.equal(given, x) and (simulated != y).all()
    truth = torch.distributions.Normal(2 * x, 4.25**0.5).log_prob(simulated).numpy()
    for error in (truth - found.per_datum["lower"], found.per_datum["upper"] - truth):
        assert -4 * error.std() / 10 < error.mean() < 0.5


def test_one_tensor_for_two_arguments():
    """Catches an input that is replaced because the same tensor stands for the observation."""
    both = torch.linspace(-3, 3, 40).double()
    pair = ppgen.Pair(labelled, labelled_guide)
    given, simulated = evaluation.bdmc(pair, like=(both, both), num_chains=3, betas=4, kernel=KERNEL).x
    assert torch.equal(given, both) and (simulated != both).all()


def halves(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("left", dist.Normal(z, 1.0), obs=x[..., 0])
        pyro.sample("right", dist.Normal(z, 1.0), obs=x[..., 1])


def shifted(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("left", dist.Normal(z, 1.0), obs=x - 1)


def twice(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample("first", dist.Normal(z, 1.0), obs=x)
        pyro.sample("left", dist.Normal(-z, 2.0), obs=x)


@pytest.mark.parametrize(
    ("model", "shape", "message"), [(halves, (5, 2), "no part"), (shifted, (5,), "no part"), (twice, (5,), "elsewhere")]
)
def test_observations_made_from_the_batch_are_refused(model, shape, message):
    """Catches the rows of `like` kept in the place of simulated ones: then the latents are no draws of their posterior,
    and the upper bound lies below the lower one."""

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0).expand([len(x)]))

    with pytest.raises(ValueError, match=f"at site 'left'.*{message}.*argument of its own"):
        evaluation.bdmc(ppgen.Pair(model, guide), like=torch.full(shape, 9.0), num_chains=2, betas=3)


@pytest.mark.parametrize("repeated", [False, True])
def test_plates_left_of_the_data(repeated):
    """Catches draws with more dimensions than the data have, and many draws for one datum."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            with pyro.plate("groups", 2, dim=-2):
                w = pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0))
            total = w if repeated else w.sum(-2, keepdim=True)
            with pyro.plate("repeats", 2 if repeated else 1, dim=-2):
                pyro.sample("x", dist.Normal(total, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("groups", 2, dim=-2):
            pyro.sample("w", dist.Normal(x / 3, 1.0))

    pair, like = ppgen.Pair(model, guide), torch.zeros(40)
    if repeated:
        with pytest.raises(ValueError, match=r"at site 'x'.*\(2, 40\) values of the \(40,\)"):
            evaluation.bdmc(pair, like=like, num_chains=4, betas=3)
        return
    found = evaluation.bdmc(pair, like=like, num_chains=4, betas=20, kernel=KERNEL)
    assert found.x.shape == (40,)
    truth = torch.distributions.Normal(0.0, 3**0.5).log_prob(found.x).numpy()
    for error in (truth - found.per_datum["lower"], found.per_datum["upper"] - truth):
        assert -4 * error.std() / 40**0.5 < error.mean() < 0.5


def test_scaled_densities_are_refused():
    """Catches a sandwich around another density than the one that the data were drawn from."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with poutine.scale(scale=0.5):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    with pytest.raises(ValueError, match="'x'.*scale of their own"):
        evaluation.bdmc(ppgen.Pair(model, guide), like=torch.zeros(5), num_chains=2, betas=3)


def test_deterministic_sites_are_no_observations():
    """Catches a value computed in the data plate that is taken for data without a place."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(pyro.deterministic("mean", 2 * z), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 3, 1.0))

    found = evaluation.bdmc(ppgen.Pair(model, guide), like=torch.zeros(30), num_chains=4, betas=20, kernel=KERNEL)
    assert (found.x != 0).all() and abs(found.gap) < 4 * found.gap_se + 0.1


@pytest.mark.parametrize(
    ("pair", "options", "message"),
    [
        (lg.pair(), {}, "like is needed"),
        (lg.pair(), {"like": lg.data(1)}, "like must have at least 2 rows, got 1"),
        (lg.pair(), {"like": lg.data(3), "num_data": 4}, "num_data=4 rows, got 3"),
        (lg.pair(), {"like": lg.data(3), "num_chains": 1}, "num_chains"),
        (lg.pair(), {"like": lg.data(3), "betas": 0}, "betas"),
        (lg.pair(), {"like": lg.data(3), "start": "data"}, "start"),
        (models.VAE(features=4, latent=2, hidden=(3,)), {"num_data": 0}, "num_data"),
        (models.RBM(visible=4, hidden=3), {}, "'hidden'.*log_partition"),
    ],
)
def test_bad_arguments_are_named(pair, options, message):
    """Catches an error from the depth of the work, without the argument's name."""
    with pytest.raises(ValueError, match=message):
        evaluation.bdmc(pair, **options)
