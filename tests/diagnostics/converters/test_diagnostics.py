"""Trees from trained guides: the right numbers under the right names, as ArviZ reads them."""

import math
import warnings

import arviz_stats
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoMultivariateNormal, AutoNormal

from ppgen import Pair, diagnostics, evaluation, models, training
from ppgen.distributions.machines.samplers import GibbsSampler

X = (torch.arange(18).reshape(6, 3) % 5 < 2).float()


def small_vae():
    torch.manual_seed(1)
    return models.VAE(features=3, latent=2, hidden=(4,))


def conjugate_pair(exact=True):
    """z ~ N(0, 1), x ~ N(z, 1) for each datum; the posterior is N(x/2, 1/2)."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        scale = math.sqrt(0.5) if exact else 1.0
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x / 2, scale))

    return Pair(model, guide, plate="rows")


def global_model(x):
    """A common location of three components and a datum each."""
    loc = pyro.sample("loc", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)


def test_groups_dimensions_and_values_of_a_vae():
    """Catches swapped draw and data dimensions, lost plate names and groups that do not fit each other."""
    tree = diagnostics.from_pyro_svi(small_vae(), X, num_samples=7)
    assert dict(tree.posterior["z"].sizes) == {"chain": 1, "draw": 7, "data": 6, "z_dim_0": 2}
    assert tree.posterior_predictive["x"].dims == ("chain", "draw", "data", "x_dim_0")
    assert tree.log_likelihood["x"].dims == tree.sample_stats["log_p"].dims == ("chain", "draw", "data")
    assert tree.prior["z"].shape == (1, 7, 6, 2)
    assert tree.prior_predictive["x"].shape == (1, 7, 6, 3)
    np.testing.assert_array_equal(tree.observed_data["x"], X)
    assert tree.attrs["inference"] == "variational"
    assert set(tree.children) == {
        "posterior", "sample_stats", "log_likelihood", "posterior_predictive", "observed_data", "prior",
        "prior_predictive",
    }  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"chunk": 13}, {"chunk": 1}, {"vectorize_particles": False}])
def test_densities_belong_to_the_draws_beside_them(options):
    """Catches densities of other draws (chunks put together in another order) and a wrong sum of sites."""
    vae = small_vae()
    tree = diagnostics.from_pyro_svi(vae, X, num_samples=9, **options)
    z = torch.as_tensor(tree.posterior["z"].values[0])
    with torch.no_grad():
        log_lik = vae.decoder(z).log_prob(X)
        log_q = vae.encoder(X).log_prob(z)
    log_p = log_lik + dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    np.testing.assert_allclose(tree.log_likelihood["x"][0], log_lik, rtol=1e-5)
    np.testing.assert_allclose(tree.sample_stats["log_p"][0], log_p, rtol=1e-5)
    np.testing.assert_allclose(tree.sample_stats["log_q"][0], log_q, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(tree.sample_stats["lp"][0], log_p.sum(1), rtol=1e-5)
    assert len(np.unique(tree.posterior["z"].values)) == z.numel()


def test_draws_follow_guide_model_and_prior():
    """Catches predictive draws that keep the observation or ignore the latent, a prior from the guide."""
    x = torch.tensor([-3.0, 1.0, 4.0])
    tree = diagnostics.from_pyro_svi(conjugate_pair(), x, num_samples=4000, predictions=x[:2] + 10)
    sem = 4 / math.sqrt(4000)
    expected = {
        ("posterior", "z"): (x / 2, math.sqrt(0.5)),
        ("posterior_predictive", "x"): (x / 2, math.sqrt(1.5)),
        ("prior", "z"): (torch.zeros(3), 1.0),
        ("prior_predictive", "x"): (torch.zeros(3), math.sqrt(2.0)),
        ("predictions", "x"): ((x[:2] + 10) / 2, math.sqrt(1.5)),
    }
    for (group, name), (mean, sd) in expected.items():
        drawn = tree[group][name]
        assert drawn.dims == ("chain", "draw", "rows"), group
        np.testing.assert_allclose(drawn.mean(("chain", "draw")), mean, atol=sem * sd, err_msg=group)
        np.testing.assert_allclose(drawn.std(("chain", "draw")), sd, rtol=sem, err_msg=group)


def test_log_weights_are_the_evidence_under_the_exact_posterior():
    """Catches a plate's factor or a sign: log p(x, z) - log q(z | x) is log p(x) for every draw."""
    x = torch.tensor([-3.0, 1.0, 4.0])
    tree = diagnostics.from_pyro_svi(conjugate_pair(), x, num_samples=5)
    log_evidence = dist.Normal(0.0, math.sqrt(2.0)).log_prob(x)
    np.testing.assert_allclose(tree.sample_stats["log_weight"][0], log_evidence.expand(5, 3), rtol=1e-5)


