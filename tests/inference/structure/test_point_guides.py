"""Guides that have a point and no law: MAP estimates are trained, and nowhere taken for a bound."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import autoguide
from torch import Tensor

import ppgen
from ppgen import diagnostics, evaluation, inference, training

SCALE, NOISE = 0.4, 0.5
X = torch.tensor([[0.9, -0.4], [-0.2, 0.1], [0.3, 1.2]], dtype=torch.float64)
LOADING = torch.tensor([0.8, -0.6], dtype=torch.float64)


def model(x: Tensor) -> None:
    """Sparse coding with one code a datum."""
    with pyro.plate("data", len(x)):
        a = pyro.sample("a", dist.Laplace(x.new_zeros(len(x)), SCALE))
        pyro.sample("x", dist.Normal(a.unsqueeze(-1) * LOADING, NOISE).to_event(1), obs=x)


def at_the_mode(x: Tensor) -> None:
    """The exact MAP: soft thresholding."""
    slope = pyro.param("slope", torch.ones((), dtype=torch.float64))
    pull, curvature = x @ LOADING / NOISE**2, LOADING.square().sum() / NOISE**2
    mode = pull.sign() * (pull.abs() - 1 / SCALE).clamp(min=0) / curvature
    with pyro.plate("data", len(x)):
        pyro.sample("a", dist.Delta(slope * mode))


def truth() -> float:
    """Mean log p(x) by quadrature, nats."""
    grid = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    prior = torch.distributions.Laplace(grid.new_zeros(()), SCALE).log_prob(grid)
    likelihood = torch.distributions.Normal(grid[:, None] * LOADING, NOISE).log_prob(X[:, None]).sum(-1)
    return float((prior + likelihood).logsumexp(1).mean() + math.log(float(grid[1] - grid[0])))


def pair() -> ppgen.Pair:
    return ppgen.Pair(model, at_the_mode)


def test_log_likelihood_anneals_from_the_prior() -> None:
    """Catches the log joint at the mode printed as a lower bound, 0.3 nats above log p(x)."""
    found = evaluation.log_likelihood(pair(), X, num_chains=50, betas=20)
    assert found.method.startswith("auto: AIS from the prior")
    assert abs(found.value - truth()) < 4 * found.se + 0.02
    joint = inference.log_weights(_prepared(), X).local.mean().item()
    assert joint > truth() + 0.1  # what was printed
    settings = {"method": "ais", "num_chains": 50, "betas": 20}
    assert evaluation.log_likelihood(pair(), X, kernel=inference.SparseGibbs(), **settings).value == found.value
    again = evaluation.log_likelihood(pair(), X, **settings)  # by Hamiltonian Monte Carlo
    assert abs(again.value - truth()) < 4 * again.se + 0.02


def _prepared() -> ppgen.Pair:
    made = pair()
    made.prepare(X)
    return made


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda p: evaluation.log_likelihood(p, X, method="importance"), "method='ais'"),
        (lambda p: evaluation.log_likelihood(p, X, method="elbo"), "method='ais'"),
        (lambda p: evaluation.log_likelihood(p, X, method="bound"), "method='ais'"),
        (lambda p: evaluation.log_likelihood(p, X, method="exact"), "method='ais'"),
        (lambda p: evaluation.log_likelihood(p, X, method="ais", start="guide"), 'start="prior"'),
        (lambda p: evaluation.bdmc(p, like=X, start="guide", betas=2), 'start="prior"'),
        (lambda p: diagnostics.importance_weights(p, X), "method='ais'"),
        (lambda p: diagnostics.approximation_gap(p, X), "draws the site"),
        (lambda p: training.refine(p, X), "draws the site"),
        (lambda p: diagnostics.simulation_based_calibration(p, x=X, num_simulations=20), "HMC"),
    ],
)
def test_weights_bounds_and_ranks_refuse_a_point(call: Callable[[Any], Any], instead: str) -> None:
    """Catches k-hat 0 and an efficiency of 100 % where there are no weights, and ranks among equal draws."""
    with pytest.raises(ValueError, match="site 'a' a point and no law") as told:
        call(pair())
    assert instead in str(told.value)


def test_a_fit_says_what_its_values_are(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """Catches a MAP estimate refused, or its curve taken for a bound."""
    run = ppgen.fit(pair(), X, "elbo", epochs=1, folder=tmp_path / "run")
    told = "values are the log joint at a point (the guide's Delta at 'a'), no bound of log p(x)"
    assert told in capsys.readouterr().out
    assert told in repr(run)
    assert told in repr(ppgen.load(tmp_path / "run", pair=pair()))
    estimate = evaluation.log_likelihood(run, X, num_chains=2, betas=2)
    found = run.check(X, log_likelihood=estimate)
    assert [finding.name for finding in found.findings][:2] == ["log-likelihood", "guide"]
    assert "log joint at the point" in found.findings[1].text


def test_an_export_has_no_weights_of_a_point() -> None:
    """Catches log q = 0 handed to LOO as the log-density of an approximation."""
    tree = diagnostics.from_pyro_svi(pair(), X, num_samples=5)
    assert sorted(tree.sample_stats) == ["log_p", "lp"]
    assert "log_weight, as the guide gives a a point" in tree.attrs["left_out"]


def shared(x: Tensor) -> None:
    """Latents common to all data, of several supports."""
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.sample("share", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(top, scale).expand([2]).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("auto", "points"),
    [
        (autoguide.AutoDelta, ("top", "scale", "share")),
        (autoguide.AutoLaplaceApproximation, ("top", "scale", "share")),
        (autoguide.AutoNormal, ()),
        (autoguide.AutoMultivariateNormal, ()),
        (autoguide.AutoLowRankMultivariateNormal, ()),
        (autoguide.AutoIAFNormal, ()),
    ],
)
def test_images_of_auxiliary_draws_are_no_points(auto: Any, points: tuple[str, ...]) -> None:
    """Catches every guide of Pyro's that passes a joint draw on by Deltas taken for a point, and AutoDelta for none."""
    x = X.float()
    made = ppgen.Pair(shared, auto(poutine.block(shared, hide=["x"])))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pyro's own flows warn
        made.prepare(x)
    state = torch.get_rng_state()
    assert inference.find_layout(made, x).points == points
    assert torch.equal(state, torch.get_rng_state())


