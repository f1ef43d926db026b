"""Sound calls of mixtures and of models made of one part a class."""

from typing import Any

import torch

from fuzz.tables.call import Call, built
from ppgen import inference, models, training

ROWS = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])


def classes() -> dict[str, Any]:
    return {
        "make": lambda: models.BernoulliMixture(3, 2),
        "data": ROWS,
        "labels": torch.tensor([0, 1, 0, 1]),
        "epochs": 1,
        "progress": False,
    }


def evidence() -> dict[str, torch.Tensor]:
    return {
        "log_likelihood": torch.zeros(4, 2),
        "se": torch.zeros(4, 2),
        "common_se": torch.zeros(2),
        "log_prior": torch.zeros(2),
    }


MIXTURES = [
    built(
        models,
        "BernoulliMixture",
        lambda: {"features": 3, "components": 2},
        features="count",
        components="count",
        pseudo_count="rate",
        start="choice",
    ),
    built(
        models,
        "GaussianMixture",
        lambda: {"features": 3, "components": 2},
        features="count",
        components="count",
        covariance="choice",
        regularisation="limit",
        start="choice",
    ),
    built(inference, "EM", forgetting_rate="rate", warmup_steps="whole"),
    Call("models.kmeans", models.kmeans, lambda: {"x": ROWS, "components": 2}, {"x": "array", "components": "count"}),
    Call(
        "training.fit_classes",
        training.fit_classes,
        classes,
        {"data": "array", "labels": "labels", "prior": "choice", "seed": "seed"},
    ),
]
