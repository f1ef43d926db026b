"""Sound calls of implicit models, of objectives of draws and of scores by draws."""

from typing import Any

import torch
from torch import Tensor, nn

from fuzz.tables.call import built
from ppgen import evaluation, inference, models


def rows() -> Tensor:
    return torch.arange(24.0).reshape(8, 3).remainder(7) / 7


def generator() -> models.Generator:
    return models.Generator(3, 2, (2,))


def scored() -> dict[str, Any]:
    return {"pair": rows(), "rows": rows(), "controls": rows(), "sds": (0.3,)}


IMPLICIT = [
    built(inference, "MaximumMeanDiscrepancy", root="flag"),
    built(inference, "Adversarial", hidden="sizes", momentum="rate", discriminator_steps="count"),
    built(models, "NoisyDecoder", lambda: {"pair": generator(), "sd": 0.5}, sd="rate", encoder="sizes"),
    built(models, "with_noise", lambda: {"pair": generator(), "sd": 0.5}, sd="rate"),
    built(models, "ConvolutionalDiscriminator", lambda: {"shape": (1, 4, 4), "width": 2}, shape="sizes", width="count"),
    built(evaluation, "parzen", scored, num_samples="count", num_centroids="count"),
    built(
        evaluation,
        "kernel_inception_distance",
        lambda: {"samples": rows(), "rows": rows(), "features": nn.Identity(), "block_size": 2},
        features="callable",
    ),
    built(
        evaluation,
        "modes_found",
        lambda: {"samples": rows(), "predict": lambda part: part[:, 0].long(), "num_classes": 2},
        predict="callable",
        num_classes="count",
    ),
]
