"""ppgen as a contender: the steps that `ppgen.fit(..., compile=True)` takes, without what surrounds them."""

from collections.abc import Callable
from typing import Any

import torch

import ppgen  # noqa: F401 - its import is part of what memory is compared against
from benchmarks.speed import synthetic
from ppgen import evaluation, inference, models
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.engine.specification import resolve
from ppgen.pair import as_pair
from ppgen.training import environment
from ppgen.training.data.batch_source import BatchSource
from ppgen.training.steps.optimizers import resolve_optimizer
from ppgen.training.steps.stepper import Stepper

Run = Callable[[int], dict[str, Any] | None]
WARM_UP = 5


def vae_step(
    particles: int = 1,
    batch_size: int = 128,
    precision: str = "ieee",
    device: str = "cpu",
    rows: int | None = None,
    features: int = synthetic.FEATURES,
    world: Any = None,
) -> Run:
    """Steps of a VAE under the ELBO, or with several particles under the importance weighted one; Adam."""
    pair = models.VAE(features, synthetic.LATENT, (synthetic.HIDDEN, synthetic.HIDDEN))
    objective = inference.ELBO() if particles == 1 else inference.IWAE(particles)
    table = synthetic.bits(rows or synthetic.BATCHES * batch_size, features)
    return steps_of(pair, table, objective, "adam", synthetic.LEARNING_RATE, batch_size, precision, device, world)


def sbn_step(
    particles: int = 10,
    batch_size: int = 100,
    precision: str = "ieee",
    device: str = "cpu",
    compile: bool = True,
) -> Run:
    """Steps of a sigmoid belief network under VIMCO, traced and compiled or as the program runs; Adam."""
    pair = models.SigmoidBeliefNet((synthetic.FEATURES, synthetic.HIDDEN, synthetic.HIDDEN))
    table = synthetic.bits(synthetic.BATCHES * batch_size)
    vimco = inference.VIMCO(particles)
    lr = synthetic.LEARNING_RATE
    return steps_of(pair, table, vimco, "adam", lr, batch_size, precision, device, compile=compile)


def rbm_step(
    hidden: int = synthetic.UNITS,
    num_chains: int = 128,
    batch_size: int = 128,
    centred: bool = False,
    precision: str = "ieee",
    device: str = "cpu",
) -> Run:
    """Steps of an RBM under PCD-1; gradient descent with momentum."""
    pair = models.RBM(synthetic.FEATURES, hidden)
    phase = inference.PCD(k=1, num_chains=num_chains, centred=centred)
    optimizer = {"name": "sgd", "momentum": synthetic.MOMENTUM}
    table = synthetic.bits(synthetic.BATCHES * batch_size)
    return steps_of(pair, table, phase, optimizer, synthetic.RBM_LEARNING_RATE, batch_size, precision, device)


def dbm_step(
    sweeps: int = 5,
    mean_field: int = 10,
    num_chains: int = 100,
    batch_size: int = 100,
    precision: str = "ieee",
    device: str = "cpu",
    compile: bool = True,
    hidden: int = synthetic.UNITS,
) -> Run:
    """Steps of a deep Boltzmann machine under mean field and PCD; gradient descent with momentum."""
    pair = models.DBM(synthetic.FEATURES, (hidden, synthetic.UPPER), mean_field_sweeps=mean_field)
    phase = inference.PCD(k=sweeps, num_chains=num_chains)
    optimizer = {"name": "sgd", "momentum": synthetic.MOMENTUM}
    table = synthetic.bits(synthetic.BATCHES * batch_size)
    lr = synthetic.RBM_LEARNING_RATE
    return steps_of(pair, table, phase, optimizer, lr, batch_size, precision, device, compile=compile)


def annealing(num_chains: int, betas: int | str, device: str = "cpu") -> Run:
    """log Z of a random machine by annealed importance sampling, another seed in every run."""
    rbm = _machine(device)
    seed = 0

    def run(steps: int) -> dict[str, Any]:
        nonlocal seed
        for _ in range(steps):
            estimate = evaluation.log_partition(rbm, method="ais", num_chains=num_chains, betas=betas, seed=seed)
            seed += 1
        return {"log_z": estimate.value, "se": estimate.se}

    evaluation.log_partition(rbm, method="ais", num_chains=num_chains, betas=20)
    return run


def gibbs(num_chains: int, device: str = "cpu") -> Run:
    """Gibbs sweeps of many chains of a random machine."""
    machine = _machine(device).machine()
    values = torch.zeros(num_chains, synthetic.FEATURES, device=device)

    @torch.no_grad()
    def run(steps: int) -> None:
        nonlocal values
        values = machine.base_energy.gibbs(values, EVEN, steps)
        _wait(device)

    run(WARM_UP)
    return run


def _machine(device: str) -> Any:
    return models.RBM.from_arrays(*synthetic.random_machine()).to(device)


def steps_of(
    pair: Any,
    table: Any,
    given: Any,
    optimizer: Any,
    lr: float,
    batch_size: int,
    precision: str,
    device: str,
    world: Any = None,
    compile: bool = True,
) -> Run:
    """Set up as `fit` does, compile, warm up; the precision stays for the life of the process."""
    torch.set_float32_matmul_precision(environment.PRECISIONS[precision])
    torch.manual_seed(0)
    pair = as_pair(pair)
    resolved = resolve(given, pair)
    source = BatchSource(torch.from_numpy(table), environment.resolve_device(device))
    pair.to(source.device)
    source.dtype = torch.float32
    pair.initialise(source.dataset)
    pair.train()
    index = torch.arange(batch_size)
    first = source.batch("train", index)
    pair.prepare(first)
    shared: dict[str, Any] = {}
    if world is not None:  # from one seed, so that the processes begin with the same weights
        resolved, shared = world.sharded(resolved), {"world": world}
        first = source.batch("train", world.share(index))
    stepper = Stepper(
        pair,
        resolved.bind(pair, first, source.num_train),
        source,
        resolve_optimizer(optimizer, lr, "constant", pair.default_training),
        total_steps=10**9,
        batch_size=batch_size,
        clip_norm=None,
        seed=0,
        compile=compile,
        **shared,
    )

    def run(steps: int) -> None:
        for _ in range(steps):
            if stepper.epoch_done:
                stepper.next_epoch()
            stepper.advance()
        _wait(device)

    run(WARM_UP)
    return run


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
