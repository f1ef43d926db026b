"""One cell of a comparison: one model under one inference from one seed, trained, evaluated, diagnosed and written."""

import math
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ppgen.diagnostics.comparison.folder import CELL, FAILED, FINISHED, LOCK, RESULT, read_cell, read_result, same, tidy
from ppgen.training.run_folder import checkpoint
from ppgen.training.run_folder.folder import compare
from ppgen.undisturbed import CPU, forked

OF_OPTIMIZERS = ("optimizer", "lr", "lr_schedule", "clip_norm")


@dataclass(frozen=True)
class Study:
    """What all cells of a comparison share.

    Attributes:
        data: As `ppgen.fit` takes them.
        test: Rows that are evaluated; a tensor, tuple or mapping.
        training: Arguments of `ppgen.fit`.
        evaluation: Arguments of `ppgen.evaluation.log_likelihood`.
        gradient: `num_rows`, `num_draws` and `warmup_steps` of the gradient's noise.
        fresh: Whether every cell has a process of its own, whose peak memory is the cell's.
    """

    data: Any
    test: Any
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    gradient: Mapping[str, int]
    fresh: bool


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        model: Name of the model in the comparison.
        inference: Label of the inference in the comparison.
        seed: Seed of weights and training.
        factory: Makes the model.
        value: The inference, as `ppgen.fit` takes it.
        config: All that the result depends on, as JSON can hold it.
        folder: Where the cell is kept, or None.
        rests: Whether there is no optimiser, because an update sets all parameters: its arguments are for other cells.
    """

    model: str
    inference: str
    seed: int
    factory: Callable[[], Any]
    value: Any
    config: Mapping[str, Any]
    folder: Path | None
    rests: bool = False

    @property
    def name(self) -> str:
        """The cell in words."""
        return f"{self.model}, {self.inference}, seed {self.seed}"

    def check_folder(self) -> None:
        """Raise if the folder holds a cell of another configuration.

        Raises:
            ValueError: Names the fields that differ.
        """
        if self.folder is None or not (self.folder / CELL).exists():
            return
        old = read_cell(self.folder)
        result = self.finished(old)
        compare(old, self.config, int(result["epochs"]) if result else 0, self.folder)

    def finished(self, config: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """Result in the folder, if it was made with this configuration and did not fail."""
        if self.folder is None or not (self.folder / RESULT).exists():
            return None
        result = read_result(self.folder)
        return result if same(result, self.config if config is None else config) else None


def run_cell(cell: Cell, study: Study) -> dict[str, Any]:
    """Train a cell, or go on with it, evaluate and diagnose it; what fails becomes part of the result.

    Where another process works on the same cell this one waits, and then takes over what that one found.

    Returns:
        The result, as JSON can hold it.
    """
    with ExitStack() as stack:
        if cell.folder is not None:
            from filelock import FileLock

            cell.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(cell.folder / LOCK))
            tidy(cell.folder)
            found = cell.finished()
            if found is not None:
                return found
        try:
            cell.check_folder()
            if cell.folder is not None:
                checkpoint.write_json(cell.folder / CELL, cell.config)
            result = {"config": cell.config, "status": FINISHED, **_measured(cell, study)}
        except Exception as error:  # whatever a user's program does: the other cells are worth having
            result = failure(cell, error)
        if cell.folder is not None:
            checkpoint.write_json(cell.folder / RESULT, result)
        return result


def failure(cell: Cell, error: BaseException | str) -> dict[str, Any]:
    """Result of a cell that failed."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    lines = [] if isinstance(error, str) else traceback.format_exception(error)
    return {"config": cell.config, "status": FAILED, "error": text, "traceback": "".join(lines)}


def seeded(factory: Callable[[], Any], seed: int) -> Any:
    """The model with weights drawn from a seed; the caller's random state is left as it was."""
    with forked(CPU):
        torch.manual_seed(seed)  # of every device: a factory may draw on another
        return factory()


def _measured(cell: Cell, study: Study) -> dict[str, Any]:
    from ppgen.diagnostics.comparison.rows import evaluated
    from ppgen.evaluation.estimate import PARETO_K_LIMIT
    from ppgen.training.fitting import fit

    pair = seeded(cell.factory, cell.seed)
    folder = cell.folder
    left_out = OF_OPTIMIZERS if cell.rests else ()
    run = fit(
        pair,
        study.data,
        cell.value,
        seed=cell.seed,
        folder=folder,
        resume=False if folder is None else "auto",
        progress=False,
        **{name: value for name, value in study.training.items() if name not in left_out},
    )
    estimate = evaluated(run.pair, study.test, **study.evaluation)
    notes = [text for text in (estimate.warning, estimate.note) if text]
    noise = {"variance": math.nan, "variance_se": math.nan, "snr": math.nan}
    try:
        noise = _noise(run, study, cell.seed)
    except (ValueError, RuntimeError) as error:
        notes.append(f"no gradient variance: {error}")
    bad, rows = estimate.num_bad_pareto_k, estimate.num_data or 0
    known = rows - (estimate.num_unknown_pareto_k or 0)
    if (k := estimate.joint_pareto_k) is not None:  # one for all rows
        bad, rows, known = int(k > PARETO_K_LIMIT), 1, int(not math.isnan(k))
    on_cpu = run.pair.device.type == "cpu"
    numbers = {
        "log_likelihood": estimate.value,
        "log_likelihood_mcse": estimate.se,
        "bad_pareto_k": math.nan if bad is None or not known else bad / rows,
        "ess": math.nan if estimate.ess is None else estimate.ess,
        "gradient_variance": noise["variance"],
        "gradient_variance_se": noise["variance_se"],
        "gradient_snr": noise["snr"],
        "rhat": float(run.metrics[-1].get("rhat", math.nan)) if run.metrics else math.nan,
        "seconds": run.seconds,
        "peak_memory": math.nan if run.peak_memory is None or (on_cpu and not study.fresh) else run.peak_memory,
    }
    pointwise = (estimate.per_datum or {}).get("log_likelihood")
    return {
        "epochs": run.state["epoch"],
        "numbers": {name: _json(float(value)) for name, value in numbers.items()},
        "kind": estimate.kind,
        "method": estimate.method,
        "notes": "; ".join(notes),
        "pointwise": None if pointwise is None else [_json(float(value)) for value in pointwise],
    }


def _noise(run: Any, study: Study, seed: int) -> dict[str, float]:
    from ppgen.diagnostics.gradients.noise import gradient_noise
    from ppgen.training.data.sources import source_for

    source = source_for(run.pair, study.data, run.pair.device, None)
    source.dtype = next((each.dtype for each in run.pair.parameters() if each.is_floating_point()), None)
    index = torch.arange(min(study.gradient["num_rows"], source.num_train))
    return gradient_noise(
        run.pair,
        source.batch("train", index, torch.Generator().manual_seed(0)),
        run.inference,
        num_data=source.num_train,
        num_draws=study.gradient["num_draws"],
        warmup_steps=study.gradient["warmup_steps"],
        seed=seed,
    )


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