def _two(guide: Callable[[Tensor], None]) -> tuple[str, ...]:
    def both(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            b = pyro.sample("b", dist.Bernoulli(x.new_full((len(x),), 0.3)))
            doubled = pyro.sample("doubled", dist.Delta(2 * z))
            pyro.sample("x", dist.Normal(doubled + b, 1.0), obs=x)

    made = ppgen.Pair(both, guide)
    made.prepare(X[:, 0])
    return inference.find_layout(made, X[:, 0]).points


@pytest.mark.parametrize(("auxiliary", "points"), [(True, ()), (False, ("z",))])
def test_what_counts_as_a_point(auxiliary: bool, points: tuple[str, ...]) -> None:
    """Catches a state of a discrete latent, or a Delta of the model itself, taken for a point."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
            z = pyro.sample("z", dist.Delta(u if auxiliary else x))
            pyro.sample("b", dist.Delta((x > 0).to(x)))
            pyro.sample("doubled", dist.Delta(2 * z))

    assert _two(guide) == points


def test_a_curve_through_the_latents_is_no_law() -> None:
    """Catches two latents that are images of one number, whose joint law has no density."""

    def plane(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def line(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x[:, 0], 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Delta(torch.stack([u, -u], -1), event_dim=1))

    with pytest.raises(ValueError, match="'z' a point and no law"):
        evaluation.log_likelihood(ppgen.Pair(plane, line), X, method="importance")


def seen_with_noise(x: Tensor) -> None:
    """A point that is computed from noisy data, as denoising does; the density of the noise does not count."""
    slope = pyro.param("slope", torch.ones((), dtype=torch.float64))
    with pyro.plate("data", len(x)):
        law = dist.Normal(torch.zeros_like(x), 1.0).to_event(1)
        noise = pyro.sample("noise", law.mask(False), infer={"is_auxiliary": True})
        pyro.sample("a", dist.Delta(slope * (x + noise) @ LOADING))


def test_noise_that_does_not_count_makes_no_law_of_a_point() -> None:
    """Catches a denoising guide whose log joint is printed as a bound, because its point moves with auxiliary draws."""
    denoising = ppgen.Pair(model, seen_with_noise)
    denoising.prepare(X)
    assert inference.find_layout(denoising, X).points == ("a",)
    with pytest.raises(ValueError, match="a point and no law"):
        evaluation.log_likelihood(denoising, X, method="importance")


def test_an_improper_prior_has_no_likelihood() -> None:
    """Catches a mean over a prior without mass printed as log p(x), and a search for machines that draws from it."""

    def flat(x: Tensor) -> None:
        slope = pyro.param("scale", torch.ones((), dtype=torch.float64))
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.ImproperUniform(dist.constraints.positive, (), ()))
            pyro.sample("x", dist.Normal(a.unsqueeze(-1) * LOADING * slope, NOISE).to_event(1), obs=x)

    def law(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.LogNormal(x[:, 0], 1.0))

    improper = ppgen.Pair(flat, law)
    improper.prepare(X)
    for method in ("auto", "importance", "ais", "elbo"):
        with pytest.raises(ValueError, match="not defined: the latent site 'a' has an improper prior"):
            evaluation.log_likelihood(improper, X, method=method)
    tree = diagnostics.from_pyro_svi(improper, X, num_samples=5)
    assert "prior and prior_predictive, as site 'a' has an improper prior (ImproperUniform)" in tree.attrs["left_out"]
    assert "not defined" in diagnostics.check(improper, X)["log-likelihood"].text
