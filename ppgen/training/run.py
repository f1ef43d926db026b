"""What training returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


@dataclass
class Run:
    """A training run: the pair that was trained, and the record of its training.

    Args:
        pair: The pair, trained in place: the object that `fit` was given.
        inference: The complete inference it was trained with.
        dataset: The data in a few words, with the binarisation.
        config: What `config.json` holds: model, inference, training arguments, data, versions.
        metrics: One mapping an epoch: `epoch`, `step`, `seconds`, `lr`, and in nats per datum `train_value`
            (mean over the epoch's rows) and `valid_value`. Under a negative phase whose log Z is unknown
            these two are replaced by `pseudo_log_likelihood`, `free_energy_gap` (validation minus training;
            grows with overfitting; above independent units, where each row has a log Z of its own) and `rhat` of the
            persistent chains.
        state: Where the run stands: `epoch`, `step`, `finished`, `stopped_by`, `monitor`, `best_epoch`,
            `best_value` and `restored_best`; and `execution`, how steps were run and what that took.
        seconds: Time spent in training, over all its continuations.
        peak_memory: In MiB, on the device or of the process; None if the system does not say.
        folder: Where it is kept, or None.
        points: Continuous latents at which the guide has a point and no law (MAP estimates). With any, values are the
            log joint log p(x, z) at the points, and no bound of log p(x).
    """

    pair: Any
    inference: Any
    dataset: str
    config: dict[str, Any] = field(repr=False)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory: float | None = None
    folder: Path | None = None
    points: tuple[str, ...] = ()

    @property
    def inference_state(self) -> dict[str, Tensor] | None:
        """State that the inference ended with, such as persistent chains."""
        return self.pair.inference_state

    def curve(self, name: str) -> list[float]:
        """One metric over the epochs; NaN where an epoch has none.

        Raises:
            ValueError: If no epoch has a metric of that name; the message lists the known ones.
        """
        known = list(dict.fromkeys(key for row in self.metrics for key in row))
        if name not in known:
            raise ValueError(f"Unknown metric {name!r}. Known: {', '.join(known) or 'none, no epoch has ended'}.")
        return [float(row.get(name, math.nan)) for row in self.metrics]

    def check(self, x: Any, **options: Any) -> Any:
        """Say in sentences how far this fit can be believed, as `ppgen.diagnostics.check(self, x, ...)` does.

        Args:
            x: Data that were not trained on.
            **options: Other arguments of `ppgen.diagnostics.check`, such as `train=` or `num_particles=`.

        Returns:
            A `ppgen.diagnostics.Check`.

        Example:
            >>> import ppgen
            >>> from ppgen import datasets, models
            >>> digits = datasets.load("digits", binarize="threshold")
            >>> vae = models.VAE(features=64, latent=2, hidden=(4,))
            >>> run = ppgen.fit(vae, digits, epochs=1, progress=False)
            >>> run.check(digits.valid, num_particles=100)["latent units"].values["units"]
            2.0
        """
        import ppgen

        return ppgen.diagnostics.check(self, x, **options)  # by name: training knows nothing of diagnostics

    def __repr__(self) -> str:
        from ppgen import inference

        epoch, step = self.state.get("epoch", 0), self.state.get("step", 0)
        parts = [
            f"Run of {type(self.pair).__name__} on {self.dataset}: {inference.describe(self.inference)}; "
            f"{epoch} epochs, {step} steps in {self.seconds:.1f} s"
        ]
        parts += told_of_run(self)
        parts += told_of_scans(self.state.get("execution", {}))
        if self.metrics:
            parts.append(f"last epoch: {format_metrics(self.metrics[-1])}")
        if self.state.get("best_epoch") is not None:
            restored = ", restored" if self.state.get("restored_best") else ""
            parts.append(
                f"best epoch {self.state['best_epoch']} "
                f"({self.state['monitor']} {self.state['best_value']:.4g}{restored})"
            )
        if self.state.get("stopped_by"):
            parts.append(f"stopped by {self.state['stopped_by']}")
        if self.peak_memory is not None:
            parts.append(f"peak memory {self.peak_memory:.0f} MiB")
        parts.append(f"folder {self.folder}" if self.folder else "not saved")
        return "; ".join(parts) + "."


def told_of_run(run: Run) -> list[str]:
    """What the values of a run mean, where they are no lower bound of log p(x), or none of each datum."""
    told = told_of_points(run.points) if run.points else told_of_values(run.inference.objective)
    told = getattr(run.pair, "told_of_values", "") or told
    return [each for each in (told_of_plate(run.pair), told) if each]


def told_of_scans(execution: Mapping[str, Any]) -> list[str]:
    """How recurrent cells were run, where there are any.

    Example:
        >>> told_of_scans({"stage": "compiled", "scans": 1})
        ['1 recurrent cell is run by one scan, as machine code']
    """
    number = execution.get("scans", 0)
    if not number or execution.get("stage") == "eager":
        return []
    cells = "1 recurrent cell is run by one scan" if number == 1 else f"{number} recurrent cells are run by scans"
    return [f"{cells}, {'as machine code' if execution['stage'] == 'compiled' else 'operation by operation'}"]


def told_of_plate(pair: Any) -> str:
    """Which plate was taken for that of the data, where none was named and it is not called "data"; or that none is.

    Example:
        >>> import ppgen
        >>> pair = ppgen.Pair(print, print)
        >>> pair.settle_plate(None)
        >>> told_of_plate(pair)
        'no data plate: values are nats of all data together'
    """
    if pair.plate is None:
        return "no data plate: values are nats of all data together"
    return f"plate {pair.plate!r} goes over the data" if pair.plate_found else ""


def told_of_values(objective: Any) -> str:
    """What the values of an objective mean, where they are no lower bound of log p(x); empty where they are.

    Example:
        >>> from ppgen import inference
        >>> told_of_values(inference.Renyi(alpha=-1.0))
        'values are estimates that err both ways, no bound of log p(x)'
    """
    if objective.compares_draws:
        return f"values are the {objective.value_name}, and say nothing of log p(x)"
    if objective.value_kind == "estimate":
        return "values are estimates that err both ways, no bound of log p(x)"
    return "values are an upper bound of log p(x), less is better" if objective.value_kind == "upper bound" else ""


def told_of_points(points: tuple[str, ...]) -> str:
    """What values mean where the guide has points and no laws.

    Example:
        >>> told_of_points(("code",))
        "values are the log joint at a point (the guide's Delta at 'code'), no bound of log p(x)"
    """
    named = ", ".join(map(repr, points))
    return f"values are the log joint at a point (the guide's Delta at {named}), no bound of log p(x)"


def format_metrics(metrics: dict[str, Any]) -> str:
    """Metrics of an epoch in a few words; what is not known yet is left out.

    Example:
        >>> format_metrics({"epoch": 1, "seconds": 0.2, "train_value": -20.123, "rhat": float("nan")})
        'train_value -20.12'
    """
    shown = {key: value for key, value in metrics.items() if key not in ("epoch", "step", "seconds", "lr")}
    return ", ".join(f"{key} {value:.4g}" for key, value in shown.items() if not math.isnan(value))
