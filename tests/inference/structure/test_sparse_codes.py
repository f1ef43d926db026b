"""Sparse coding with codes at their exact MAP: what is said of log p(x), beside its value by quadrature."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import diagnostics, evaluation, inference, models, training

SCALE, NOISE, SMALL = 0.4, 0.5, {"num_chains": 30, "betas": 20, "compile": False}
DICTIONARY = torch.tensor(
    [[0.9, 0.2, -0.3], [0.1, -0.8, 0.4], [-0.5, 0.3, 0.7], [0.4, 0.6, 0.1], [0.0, -0.4, 0.6], [0.3, 0.1, -0.5]],
    dtype=torch.float64,
)
DICTIONARY /= DICTIONARY.norm(dim=0)
ROWS = torch.tensor(
    [[0.9, -0.4, -0.8, 0.5, -0.2, 0.6], [0.1, 1.1, -0.3, -0.9, 0.7, 0.0], [-0.6, 0.2, 0.4, 0.1, -0.3, 0.5]],
    dtype=torch.float64,
)
EXACT, AT_THE_MODE = -4.3975, -3.5900  # mean log p(x), and mean log p(x, mode), nats


def model(x: Tensor) -> None:
    """Laplace codes, a dictionary of three atoms of six pixels, Gaussian noise."""
    dictionary = pyro.param("dictionary", DICTIONARY.clone)
    with pyro.plate("data", len(x)):
        code = pyro.sample("code", dist.Laplace(x.new_zeros(len(x), 3), SCALE).to_event(1))
        pyro.sample("x", dist.Normal(code @ dictionary.T, NOISE).to_event(1), obs=x)


def guide(x: Tensor) -> None:
    """The Lasso's solution, which is the posterior's mode."""
    with pyro.plate("data", len(x)):
        pyro.sample("code", dist.Delta(mode(x), event_dim=1))


def mode(x: Tensor) -> Tensor:
    """The codes of largest posterior density, by proximal gradient steps."""
    step = NOISE**2 / torch.linalg.matrix_norm(DICTIONARY.T @ DICTIONARY, 2)
    code = x.new_zeros(len(x), 3)
    for _ in range(60):
        code = code + step * (x - code @ DICTIONARY.T) @ DICTIONARY / NOISE**2
        code = code.sign() * (code.abs() - step / SCALE).clamp(min=0)
    return code


@cache
def truth() -> float:
    """Mean log p(x), nats: Gauss-Legendre quadrature between kinks of the prior and beyond."""
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(8))
    edges = torch.tensor([-7.0, -2.0, -0.7, 0.0, 0.7, 2.0, 7.0], dtype=torch.float64)
    low, width = edges[:-1, None], edges.diff()[:, None]
    axis, log_width = (low + width * (nodes + 1) / 2).flatten(), (width * weights / 2).log().flatten()
    codes = torch.cartesian_prod(axis, axis, axis)
    prior = torch.cartesian_prod(log_width, log_width, log_width).sum(-1) - codes.abs().sum(-1) / SCALE
    squares = torch.cdist(ROWS, codes @ DICTIONARY.T).square() / (2 * NOISE**2)
    constant = -3 * math.log(2 * SCALE) - 6 * math.log(NOISE * math.sqrt(2 * math.pi))
    return float((prior - squares).logsumexp(1).mean() + constant)


def pair() -> ppgen.Pair:
    return ppgen.Pair(model, guide)


def test_the_log_joint_at_the_mode_is_no_bound() -> None:
    """Catches quadrature or modes that are none, so that the other tests would compare with nothing."""
    made = pair()
    made.prepare(ROWS)
    joint = inference.log_weights(made, ROWS).local.mean().item()
    assert truth() == pytest.approx(EXACT, abs=1e-3)
    assert joint == pytest.approx(AT_THE_MODE, abs=1e-3)  # what a "lower bound" used to be, above log p(x)


@pytest.mark.parametrize("method", ["auto", "ais"])
def test_annealing_from_the_prior_finds_the_likelihood(method: str) -> None:
    """Catches the joint at the mode printed as log p(x), and a guide of points that annealing would start from."""
    found = evaluation.log_likelihood(pair(), ROWS, method=method, **SMALL)
    assert "AIS from the prior" in found.method and found.kind == "lower bound"
    assert abs(found.value - truth()) < 4 * found.se < 0.4
    assert AT_THE_MODE - found.value > 4 * found.se


@pytest.mark.parametrize("method", ["importance", "elbo", "bound", "exact", "raise"])
def test_what_weighs_draws_of_the_guide_refuses(method: str) -> None:
    """Catches a bound, an estimate or an exact value where the guide has no law."""
    with pytest.raises(ValueError, match=f"'code' a point and no law.*method='{method}' would mean nothing.*'ais'"):
        evaluation.log_likelihood(pair(), ROWS, method=method, **SMALL)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: diagnostics.importance_weights(p, ROWS),
        lambda p: diagnostics.approximation_gap(p, ROWS),
        lambda p: diagnostics.latent_units(p, ROWS),
        lambda p: diagnostics.simulation_based_calibration(p, x=ROWS, num_simulations=20),
        lambda p: training.refine(p, ROWS),
        lambda p: evaluation.bdmc(p, like=ROWS, start="guide", betas=2),
    ],
    ids=["weights", "gap", "latent units", "ranks", "refinement", "sandwich"],
)
def test_diagnostics_of_a_law_refuse(call: Callable[[Any], Any]) -> None:
    """Catches k-hat 0, an efficiency of 100 % and a gap of 0 of a guide that is no law."""
    with pytest.raises(ValueError, match="'code' a point and no law"):
        call(pair())


@pytest.mark.parametrize("call", [diagnostics.importance_weights, diagnostics.approximation_gap])
def test_what_to_do_is_told_in_arguments_that_there_are(call: Callable[..., Any]) -> None:
    """Catches a method that the function called has no argument for, and advice that would be refused too."""
    with pytest.raises(ValueError, match="'code' a point and no law") as told:
        call(pair(), ROWS)
    words = str(told.value)
    assert "method='importance'" not in words and "evaluation.log_likelihood(pair, x, method='ais') anneals" in words
    assert "give a guide that draws the site" in words
    with pytest.raises(ValueError, match=r"not defined: .*improper prior.*features.reconstruction_error") as flat:
        call(models.Autoencoder(4, hidden=(2,)), torch.rand(5, 4))
    assert "method='ais'" not in str(flat.value)


def test_the_sandwich_from_the_prior_holds() -> None:
    """Catches bounds of simulated data that a guide of points would spoil."""
    found = evaluation.bdmc(pair(), like=ROWS, num_chains=10, betas=8)
    assert found.lower - found.upper < 4 * math.hypot(found.lower_se, found.upper_se)


def test_the_curve_of_training_is_called_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches the curve of a MAP fit taken for a bound."""
    run = ppgen.fit(pair(), ROWS, "elbo", epochs=1, lr=1e-9, compile=False)
    told = "values are the log joint at a point (the guide's Delta at 'code'), no bound of log p(x)"
    assert told in capsys.readouterr().out and told in repr(run)
    assert run.metrics[-1]["train_value"] == pytest.approx(AT_THE_MODE, abs=1e-3)
    weights = diagnostics.from_pyro_svi(run, ROWS, num_samples=2)
    assert "log_weight, as the guide gives code a point and no law (MAP)" in weights.attrs["left_out"]
