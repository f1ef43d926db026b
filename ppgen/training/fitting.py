"""Training of a pair by any inference: `ppgen.fit`."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ppgen import inference as inferences
from ppgen import registry
from ppgen.checks.arguments import check_kind
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.switches import check_switches
from ppgen.inference.engine.roles import schedule_steps
from ppgen.inference.schedules import warn_of_unfinished
from ppgen.pair import as_pair
from ppgen.training import environment
from ppgen.training.binding import bind_pair, check_features, settle_plate
from ppgen.training.data.batch_source import BatchSource, example
from ppgen.training.data.last_batch import check_last_batch
from ppgen.training.data.sources import BATCH_SIZE, NotGiven, source_for, whole_source
from ppgen.training.epochs.best_epoch import VALUES, BestEpoch
from ppgen.training.epochs.callbacks import Callback, CSVLog, Event, TensorBoardLog
from ppgen.training.epochs.loop import Loop
from ppgen.training.epochs.progress import Progress
from ppgen.training.epochs.validation import Validation
from ppgen.training.left_state import leave_state
from ppgen.training.processes import world as processes
from ppgen.training.run import Run, told_of_run, told_of_values
from ppgen.training.run_folder import checkpoint
from ppgen.training.run_folder.contents import METRICS, TENSORBOARD
from ppgen.training.run_folder.folder import RunFolder
from ppgen.training.settings import Settings
from ppgen.training.steps.optimizers import NO_OPTIMIZER, OptimizerSpec, resolve_optimizer
from ppgen.training.steps.stepper import Stepper
from ppgen.undisturbed import forked, keeping_modes


def fit(
    pair: Any,
    data: Any,
    inference: Any = None,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = BATCH_SIZE,
    drop_last: bool = False,
    lr: float | None = None,
    optimizer: str | Mapping[str, Any] | Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    lr_schedule: str | Callable[[float], float] | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    matmul_precision: Literal["ieee", "tf32", "bf16"] = "ieee",
    compile: bool | Literal["auto"] = "auto",
    clip_norm: float | None = None,
    early_stopping: int | None = None,
    monitor: str | None = None,
    restore_best: bool | None = None,
    folder: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    checkpoint_minutes: float = 10.0,
    callbacks: Iterable[Callback] = (),
    progress: bool = True,
) -> Run:
    """Train a pair in place; a second call on the same pair goes on from its weights and chains.

    Where parameters are set in closed form, a second call goes on from the averages of statistics too if it is given
    the same data; statistics of other data begin anew.

    Draws come from `seed` alone, and the caller's random state is left as it was. The last batch of an epoch
    may be smaller and counts by its rows. Each epoch ends with metrics on at most a tenth as many validation
    rows as there are training rows (under a negative phase on 50 of small data sets; the same rows and the same random
    numbers every epoch), which changes nothing in training.

    Ctrl-C and SIGTERM let the running step finish and write a checkpoint if there is a folder; then
    `KeyboardInterrupt` or `SystemExit` is raised and the pair keeps its weights.

    Under `torchrun` every process calls `fit` with the same arguments: each takes its share of every batch and of
    the persistent chains, the gradients are averaged between step and optimiser, and process 0 alone writes and
    shows progress. Callbacks are called in every process, and a stop asked for by one stops all.

    Args:
        pair: A model of `ppgen.models` or a `ppgen.Pair`. At its first fit, `pair.initialise(data)` sets what
            the data tell, such as a decoder's bias.
        data: A `Dataset` or `PairedDataset`, the name of one, or an array; or a tuple (positional arguments) or a
            mapping (keyword arguments) of tensors or arrays with one row a datum. A `Pair` gets an array in its own
            shape, a model of the zoo as a table of features; data frames are tables, and masked entries are NaN.
            Floating-point data take the type of the pair's first floating-point parameter, here and everywhere:
            `pair.double()` trains in double precision. All rows of arrays and tensors are for training. Arrays mapped
            from disk (`numpy.load(..., mmap_mode="r")`), alone or in one of these, are never read whole: their
            batches are converted one by one and read ahead of the steps. They give the same run as the same array in
            memory. What fits in a quarter of the free memory of an accelerator is moved there once, as one tensor.
        inference: An `Inference`, objective, estimator, negative phase, or a registered name; completed from
            `pair.default_inference`.
        epochs: Passes over the training rows. Exactly one of `epochs` and `steps` must be given.
        steps: Optimiser steps.
        batch_size: Rows of a batch, of all processes together. A program without a data plate takes
            none: all its arguments, numbers and others too, are one datum, which goes in whole at every step.
        drop_last: Whether the smaller batch at the end of an epoch is left out. The rows are in another order in each
            epoch, so others are left out in the next. Batch normalisation cannot do with a last batch of one row.
        lr: Step size; by default that of `pair.default_training`, else that of the optimiser (Adam: 1e-3).
        optimizer: `"adam"`, `"adamw"`, `"adamax"`, `"rmsprop"`, `"sgd"`; a mapping with such a `"name"` and
            the optimiser's own options, as `{"name": "sgd", "momentum": 0.9}`; or a function from the list of
            parameters to an optimiser. By default that of `pair.default_training`, else Adam.
        lr_schedule: `"constant"`, `"linear"`, `"cosine"`, `"exponential"`, `"half"`, or a function from the
            progress in [0, 1) to a factor of `lr`.
        seed: Seed of everything that training draws.
        device: `"auto"` is the accelerator that PyTorch finds (CUDA, XPU, MPS, ...), else the CPU; or a name such as
            `"cuda:1"`. The pair is moved there. Under `torchrun` `"auto"` is the GPU of the process's local rank.
        matmul_precision: Of float32 matrix products, in PyTorch's words: `"ieee"`, `"tf32"`, `"bf16"`. Under `"bf16"`
            graphs round both factors of each product to bfloat16 and sum in float32, on every machine; eager steps do
            what PyTorch does under that setting, which on most CPUs is nothing.
        compile: `"auto"` runs the program eagerly, times its steps, and goes on with its graph (traced through Pyro's
            handlers) and then with compiled code when the remaining steps will win back what that costs; True
            compiles at once, False never does. A graph gives the same numbers as the program, compiled code the same
            up to rounding but from a random stream of its own. What prevents it is one warning. With `True` or
            `False` a resumed run equals an uninterrupted one bit for bit; with `"auto"` as long as nothing was
            compiled, because when that happens depends on the clock.
        clip_norm: Largest norm of the gradient of all parameters together.
        early_stopping: Epochs without a better value of `monitor` after which training stops.
        monitor: Metric that chooses the best epoch: `"valid_value"` by default, `"train_value"` without
            validation rows, and under a negative phase whose log Z is unknown `"pseudo_log_likelihood"`. An epoch whose
            pseudo-log-likelihood is, less its error, worse than twice that of fair coins is never the best.
        restore_best: Whether the run ends with the weights of its best epoch; by default only with early
            stopping.
        folder: Where to keep configuration, weights, checkpoints and logs; None writes nothing.
        resume: `"auto"` goes on if the folder holds a checkpoint of the same configuration (more `epochs` are
            the same run if the step size is constant); True insists on a checkpoint; False refuses a folder
            that holds a run.
        checkpoint_minutes: Time between checkpoints; 0 writes one after every step.
        callbacks: Functions of an `Event`.
        progress: Whether to print what is run, and a progress bar.

    Returns:
        The `Run`; `run.pair` is `pair`.

    Raises:
        ValueError: If an argument is out of its range or a name is not known; if the inference is not sound
            for this pair; if the folder holds another run, damaged files, files of others, or links.
        TypeError: If an argument has the wrong type.
        FolderInUseError: If another run is writing to the folder.
        OSError: If a disk takes no more; names the file, and says whether a checkpoint is whole.
        DivergenceError: If a value, gradient or parameter is not finite; names the first one. The pair keeps
            its last good weights and the folder its last good checkpoint.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> vae = models.VAE(features=64, latent=8, hidden=(64,))
        >>> run = ppgen.fit(vae, digits, "elbo", epochs=2, progress=False)
        >>> run.pair is vae, len(run.curve("valid_value"))
        (True, 2)
    """
    check_switches(progress=progress)
    settings = Settings(
        epochs=epochs,
        steps=steps,
        batch_size=int(batch_size) if isinstance(batch_size, NotGiven) else batch_size,
        seed=seed,
        matmul_precision=matmul_precision,
        clip_norm=clip_norm,
        early_stopping=early_stopping,
        monitor=monitor,
        restore_best=restore_best,
        checkpoint_minutes=checkpoint_minutes,
        compile=compile,
        drop_last=drop_last,
    )
    _check_resume(folder, resume)
    check_kind("callbacks", callbacks, Iterable, "functions of an Event, in a list")
    callbacks = list(callbacks)
    for callback in callbacks:
        if not callable(callback):
            raise TypeError(f"callbacks must be functions of an Event, got {type(callback).__name__}.")
    pair = as_pair(pair)
    inference = inferences.resolve(inference, pair)
    if not inference.objective.compares_draws:
        check_has_likelihood(pair, "Objectives of log-weights")
    _check_plate(inference.objective)
    spec = resolve_optimizer(optimizer, lr, lr_schedule, pair.default_training)
    where = environment.resolve_device(processes.local_device(device))
    environment.check_precision(pair, where)
    world = processes.join(where)
    if settings.batch_size < world.size:
        raise ValueError(
            f"batch_size is the number of rows of all {world.size} processes together and must be at least "
            f"{world.size}, got {settings.batch_size}."
        )
    own_inference = world.sharded(inference)
    given_size = None if isinstance(batch_size, NotGiven) else settings.batch_size
    source = source_for(pair, data, where, given_size)
    check_features(pair, source)
    settings.steps_per_epoch(source.num_train)  # raises before any work is done
    with ExitStack() as stack:
        kept = None if folder is None else stack.enter_context(RunFolder(folder, resume, world))
        stack.enter_context(forked(where, world.seed(seed)))
        stack.enter_context(environment.matmul_precision(matmul_precision))
        environment.reset_peak_memory(where)
        stack.enter_context(keeping_modes(pair))
        pair.train()
        settle_plate(pair, source, settings.batch_size)
        if pair.plate is None:
            source = whole_source(pair, data, where, given_size)
            settings = replace(settings, batch_size=1)
            _check_one_process(pair, world)
        batch_size, steps_per_epoch = settings.batch_size, settings.steps_per_epoch(source.num_train)
        bound, first = bind_pair(pair, source, own_inference, batch_size, world)
        if not bound.followed_parameters():
            _check_no_optimizer(bound, optimizer=optimizer, lr=lr, lr_schedule=lr_schedule, clip_norm=clip_norm)
            spec = NO_OPTIMIZER
        if not drop_last and settings.total_steps(steps_per_epoch) >= steps_per_epoch:
            check_last_batch(pair, source, batch_size, inference.objective)
        stepper = Stepper(
            pair,
            bound,
            source,
            spec,
            total_steps=settings.total_steps(steps_per_epoch),
            batch_size=batch_size,
            clip_norm=clip_norm,
            seed=seed,
            compile=compile,
            world=world,
            steps_per_epoch=steps_per_epoch,
        )
        warn_of_unfinished(inference, schedule_steps(bound.state), stepper.total_steps)
        validation = Validation(pair, bound, source, batch_size, stepper.steps_per_epoch, world)
        selection = _selection(settings, validation)
        config = _config(pair, inference, spec, settings, selection, source, first, where, kept is not None)
        path = None if kept is None else kept.path
        run = Run(pair, inference, source.describe(), config, folder=path, points=bound.layout.points)
        bar = None
        progress = progress and world.writes
        if progress:
            length = f"{epochs} epochs of {stepper.steps_per_epoch} steps" if epochs else f"{steps} steps"
            headline = (
                f"{type(pair).__name__} on {run.dataset}: {inferences.describe(inference)}; "
                f"{spec.describe()}; {length} on {where}"
            )
            headline += "".join(f"; {each}" for each in told_of_run(run))
            bar = Progress(headline, stepper.total_steps)
        logs: list[Callback] = [] if kept is None or not world.writes else _logs(kept, stack)
        loop = Loop(
            run,
            stepper,
            validation,
            selection,
            settings,
            kept,
            [*logs, *([bar] if bar else []), *callbacks],
            bar,
        )
        last = None if kept is None else kept.begin(config)
        stack.callback(leave_state, pair, bound, config["data"])
        if last is not None:
            loop.resume(*last)
        pair.initialised = True
        if loop.finished:
            loop.finish()
            if progress:
                print(f"Finished before, nothing left to train. {run!r}", flush=True)
            return run
        if bar is not None:
            stack.callback(bar.close)
            bar.start(stepper.step)
        loop.train()
        return run


def _selection(settings: Settings, validation: Validation) -> BestEpoch | None:
    """The metric that chooses the best epoch, by name or by default."""
    known, objective = validation.names(), validation.bound.inference.objective
    name, told = settings.monitor, told_of_values(objective)
    if name is None:
        default = ("valid_value", "pseudo_log_likelihood", "train_value", "free_energy_gap")
        name = next((candidate for candidate in default if candidate in known), None)
    elif name not in known:
        if name in VALUES and told:
            raise ValueError(f"monitor cannot be {name!r}: {told}.")
        raise ValueError(f"Unknown monitor {name!r}. Known for this inference: {', '.join(known)}.")
    if name is None:
        if settings.early_stopping is not None or settings.restores_best:
            why = f": {told}" if told else ""
            raise ValueError(f"early_stopping and restore_best need a metric, and this inference has none here{why}.")
        return None
    minimised = name in VALUES and objective.descended
    return BestEpoch(name, settings.early_stopping, validation.chance.get(name, -math.inf), minimised)


def _config(
    pair: Any,
    inference: Any,
    spec: OptimizerSpec,
    settings: Settings,
    selection: BestEpoch | None,
    source: BatchSource,
    first: Any,
    device: torch.device,
    kept: bool,
) -> dict[str, Any]:
    name = registry.name_of("model", type(pair))
    model = {"name": name, "arguments": pair.config()} if name else {"name": None, "type": type(pair).__name__}
    if pair.plate is None or pair.plate_found:  # one that was named is named by the pair, as in older runs
        model["plate"] = pair.plate
    return {
        "checkpoint_format": checkpoint.FORMAT,
        "model": {**model, "example": example(first)},
        "inference": inferences.to_config(inference) if kept else inferences.describe(inference),
        "training": settings.to_config() | spec.to_config() | {"monitor": selection.monitor if selection else None},
        "data": source.to_config(),
        "environment": environment.describe_environment(device),
    }


def _check_one_process(pair: Any, world: processes.World) -> None:
    if world.size > 1:
        raise ValueError(
            f"The program has no data plate, so that its one datum cannot be shared out among {world.size} processes: "
            f"train it in one, or name the plate that goes over the rows: {pair.plate_argument}."
        )


def _check_no_optimizer(bound: Any, **given: Any) -> None:
    """Raise if an optimiser is described where it has nothing to move."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name}={value!r} is of an optimiser, and {type(bound.update.update).__name__} sets all parameters of "
                f"{type(bound.pair).__name__} in closed form. Leave it out, or train by gradient: inference.ELBO()."
            )


