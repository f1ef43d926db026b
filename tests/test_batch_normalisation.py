"""A pair with batch normalisation: what looks at it runs it in evaluation mode."""

import torch

import ppgen
from ppgen import diagnostics, evaluation, models

_ROWS = (torch.arange(40 * 6).reshape(40, 6) % 5 < 2).float()


def test_batch_normalisation_can_be_evaluated_and_is_left_as_it_was():
    """Catches a pair run on one row, or on the data, in training mode: an error, or moved running averages."""
    torch.manual_seed(0)
    vae = models.VAE(features=6, latent=2, hidden=(4,))
    vae.encoder.body = torch.nn.Sequential(vae.encoder.body, torch.nn.BatchNorm1d(4))
    ppgen.fit(vae, _ROWS, "elbo", epochs=1, batch_size=20, progress=False)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    estimate = evaluation.log_likelihood(vae, _ROWS, num_particles=5)
    assert estimate.value < 0
    diagnostics.from_pyro_svi(vae, _ROWS, num_samples=3)
    diagnostics.figures.reconstructions(vae, _ROWS, num_samples=3)
    assert vae.training
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
