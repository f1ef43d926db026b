"""Chains over all latents of a data set together, where some are common to all data."""

import hierarchies
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics, inference

X = hierarchies.DATA


@pytest.mark.parametrize("num_chains", [1, 3])
def test_density_is_that_of_all_latents(num_chains):
    """Catches a row's terms left out, the common latent counted once a row, and positions in another order."""
    pair = hierarchies.pair()
    density = inference.LatentDensity(pair, X, num_chains)
    assert (density.num_rows, density.dim, density.joint) == (1, 5, True)
    position = torch.randn(num_chains, 1, 5)
    mean, z = position[:, 0, :1], position[:, 0, 1:]
    expected = dist.Normal(0.0, 2.0).log_prob(mean) + (
        dist.Normal(mean, 1.0).log_prob(z) + dist.Normal(z, 0.5).log_prob(X)
    ).sum(1, keepdim=True)
    torch.testing.assert_close(density(position), expected)
    values = density.values(position)
    torch.testing.assert_close(values["mean"], mean[:, 0])
    torch.testing.assert_close(values["z"], z)


def groups(x):
    """Effects of two groups outside the data plate, in the dimension that it has, and a scale of support."""
    with pyro.plate("group", 2):
        effect = pyro.sample("effect", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(effect.sum((-1, -2)).unsqueeze(-1), scale), obs=x)


def groups_guide(x):
    with pyro.plate("group", 2):
        pyro.sample("effect", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))


@pytest.mark.parametrize("num_chains", [1, 2])
def test_plates_and_supports_outside_of_the_data_plate(num_chains):
    """Catches a plate of groups taken for the rows, a Jacobian left out, and values that do not come back."""
    pair = ppgen.Pair(groups, groups_guide)
    density = inference.LatentDensity(pair, X, num_chains)
    position = torch.randn(num_chains, 1, 7)
    values = density.values(position)
    assert values["effect"].shape == (num_chains, 2, 3) and values["scale"].shape == (num_chains,)
    assert density.dims() == {"effect": ("group", None), "scale": ()}
    effect, log_scale = position[:, 0, :6], position[:, 0, 6]
    expected = dist.Normal(0.0, 1.0).log_prob(effect).sum(1) + dist.Normal(0.0, 1.0).log_prob(log_scale)
    expected = expected + dist.Normal(effect.sum(1)[:, None], log_scale.exp()[:, None]).log_prob(X).sum(1)
    torch.testing.assert_close(density(position)[:, 0], expected)
    drawn = density.draw("guide")
    assert drawn.shape == (num_chains, 1, 7)


def test_chains_find_the_posterior():
    """Catches chains of single rows, whose common latent would have as many posteriors."""
    chains = inference.sample_posterior(
        hierarchies.pair(width=2.0), X, num_samples=100, warmup_steps=60, num_chains=60, seed=1
    )
    loc, scale = hierarchies.posterior_of_mean(X)
    mean = chains.draws["mean"]
    assert mean.shape == (60, 100) and chains.draws["z"].shape == (60, 100, 4)
    assert chains.log_density.shape == chains.info.energy.shape == (60, 100) and chains.step_size.shape == (60,)
    error = mean.mean(1).std() / 60**0.5
    assert abs(mean.mean() - loc) < 4 * error < 0.1
    assert float(mean.std()) == pytest.approx(scale, rel=0.06)
    assert "60 chains x 100 draws of all data" in repr(chains)
    tree = diagnostics.from_chains(chains, hierarchies.pair(), X)
    assert dict(tree.posterior["mean"].sizes) == {"chain": 60, "draw": 100}
    assert tree.posterior["z"].dims == ("chain", "draw", "data")
    assert tree.sample_stats["lp"].dims == tree.sample_stats["log_p"].dims == ("chain", "draw")
    torch.testing.assert_close(torch.tensor(tree.sample_stats["log_p"].values).float(), chains.log_density)
    assert tree.log_likelihood["x"].dims == ("chain", "draw", "data")


def coupled(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
    pyro.sample("sum", dist.Normal(z.sum(-1, keepdim=True), 0.5), obs=x.sum())


def coupled_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))


def test_rows_that_are_joined_move_together():
    """Catches a site outside the plate left out of the density, though it depends on the latents of all rows."""
    chains = inference.sample_posterior(
        ppgen.Pair(coupled, coupled_guide), 2 * X, num_samples=60, warmup_steps=60, num_chains=20
    )
    total = chains.draws["z"].sum(-1)
    assert float(total.mean()) == pytest.approx(float(2 * X.sum()) * 4 / 4.25, abs=0.1)


def unbounded(x):
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(0.0, scale), obs=x)


def test_trajectories_that_overflow_are_rejected():
    """Catches chains that end with an error of a law where a trajectory left for numbers that overflow."""
    pair = ppgen.Pair(unbounded, lambda x: pyro.sample("scale", dist.LogNormal(0.0, 1.0)))
    found = inference.sample_posterior(
        pair, torch.ones(2), num_samples=3, warmup_steps=0, kernel=inference.HMC(step_size=50.0)
    )
    assert found.info.diverging.any() and found.draws["scale"].isfinite().all()


def mixed(x):
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(w.sum(), 1.0), obs=x)


def test_chains_that_a_program_mixes_up_are_refused():
    """Catches chains of one posterior that see the sum over all of them, each far from where it should be."""
    pair = ppgen.Pair(mixed, lambda x: pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1)))
    with pytest.raises(ValueError, match="takes chains together.*num_chains=1"):
        inference.sample_posterior(pair, X, num_samples=2, warmup_steps=1, num_chains=3)
    assert inference.sample_posterior(pair, X, num_samples=2, warmup_steps=1).draws["w"].shape == (1, 2, 3)
