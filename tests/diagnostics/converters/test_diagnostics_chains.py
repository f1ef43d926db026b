"""Trees from our own kernels: draws, densities and statistics where they belong, whatever the plates."""

import math

import arviz_stats
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppgen import Pair, diagnostics, evaluation, inference, models

ROWS = torch.tensor([-3.0, 1.0, 4.0, 0.5])
X = (torch.arange(20).reshape(5, 4) % 7 < 3).float()


def conjugate_pair():
    """z ~ N(0, 1), x ~ N(z, 1) for each datum, the posterior N(x/2, 1/2); twice z beside it."""

    def model(x):
        with pyro.plate("row", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.deterministic("twice", 2 * z, event_dim=0)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("row", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))

    return Pair(model, guide, plate="row")


def plates_pair():
    """Latents in plates on both sides of the data's, a positive one beside them, named event dimensions."""

    def latents(x):
        data, feature = pyro.plate("data", len(x), dim=-2), pyro.plate("feature", 3, dim=-1)
        with data:
            scale = pyro.sample("scale", dist.Gamma(2.0, 2.0))
            mix = pyro.sample("mix", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["component"]})
            with feature, pyro.plate("side", 2, dim=-3):
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
        return data, feature, z.sum(-3, keepdim=True) + mix.sum(-1), scale

    def model(x):
        data, feature, loc, scale = latents(x)
        with data, feature:
            pyro.sample("x", dist.Normal(loc, scale), obs=x)

    return Pair(model, latents)


def conjugate_chains(**options):
    settings = {"num_samples": 6, "warmup_steps": 20, "num_chains": 3, **options}
    return inference.sample_posterior(conjugate_pair(), ROWS, **settings)


def binary_rbm():
    rbm = models.RBM(visible=4, hidden=2)
    with torch.no_grad():
        rbm.weight.copy_(torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1], [0.2, 0.9]]))
        rbm.visible_bias.copy_(torch.tensor([0.3, -0.2, 0.5, -1.0]))
    return rbm


def test_names_draws_and_statistics_of_hamiltonian_chains():
    """Catches chains taken for draws, lost plate names, and statistics of other trajectories than the draws."""
    chains = conjugate_chains()
    tree = diagnostics.from_chains(chains, conjugate_pair(), ROWS, coords={"row": list("abcd")})
    assert dict(tree.posterior.sizes) == {"chain": 3, "draw": 6, "row": 4}
    np.testing.assert_array_equal(tree.posterior["z"], chains.draws["z"])
    np.testing.assert_array_equal(tree.posterior["twice"], 2 * chains.draws["z"])
    assert tree.posterior["row"].values.tolist() == list("abcd")
    stats = tree.sample_stats
    assert set(stats.data_vars) == {
        "lp", "log_p", "acceptance_rate", "accepted", "diverging", "energy", "energy_error", "step_size",
    }  # fmt: skip
    assert all(stats[name].dims == ("chain", "draw", "row") for name in stats.data_vars)
    np.testing.assert_array_equal(stats["lp"], chains.log_density)
    assert stats["diverging"].dtype == stats["accepted"].dtype == bool
    moved = np.diff(tree.posterior["z"], axis=1) != 0
    np.testing.assert_array_equal(moved, stats["accepted"][:, 1:])
    np.testing.assert_allclose(stats["acceptance_rate"], np.exp(np.minimum(-stats["energy_error"], 0)), rtol=1e-5)
    torch.testing.assert_close(chains.acceptance_rate, torch.as_tensor(stats["acceptance_rate"].mean("draw").values))
    assert tree.attrs["inference"] == "mcmc" and tree.attrs["kernel"] == "HMC"
    assert set(tree.children) == {
        "posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data", "prior",
        "prior_predictive",
    }  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"chunk": 13}, {"chunk": 1}, {"vectorize_particles": False}])
