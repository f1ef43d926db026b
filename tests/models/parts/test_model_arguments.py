"""Arguments of the models of the zoo, as a run folder keeps them."""

import json

import numpy as np
import torch

import ppgen
from ppgen import models

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def test_numbers_of_numpy_are_recorded_as_plain_ones(tmp_path):
    """Catches a run that cannot be written because a size was computed with NumPy."""
    vae = models.VAE(np.prod((2, 3)), latent=np.int32(2), hidden=np.array([4, 5]))
    assert json.loads(json.dumps(vae.config()))["hidden"] == [4, 5]
    ppgen.fit(vae, _ROWS, steps=1, folder=tmp_path, progress=False)
    loaded = ppgen.load(tmp_path).pair
    assert (loaded.features, loaded.latent) == (6, 2)
    assert models.VAE(6, 2, hidden=[np.int64(4)]).config()["hidden"] == [4]
