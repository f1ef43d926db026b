"""What is measured: each job is a model, its data, how it is trained and how it is evaluated."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppgen import evaluation, inference, models
from ppgen.datasets import Dataset
from ppgen.evaluation import Estimate
from ppgen.training import Run

Figures = dict[str, Estimate]


@dataclass(frozen=True)
class Job:
    """One benchmark.

    Args:
        title: The model in words, as the table shows it.
        dataset: Registered name of the data.
        binarize: Their binarisation.
        model: Makes the untrained model.
        inference: What it is trained by.
        training: Arguments of `ppgen.fit`, with `epochs`: the target of the training.
        evaluate: From the run, the data and the seed to figures by name; the first is the headline.
        published: Ids of entries in `published.json` that stand beside the headline.
    """

    title: str
    dataset: str
    binarize: str
    model: Callable[[], Any]
    inference: Any
    training: Mapping[str, Any]
    evaluate: Callable[[Run, Dataset, int], Figures]
    published: tuple[str, ...] = field(default=())


def importance(num_particles: int) -> Callable[[Run, Dataset, int], Figures]:
    """L_K of the IWAE paper on the test rows, and the ELBO."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        bound = evaluation.log_likelihood(
            run, data.test, method="importance", num_particles=num_particles, seed=seed, progress=True
        )
        return {"log p(x), test": bound, "ELBO, test": _elbo(run, data, seed)}

    return evaluate


def exact(run: Run, data: Dataset, seed: int) -> Figures:
    """Exact log-likelihoods, and annealing beside the exact log Z."""
    log_z = evaluation.log_partition(run, method="exact")
    annealed = evaluation.log_partition(run, method="ais", num_chains=100, betas=1000, seed=seed)
    return _likelihoods(run, data, log_z) | {"log Z": log_z, "log Z, annealed": annealed}


def annealed(betas: int | str) -> Callable[[Run, Dataset, int], Figures]:
    """Log-likelihoods with log Z by 100 annealing runs."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(run, method="ais", num_chains=100, betas=betas, seed=seed, progress=True)
        return _likelihoods(run, data, log_z) | {"log Z": log_z}

    return evaluate


def _elbo(run: Run, data: Dataset, seed: int) -> Estimate:
    """Mean log-weight on the test rows: its error is that of ten repetitions with one particle a row."""
    seeds = range(seed + 1, seed + 11)
    repeated = [evaluation.log_likelihood(run, data.test, num_particles=1, seed=each) for each in seeds]
    values = np.array([float(each) for each in repeated])
    spread = np.mean([each.pointwise.values for each in repeated], 0).std(ddof=1) / math.sqrt(len(data.test))
    return Estimate(
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(len(values))),
        "lower bound",
        f"ELBO ({len(values)} draws)",
        num_data=len(data.test),
        data_se=float(spread),
    )


def _likelihoods(run: Run, data: Dataset, log_z: Estimate) -> Figures:
    return {
        f"log p(x), {split}": evaluation.log_likelihood(run, rows, log_partition=log_z)
        for split, rows in (("test", data.test), ("train", data.train))
    }


VAE_MNIST: dict[str, Any] = {"epochs": 50, "batch_size": 50, "lr": 3e-3, "lr_schedule": "linear"}
RBM_MNIST: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 100,
    "optimizer": {"name": "sgd", "momentum": 0.0},
    "lr": 0.1,
    "lr_schedule": "linear",
}

JOBS: Mapping[str, Job] = {
    "vae-digits": Job(
        title="VAE 64-64-8",
        dataset="digits",
        binarize="threshold",
        model=lambda: models.VAE(features=64, latent=8, hidden=(64,)),
        inference=inference.ELBO(),
        training={"epochs": 100, "batch_size": 32, "lr": 2e-3, "lr_schedule": "linear"},
        evaluate=importance(5000),
    ),
    "rbm-digits": Job(
        title="RBM 64-16",
        dataset="digits",
        binarize="threshold",
        model=lambda: models.RBM(visible=64, hidden=16),
        inference=inference.PCD(num_chains=100),
        training={
            "epochs": 100,
            "batch_size": 32,
            "optimizer": {"name": "sgd", "momentum": 0.5},
            "lr": 0.1,
            "lr_schedule": "linear",
        },
        evaluate=exact,
    ),
    "vae-mnist": Job(
        title="VAE 784-200-200-50",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.ELBO(),
        training=VAE_MNIST,
        evaluate=importance(5000),
        published=("iwae-2016-vae-1l",),
    ),
    "rbm-mnist": Job(
        title="RBM 784-500",
        dataset="mnist",
        binarize="threshold",
        model=lambda: models.RBM(visible=784, hidden=500),
        inference=inference.PCD(k=5, num_chains=100),
        training=RBM_MNIST,
        evaluate=annealed("salakhutdinov-2008"),
        published=("pydeep-rbm-500-centred",),
    ),
    "vae-mnist-bf16": Job(
        title="VAE 784-200-200-50, products in bf16",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.ELBO(),
        training={**VAE_MNIST, "matmul_precision": "bf16"},
        evaluate=importance(5000),
        published=("iwae-2016-vae-1l",),
    ),
    "rbm-mnist-bf16": Job(
        title="RBM 784-500, products in bf16",
        dataset="mnist",
        binarize="threshold",
        model=lambda: models.RBM(visible=784, hidden=500),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_MNIST, "matmul_precision": "bf16"},
        evaluate=annealed("salakhutdinov-2008"),
        published=("pydeep-rbm-500-centred",),
    ),
    "hvae-mnist": Job(
        title="hierarchical VAE 784-200-200-100-100-100-50",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.HierarchicalVAE(features=784, latents=(100, 50), hidden=((200, 200), (100, 100))),
        inference=inference.ELBO(),
        training={"epochs": 50, "batch_size": 100, "lr": 1e-3, "lr_schedule": "linear"},
        evaluate=importance(5000),
        published=("iwae-2016-vae-2l",),
    ),
}
