"""Pareto k and effective sample sizes of a guide, datum by datum."""

import warnings

import linear_gaussian as lg
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.importance import psis_diagnostic

import ppgen
from ppgen import diagnostics, models, testing


def conjugate(log_width):
    """The exact posterior, made wider by a factor: z is Normal, and so is x given z."""
    pair = testing.conjugate_pair()
    known = pair.model_module
    with torch.no_grad():
        noise = (2 * known.log_scale).exp()
        precision = 1 + known.slope**2 / noise
        known.a.copy_(known.slope / noise / precision)
        known.b.copy_(known.loc / precision)
        known.log_s.copy_(-0.5 * precision.log() + log_width)
    return pair


def data(rows):
    return torch.linspace(-2.5, 3.0, rows, dtype=torch.float64)


def test_k_does_not_grow_with_the_number_of_data() -> None:
    """Catches one k for the data set: under a near-exact guide Pyro's is -1.6, 0.24, 0.83 at 1, 100, 1000 data."""
    medians, peers = [], []
    for rows in (1, 100, 1000):
        pair, x = conjugate(0.1), data(1001)[:rows]
        found = diagnostics.importance_weights(pair, x, num_particles=400)
        k = found.dataset.pareto_k
        medians.append(float(k.median()))
        assert k.shape == (rows,) and found.share_unreliable < 0.01
        with warnings.catch_warnings(), pair.running():
            warnings.simplefilter("ignore")
            peers.append(float(psis_diagnostic(pair.model, pair.guide, x, num_particles=400, max_plate_nesting=1)))
    assert peers[0] < 0 < peers[1] < 0.6 < peers[2]
    assert max(medians) < 0.3 and medians[1] == pytest.approx(medians[2], abs=0.1)


@pytest.mark.parametrize("log_width", [0.0, 0.1])
def test_a_guide_as_wide_as_the_posterior_is_trusted(log_width) -> None:
    """Catches a k of constant weights that is noise, and a warning where all is well."""
    found = diagnostics.importance_weights(conjugate(log_width), data(50))
    assert float(found.dataset.pareto_k.max()) < 0.5
    assert float(found.dataset.relative_ess.min()) > 0.95
    assert found.warning is None and "Nothing needs to be done" in repr(found)
    if log_width == 0.0:
        np.testing.assert_allclose(found.dataset.ess, 1000, rtol=1e-6)


def test_a_narrow_guide_is_found_out() -> None:
    """Catches k of the wrong sign and one fitted to the small weights: a guide of 0.4 of the width has weights without
    a variance, k = 1 - 0.4^2 = 0.84 in the limit."""
    x = data(60)
    found = diagnostics.importance_weights(conjugate(float(np.log(0.4))), x, num_particles=2000)
    assert float(found.dataset.pareto_k.median()) > 0.7
    assert found.share_unreliable > 0.5 and found.share_above_limit >= found.share_unreliable
    text = repr(found)
    assert "Warning: Pareto k is above 0.7" in text and "More particles will not mend this" in text
    assert f"{100 * found.share_unreliable:.0f}% of the data" in text


def test_numbers_are_those_of_the_estimate() -> None:
    """Catches a second computation that drifts from the first, and rows in another order."""
    pair, x = lg.pair(), lg.data(30)
    found = diagnostics.importance_weights(pair, x, num_particles=500, seed=3)
    same = ppgen.evaluation.log_likelihood(pair, x, method="importance", num_particles=500, seed=3)
    assert repr(found.log_likelihood) == repr(same)
    np.testing.assert_array_equal(found.dataset.log_likelihood, same.pointwise)
    np.testing.assert_array_equal(found.dataset.pareto_k, same.pareto_k)
    error = found.dataset.log_likelihood - lg.log_evidence(x).numpy()
    assert (abs(error) < 5 * found.dataset.log_likelihood_se).all()
    np.testing.assert_allclose(found.dataset.ess, 500 * found.dataset.relative_ess)


def test_few_particles_are_judged_by_what_they_bear() -> None:
    """Catches the one limit of 0.7 for every sample size: a hundred particles bear 0.5, and more would help."""
    found = diagnostics.importance_weights(lg.pair(), lg.data(40), num_particles=100, seed=1)
    k = found.dataset.pareto_k.values
    assert found.limit == pytest.approx(0.5)
    assert found.share_above_limit == pytest.approx((k > 0.5).mean()) and (k > 0.5).any()


def test_a_machine_has_an_exact_guide() -> None:
    """Catches weights of a machine judged by its log Z: the guide of an RBM is the posterior, whatever log Z is."""
    rbm = models.RBM(visible=5, hidden=3)
    x = torch.rand(6, 5).lt(0.4).float()
    found = diagnostics.importance_weights(rbm, x, num_particles=100, log_partition=3.0)
    np.testing.assert_array_equal(found.dataset.pareto_k, 0)
    np.testing.assert_allclose(found.dataset.relative_ess, 1, rtol=1e-5)


def test_bad_arguments() -> None:
    """Catches work that starts before arguments are checked, and a k of a pair without weights."""
    vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.ones(5, 4)
    with pytest.raises(ValueError, match="num_particles must be an integer of at least 100"):
        diagnostics.importance_weights(vae, x, num_particles=50)
    with pytest.raises(ValueError, match="log_partition was given"):
        diagnostics.importance_weights(vae, x, log_partition=1.0)
    with pytest.raises(TypeError, match=r"ppgen\.Pair"):
        diagnostics.importance_weights(3, x)
    with pytest.raises(ValueError, match="x does not fit the model"):
        diagnostics.importance_weights(vae, torch.ones(5, 3))

    def bare(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    with pytest.raises(ValueError, match="has no latent site"):
        diagnostics.importance_weights(ppgen.Pair(bare, lambda x: None), x[:, 0])


def test_the_caller_is_left_alone() -> None:
    """Catches draws from the caller's random state, and a training flag that is not put back; and a plate renamed."""

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.7))

    pair = ppgen.Pair(model, guide, plate="rows")
    state = torch.get_rng_state()
    first, second = (diagnostics.importance_weights(pair, data(4), num_particles=100, seed=5) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state()) and pair.training
    assert first.dataset.identical(second.dataset) and first.dataset.pareto_k.dims == ("rows",)