def test_global_latent_with_an_autoguide():
    """Catches a data dimension on a global latent, auxiliary sites exported, densities of a part only."""
    pair = Pair(global_model, AutoNormal(global_model))
    tree = diagnostics.from_pyro_svi(pair, X, num_samples=8, dims={"loc": ["component"]})
    assert list(tree.posterior) == ["loc"]
    assert dict(tree.posterior["loc"].sizes) == {"chain": 1, "draw": 8, "component": 3}
    assert tree.sample_stats["log_p"].dims == tree.sample_stats["log_q"].dims == ("chain", "draw")
    loc = torch.as_tensor(tree.posterior["loc"].values[0])
    log_p = dist.Normal(loc[:, None], 0.5).log_prob(X).sum((1, 2)) + dist.Normal(0.0, 1.0).log_prob(loc).sum(1)
    np.testing.assert_allclose(tree.sample_stats["log_p"][0], log_p, rtol=1e-5)
    assert tree.log_likelihood["x"].dims == ("chain", "draw", "data")
    assert tree.prior["loc"].dims == ("chain", "draw", "component")


def test_rbm_with_its_exact_posterior():
    """Catches a missing log Z: every log-weight of an RBM is log p(x)."""
    rbm = models.RBM(visible=3, hidden=2)
    with torch.no_grad():
        rbm.weight.copy_(torch.tensor([[0.5, -1.0], [2.0, 0.3], [-0.7, 1.1]]))
    tree = diagnostics.from_pyro_svi(rbm, X, num_samples=20)
    exact = evaluation.log_likelihood(rbm, X, method="exact").pointwise
    np.testing.assert_allclose(tree.sample_stats["log_weight"][0], np.tile(exact, (20, 1)), atol=1e-5)
    assert tree.posterior["hidden"].dtype == np.int8
    assert tree.prior_predictive["visible"].shape == (1, 20, 6, 3)
    assert "left_out" not in tree.attrs


def test_large_rbm_says_what_it_leaves_out():
    """Catches a prior drawn from a sampler that nobody chose, and densities passed off as normalised."""
    rbm = models.RBM(visible=20, hidden=18)
    x = torch.zeros(2, 20)
    tree = diagnostics.from_pyro_svi(rbm, x, num_samples=3)
    assert "prior" not in tree.children
    assert "sampler" in tree.attrs["left_out"] and "log_partition" in tree.attrs["left_out"]
    tree = diagnostics.from_pyro_svi(rbm, x, num_samples=3, sampler=GibbsSampler(5), log_partition=20.0)
    assert tree.prior["hidden"].shape == (1, 3, 2, 18)
    assert "left_out" not in tree.attrs