def test_densities_belong_to_the_draws_beside_them(options):
    """Catches rows moved to another plate's place, chunks in another order and a Jacobian in log p(x, z)."""
    pair = plates_pair()
    x = torch.arange(12.0).reshape(4, 3) / 6 - 1
    chains = inference.sample_posterior(pair, x, num_samples=5, warmup_steps=20, num_chains=2)
    tree = diagnostics.from_chains(chains, pair, x, **options)
    assert tree.posterior["z"].dims == ("chain", "draw", "side", "data", "feature")
    assert tree.posterior["scale"].dims == ("chain", "draw", "data")
    assert tree.posterior["mix"].dims == ("chain", "draw", "data", "component")
    assert tree.posterior_predictive["x"].dims == ("chain", "draw", "data", "feature")
    z, scale, mix = (torch.as_tensor(tree.posterior[name].values) for name in ("z", "scale", "mix"))
    loc = z.sum(2) + mix.sum(-1, keepdim=True)
    log_lik = dist.Normal(loc, scale.unsqueeze(-1)).log_prob(x).sum(-1)
    normal = dist.Normal(0.0, 1.0)
    prior = dist.Gamma(2.0, 2.0).log_prob(scale) + normal.log_prob(z).sum((2, 4)) + normal.log_prob(mix).sum(-1)
    np.testing.assert_allclose(tree.log_likelihood["x"], log_lik, rtol=1e-4)
    np.testing.assert_allclose(tree.sample_stats["log_p"], log_lik + prior, rtol=1e-4)
    np.testing.assert_allclose(tree.sample_stats["lp"], log_lik + prior + scale.log(), rtol=1e-4)


def test_one_chain_and_one_draw():
    """Catches a program that runs without the dimension of draws and gets values that have it."""
    pair = plates_pair()
    chains = inference.sample_posterior(pair, torch.ones(4, 3), num_samples=1, warmup_steps=2)
    tree = diagnostics.from_chains(chains, pair, torch.ones(4, 3))
    assert tree.posterior["z"].shape == (1, 1, 2, 4, 3)
    np.testing.assert_allclose(tree.posterior["z"][:, :, 1, 2], chains.draws["z"][:, :, 2, 1])


def test_without_the_pair():
    """Catches draws that need the program to be named at all."""
    x = torch.ones(4, 3)
    chains = inference.sample_posterior(plates_pair(), x, num_samples=5, warmup_steps=5, num_chains=2)
    tree = diagnostics.from_chains(chains)
    assert tree.posterior["z"].dims == ("chain", "draw", "data", "side", "feature")
    assert tree.posterior["mix"].dims[-1] == "component"
    assert set(tree.children) == {"posterior", "sample_stats"}
    named = diagnostics.from_chains(chains, dims={"mix": ["part"]}, coords={"part": ["a", "b"]})
    assert named.posterior["mix"]["part"].values.tolist() == ["a", "b"]


def test_predictive_draws_follow_their_laws():
    """Catches predictive draws that keep the data or ignore the latents, and a prior from the posterior."""
    chains = conjugate_chains(num_samples=20, warmup_steps=100, num_chains=200)
    tree = diagnostics.from_chains(chains, conjugate_pair(), ROWS)
    expected = {
        ("posterior", "z"): (ROWS / 2, math.sqrt(0.5)),
        ("posterior_predictive", "x"): (ROWS / 2, math.sqrt(1.5)),
        ("prior", "z"): (torch.zeros(4), 1.0),
        ("prior_predictive", "x"): (torch.zeros(4), math.sqrt(2.0)),
    }
    for (group, name), (mean, sd) in expected.items():
        by_chain = tree[group][name].mean("draw")  # chains are independent, so that their spread gives the error
        error = 4 * by_chain.std("chain", ddof=1).values / math.sqrt(200)
        assert (abs(by_chain.mean("chain") - mean.numpy()) < error).all(), group
        by_chain = ((tree[group][name] - mean.numpy()) ** 2).mean("draw")
        error = 4 * by_chain.std("chain", ddof=1).values / math.sqrt(200)
        assert (abs(by_chain.mean("chain") - sd**2) < error).all(), group


def test_posterior_of_a_machine_given_data():
    """Catches a missing log Z and rows out of order: log p(x, h) - log p(h | x) is log p(x) for every draw."""
    rbm = binary_rbm()
    kernel = inference.BlockGibbs(rbm.machine().condition({"visible": X}))
    chains = inference.sample(kernel, 7, num_chains=3, warmup_steps=2)
    tree = diagnostics.from_chains(chains, rbm, X, coords={"visible_unit": list("abcd")})
    assert list(tree.posterior.data_vars) == ["hidden"]
    assert tree.posterior["hidden"].dims == ("chain", "draw", "data", "hidden_unit")
    assert tree.observed_data["visible"].dims == ("data", "visible_unit")
    assert {"energy", "free_energy", "log_p"} == set(tree.sample_stats.data_vars)
    with torch.no_grad():
        hidden = torch.as_tensor(tree.posterior["hidden"].values).float()
        log_q = rbm.machine().conditional("hidden", given=X).log_prob(hidden)
    exact = evaluation.log_likelihood(rbm, X, method="exact").pointwise
    np.testing.assert_allclose(tree.sample_stats["log_p"] - log_q.numpy(), np.tile(exact, (3, 7, 1)), atol=1e-5)
    assert tree.prior_predictive["visible"].shape == (3, 7, 5, 4)


