"""What is measured: each job is a model, its data, how it is trained and how it is evaluated."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
        dataset: Registered name of the data, or of a file in the data folder.
        binarize: Their binarisation; None for data that are bits already.
        model: Makes the untrained model.
        inference: What it is trained by.
        training: Arguments of `ppgen.fit`, with `epochs`: the target of the training.
        evaluate: From the run, the data and the seed to figures by name; the first is the headline.
        published: Ids of entries in `published.json` that stand beside the headline.
        loading: Other arguments of `ppgen.datasets.load`.
        pretraining: Arguments of `ppgen.training.pretrain`, of a stack whose layers are trained before it.
    """

    title: str
    dataset: str
    binarize: str | None
    model: Callable[[], Any]
    inference: Any
    training: Mapping[str, Any]
    evaluate: Callable[[Run, Dataset, int], Figures]
    published: tuple[str, ...] = field(default=())
    loading: Mapping[str, Any] = field(default_factory=dict)
    pretraining: Mapping[str, Any] = field(default_factory=dict)

    @property
    def binarization(self) -> str:
        """Binarisation as the data set will name it."""
        return self.binarize or "binary"


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


def sandwiched(betas: int | str, sweeps: int = 2000) -> Callable[[Run, Dataset, int], Figures]:
    """Log-likelihoods of a machine with log Z from both sides; of a deep one its classical bound as well.

    The headline has log Z from annealing upwards, which errs high in log p(x); "with the upper log Z" errs low.
    """

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(
            run, method="sandwich", num_chains=100, betas=betas, sweeps=sweeps, seed=seed, progress=True
        )
        deep = isinstance(run.pair, models.DBM)
        method, name = ("bound", "bound of log p(x)") if deep else ("auto", "log p(x)")

        def value(rows: Any, estimate: Any, **how: Any) -> Estimate:
            return evaluation.log_likelihood(run, rows, log_partition=estimate, seed=seed, **how)

        figures = {
            f"{name}, test": value(data.test, log_z, method=method),
            f"{name}, test, with the upper log Z": value(data.test, log_z.upper, method=method),
            f"{name}, train": value(data.train, log_z, method=method),
        }
        if deep:
            figures["log p(x), test"] = value(data.test, log_z, method="importance", num_particles=1000)
        return figures | {"log Z, upwards": log_z.lower, "log Z, downwards": log_z.upper}

    return evaluate


def belief_net_of_machines(betas: int | str, sweeps: int = 2000) -> Callable[[Run, Dataset, int], Figures]:
    """Variational bound and importance sampling of a deep belief network, with log Z of its machine from both sides."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(
            run, method="sandwich", num_chains=100, betas=betas, sweeps=sweeps, seed=seed, progress=True
        )

        def value(rows: Any, estimate: Any, **how: Any) -> Estimate:
            return evaluation.log_likelihood(run, rows, log_partition=estimate, seed=seed, **how)

        weighed = {"method": "importance", "num_particles": 1000}
        return {
            "log p(x), test": value(data.test, log_z, **weighed),
            "log p(x), test, with the upper log Z": value(data.test, log_z.upper, **weighed),
            "bound of log p(x), test": value(data.test, log_z, method="elbo"),
            "log Z, upwards": log_z.lower,
            "log Z, downwards": log_z.upper,
        }

    return evaluate


def between(num_chains: int, betas: int, num_data: int = 100) -> Callable[[Run, Dataset, int], Figures]:
    """log p(x) of data simulated from the model between annealing upwards and downwards, and by importance sampling."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        found = evaluation.bdmc(run, num_data=num_data, num_chains=num_chains, betas=betas, seed=seed, progress=True)

        def bound(value: float, se: float, kind: str) -> Estimate:
            return Estimate(value, se, kind, found.method, num_data=num_data)

        inside = evaluation.log_likelihood(run, found.x, method="importance", num_particles=5000, seed=seed)
        return {
            "log p(x), simulated, annealing upwards": bound(found.lower, found.lower_se, "lower bound"),
            "log p(x), simulated, annealing downwards": bound(found.upper, found.upper_se, "upper bound"),
            "log p(x), simulated, importance sampling": inside,
        }

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
RBM_500: dict[str, Any] = {
    **RBM_MNIST,
    "lr": 0.05,
    "optimizer": {"name": "sgd", "momentum": 0.5, "weight_decay": 3e-4},
}
"""Without weight decay such a machine is better by 3.6 nats on training rows than on test rows."""