@pytest.mark.parametrize("num_samples", [1, 4])
def test_plates_nested_and_deterministic_sites(num_samples):
    """Catches plates in the wrong order, deterministic sites taken for data, factors taken for sites."""

    def model(x):
        with pyro.plate("feature", 3, dim=-2):
            loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
            pyro.deterministic("double", 2 * loc)
        with pyro.plate("data", 6, dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.factor("push", z)
            with pyro.plate("feature2", 3, dim=-2):
                pyro.sample("x", dist.Normal(loc + z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("feature", 3, dim=-2):
            pyro.sample("loc", dist.Normal(1.0, 0.1))
        with pyro.plate("data", 6, dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    tree = diagnostics.from_pyro_svi(Pair(model, guide), X.T.contiguous(), num_samples=num_samples)
    assert tree.posterior["loc"].dims == tree.posterior["double"].dims == ("chain", "draw", "feature")
    np.testing.assert_allclose(tree.posterior["double"], 2 * tree.posterior["loc"], rtol=1e-6)
    assert list(tree.observed_data) == list(tree.log_likelihood) == ["x"]
    assert tree.observed_data["x"].dims == ("feature2", "data")
    assert tree.log_likelihood["x"].dims == ("chain", "draw", "data")
    assert tree.prior["double"].dims == ("chain", "draw", "feature")
    np.testing.assert_allclose(tree.prior["double"], 2 * tree.prior["loc"], rtol=1e-6)


def test_sample_dims_of_from_numpyro_svi():
    """Catches a form that `summary` with `sample_dims=["sample"]` cannot read."""
    tree = diagnostics.from_pyro_svi(small_vae(), X, num_samples=30, sample_dims=["sample"])
    assert tree.posterior["z"].dims == ("sample", "data", "z_dim_0")
    table = arviz_stats.summary(tree, sample_dims=["sample"], kind="stats")
    assert table.shape[0] == 12


def test_arviz_reads_the_tree():
    """Catches what ArviZ cannot read, and densities with which LOO of a guide cannot be corrected."""
    tree = diagnostics.from_pyro_svi(conjugate_pair(exact=False), torch.linspace(-1, 1, 6), num_samples=500)
    table = arviz_stats.summary(tree, round_to="none")
    assert (table["ess_bulk"] > 250).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pareto k is large for latents of single data
        plain = arviz_stats.loo(tree)
        corrected = arviz_stats.loo_approximate_posterior(
            tree, log_p=tree.sample_stats["log_p"], log_q=tree.sample_stats["log_q"]
        )
    # Without x_i the latent z_i follows its prior, so x_i ~ N(0, 2).
    expected = float(dist.Normal(0.0, math.sqrt(2.0)).log_prob(torch.linspace(-1, 1, 6)).sum())
    assert abs(corrected.elpd - expected) < 0.15
    assert abs(plain.elpd - expected) > 0.3


def test_a_plot_of_arviz_plots():
    """Catches dimensions that arviz-plots cannot facet."""
    import arviz_plots

    tree = diagnostics.from_pyro_svi(conjugate_pair(), torch.linspace(-1, 1, 2), num_samples=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collection = arviz_plots.plot_dist(tree, backend="none")
    assert collection is not None


def test_netcdf_round_trip(tmp_path):
    """Catches attributes or types that netCDF cannot hold."""
    tree = diagnostics.from_pyro_svi(small_vae(), X, num_samples=4)
    tree.to_netcdf(tmp_path / "posterior.nc", engine="h5netcdf")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as back:
        assert tree.identical(back)


def test_leaves_no_trace():
    """Catches a moved random state, a changed training flag and parameters in Pyro's store."""
    pair = Pair(global_model, AutoNormal(global_model))
    pair.train()
    before = torch.get_rng_state()
    first = diagnostics.from_pyro_svi(pair, X, num_samples=3, seed=2)
    assert torch.equal(before, torch.get_rng_state())
    assert pair.training
    assert not list(pyro.get_param_store())
    again = diagnostics.from_pyro_svi(pair, X, num_samples=3, seed=2)
    assert first.posterior.to_dataset().equals(again.posterior.to_dataset())
    assert not first.posterior.to_dataset().equals(
        diagnostics.from_pyro_svi(pair, X, num_samples=3, seed=3).posterior.to_dataset()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples must be a positive integer"),
        ({"sample_dims": ["draw", "chain"]}, "sample_dims must be"),
        ({"dims": {"z": ["a", "b", "c"]}}, "dims of 'z'"),
        ({"coords": {"data": [1, 2]}}, r"coords\['data'\] must hold 6 values"),
        ({"log_partition": 1.0}, "no undirected site"),
    ],
)
def test_bad_arguments(options, message):
    """Catches errors that name neither the argument nor what was given."""
    with pytest.raises(ValueError, match=message):
        diagnostics.from_pyro_svi(small_vae(), X, **{"num_samples": 2, **options})


def test_coordinates_and_names_of_dimensions():
    """Catches coordinates put on the wrong dimension."""
    tree = diagnostics.from_pyro_svi(
        small_vae(),
        X,
        num_samples=2,
        dims={"z": ["unit"], "x": ["data", "pixel"]},
        coords={"data": list("abcdef")},
    )
    assert tree.posterior["z"].dims == ("chain", "draw", "data", "unit")
    assert tree.posterior_predictive["x"].dims[-1] == "pixel"
    assert list(tree.log_likelihood["data"].values) == list("abcdef")


def test_data_outside_the_support_are_refused():
    """Catches a tree of densities for grey data, which a law of bits has none of; also as predictions."""
    rbm, grey = models.RBM(6, 3), torch.rand(5, 6)
    with pytest.raises(ValueError, match="'visible' must lie in.*Binarise"):
        diagnostics.from_pyro_svi(rbm, grey, num_samples=2)
    with pytest.raises(ValueError, match="'visible' must lie in.*Binarise"):
        diagnostics.from_pyro_svi(rbm, torch.ones(5, 6), predictions=grey, num_samples=2)


def ratings(x):
    """A global mean, effects of items and of raters, and a discrete type of each rater who gives a row of ratings."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.Gamma(2.0, 2.0))
    shift = pyro.sample("shift", dist.Normal(torch.zeros(2), 1.0).to_event(1), infer={"event_dims": ["kind"]})
    item = pyro.plate("item", 3, dim=-1)
    with item:
        effect = pyro.sample("effect", dist.Normal(0.0, spread))
    with pyro.plate("rater", len(x), dim=-2):
        kind = pyro.sample("type", dist.Bernoulli(0.3))
        with item:
            loc = mean + effect + torch.where(kind > 0, shift[..., 1], shift[..., 0])
            pyro.sample("rating", dist.Normal(loc, 1.0), obs=x)


class RatingsGuide(pyro.nn.PyroModule):
    """An AutoGuide of what is common to all, and the type of each rater from their ratings."""

    def __init__(self, auto):
        super().__init__()
        self.auto = auto(pyro.poutine.block(ratings, hide=["type"]))

    def forward(self, x):
        self.auto(x)
        with pyro.plate("rater", len(x), dim=-2):
            pyro.sample("type", dist.Bernoulli(torch.sigmoid(x.mean(-1, keepdim=True))))


@pytest.mark.parametrize("auto", [AutoNormal, AutoMultivariateNormal, AutoLowRankMultivariateNormal])
@pytest.mark.parametrize("chunk", [1, 20, 10_000])
def test_several_plates_globals_types_and_an_autoguide(auto, chunk):
    """Catches plates of another site, auxiliary draws exported, bits as floats, and a density that misses a site."""
    x = torch.arange(12.0).reshape(4, 3) / 6 - 1
    pair = Pair(ratings, RatingsGuide(auto), plate="rater")
    tree = diagnostics.from_pyro_svi(pair, x, num_samples=6, chunk=chunk, coords={"kind": ["plain", "keen"]})
    dims = {name: array.dims[2:] for name, array in tree.posterior.data_vars.items()}
    assert dims == {"mean": (), "spread": (), "shift": ("kind",), "effect": ("item",), "type": ("rater",)}
    assert tree.posterior["type"].dtype == np.int8
    assert tree.observed_data["rating"].dims == ("rater", "item")
    assert tree.prior_predictive["rating"].dims == ("chain", "draw", "rater", "item")
    assert tree.prior["shift"]["kind"].values.tolist() == ["plain", "keen"]
    assert tree.log_likelihood["rating"].dims == ("chain", "draw", "rater")
    assert tree.sample_stats["log_p"].dims == tree.sample_stats["log_q"].dims == ("chain", "draw")
    mean, spread, shift, effect, kind = (torch.as_tensor(tree.posterior[name].values[0]) for name in dims)
    chosen = torch.where(kind > 0, shift[:, 1:], shift[:, :1])
    loc = mean[:, None, None] + effect[:, None] + chosen[..., None]
    log_lik = dist.Normal(loc, 1.0).log_prob(x).sum(-1)
    np.testing.assert_allclose(tree.log_likelihood["rating"][0], log_lik, rtol=1e-4)
    normal = dist.Normal(0.0, 1.0)
    prior = normal.log_prob(mean) + dist.Gamma(2.0, 2.0).log_prob(spread) + normal.log_prob(shift).sum(-1)
    prior = prior + dist.Normal(0.0, spread[:, None]).log_prob(effect).sum(-1)
    prior = prior + dist.Bernoulli(0.3).log_prob(kind.float()).sum(-1)
    np.testing.assert_allclose(tree.sample_stats["log_p"][0], prior + log_lik.sum(-1), rtol=1e-4)


@pytest.mark.parametrize("inner", [False, True])
def test_plates_that_draw_subsamples_are_refused(inner):
    """Catches a tree, and refined bounds, of the rows or columns that a program drew by itself, as if they were all."""

    def model(x):
        with pyro.plate("data", len(x), subsample_size=None if inner else 3, dim=-2) as rows:
            z = pyro.sample("z", dist.Normal(torch.zeros(len(rows), 1), 1.0))
            with pyro.plate("columns", x.shape[1], subsample_size=2 if inner else None, dim=-1) as columns:
                pyro.sample("x", dist.Normal(z, 1.0), obs=x[rows][:, columns])

    def guide(x):
        slope = pyro.param("slope", torch.tensor(0.5))
        with pyro.plate("data", len(x), subsample_size=None if inner else 3, dim=-2) as rows:
            pyro.sample("z", dist.Normal(slope * x[rows].mean(1, keepdim=True), 0.7))

    told = f"Plate '{'columns' if inner else 'data'}' draws a subsample of {'2 of 4' if inner else '3 of 6'} by itself"
    with pytest.raises(ValueError, match=told):
        diagnostics.from_pyro_svi(Pair(model, guide), torch.randn(6, 4), num_samples=2)
    with pytest.raises(ValueError, match=told):
        training.refine(Pair(model, guide), torch.randn(6, 4), steps=1)
