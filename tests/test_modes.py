"""Training flags: those of the user's modules are kept one by one."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

import ppgen
from ppgen import models

_ROWS = (torch.arange(40 * 6).reshape(40, 6) % 5 < 2).float()


def _vae():
    torch.manual_seed(0)
    return models.VAE(features=6, latent=2, hidden=(4,))


def _fit(pair, **options):
    return ppgen.fit(pair, _ROWS, "elbo", **{"epochs": 1, "batch_size": 20, "progress": False} | options)


@pytest.mark.parametrize("use", [_fit, lambda pair: ppgen.sample(pair, 3)], ids=["fit", "sample"])
@pytest.mark.parametrize("mode", [True, False])
def test_each_module_keeps_its_flag(use, mode):
    """Catches flags restored with `pair.train(flag)`, which unfreezes a submodule that the user froze."""
    vae = _vae()
    vae.train(mode)
    vae.encoder.train(not mode)
    before = {name: module.training for name, module in vae.named_modules()}
    use(vae)
    assert {name: module.training for name, module in vae.named_modules()} == before


def test_validation_keeps_the_flags_of_a_callback():
    """Catches validation that puts a module, frozen for good at the start, into training mode again."""
    vae, seen = _vae(), []

    def freeze(event):
        if event.kind == "start":
            vae.encoder.eval()
        seen.append(vae.encoder.training)

    data = {"train": _ROWS, "valid": _ROWS[:7]}
    ppgen.fit(vae, data, "elbo", epochs=2, batch_size=20, progress=False, callbacks=[freeze])
    assert not any(seen)


def test_modules_made_inside_get_the_flag_of_the_root():
    """Catches an AutoGuide's modules, made in fit, left in training mode beside a pair in evaluation mode."""

    def model(x):
        scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, scale), obs=x)

    pair = ppgen.Pair(model, AutoNormal(model)).eval()
    ppgen.fit(pair, (_ROWS[:, 0],), "elbo", epochs=1, progress=False)
    assert len(list(pair.modules())) > 3
    assert not any(module.training for module in pair.modules())
