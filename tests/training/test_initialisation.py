"""Weights that a pair has at its first fit: loaded, trained elsewhere, or new."""

import pyro
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO

import ppgen
from ppgen import models

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()
_MAKE = {
    "bernoulli": lambda: models.VAE(6, 2, (4,)),
    "gaussian": lambda: models.VAE(6, 2, (4,), likelihood="gaussian"),
    "categorical": lambda: models.VAE(6, 2, (4,), likelihood="categorical", categories=3),
    "hierarchical": lambda: models.HierarchicalVAE(6, (3, 2), ((4,), (4,))),
    "rbm": lambda: models.RBM(6, 3),
}


def _fit_without_moving(pair):
    ppgen.fit(pair, _ROWS, steps=1, optimizer="sgd", lr=1e-12, progress=False)


def _distance(pair, weights):
    return max(
        (value - weights[name]).abs().max().item() for name, value in pair.state_dict().items() if name != "data_mean"
    )


@pytest.mark.parametrize("name", list(_MAKE))
def test_the_first_fit_keeps_weights_that_were_loaded(name):
    """Catches a first fit that puts the logit of the data's mean over a trained bias."""
    torch.manual_seed(0)
    trained, pair = _MAKE[name](), _MAKE[name]()
    ppgen.fit(trained, _ROWS, epochs=2, lr=0.05, progress=False)
    weights = {key: value.clone() for key, value in trained.state_dict().items()}
    pair.load_state_dict(weights)
    _fit_without_moving(pair)
    assert _distance(pair, weights) < 1e-6


def test_the_first_fit_goes_on_from_pyros_svi():
    """Catches a first fit that undoes what `pyro.infer.SVI` has trained."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    vae = models.VAE(6, 2, (4,))
    svi = SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    for _ in range(3):
        svi.step(_ROWS)
    pyro.clear_param_store()
    weights = {key: value.clone() for key, value in vae.state_dict().items()}
    _fit_without_moving(vae)
    assert _distance(vae, weights) < 1e-6


def test_a_new_pair_still_starts_at_the_data():
    """Catches an initialisation that is left out for pairs that need it, and an RBM that forgets the mean."""
    for name in ("bernoulli", "hierarchical"):
        pair = _MAKE[name]()
        _fit_without_moving(pair)
        assert torch.allclose(pair.decoder.logits.output.bias, torch.logit(_ROWS.mean(0)), atol=1e-4)
    rbm = models.RBM(6, 3)
    rbm.visible_bias.data.fill_(0.5)
    _fit_without_moving(rbm)
    assert torch.allclose(rbm.visible_bias, torch.tensor(0.5))
    assert torch.allclose(rbm.data_mean, _ROWS.mean(0))
    given = models.RBM.from_arrays(torch.ones(6, 3), torch.zeros(6), torch.ones(3))
    _fit_without_moving(given)
    assert not given.visible_bias.detach().round(decimals=6).any()
