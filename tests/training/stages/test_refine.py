"""Free guides of each datum against the best Normals in closed form, and the errors that go with them."""

import math

import hierarchies
import linear_gaussian as lg
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import models, training


@pytest.mark.parametrize("family", ["normal", "full-rank"])
def test_bounds_against_the_closed_form(family):
    """Catches a missing entropy, a Normal left where it started, factors mixed up between rows, and an amortised bound
    that is not the guide's: each bound and the gap must be what theory gives, within four errors."""
    x = lg.data(6)
    found = training.refine(lg.pair(), x, family=family, steps=400, seed=1)
    missing = lg.mean_field_gap() if family == "normal" else 0.0
    best = lg.log_evidence(x) - missing
    own = lg.log_evidence(x) - lg.mean_field_gap(lg.GUIDE_SHIFT, lg.GUIDE_WIDTH)
    slack = 2e-4  # nats that the fit may have left
    assert ((found.elbo_refined - best).abs() < 4 * found.refined_se + slack).all()
    assert ((found.elbo_amortised - own).abs() < 4 * found.amortised_se).all()
    assert ((found.gap - (best - own)).abs() < 4 * found.gap_se + slack).all()
    assert (found.refined_se < 0.02).all()
    torch.testing.assert_close(found.loc, lg.posterior_mean(x), atol=0.02, rtol=0)
    expected = (
        lg.PRECISION.diagonal().rsqrt().diag() if family == "normal" else torch.linalg.cholesky(lg.PRECISION.inverse())
    )
    torch.testing.assert_close(found.scale_tril, expected.expand(6, 2, 2), atol=0.05, rtol=0)
    assert found.history.shape == (400,) and found.history[-20:].mean() > found.history[0]
    torch.testing.assert_close(found.history[-50:].mean(), best.mean(), atol=0.03, rtol=0)


def test_full_rank_beats_independent_variables():
    """Catches a full-rank family whose factor below the diagonal is never fitted."""
    x = lg.data(6)
    first, second = (training.refine(lg.pair(), x, family=family) for family in ("normal", "full-rank"))
    improvement = (second.elbo_refined - first.elbo_refined).mean()
    assert improvement == pytest.approx(lg.mean_field_gap().item(), abs=4 * first.refined_se.mean().item() / 6**0.5)
    assert improvement > 0.004


def test_positive_latents_are_fitted_in_unconstrained_space():
    """Catches a missing log-determinant: the bound must lie below log p(x) by quadrature, and near it."""
    x = torch.tensor([0.2, 1.0, 6.0], dtype=torch.float64)
    truth, _, _ = lg.positive_quadrature(x)
    found = training.refine(lg.positive_pair(), x)
    shortfall = truth - found.elbo_refined
    assert (shortfall > -4 * found.refined_se).all() and (shortfall < 0.05).all()
    assert (found.gap > 4 * found.gap_se).any()


def test_a_guide_that_is_best_already_has_no_gap():
    """Catches a fit that starts elsewhere than at the guide, or leaves a good one: one step must not cost anything."""

    def best(x):
        with pyro.plate("data", len(x)):
            scale = lg.PRECISION.diagonal().rsqrt()
            pyro.sample("z", dist.Normal(lg.posterior_mean(x), scale).to_event(1))

    x = lg.data(6)
    for steps in (1, 300):
        found = training.refine(ppgen.Pair(lg.model, best), x, steps=steps, lr=1e-3 if steps == 1 else 0.05)
        assert (found.gap.abs() < 4 * found.gap_se + (0.02 if steps == 1 else 2e-4)).all()


def test_data_do_not_mix():
    """Catches a fit whose rows share something: another second datum leaves the first one's Normal as it is."""
    x = lg.data(3)
    other = x.clone()
    other[1] += 3.0
    first, second = (training.refine(lg.pair(), data, steps=20, num_samples=50) for data in (x, other))
    assert torch.equal(first.loc[[0, 2]], second.loc[[0, 2]]) and not torch.equal(first.loc[1], second.loc[1])
    torch.testing.assert_close(first.elbo_refined[[0, 2]], second.elbo_refined[[0, 2]])