def test_deep_machine_given_data():
    """Catches layers of a side left apart where the program has one site for them."""
    dbm = models.DBM(visible=4, hidden=(3, 2, 2))
    kernel = inference.BlockGibbs(dbm.machine().condition({"visible": X}))
    chains = inference.sample(kernel, 6, num_chains=2, warmup_steps=2)
    tree = diagnostics.from_chains(chains, dbm, X, prior=False)
    assert list(tree.posterior.data_vars) == ["hidden1", "hidden2", "hidden3"]
    with torch.no_grad():
        first = torch.as_tensor(tree.posterior["hidden1"].values).float()
        expected = dbm.machine().conditional("visible", given=first).log_prob(X)
    np.testing.assert_allclose(tree.log_likelihood["visible"], expected, rtol=1e-5)
    assert "prior" not in tree.children


def test_machine_by_itself_is_a_prior():
    """Catches draws of the joint law passed off as a posterior given x, and data drawn from other latents."""
    vae = models.DiscreteVAE(features=4, latent=3, hidden=(2,))
    chains = inference.sample(inference.ParallelTempering(vae, 3), 6, num_chains=2, warmup_steps=2)
    tree = diagnostics.from_chains(chains, vae, X)
    np.testing.assert_array_equal(tree.prior["z"], chains.posterior["latent"])
    assert tree.prior_predictive["x"].dims == ("chain", "draw", "x_dim_0")
    assert tree.observed_data["x"].dims == ("data", "x_dim_0")
    assert tree.sample_stats["replica"]["temperature"].values.tolist()[-1] == 1.0
    assert "not conditioned on data" in tree.attrs["left_out"]
    rbm = binary_rbm()
    with torch.no_grad():
        rbm.weight.mul_(30)
    chains = inference.sample(inference.BlockGibbs(rbm), 50, num_chains=4, warmup_steps=5)
    tree = diagnostics.from_chains(chains, rbm, X)
    with torch.no_grad():
        hidden = torch.as_tensor(tree.prior["hidden"].values).float()
        means = rbm.machine().conditional("visible", given=hidden).mean
    sure = (means - 0.5).abs() > 0.4999
    assert sure.float().mean() > 0.5
    np.testing.assert_array_equal(tree.prior_predictive["visible"].values[sure], means[sure].round())


def test_arviz_reads_the_statistics():
    """Catches chains that R-hat cannot compare."""
    chains = conjugate_chains(num_samples=300, warmup_steps=200, num_chains=4)
    tree = diagnostics.from_chains(chains, conjugate_pair(), ROWS)
    assert (arviz_stats.rhat(tree)["z"] < 1.05).all()
    assert (arviz_stats.ess(tree)["z"] > 100).all()
    assert arviz_stats.summary(tree, var_names=["z"]).shape[0] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pair": conjugate_pair()}, "x is missing"),
        ({"x": ROWS}, "pair is missing"),
        ({"pair": conjugate_pair(), "x": ROWS[:2]}, "'z' have shape .*Give the data"),
        ({"pair": plates_pair(), "x": torch.ones(4, 3)}, r"no draws of the latent sites \['scale', 'mix'\]"),
        ({"chunk": 0}, "chunk must be a positive integer"),
        ({"coords": {"row": [1]}}, r"coords\['row'\] must hold 4 values"),
    ],
)
def test_bad_arguments(options, message):
    """Catches errors that name neither the argument nor what was expected."""
    with pytest.raises(ValueError, match=message):
        diagnostics.from_chains(conjugate_chains(num_samples=2, warmup_steps=0), **options)


def test_chains_of_something_else():
    """Catches data that the machine was not conditioned on, and chains that are none of ours."""
    with pytest.raises(TypeError, match=r"from_pyro_svi"):
        diagnostics.from_chains(torch.zeros(3))
    rbm = binary_rbm()
    kernel = inference.BlockGibbs(rbm.machine().condition({"visible": X}))
    chains = inference.sample(kernel, 2, num_chains=2, warmup_steps=0)
    with pytest.raises(ValueError, match="conditioned on other values of 'visible'"):
        diagnostics.from_chains(chains, rbm, 1 - X)