def small_machine(hidden: int, dataset: str, binarize: str | None, loading: Mapping[str, Any], *published: str) -> Job:
    """A machine of so few hidden units that its log Z is a sum."""
    return Job(
        title=f"RBM 784-{hidden}, PCD-5",
        dataset=dataset,
        binarize=binarize,
        model=lambda: models.RBM(visible=784, hidden=hidden),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_MNIST, "epochs": 12},
        evaluate=exact,
        published=published,
        loading=loading,
    )


def published_iwae_schedule(last: int) -> tuple[int, Callable[[float], float]]:
    """Epochs and step-size factors of the IWAE paper's first stages: 3^i epochs at 10^(-i/7) for i = 0 to `last`.

    Args:
        last: Index of the last stage, 7 in the paper.

    Returns:
        The epochs of these stages in all, and the factor as a function of the progress through them.
    """
    ends = [sum(3**i for i in range(stage + 1)) for stage in range(last + 1)]

    def factor(progress: float) -> float:
        stage = next((i for i, end in enumerate(ends) if progress * ends[-1] < end), last)
        return 10 ** (-stage / 7)

    return ends[-1], factor


SBN_DATA = "mnist_fixed_binarized.npz"
SBN_LOADING: dict[str, Any] = {"packed": True, "num_features": 784, "image_shape": (28, 28), "valid_size": 10_000}
MACHINE_LOADING = {**SBN_LOADING, "valid_size": 1_000}
"""59,000 rows for training: papers on Boltzmann machines had all 60,000, those on belief networks 50,000."""

ALGORITHMS: Mapping[str, tuple[str, inference.Inference]] = {
    "nvil": ("NVIL", inference.NVIL()),
    "vimco": ("VIMCO K=10", inference.VIMCO(num_particles=10)),
    "rws": ("RWS K=10", inference.RWS(num_particles=10)),
    "wake-sleep": ("wake-sleep", inference.Inference(inference.WakeSleep())),
    "disarm": ("DisARM", inference.Inference(inference.ELBO(), inference.DisARM())),
}
"""Algorithms of the belief networks."""


def belief_net(
    sizes: tuple[int, ...],
    name: str,
    epochs: int,
    *published: str,
    lr: float = 1e-3,
    matmul_precision: str = "ieee",
    num_particles: int = 1000,
) -> Job:
    """A sigmoid belief network by one algorithm, on bits that were drawn once and for all."""
    title, algorithm = ALGORITHMS[name]
    precision = "" if matmul_precision == "ieee" else f", products in {matmul_precision}"
    schedule = {"epochs": epochs, "batch_size": 100, "lr": lr, "lr_schedule": "half"}
    return Job(
        title=f"SBN {'-'.join(map(str, sizes))}, {title}{precision}",
        dataset=SBN_DATA,
        binarize=None,
        model=lambda: models.SigmoidBeliefNet(sizes=sizes),
        inference=algorithm,
        training=schedule if matmul_precision == "ieee" else {**schedule, "matmul_precision": matmul_precision},
        evaluate=importance(num_particles),
        published=published,
        loading=SBN_LOADING,
    )


TWO, THREE = (784, 200, 200), (784, 200, 200, 200)
NVIL_TWO, ARM_TWO = "nvil-sbn-200-200", "arm-sbn-200-200"
BELIEF_NETS: Mapping[str, Job] = {
    "sbn-200-200-nvil": belief_net(TWO, "nvil", 80, NVIL_TWO),
    "sbn-200-200-vimco": belief_net(TWO, "vimco", 70, ARM_TWO, NVIL_TWO),
    # A step size above the others: after eight epochs it led by ten nats on validation rows.
    "sbn-200-200-vimco-hour": belief_net(
        TWO, "vimco", 240, ARM_TWO, NVIL_TWO, lr=4e-3, matmul_precision="bf16", num_particles=5000
    ),
    "sbn-200-200-rws": belief_net(TWO, "rws", 40, NVIL_TWO),
    "sbn-200-200-wake-sleep": belief_net(TWO, "wake-sleep", 100, "wake-sleep-sbn-200-200"),
    "sbn-200-200-disarm": belief_net(TWO, "disarm", 60, ARM_TWO),
    "sbn-200-200-200-nvil": belief_net(THREE, "nvil", 64),
    "sbn-200-200-200-vimco": belief_net(THREE, "vimco", 32),
    "sbn-200-200-200-rws": belief_net(THREE, "rws", 32),
    "sbn-200-200-200-wake-sleep": belief_net(THREE, "wake-sleep", 80),
    "sbn-200-200-200-disarm": belief_net(THREE, "disarm", 48),
}
"""About 15 minutes each on one core, the third an hour."""


