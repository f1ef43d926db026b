"""Simulation-based calibration: exact posteriors have uniform ranks, and each wrong one is told for what it is."""

import arviz_plots
import linear_gaussian as lg
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import datasets, diagnostics, inference, models
from ppgen.diagnostics.calibration.draws import slowest
from ppgen.diagnostics.calibration.latents import Sites
from ppgen.diagnostics.calibration.ranks import holm, ranks_among, uniformity_pvalues

ROW = torch.zeros(1, 4, dtype=torch.float64)
PRIOR = torch.tensor([0.4, 0.6])  # of two bits
LIKELIHOOD = torch.tensor([[0.05, 0.9], [0.9, 0.05]])  # of x = 1 given them: one bit explains the other away


def calibrate(pair, level=1e-4, **arguments):
    """At a level at which an exact posterior fails once in 10,000 seeds."""
    return diagnostics.simulation_based_calibration(pair, level=level, **arguments)


def normal_guide(shift=(0.0, 0.0), width=1.0):
    """Independent Normals with the marginal mean and width of the posterior, moved and stretched."""
    scale = lg.PRECISION.inverse().diagonal().sqrt()

    def guide(x):
        with pyro.plate("data", len(x)):
            loc = lg.posterior_mean(x) + scale.new_tensor(shift) * scale
            pyro.sample("z", dist.Normal(loc, width * scale).to_event(1))

    return ppgen.Pair(lg.model, guide)


def exact_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.MultivariateNormal(lg.posterior_mean(x), precision_matrix=lg.PRECISION))


def prior_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(lg.WEIGHT.new_zeros(2), 1.0).to_event(1))


def bits_model(x):
    with pyro.plate("data", len(x)):
        first = pyro.sample("first", dist.Bernoulli(PRIOR[0]))
        second = pyro.sample("second", dist.Bernoulli(PRIOR[1]))
        pyro.sample("x", dist.Bernoulli(LIKELIHOOD[first.long(), second.long()]), obs=x)


def bits_pair(factorial=False):
    """The enumerated posterior of two bits, or the product of its marginals."""
    prior = torch.stack([1 - PRIOR[0], PRIOR[0]])[:, None] * torch.stack([1 - PRIOR[1], PRIOR[1]])

    def guide(x):
        likelihood = torch.where(x.bool()[:, None, None], LIKELIHOOD, 1 - LIKELIHOOD)
        posterior = prior * likelihood
        posterior = posterior / posterior.sum((1, 2), keepdim=True)
        with pyro.plate("data", len(x)) as rows:
            first = pyro.sample("first", dist.Bernoulli(posterior[:, 1].sum(-1)))
            given = posterior.sum(1) if factorial else posterior[rows, first.long()]
            pyro.sample("second", dist.Bernoulli(given[..., 1] / given.sum(-1)))

    return ppgen.Pair(bits_model, guide)


@pytest.mark.parametrize("size", [30, 300])  # fewer and more values than points of the ECDF
def test_pvalues_are_uniform_on_uniform_values(size):
    """Catches a recursion that leaves a state out, a band of one side, and a test of each point by itself."""
    pvalues = uniformity_pvalues(np.random.default_rng(0).random((size, 4000)))
    for level in (0.01, 0.05, 0.3, 0.8):
        reached = pvalues[pvalues <= level].max()  # T is discrete, and P(p <= reached) is reached
        assert reached > level / 2
        assert abs((pvalues <= level).mean() - reached) < 4 * (reached * (1 - reached) / 4000) ** 0.5


def test_holm_names_a_unit_only_at_the_level_of_all():
    """Catches a step that goes on after the first that is kept, and levels in the wrong order."""
    assert holm(np.array([0.02, 0.9, 0.001, 0.02]), 0.05).tolist() == [False, False, True, False]
    assert holm(np.array([0.01, 0.9, 0.001, 0.02]), 0.05).tolist() == [True, False, True, True]


