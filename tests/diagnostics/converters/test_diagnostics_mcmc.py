"""Trees from Pyro's Markov chains."""

import arviz_stats
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import HMC, MCMC, NUTS, Predictive, RandomWalkKernel

from ppgen import diagnostics, inference, models

X = torch.tensor([[0.5, -1.0], [1.5, 2.0], [0.0, 1.0]])


def model(x):
    """A location in a plate of its own, a positive scale, and data in two plates."""
    scale = pyro.sample("scale", dist.Gamma(2.0, 2.0))
    with pyro.plate("feature", 2, dim=-1):
        loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3, dim=-2):
            pyro.sample("x", dist.Normal(loc, scale), obs=x)


def run(kernel, num_samples=6):
    mcmc = MCMC(kernel, num_samples=num_samples, warmup_steps=10, disable_progbar=True)
    mcmc.run(X)
    return mcmc


@pytest.mark.parametrize("kernel", [RandomWalkKernel, HMC, NUTS])
def test_any_kernel(kernel):
    """Catches a converter that needs what only Hamiltonian kernels know, and lost plate names."""
    mcmc = run(kernel(model))
    tree = diagnostics.from_pyro(mcmc)
    assert dict(tree.posterior["loc"].sizes) == {"chain": 1, "draw": 6, "feature": 2}
    assert tree.posterior["scale"].dims == ("chain", "draw")
    np.testing.assert_array_equal(tree.posterior["loc"][0], mcmc.get_samples()["loc"])
    assert tree.log_likelihood["x"].dims == ("chain", "draw", "data", "feature")
    assert tree.observed_data["x"].dims == ("data", "feature")
    assert ("diverging" in tree.sample_stats) == (kernel is not RandomWalkKernel)
    assert tree.attrs["kernel"] == kernel.__name__


def test_densities_of_the_draws():
    """Catches log-likelihoods of other draws and a log-density without the prior."""
    tree = diagnostics.from_pyro(run(RandomWalkKernel(model)))
    loc = torch.as_tensor(tree.posterior["loc"].values[0])
    scale = torch.as_tensor(tree.posterior["scale"].values[0])
    expected = dist.Normal(loc[:, None], scale[:, None, None]).log_prob(X)
    np.testing.assert_allclose(tree.log_likelihood["x"][0], expected, rtol=1e-5)
    prior = dist.Normal(0.0, 1.0).log_prob(loc).sum(1) + dist.Gamma(2.0, 2.0).log_prob(scale)
    np.testing.assert_allclose(tree.sample_stats["lp"][0], expected.sum((1, 2)) + prior, rtol=1e-5)


def test_divergences_at_their_draws():
    """Catches divergences counted from the wrong draw or put into the wrong chain."""
    mcmc = run(NUTS(model))
    mcmc._diagnostics[0]["divergences"] = [1, 4]
    assert diagnostics.from_pyro(mcmc).sample_stats["diverging"][0].values.nonzero()[0].tolist() == [1, 4]


def test_chains_stay_chains():
    """Catches chains mixed with draws when the samples are made flat and cut again."""
    mcmc = run(RandomWalkKernel(model))
    mcmc._samples = {name: torch.cat([value, value + 10, value + 20]) for name, value in mcmc._samples.items()}
    mcmc._diagnostics = mcmc._diagnostics * 3
    tree = diagnostics.from_pyro(mcmc, log_likelihood=False)
    assert tree.posterior["loc"].shape == (3, 6, 2)
    np.testing.assert_allclose(tree.posterior["loc"][2], tree.posterior["loc"][0] + 20, rtol=1e-6)


def test_predictive_draws_and_arviz():
    """Catches predictive draws without plate names, and a tree that LOO cannot read."""
    mcmc = run(RandomWalkKernel(model), num_samples=60)
    prior = Predictive(model, num_samples=5)(None)
    predictive = Predictive(model, mcmc.get_samples())(None)
    tree = diagnostics.from_pyro(mcmc, prior=prior, posterior_predictive=predictive)
    assert tree.posterior_predictive["x"].dims == ("chain", "draw", "data", "feature")
    assert tree.prior["loc"].dims == ("chain", "draw", "feature")
    assert tree.prior_predictive["x"].shape == (1, 5, 3, 2)
    assert arviz_stats.summary(tree).shape[0] == 3
    with pytest.raises(ValueError, match="must hold 60 draws"):
        diagnostics.from_pyro(mcmc, posterior_predictive=prior)


