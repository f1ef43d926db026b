"""Every export goes to a file and comes back, and ArviZ computes and draws from it what it promises to."""

import math
import sys
import warnings
from unittest import mock

import arviz_plots
import arviz_stats
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, Predictive
from pyro.infer.autoguide import AutoNormal

from ppgen import Pair, diagnostics, inference, models

if sys.version_info >= (3, 12):
    from arviz import from_netcdf
else:
    from xarray import open_datatree as from_netcdf

NUM_ROWS = 20
X = torch.linspace(-1.0, 1.5, NUM_ROWS)
GROUPS = {
    "posterior", "sample_stats", "log_likelihood", "posterior_predictive", "prior", "prior_predictive", "observed_data",
}  # fmt: skip


def location(x):
    """A location common to all data; without datum i it is N(mean of the others x (n - 1) / n, 1 / n)."""
    loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
    with pyro.plate("data", NUM_ROWS):
        pyro.sample("x", dist.Normal(loc, 1.0), obs=x)


def local(x):
    """A location of each datum."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def local_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.8 * x, 0.9))


def leave_one_out():
    """Sum of log p(x_i | all others) under `location`, in nats."""
    mean = (X.sum() - X) / NUM_ROWS
    return float(dist.Normal(mean, math.sqrt(1 + 1 / NUM_ROWS)).log_prob(X).sum())


def guide_tree():
    """Of an AutoGuide that is wider than the posterior, and away from it."""
    guide = AutoNormal(location)
    pair = Pair(location, guide)
    pair.prepare(X)
    guide.locs.loc = torch.tensor(float(X.sum()) / (NUM_ROWS + 1) + 0.1)
    guide.scales.loc = torch.tensor(0.35)
    return diagnostics.from_pyro_svi(pair, X, num_samples=4000, seed=1)


def pyro_tree():
    with mock.patch("torch.multiprocessing.cpu_count", return_value=1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that chains are drawn one after another, which is what the patch is for
        mcmc = MCMC(NUTS(location), num_samples=300, warmup_steps=50, num_chains=2, disable_progbar=True)
    mcmc.run(X)
    prior = Predictive(location, num_samples=50)(None)
    predictive = Predictive(location, mcmc.get_samples())(None)
    return diagnostics.from_pyro(mcmc, prior=prior, posterior_predictive=predictive)


def hamiltonian_tree():
    pair = Pair(local, local_guide)
    chains = inference.sample_posterior(pair, X, num_samples=250, warmup_steps=100, num_chains=4)
    return diagnostics.from_chains(chains, pair, X)


def gibbs_tree():
    torch.manual_seed(3)
    rbm, x = models.RBM(visible=6, hidden=12), (torch.arange(30).reshape(5, 6) % 7 < 3).float()
    kernel = inference.BlockGibbs(rbm.machine().condition({"visible": x}))
    chains = inference.sample(kernel, 100, num_chains=4, warmup_steps=1)
    return diagnostics.from_chains(chains, rbm, x)


EXPORTS = {"guide": guide_tree, "pyro": pyro_tree, "hamiltonian": hamiltonian_tree, "gibbs": gibbs_tree}
CHAINS = ("pyro", "hamiltonian", "gibbs")


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """Every export as it comes back from a file."""
    folder, found = tmp_path_factory.mktemp("trees"), {}
    for name, make in EXPORTS.items():
        torch.manual_seed(0)
        tree = make()
        tree.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
        found[name] = from_netcdf(folder / f"{name}.nc", engine="h5netcdf")
        assert tree.identical(found[name]), name  # an attribute or a type that netCDF cannot hold
    return found


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_has_all_groups(trees, name):
    """Catches a converter that leaves a group out, and draws that stand before the chains."""
    tree = trees[name]
    assert set(tree.children) == GROUPS
    for group in GROUPS - {"observed_data"}:
        for variable in tree[group].data_vars.values():
            assert variable.dims[:2] == ("chain", "draw"), (group, variable.name)
    for values in tree["log_likelihood"].data_vars.values():
        assert values.dims == ("chain", "draw", "data")


@pytest.mark.parametrize("name", EXPORTS)
def test_summary_and_effective_size(trees, name):
    """Catches dimensions and types of which ArviZ makes no table."""
    tree = trees[name]
    size = sum(array[0, 0].size for array in tree.posterior.data_vars.values())
    draws = tree.posterior.sizes["chain"] * tree.posterior.sizes["draw"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bits that are the median as often as not: 0 / 0 in folded ranks
        assert arviz_stats.summary(tree).shape[0] == size
        found = arviz_stats.ess(tree)
    assert all((array > draws / 10).all() for array in found.data_vars.values())


@pytest.mark.parametrize("name", CHAINS)
def test_chains_agree(trees, name):
    """Catches chains that hold draws of other chains or of other data: R-hat then leaves 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        found = arviz_stats.rhat(trees[name], method="split")
    assert all((array < 1.05).all() for array in found.data_vars.values())