@pytest.mark.parametrize("rate", [0.02, 0.5])
def test_ranks_of_bits_are_uniform_as_their_ties_are_random(rate):
    """Catches ties counted as below or above, and a tie broken among the wrong number of places."""
    generator = torch.Generator().manual_seed(0)
    bits = (torch.rand(10, 20_000, generator=generator) < rate).float()
    counts = np.bincount(ranks_among(bits[0], bits[1:], np.random.default_rng(0)), minlength=10)
    assert (abs(counts - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5).all()
    assert np.bincount((bits[1:] < bits[0]).sum(0).numpy())[0] > 3000  # what would be without


@pytest.mark.parametrize(
    ("make", "rows"),
    [
        (lambda: ppgen.Pair(lg.model, exact_guide), ROW),
        (lambda: models.RBM(visible=6, hidden=4), None),
        (bits_pair, torch.zeros(3)),
    ],
    ids=["linear-gaussian", "rbm", "bits"],
)
def test_exact_posteriors_are_calibrated(make, rows):
    """Catches data of one simulation beside latents of another, draws of which the truth is one, ranks of the wrong
    dimension, and densities of the truth that are not those of the draws."""
    torch.manual_seed(0)
    result = calibrate(make(), x=rows, num_simulations=1000)
    assert result.calibrated and "fail" not in repr(result).replace("A unit fails where", "")
    for name in result.pit:
        mean = result.pit[name].mean("simulation")  # of 1000 uniform values: sd 1/sqrt(12000)
        assert (abs(mean - 0.5) < 4 / 12_000**0.5).all()
        assert result.ranks[name].min() >= 0 and result.ranks[name].max() <= 99


@pytest.mark.parametrize(
    ("shift", "width", "kinds", "words"),
    [
        ((0.0, 0.0), 0.5, ["narrow"], "2 too narrow, ranks form a U"),
        ((0.0, 0.0), 2.0, ["wide"], "2 too wide, ranks form a hump"),
        ((1.0, -1.0), 1.0, ["shifted up", "shifted down"], "1 shifted up, ranks slope"),
    ],
)
def test_what_is_wrong_is_named(shift, width, kinds, words):
    """Catches a U taken for a hump, up for down, and a shape that is named by another unit's."""
    result = calibrate(normal_guide(shift, width), x=ROW)
    assert set(result.directions("z")) == set(kinds) and result.fails.z.all()
    assert words in repr(result) and "z: 2 of 2 units fail" in repr(result)
    if width == 2.0:
        assert abs(result.spread.z - 0.5).max() < 4 * 0.5 / 1000**0.5 + 0.01  # ranks among 99 blur by 1/2 percent
    if width == 1.0:
        assert result.directions("z") == {"shifted up": ["z[0]"], "shifted down": ["z[1]"]}
        assert abs(result.shift.z.values + shift).max() < 4 / 500**0.5


def test_a_guide_that_ignores_the_data_is_seen_by_the_likelihood():
    """The blind spot of ranks of latents: catches test quantities that are not evaluated at the draws."""
    result = calibrate(ppgen.Pair(lg.model, prior_guide), x=ROW)
    assert not result.fails.z.any()
    assert result.directions("log_likelihood") == {"worse": ["log_likelihood"]}
    assert "lies below that of the truth" in repr(result) and "ignores part of what x tells" in repr(result)


def test_a_product_of_exact_marginals_is_seen_by_the_joint_and_by_a_quantity():
    """Catches test quantities of one's own that are not ranked, or get draws and simulations exchanged."""
    shapes = []

    def agree(latents, x):  # one that looks at the data: where both bits are set is as frequent under the product
        shapes.append((latents["first"].shape[1:], x.shape))
        return ((latents["first"] != latents["second"]) == x.bool()).float()

    result = calibrate(bits_pair(factorial=True), x=torch.zeros(3), num_simulations=1000, quantities={"agree": agree})
    assert not result.fails["first"] and not result.fails["second"]
    assert result.fails["log_joint"] and result.fails["agree"]
    assert all(latent == data for latent, data in shapes) and result.sites == ("first", "second")
    assert calibrate(bits_pair(), x=torch.zeros(3), num_simulations=1000, quantities={"agree": agree}).calibrated


def test_hamiltonian_monte_carlo_is_calibrated():
    """Catches chains of other data than the latents, and an autocorrelation that is not thinned away."""
    kernel = inference.HMC(num_steps=1)  # short trajectories, so that there is something to thin
    arguments = {"posterior": kernel, "num_simulations": 300, "num_samples": 200, "x": ROW}
    result = calibrate(lg.pair(), warmup_steps=100, **arguments)
    assert result.calibrated and result.autocorrelation_time > 1.5
    assert result.num_samples == 200 // round(result.autocorrelation_time)
    assert "Hamiltonian Monte Carlo" in repr(result) and "thinned" in repr(result)


def test_autocorrelation_times_are_those_of_the_chains():
    """Catches rows with means of their own taken for chains that disagree, and a mean over units for the slowest."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 2000, 50, 2, generator=generator, dtype=torch.float64)
    slow = torch.zeros_like(noise)
    for step in range(1, 2000):
        slow[:, step] = torch.tensor([0.0, 0.8], dtype=torch.float64) * slow[:, step - 1] + noise[:, step]
    assert abs(slowest({"z": slow + 100 * torch.arange(50)[:, None]}) / 9 - 1) < 0.1  # (1 + 0.8) / (1 - 0.8)


class Opposite(inference.BlockGibbs):
    """Every bit of the chains the other way round."""

    def values(self, state):
        return {name: 1 - value for name, value in super().values(state).items()}


def test_gibbs_chains_given_the_data_are_calibrated_in_every_layer():
    """Catches layers that do not belong to the data, an even hidden layer that is left out, and chains of the machine
    without data."""
    torch.manual_seed(0)
    dbm = models.DBM(visible=5, hidden=(4, 3))
    with torch.no_grad():
        for each in (*dbm.weights, *dbm.biases):
            each.mul_(4)
    arguments = {"num_samples": 150, "warmup_steps": 30}
    result = calibrate(dbm, posterior="gibbs", **arguments)
    assert result.calibrated and result.sites == ("hidden1", "hidden2")
    assert dict(result.fails.sizes) == {"hidden1_unit": 4, "hidden2_unit": 3}
    wrong = calibrate(dbm, posterior=Opposite, num_simulations=200, **arguments)
    assert wrong.fails.hidden1.sum() > 1 and "Opposite chains" in repr(wrong)
    mean_field = calibrate(dbm, num_simulations=4000, chunk=1_000_000)  # 0.05 nats from the posterior of a deep machine
    assert mean_field.fails.log_joint


@pytest.mark.parametrize("vectorize", [True, False])
def test_inner_plates_mappings_and_programs_that_cannot_broadcast(vectorize):
    """Catches rows taken for an inner plate where both have the same size, and arguments that are given to other rows
    than their data."""

    def model(y, offset):
        data = pyro.plate("data", len(offset), dim=-1)
        with pyro.plate("inner", 30, dim=-2), data:
            z = pyro.sample("z", dist.Normal(offset, torch.arange(1.0, 31.0)[:, None]))
        with data:
            pyro.sample("y", dist.Normal(z.mT, 1.0).to_event(1), obs=y)

    def guide(y, offset):
        variance = torch.arange(1.0, 31.0)[:, None] ** 2
        with pyro.plate("inner", 30, dim=-2), pyro.plate("data", len(offset), dim=-1):
            loc = (y.mT * variance + offset) / (variance + 1)
            pyro.sample("z", dist.Normal(loc, (variance / (variance + 1)).sqrt()))

    rows = {"y": torch.zeros(7, 30), "offset": torch.arange(7.0)}  # used in turn
    result = calibrate(
        ppgen.Pair(model, guide), x=rows, num_simulations=30, num_samples=19, vectorize_particles=vectorize, chunk=200
    )
    assert result.pit.z.dims == ("simulation", "inner") and result.calibrated
    assert result.x["offset"].tolist() == [float(index % 7) for index in range(30)]


def test_densities_are_those_of_the_program():
    """Catches a prior and a likelihood exchanged, and draws given to the wrong rows."""
    pair, x = lg.pair(), lg.data(6)
    z = torch.randn(5, 6, 2, dtype=torch.float64)
    prior, likelihood = Sites(pair, x).densities(x, {"z": z})
    torch.testing.assert_close(prior, torch.distributions.Normal(0, 1).log_prob(z).sum(-1))
    law = torch.distributions.Normal(z @ lg.WEIGHT.T + lg.OFFSET, lg.NOISE)
    torch.testing.assert_close(likelihood, law.log_prob(x).sum(-1))


def test_a_run_is_calibrated_without_data_and_drawn_by_arviz():
    """Catches a model whose data cannot be made up from its run, and a tree that ArviZ does not read."""
    digits = datasets.load("digits", binarize="threshold")
    run = ppgen.fit(models.VAE(features=64, latent=3, hidden=(8,)), digits, "elbo", epochs=1, seed=0, progress=False)
    result = calibrate(run.pair, num_simulations=100)
    assert "Simulation-based calibration of VAE: 100 simulations, each ranked among 99 draws of the guide." in repr(
        result
    )
    tree = result.to_datatree()
    assert dict(tree.prior_sbc.sizes) == {"chain": 1, "draw": 100, "z_dim_0": 3}
    np.testing.assert_array_equal(tree.prior_sbc.z[0], result.pit.z)
    drawn = arviz_plots.plot_ecdf_pit(tree, group="prior_sbc", backend="matplotlib")
    assert {"z", "log_likelihood", "log_joint"} <= set(drawn.viz["ecdf_lines"].data_vars)
    plt.close("all")

    def model(x):
        loc = pyro.param("loc", torch.zeros(4))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.LogNormal(loc + z[..., None], 1.0).to_event(1), obs=x)

    def guide(x):  # of zeros, which could be made up as data, there is no draw
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.log().sum(-1) / 5, 0.2**0.5))

    own = ppgen.fit(ppgen.Pair(model, guide), torch.rand(50, 4) + 0.1, "elbo", epochs=1, seed=0, progress=False)
    assert calibrate(own, num_simulations=50).x.shape == (50, 4)  # shapes are those of the batches it was fitted to


def test_seeds_and_modes_are_the_callers():
    """Catches a seed that is not used, and a random state or training mode that is left changed."""
    rbm = models.RBM(visible=4, hidden=3)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    results = [calibrate(rbm, num_simulations=30, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(before, torch.get_rng_state()) and rbm.training
    assert results[0].pit.equals(results[1].pit) and not results[0].pit.equals(results[2].pit)


def weighed_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.factor("weight", z)
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def scaled_model(x):
    with pyro.plate("data", len(x)), pyro.poutine.scale(scale=0.5):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def scalar_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lg.pair, {}, "x is needed to simulate data of a Pair"),
        (lambda: ppgen.Pair(weighed_model, scalar_guide), {"x": torch.zeros(3)}, "pyro.factor 'weight' weighs"),
        (lambda: ppgen.Pair(scaled_model, scalar_guide), {"x": torch.zeros(3)}, "have a scale of their own"),
        (lambda: models.RBM(64, 64), {}, "too large to be sampled exactly. Give a sampler"),
        (lambda: models.VAE(4, 2), {"sampler": "gibbs"}, "has no undirected site"),
        (
            lambda: models.VAE(4, 2),
            {"posterior": "gibbs"},
            "Gibbs chains are for models that are one Boltzmann machine",
        ),
        (lambda: models.RBM(4, 2), {"posterior": inference.HMC()}, "discrete"),
        (lambda: models.VAE(4, 2), {"num_simulations": 19}, "num_simulations must be an integer of at least 20"),
        (lambda: models.VAE(4, 2), {"num_samples": 0}, "num_samples must be an integer of at least 1"),
        (lambda: models.VAE(4, 2), {"level": 1.0}, "level must lie between 0 and 1"),
        (lambda: models.VAE(4, 2), {"quantities": {"log_joint": abs}}, "must not be called 'log_joint'"),
        (lambda: models.VAE(4, 2), {"quantities": {"z": abs}}, "must not be called 'z'"),
        (
            lambda: models.VAE(4, 2),
            {"quantities": {"sum": lambda latents, x: latents["z"].sum()}},
            r"quantities\['sum'\] must return a tensor of shape \(draws, simulations, ...\), here \(100, 100\)",
        ),
    ],
)
def test_errors_say_what_to_do(make, arguments, message):
    """Catches what is wrong with a pair or an argument told by a failure inside of it, or by nothing."""
    with pytest.raises(ValueError, match=message):
        calibrate(make(), **arguments)


def test_errors_of_types():
    """Catches an object of the wrong kind that is called before it is looked at."""
    rbm = models.RBM(4, 2)
    with pytest.raises(TypeError, match='posterior must be "guide", an inference.HMC'):
        calibrate(rbm, posterior="nuts")
    with pytest.raises(TypeError, match="give BlockGibbs itself, or lambda machine: inference.BlockGibbs"):
        calibrate(rbm, posterior=inference.BlockGibbs(rbm))
    with pytest.raises(TypeError, match="Expected a model of ppgen.models or a ppgen.Pair"):
        calibrate(3)
    with pytest.raises(TypeError, match="posterior must return a kernel of the machine"):
        calibrate(rbm, posterior=lambda machine: machine)