def test_marginalised_sites_are_said():
    """Catches a random log-likelihood for models whose discrete latents the kernel sums out."""

    def mixture(x):
        loc = pyro.sample("loc", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.3), infer={"enumerate": "parallel"}).long()
            pyro.sample("x", dist.Normal(loc[which], 1.0), obs=x)

    mcmc = MCMC(NUTS(mixture, max_plate_nesting=1), num_samples=3, warmup_steps=3, disable_progbar=True)
    mcmc.run(X[:, 0])
    tree = diagnostics.from_pyro(mcmc)
    assert "which" in tree.attrs["left_out"]
    assert "log_likelihood" not in tree.children


def test_bad_arguments():
    """Catches errors that do not say what was expected."""
    with pytest.raises(TypeError, match="from_pyro_svi"):
        diagnostics.from_pyro(torch.zeros(3))
    with pytest.raises(ValueError, match=r"mcmc.run"):
        diagnostics.from_pyro(MCMC(RandomWalkKernel(model), num_samples=2, disable_progbar=True))


def test_computed_values_and_names_of_the_model():
    """Catches deterministic sites left out, their plates taken for events, and names in `infer` that nobody reads."""

    def named(x):
        loc = pyro.sample("loc", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["component"]})
        pyro.deterministic("total", loc.sum(-1))
        with pyro.plate("data", 3):
            z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            pyro.deterministic("twice", 2 * z, event_dim=1)
            pyro.deterministic("first", z[..., 0])
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    tree = diagnostics.from_pyro(run(NUTS(named)))
    assert tree.posterior["loc"].dims == ("chain", "draw", "component")
    assert tree.posterior["total"].dims == ("chain", "draw")
    assert tree.posterior["first"].dims == ("chain", "draw", "data")
    assert tree.posterior["twice"].dims == ("chain", "draw", "data", "twice_dim_0")
    np.testing.assert_allclose(tree.posterior["twice"].values, 2 * tree.posterior["z"].values)
    np.testing.assert_allclose(tree.posterior["first"], tree.posterior["z"][..., 0])
    np.testing.assert_allclose(tree.posterior["total"], tree.posterior["loc"].sum("component"), rtol=1e-6)


@pytest.mark.parametrize("kernel", [RandomWalkKernel, NUTS])
def test_acceptance_of_each_chain(kernel):
    """Catches an acceptance rate lost because Pyro has one number for all draws of a chain."""
    mcmc = run(kernel(model))
    (rate,) = diagnostics.from_pyro(mcmc).attrs["acceptance_rate"]
    assert rate == pytest.approx(mcmc.diagnostics()["acceptance rate"]["chain 0"])


def test_a_bare_potential():
    """Catches a converter that cannot do without a model."""
    potential = lambda values: ((values["z"] - 1.0) ** 2).sum() / 2
    mcmc = MCMC(
        HMC(potential_fn=potential),
        num_samples=4,
        warmup_steps=2,
        initial_params={"z": torch.zeros(3)},
        disable_progbar=True,
    )
    mcmc.run()
    tree = diagnostics.from_pyro(mcmc, dims={"z": ["component"]})
    assert tree.posterior["z"].dims == ("chain", "draw", "component")
    assert set(tree.children) == {"posterior", "sample_stats"}
    assert list(tree.sample_stats) == ["diverging"]


@pytest.mark.parametrize("num_chains", [1, 4])
def test_what_a_machines_kernel_tells(num_chains):
    """Catches energies of other draws or chains than those beside them, and rows of data taken for units."""
    rbm, x = models.RBM(visible=4, hidden=3), torch.eye(4)[:2]
    torch.manual_seed(0)
    machine = rbm.machine().condition({"visible": x})
    mcmc = MCMC(inference.BlockGibbs(machine).to_pyro(num_chains), num_samples=5, warmup_steps=2, disable_progbar=True)
    mcmc.run()
    tree = diagnostics.from_pyro(mcmc)
    assert dict(tree.posterior["hidden"].sizes) == {"chain": num_chains, "draw": 5, "data": 2, "hidden_dim_0": 3}
    assert tree.posterior["hidden"].dtype == np.int8
    assert tree.sample_stats["energy"].dims == ("chain", "draw", "data")
    visible, hidden = (torch.as_tensor(tree.posterior[name].values).float() for name in ("visible", "hidden"))
    with torch.no_grad():
        expected = rbm.machine().energy(torch.cat([visible, hidden], -1))
    moved = tree.sample_stats["energy"].values - expected.numpy()
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:1, :1], moved.shape), atol=1e-5)
    tempered = MCMC(
        inference.ParallelTempering(rbm, 3).to_pyro(num_chains), num_samples=4, warmup_steps=2, disable_progbar=True
    )
    tempered.run()
    tree = diagnostics.from_pyro(tempered)
    assert tree.sample_stats["replica"].dims == ("chain", "draw", "temperature")
    assert float(tree.sample_stats["temperature"][-1]) == 1.0