@pytest.mark.parametrize("name", EXPORTS)
def test_pareto_smoothing_and_loo(trees, name):
    """Catches log-likelihoods that are not of single data, or not of the draws."""
    tree = trees[name]
    (values,) = tree.log_likelihood.data_vars.values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # k is large where each datum has a latent of its own; bits give ties
        log_weights, k = values.azstats.psislw(dim=["chain", "draw"])
        found = arviz_stats.loo(tree, pointwise=True)
    np.testing.assert_allclose(np.exp(log_weights).sum(("chain", "draw")), 1.0, rtol=1e-6)
    assert k.dims == ("data",)
    assert found.elpd_i.sizes == {"data": values.sizes["data"]}
    if name == "pyro":
        assert abs(found.elpd - leave_one_out()) < 0.3  # its standard error is 0.08


def test_loo_of_a_guide_is_corrected(trees):
    """Catches log p or log q of other draws, or of a part of the sites: plain LOO of this guide is 0.6 nats off."""
    stats = trees["guide"].sample_stats
    plain = arviz_stats.loo(trees["guide"])
    found = arviz_stats.loo_approximate_posterior(trees["guide"], log_p=stats["log_p"], log_q=stats["log_q"])
    assert abs(plain.elpd - leave_one_out()) > 0.3
    assert abs(found.elpd - leave_one_out()) < 0.1
    log_weights, k = (-stats["log_weight"]).azstats.psislw(dim=["chain", "draw"])  # takes log-likelihoods
    assert k < 0.7
    mean = float((np.exp(log_weights) * trees["guide"].posterior["loc"]).sum())
    assert abs(mean - float(X.sum()) / (NUM_ROWS + 1)) < 4 * 0.22 / math.sqrt(1000)


def traces(trees):
    return arviz_plots.plot_trace(trees["hamiltonian"], coords={"data": [0, 1, 2]})


def intervals(trees):
    return arviz_plots.plot_forest(trees["hamiltonian"])


def pareto_k(trees):
    return arviz_plots.plot_khat(arviz_stats.loo(trees["pyro"], pointwise=True))


def predictive(trees):
    return arviz_plots.plot_ppc_dist(trees["hamiltonian"], num_samples=20)


def energies(trees):
    return arviz_plots.plot_energy(trees["hamiltonian"].isel(data=0))


FIGURES = (traces, intervals, pareto_k, predictive, energies)


@pytest.mark.parametrize("draw", FIGURES)
def test_figures(trees, draw, tmp_path):
    """Catches coordinates and groups of which arviz-plots draws nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of matplotlib's, about layouts
        draw(trees).savefig(tmp_path / "figure.png")
    figures = [plt.figure(number) for number in plt.get_fignums()]
    drawn = sum(len(axes.lines) + len(axes.collections) for figure in figures for axes in figure.axes)
    plt.close("all")
    assert drawn >= 1
    assert (tmp_path / "figure.png").stat().st_size > 5_000
