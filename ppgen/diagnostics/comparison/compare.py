"""Inferences side by side on one model or several: `ppgen.compare_inferences`."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.diagnostics.comparison.cell import FINISHED, Cell, run_cell
from ppgen.diagnostics.comparison.folder import FIGURE, NETCDF
from ppgen.diagnostics.comparison.folder import TEXT_FILE as TEXT
from ppgen.diagnostics.comparison.plan import check_budget, plan

EPOCHS = 20
WARMUP_STEPS = 20


def compare_inferences(
    model_factory: Callable[[], Any] | Mapping[str, Callable[[], Any]],
    data: Any,
    inferences: Sequence[Any] | Mapping[str, Any],
    *,
    seeds: int | Sequence[int] = 3,
    epochs: int | None = None,
    steps: int | None = None,
    folder: str | Path | None = None,
    processes: int = 1,
    test: Any = None,
    method: str = "auto",
    num_particles: int = 1000,
    num_chains: int | None = None,
    betas: int | str | Sequence[float] | Tensor | None = None,
    gradient_rows: int = 100,
    gradient_draws: int = 40,
    progress: bool = True,
    **training: Any,
) -> Any:
    """Train a model under each inference from each seed, evaluate and diagnose all alike, and say what differs.

    A cell is one model under one inference from one seed. Each is trained by `ppgen.fit`, evaluated by
    `ppgen.evaluation.log_likelihood` with the same method, budget, seed and rows, and diagnosed. A cell that fails is
    reported and stops no other. All arguments, and every combination of a model with an inference, are checked before
    the first step.

    In a folder every cell keeps its checkpoint and its result, so that the same call after an interruption, also by
    `kill -9`, repeats no finished cell and goes on with one that was cut off; with other settings it raises and names
    the field that differs. More seeds, inferences or models, and more epochs of a constant step size, go on with what
    is there. Two processes may compare in the same folder. It also gets `comparison.nc`, `.txt` and `.png`.

    Two inferences are called within noise where the 95 % interval of their difference holds 0. It covers what other
    seeds, another data set of that size and other Monte Carlo draws would change; differences are paired over
    the seeds and the rows, and the intervals of all pairs of a model hold together (Bonferroni), as the best of many is
    chosen by the same data.

    Args:
        model_factory: Function that makes a new model, of the zoo or a `ppgen.Pair`, such as a lambda; it is called
            under each seed. For several models a mapping from their names to such functions.
        data: As `ppgen.fit` takes them.
        inferences: Inferences as `ppgen.fit` takes them: a sequence, or a mapping from labels. For several models also
            a mapping from the name of each model to either.
        seeds: Number of seeds, from 0 on, or the seeds themselves.
        epochs: Passes over the training rows; 20 if neither `epochs` nor `steps` is given.
        steps: Optimiser steps instead.
        folder: Where cells are kept; None writes nothing.
        processes: Cells that run at the same time, each in a process of its own, between which torch's threads are
            shared. 0 runs them one after another in this process, which does not tell the peak memory of each.
        test: Rows to evaluate; by default the test rows of `data`, else its validation rows, else its training rows.
        method: How log p(x) is evaluated, in the words of `ppgen.evaluation.log_likelihood`; `"auto"` is exact where
            that can be. Where latents are common to all data it is `ppgen.evaluation.log_evidence` of the training
            rows over their number: of one model all inferences estimate the same, and Pareto k says which to believe.
        num_particles: Particles a datum of importance sampling.
        num_chains: Annealing runs, where log Z or log p(x) is annealed; by default as many as
            `ppgen.evaluation.log_likelihood` takes of what moves them.
        betas: Ladder of annealing: a number of equal steps, or increasing numbers up to 1; likewise.
        gradient_rows: Training rows of the batch on which the gradient's variance is measured.
        gradient_draws: Gradients that it is measured from; 20 or more.
        progress: Whether to print a line for each cell.
        **training: Other arguments of `ppgen.fit`, such as `batch_size` or `lr`.

    Returns:
        `ppgen.diagnostics.Comparison`, an `xarray.Dataset` with dimensions `model`, `inference`, `seed` that prints as
        a table sorted by log-likelihood.

    Raises:
        ValueError: If an argument is out of its range, a name is not known, an inference is not sound for its model,
            or the folder holds a comparison with other settings.
        TypeError: If an argument has the wrong type.
        KeyboardInterrupt: After Ctrl-C, when all cells have stopped; says how to go on.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> found = ppgen.compare_inferences(
        ...     lambda: models.VAE(features=64, latent=2, hidden=(8,)), digits, ["elbo", "iwae"],
        ...     seeds=2, steps=3, processes=0, num_particles=10, progress=False,
        ... )
        >>> dict(found.sizes)["inference"], found.log_likelihood.dims
        (2, ('model', 'inference', 'seed'))
    """
    check_switches(progress=progress)
    check_budget(processes, num_particles, gradient_rows, gradient_draws)
    if epochs is None and steps is None:
        epochs = EPOCHS
    cells, study, attrs = plan(
        model_factory,
        data,
        inferences,
        seeds=seeds,
        folder=folder,
        test=test,
        training={"epochs": epochs, "steps": steps, **training},
        evaluation={
            "method": method,
            "num_particles": num_particles,
            "num_chains": num_chains,
            "betas": betas,
            "seed": 0,
        },
        gradient={"num_rows": gradient_rows, "num_draws": gradient_draws, "warmup_steps": WARMUP_STEPS},
        fresh=processes > 0,
    )
    results: dict[str, Mapping[str, Any]] = {}
    for cell in cells:
        found = cell.finished()
        if found is not None:
            results[cell.name] = found
    waiting = [cell for cell in cells if cell.name not in results]
    if progress:
        there = f", {len(results)} of them finished before" if results else ""
        print(f"comparing {len(cells)} cells{there}", flush=True)

    def done(cell: Cell, result: Mapping[str, Any]) -> None:
        results[cell.name] = result
        if progress:
            print(f"[{len(results)}/{len(cells)}] {cell.name}: {_line(result)}", flush=True)

    try:
        if waiting and processes:
            from ppgen.diagnostics.comparison.workers import run_in_processes

            at_once = min(processes, len(waiting))
            run_in_processes(waiting, study, at_once, max(1, torch.get_num_threads() // at_once), done)
        else:
            for cell in waiting:
                done(cell, run_cell(cell, study))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(len(results), len(cells), folder)) from None
    return _leave([((cell.model, cell.inference, cell.seed), results[cell.name]) for cell in cells], attrs, folder)


def _line(result: Mapping[str, Any]) -> str:
    if result["status"] != FINISHED:
        return f"FAILED, {' '.join(str(result['error']).split())}"
    from ppgen.evaluation.estimate import with_error

    numbers = result["numbers"]
    value, error = (numbers[name] for name in ("log_likelihood", "log_likelihood_mcse"))
    shown = "not finite" if value is None else with_error(value, float("nan") if error is None else error)
    return f"{shown} nats per datum, {numbers['seconds']:.1f} s"


def _how_to_go_on(finished: int, total: int, folder: Any) -> str:
    if folder is None:
        return f"{finished} of {total} cells were finished; without folder= nothing is kept"
    return f"{finished} of {total} cells are finished in {os.fspath(folder)}; the same call goes on from there"


def _leave(results: list[Any], attrs: Mapping[str, Any], folder: Any) -> Any:
    """The comparison, also in the folder."""
    from ppgen.diagnostics.comparison import table as comparison_table

    table = comparison_table.assemble(results, attrs)
    if folder is not None:
        from ppgen.diagnostics.comparison.figure import comparison
        from ppgen.diagnostics.mosaic import DPI
        from ppgen.training.run_folder.checkpoint import replacing

        comparison_table.write(table, Path(folder) / NETCDF)
        with replacing(Path(folder) / TEXT) as temporary:
            temporary.write_text(f"{table!r}\n", encoding="utf-8")
        if bool(table.log_likelihood.notnull().any()):
            with replacing(Path(folder) / FIGURE) as temporary:
                comparison(table).savefig(temporary, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.1)
    return table
