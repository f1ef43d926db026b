"""The course of a training run as a figure."""

from typing import Any

import numpy as np

# Metric, title, unit, level to compare with.
_UNDIRECTED = (
    ("pseudo_log_likelihood", "pseudo-log-likelihood", "nats per datum", None),
    ("free_energy_gap", "free energy, validation minus training", "nats per datum", 0.0),
    ("rhat", "R-hat of the persistent chains", "R-hat", 1.01),
)
TRAIN, VALID, LEVEL = "#1f4e79", "#c8552b", "#777777"


def curve(run: Any) -> Any:
    """Return the figure of a run's metrics over its epochs.

    With a normalised inference: the objective of training and validation data in nats per datum, or the score that
    stands in its place where a model has no law of the data. Under a negative phase, where log Z is not known:
    pseudo-log-likelihood, free-energy gap and R-hat of the chains, as far as there are any.

    Args:
        run: A run of `ppgen.fit`.

    Raises:
        ValueError: If no epoch has ended.

    Example:
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> from ppgen.diagnostics import figures
        >>> vae = models.VAE(features=64, latent=2, hidden=(4,))
        >>> run = ppgen.fit(vae, datasets.load("digits", binarize="threshold"), epochs=1, progress=False)
        >>> figures.curve(run).axes[0].get_ylabel()
        'nats per datum'
    """
    from matplotlib.figure import Figure

    from ppgen import inference

    if not run.metrics:
        raise ValueError("run has no metrics: no epoch has ended. Train for an epoch or more.")
    epochs = run.curve("epoch")
    known = {name for row in run.metrics for name in row}
    title = f"{type(run.pair).__name__} on {run.dataset}\n{inference.describe(run.inference)}"
    if "train_value" in known:
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        _line(axes, epochs, run.curve("train_value"), TRAIN, "training, mean over the epoch")
        if "valid_value" in known:
            _line(axes, epochs, run.curve("valid_value"), VALID, "validation, after the epoch")
        unit = "nats per datum" if run.pair.draws_data else "minus the cross-entropy per datum"
        objective = run.inference.objective
        unit = objective.value_name if objective.compares_draws else unit
        _frame(axes, f"objective: {type(objective).__name__}", unit)
        _best(axes, run)
        axes.legend(frameon=False, loc="lower right")
    else:
        panels = [panel for panel in _UNDIRECTED if panel[0] in known]
        if not panels:
            raise ValueError(f"run has none of the metrics that can be drawn; its metrics are {sorted(known)}.")
        figure = Figure(figsize=(6.4, 1.0 + 2.1 * len(panels)), layout="constrained")
        for index, (name, label, unit, level) in enumerate(panels, start=1):
            axes = figure.add_subplot(len(panels), 1, index)
            _line(axes, epochs, run.curve(name), TRAIN, None)
            if level is not None:
                axes.axhline(level, color=LEVEL, linewidth=0.8, linestyle="--")
                axes.annotate(
                    f"{level:g}",
                    (1.005, level),
                    xycoords=("axes fraction", "data"),
                    va="center",
                    color=LEVEL,
                    fontsize="small",
                )
            margin = 0.03 * max(epochs[-1] - epochs[0], 1.0)
            axes.set_xlim(epochs[0] - margin, epochs[-1] + margin)
            _frame(axes, label, unit)
            if name == run.state.get("monitor"):
                _best(axes, run)
            if index < len(panels):
                axes.set_xlabel("")
    figure.suptitle(title, fontsize="medium")
    return figure


def _line(axes: Any, epochs: list[float], values: list[float], colour: str, label: str | None) -> None:
    shown = np.isfinite(values)
    marker = "o" if shown.sum() < 40 else None
    axes.plot(
        np.asarray(epochs)[shown],
        np.asarray(values)[shown],
        color=colour,
        marker=marker,
        markersize=3,
        linewidth=1.4,
        label=label,
    )


def _best(axes: Any, run: Any) -> None:
    """Mark the epoch whose weights were put back."""
    if run.state.get("restored_best"):
        axes.axvline(run.state["best_epoch"], color=LEVEL, linewidth=0.8, linestyle=":", label="best epoch, restored")
        axes.legend(frameon=False)


def _frame(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, fontsize="medium", loc="left")
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
