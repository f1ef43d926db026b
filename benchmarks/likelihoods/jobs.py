"""What is measured: each job is a model, its data, how it is trained and how it is evaluated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from benchmarks.likelihoods.evaluations import (
    Figures,
    annealed,
    belief_net_of_machines,
    between,
    exact,
    guided,
    importance,
    sandwiched,
)
from ppgen import inference, models
from ppgen.datasets import Dataset
from ppgen.training import Run


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
        continues: Name of a job whose trained model this one starts from; it is run first if need be.
        tested_on: File in the data folder whose test rows, of the same images, stand for those of `dataset`.
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
    continues: str | None = None
    tested_on: str | None = None

    @property
    def binarization(self) -> str:
        """Binarisation as the data set will name it."""
        return self.binarize or "binary"


VAE_MNIST: dict[str, Any] = {"epochs": 50, "batch_size": 50, "lr": 3e-3, "lr_schedule": "linear"}
RBM_MNIST: dict[str, Any] = {
    "epochs": 50,
    "batch_size": 100,
    "optimizer": {"name": "sgd", "momentum": 0.0},
    "lr": 0.1,
    "lr_schedule": "linear",
}
RBM_500: dict[str, Any] = {**RBM_MNIST, "optimizer": {"name": "sgd", "momentum": 0.5}}


def small_machine(hidden: int, dataset: str, binarize: str | None, loading: Mapping[str, Any], *published: str) -> Job:
    """A machine of so few hidden units that its log Z is a sum."""
    return Job(
        title=f"RBM 784-{hidden}, PCD-5",
        dataset=dataset,
        binarize=binarize,
        model=lambda: models.RBM(visible=784, hidden=hidden),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_MNIST, "epochs": 100},
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
FRESH_BITS: dict[str, Any] = {
    "dataset": "mnist",
    "binarize": "dynamic",
    "loading": {"valid_size": 1_000},
    "tested_on": SBN_DATA,
}
"""Each batch draws the bits of its images anew from their grey levels; the test rows are the fixed ones."""

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
    # Beside vae-mnist: the same nets and epochs, another guide; step times are minutes over updates of the records.
    **{
        f"vae-{posterior}-mnist": Job(
            title=f"VAE 784-200-200-50, {words}",
            dataset="mnist",
            binarize="dynamic",
            model=partial(
                models.VAE, features=784, latent=50, hidden=(200, 200), posterior=posterior, flow_hidden=(100,)
            ),
            inference=inference.ELBO(),
            training=VAE_MNIST,
            evaluate=guided(5000),
        )
        for posterior, words in (
            ("diagonal", "diagonal Normal guide"),
            ("iaf", "guide of 2 IAF steps"),
            ("coupling", "guide of 2 coupling steps"),
            ("spline", "guide of 2 coupling steps of splines"),
        )
    },
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
        title="VAE 784-200-200-50, IWAE K=50, products in bf16",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.IWAE(num_particles=50),
        training={"epochs": 120, "batch_size": 50, "lr": 2e-3, "lr_schedule": "linear", "matmul_precision": "bf16"},
        evaluate=importance(5000),
        published=("iwae-2016-iwae-1l",),
    ),
    "vae-mnist-long": Job(
        title="VAE 784-200-200-50, products in bf16",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.ELBO(),
        training={**VAE_MNIST, "epochs": 400, "matmul_precision": "bf16"},
        evaluate=importance(5000),
        published=("iwae-2016-vae-1l",),
    ),
    "iwae-mnist-continued": Job(
        title="VAE 784-200-200-50, 400 epochs of ELBO, then IWAE K=50, products in bf16",
        dataset="mnist",
        binarize="dynamic",
        model=lambda: models.VAE(features=784, latent=50, hidden=(200, 200)),
        inference=inference.IWAE(num_particles=50),
        training={"epochs": 60, "batch_size": 50, "lr": 1e-3, "lr_schedule": "linear", "matmul_precision": "bf16"},
        evaluate=importance(5000),
        published=("iwae-2016-vae-then-iwae-1l", "iwae-2016-iwae-1l"),
        continues="vae-mnist-long",
    ),
    "iwae-2l-mnist": Job(
        title="hierarchical VAE 784-200-200-100-100-100-50, IWAE K=50",
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
        training={**RBM_500, "epochs": 120, "optimizer": {"name": "sgd", "momentum": 0.5, "weight_decay": 1e-4}},
        evaluate=sandwiched("salakhutdinov-2008"),
        loading=MACHINE_LOADING,
    ),
    "rbm-500-smooth": Job(
        title="RBM 784-500, smooth filters, PCD-5",
        dataset=SBN_DATA,
        binarize=None,
        model=lambda: models.RBM(visible=784, hidden=500, shape=(28, 28)),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_500, "epochs": 200},
        evaluate=sandwiched("salakhutdinov-2008"),
        loading=MACHINE_LOADING,
    ),
    "rbm-500-fresh-bits": Job(
        title="RBM 784-500, PCD-5, training bits drawn anew",
        model=lambda: models.RBM(visible=784, hidden=500),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_500, "epochs": 120},
        evaluate=sandwiched("salakhutdinov-2008"),
        published=("salakhutdinov-2008-cd25",),
        **FRESH_BITS,
    ),
    "dbm-500-1000": Job(
        title="DBM 784-500-1000, PCD-5, training bits drawn anew",
        model=lambda: models.DBM(visible=784, hidden=(500, 1000)),
        inference=inference.PCD(k=5, num_chains=100),
        training={**RBM_500, "epochs": 75, "optimizer": {"name": "sgd", "momentum": 0.5, "weight_decay": 2e-5}},
        evaluate=sandwiched(20_000),
        published=("salakhutdinov-2009-dbm",),
        **FRESH_BITS,
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
            "epochs": (20, 40),
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