IWAE_EPOCHS, IWAE_SCHEDULE = published_iwae_schedule(last=5)

JOBS: dict[str, Job] = {
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
    "vae-digits-between": Job(
        title="VAE 64-64-10, bidirectional Monte Carlo",
        dataset="digits",
        binarize="threshold",
        model=lambda: models.VAE(features=64, latent=10, hidden=(64,)),
        inference=inference.ELBO(),
        training={"epochs": 100, "batch_size": 32, "lr": 2e-3, "lr_schedule": "linear"},
        evaluate=between(num_chains=16, betas=500),
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
    "iwae-mnist": Job(
        title="IWAE K=50, 784-200-200-50, products in bf16",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.IWAE(num_particles=50),
        training={"epochs": 120, "batch_size": 50, "lr": 2e-3, "lr_schedule": "linear", "matmul_precision": "bf16"},
        evaluate=importance(5000),
        published=("iwae-2016-iwae-1l",),
    ),
    "iwae-2l-mnist": Job(
        title="IWAE K=50, two layers, 784-200-200-100-100-100-50",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.HierarchicalVAE(features=784, latents=(100, 50), hidden=((200, 200), (100, 100))),
        inference=inference.IWAE(num_particles=50),
        training={"epochs": IWAE_EPOCHS, "batch_size": 20, "lr": 1e-3, "lr_schedule": IWAE_SCHEDULE},
        evaluate=importance(5000),
        published=("iwae-2016-iwae-2l",),
    ),
    "rbm-500": Job(
        title="RBM 784-500, PCD-5",
        dataset=SBN_DATA,
        binarize=None,
        model=lambda: models.RBM(visible=784, hidden=500),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_500, "epochs": 150},
        evaluate=sandwiched("salakhutdinov-2008"),
        loading=MACHINE_LOADING,
    ),
    "dbm-500-1000": Job(
        title="DBM 784-500-1000, PCD-5",
        dataset=SBN_DATA,
        binarize=None,
        model=lambda: models.DBM(visible=784, hidden=(500, 1000)),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_MNIST, "epochs": 60, "lr": 0.03, "optimizer": {"name": "sgd", "momentum": 0.5}},
        evaluate=sandwiched(20_000),
        loading=MACHINE_LOADING,
    ),
    "dbn-500-500": Job(
        title="DBN 784-500-500, layers by PCD-5, then up-down",
        dataset=SBN_DATA,
        binarize=None,
        model=lambda: models.DBN(visible=784, hidden=(500, 500)),
        inference=inference.Inference(inference.WakeSleep(), negative_phase=inference.CD(k=5)),
        training={"epochs": 10, "batch_size": 100, "lr": 1e-4, "lr_schedule": "linear"},
        pretraining={
            **RBM_500,
            "inference": inference.PCD(k=5, num_chains=100),
            "epochs": (20, 10),
            "betas": 10_000,
        },
        evaluate=belief_net_of_machines(20_000),
        loading=MACHINE_LOADING,
    ),
    "rbm-16-threshold": small_machine(16, "mnist", "threshold", {}, "pydeep-rbm-16-centred"),
    "rbm-16": small_machine(16, SBN_DATA, None, SBN_LOADING),
    "rbm-20": small_machine(20, SBN_DATA, None, SBN_LOADING),
    **BELIEF_NETS,
}
# The same again with matrix products in bfloat16: what that costs in nats.
JOBS |= {
    f"{name}-bf16": replace(
        JOBS[name],
        title=f"{JOBS[name].title}, products in bf16",
        training={**JOBS[name].training, "matmul_precision": "bf16"},
    )
    for name in ("vae-mnist", "rbm-mnist")
}
