"""R^2 between the attributes that images are asked to have and those that they are measured to have.

    python -m benchmarks.conditional.attributes            # writes results/conditional-attributes.json
    python -m benchmarks.conditional.attributes --quick    # a trial on small digits, seconds

Ink, slant and width of MNIST's images, computed from moments, are the covariates of a conditional VAE. Test images'
attributes are asked for, one image is drawn of each, and its grey levels, the probabilities of its pixels, are measured
again. Attributes of bits that are drawn with those probabilities stand beside them, and are noisier.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

import ppgen
from benchmarks.conditional.quadrants import COMPILED, VALID
from benchmarks.jobs import Job, begin
from ppgen import models
from ppgen.datasets import PairedDataset
from ppgen.datasets.attributes import ATTRIBUTES

EPOCHS = 40
KINDS = {"standard": "prior apart from the attributes", "network": "prior network"}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    job = begin(__spec__.name, __doc__, {"valid_size": VALID, "epochs": EPOCHS}, arguments)
    torch.set_num_threads(1)
    method, options = ("threshold", {}) if job.quick else ("dynamic", {"valid_size": VALID})
    images = job.images(binarize=method, **options)
    job.keep(data=images.describe(), checksum=images.checksum)
    data = images.given_attributes()
    for prior, name in KINDS.items():
        if job.wants(name):
            job.row(name, lambda folder, prior=prior: measured(job, data, prior, folder))
    return 0


def measured(job: Job, data: PairedDataset, prior: str, folder: Path) -> dict[str, Any]:
    """Train one model, or go on with it, and measure what it draws."""
    torch.manual_seed(0)
    features = data.num_features
    sizes: dict[str, Any] = {"latent": 8, "hidden": (32,)} if job.quick else {"latent": 32, "hidden": (300, 300)}
    net = models.ConditionalVAE(len(ATTRIBUTES), features, prior=prior, **sizes)
    training = {**COMPILED, "compile": False, "epochs": 5, "lr": 1e-2} if job.quick else {**COMPILED, "epochs": EPOCHS}
    kept = {"folder": folder, "resume": "auto", "checkpoint_minutes": 2.0, "progress": False}
    run = ppgen.fit(net, data, seed=0, restore_best=True, **kept, **training)
    asked = data.test[0]
    torch.manual_seed(1)
    with torch.no_grad(), net.running():
        law = poutine.trace(net.eval().model).get_trace(asked).nodes["y"]["fn"]
    return {
        "training seconds": round(float(run.metrics[-1]["seconds"]), 1),
        "epochs": run.metrics[-1]["epoch"],
        "levels": explained(asked, data.attributes_of(law.mean)),
        "bits": explained(asked, data.attributes_of(law.sample())),
        "rows": len(asked),
    }


def explained(asked: Tensor, found: Tensor) -> dict[str, float]:
    """R^2 of each attribute: one less the squared error over the squared distance to the mean."""
    error, spread = ((found - asked) ** 2).sum(0), ((asked - asked.mean(0)) ** 2).sum(0)
    return {name: round(float(value), 4) for name, value in zip(ATTRIBUTES, 1 - error / spread, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