def test_the_pair_is_left_alone():
    """Catches parameters that move or keep gradients, another training flag, and draws from the caller's state."""
    vae = models.VAE(features=6, latent=2, hidden=(4,))
    vae.encoder.requires_grad_(False)
    wanted = [parameter.requires_grad for parameter in vae.parameters()]
    values = [parameter.detach().clone() for parameter in vae.parameters()]
    before = torch.get_rng_state()
    found = [training.refine(vae, torch.eye(6), steps=20, num_samples=20) for _ in range(2)]
    assert torch.equal(found[0].gap, found[1].gap)
    assert torch.equal(torch.get_rng_state(), before) and vae.training
    assert [parameter.requires_grad for parameter in vae.parameters()] == wanted
    assert all(torch.equal(*both) for both in zip(values, vae.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert repr(found[0]).startswith("Refinement(amortised ELBO -") and "6 rows)" in repr(found[0])


def column_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z[:, 0] + z[:, 1], 1.0), obs=x)


def column_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))


def test_programs_that_cannot_run_several_particles():
    """Catches a program indexed from the left that is refused though one particle was asked for, and a shape error
    without a name where several were."""
    pair = ppgen.Pair(column_model, column_guide)
    found = training.refine(pair, torch.randn(4), num_particles=1, steps=5, num_samples=10)
    assert found.gap.shape == (4,)
    with pytest.raises(ValueError, match="(?s)3 chains at once.*from the right"):
        training.refine(pair, torch.randn(4), num_particles=3, steps=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"lr": 0.0}, "lr"),
        ({"family": "flow"}, "'normal', 'full-rank'"),
        ({"num_particles": 0}, "num_particles"),
        ({"num_samples": 1}, "num_samples"),
    ],
)
def test_bad_arguments_are_named(options, message):
    """Catches a fit of nothing."""
    with pytest.raises(ValueError, match=message):
        training.refine(lg.pair(), lg.data(2), **options)


def test_grey_values_are_refused():
    """Catches a message from the depth of the fit, or a gap of data that the model cannot have made."""
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    with pytest.raises(ValueError, match="'x' must lie.*Binarise"):
        training.refine(vae, torch.full((2, 4), 0.5), steps=1)
    with pytest.raises(ValueError, match=r"x\[None\]"):
        training.refine(vae, torch.ones(4), steps=1)


def test_discrete_latents_are_refused():
    """Catches a Normal fitted to bits."""
    with pytest.raises(ValueError, match="'hidden' is discrete"):
        training.refine(models.RBM(visible=4, hidden=3), torch.ones(2, 4))


def test_arrays_are_data_too():
    """Catches NumPy data that fail inside a program, and a step size that is no number."""
    vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.eye(4)
    found = [training.refine(vae, data, steps=3, num_samples=10).elbo_refined for data in (x, x.double().numpy())]
    assert torch.equal(*found)
    with pytest.raises(ValueError, match="lr must be positive and finite"):
        training.refine(vae, x, lr="fast")


def test_latents_common_to_all_data_are_fitted_together():
    """Catches one Normal a row where the rows share a latent: with any covariance the fit is the posterior."""
    found = training.refine(
        hierarchies.pair(width=1.3), hierarchies.DATA, family="full-rank", steps=300, lr=0.02, num_samples=2000
    )
    assert found.joint and found.amortised and found.loc.shape == (1, 5) and found.elbo_refined.shape == (1,)
    evidence = hierarchies.log_evidence(hierarchies.DATA)
    assert abs(found.elbo_refined.item() - evidence) < 4 * found.refined_se.item() + 0.03
    divergence = 5 * (0.5 * (1.3**2 - 1) - math.log(1.3))
    assert abs(found.elbo_amortised.item() - evidence + divergence) < 4 * found.amortised_se.item()
    assert "nats of all data" in repr(found)
