"""Schedules of numbers, and of step sizes, against the training that they are for."""

import warnings

import pytest
import torch

import ppgen
from ppgen import inference, models
from ppgen.inference.schedules import schedules

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def _fit(pair, how, **options):
    return ppgen.fit(pair, _ROWS, how, **{"steps": 11, "batch_size": 20, "progress": False} | options)


def _vae():
    torch.manual_seed(0)
    return models.VAE(features=6, latent=2, hidden=(4,))


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (_vae, inference.ELBO(kl_weight=inference.Linear(1000)), r"ELBO\(kl_weight=...\).* 1000 steps.* 11, .* 0.01\."),
        (
            lambda: models.DiscreteVAE(features=6, latent=2, hidden=(4,)),
            inference.Relaxed(temperature=inference.Linear(50, 1.0, 0.5)),
            r"Relaxed\(temperature=...\).* 50 steps.* 11, .* 0.9\.",
        ),
        (lambda: models.RBM(6, 3), inference.CD(k={0: 1, 11: 5}), r"CD\(k=...\).* 12 steps.* 11, .* 1\."),
    ],
)
def test_a_schedule_longer_than_training_is_told(make, how, message):
    """Catches a warm-up that never ends: the weight of the latent terms is 0.01 to the last."""
    with pytest.warns(UserWarning, match=message) as caught:
        _fit(make(), how)
    assert len([each for each in caught if "which ends after" in str(each.message)]) == 1


def test_a_schedule_that_ends_is_not_told():
    """Catches a warning of sound programs: a schedule that ends with training, or that earlier training has begun."""
    vae = _vae()
    _fit(vae, inference.ELBO(kl_weight=inference.Linear(11)))
    _fit(models.RBM(6, 3), inference.CD(k={0: 1, 10: 5}))
    how = inference.ELBO(kl_weight=inference.Linear(20))
    with pytest.warns(UserWarning, match="20 steps.* 11, "):
        _fit(vae := _vae(), how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _fit(vae, how)


def test_schedules_are_found_wherever_they_stand():
    """Catches a schedule of one site's estimator that nobody looks for."""
    one, two = inference.Linear(3), inference.Linear(4, 1.0, 0.5)
    value = inference.Inference(
        inference.ELBO(kl_weight=one), estimator={"z": inference.Relaxed(temperature=two), "w": inference.Pathwise()}
    )
    assert [schedule for _, schedule in schedules(value)] == [one, two]