def _check_plate(objective: Any) -> None:
    if objective.plate is not None:
        raise ValueError(
            f"{type(objective).__name__}(plate={objective.plate!r}) is a loss of pyro.infer.SVI; in ppgen.fit the pair "
            f"says which plate goes over the data: ppgen.Pair(model, guide, plate={objective.plate!r})."
        )


def _check_resume(folder: Any, resume: Any) -> None:
    if resume not in (True, False, "auto"):
        raise ValueError(f"resume must be True, False or 'auto', got {resume!r}.")
    if folder is None and resume:
        raise ValueError(f"resume={resume!r} needs a folder to go on from: give fit(folder=...).")
    if folder is not None and not isinstance(folder, (str, Path)):
        raise TypeError(f"folder must be a path, got {type(folder).__name__}.")
    if folder == "":
        raise ValueError("folder must be the path of a folder, got an empty one; '.' is the working directory.")


def _logs(kept: RunFolder, stack: ExitStack) -> list[Callback]:
    logs: list[Callback] = [CSVLog(kept.path / METRICS)]
    if find_spec("tensorboard") is not None:  # not on a machine that has torch and Pyro only
        board = TensorBoardLog(kept.path / TENSORBOARD)
        stack.callback(board.close)
        logs.append(board)

    def write(event: Event) -> None:
        with kept.writing():
            for log in logs:
                log(event)

    return [write]
