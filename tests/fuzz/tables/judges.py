"""Sound calls of what judges images: classifiers, nearest rows, decoded latents."""

import torch

from fuzz.tables.call import BITS, QUIET, Call, built, vae
from ppgen import features, nn, training

JUDGES: list[Call] = [
    built(nn, "ImageFeatures", lambda: {"image_shape": (4, 4)}, filters="sizes", width="count"),
    built(
        training,
        "ImageClassifier",
        lambda: {"image_shape": (2, 2), "classes": (0, 1)},
        classes="labels",
        filters="sizes",
        width="count",
    ),
    Call(
        "training.fit_image_classifier",
        training.fit_image_classifier,
        lambda: {
            "data": BITS,
            "labels": torch.tensor([0, 1, 0, 1, 0, 1]),
            "image_shape": (2, 2),
            "filters": (2,),
            "width": 3,
            "epochs": 1,
            **QUIET,
        },
        {
            "labels": "array",
            "filters": "sizes",
            "width": "count",
            "copies": "whole",
            "epochs": "count",
            "seed": "seed",
        },
    ),
    Call(
        "features.nearest_rows",
        features.nearest_rows,
        lambda: {"rows": BITS[:3], "among": BITS},
        {"rows": "array", "among": "array", "k": "count", "batch_size": "count"},
        lambda found: found.distances,
    ),
    Call(
        "features.decode",
        features.decode,
        lambda: {"pair": vae(), "latents": torch.zeros(3, 2)},
        {"pair": "pair", "latents": "array", "batch_size": "count"},
        lambda found: found,
    ),
]
