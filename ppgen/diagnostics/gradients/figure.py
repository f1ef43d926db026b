"""Inferences side by side as a figure: signal-to-noise ratio and variance of their gradients."""

from typing import Any

import numpy as np

_PANELS = (
    ("snr", "signal-to-noise ratio (higher is better)", "|mean| / standard deviation"),
    ("variance", "variance of one step's gradient (lower is better)", "nats² per datum²"),
)
_COLOURS = (
    "#1f4e79",
    "#c8552b",
    "#3a7d44",
    "#8e5ea2",
    "#b8860b",
    "#2a9d8f",
    "#d1495b",
    "#5c677d",
    "#7f4f24",
    "#000000",
)
_MARKERS = "osD^vPX*<>"
_SPREAD = 0.7  # part of a block's width that its inferences share


def estimators(comparison: Any) -> Any:
    """Return a figure of a comparison: signal-to-noise ratio and variance of each block, a colour an inference.

    Bars are two Monte Carlo standard errors. An open symbol is a gradient with a bias that its error does not explain
    (p-value below 0.0001): a low variance alone is no merit there.

    Args:
        comparison: What `ppgen.diagnostics.compare_estimators` returned.

    Raises:
        ValueError: If the comparison holds no variance above 0.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> sbn = models.SigmoidBeliefNet(sizes=(6, 4))
        >>> found = diagnostics.compare_estimators(sbn, torch.ones(5, 6), ["nvil", "vimco"], num_draws=40)
        >>> [axes.get_yscale() for axes in diagnostics.figures.estimators(found).axes]
        ['log', 'log']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatterSciNotation

    from ppgen.diagnostics.gradients.compare import SIGNIFICANT

    names, blocks = list(comparison.inference.values), list(comparison.parameter.values)
    if not (comparison.variance > 0).any():
        raise ValueError("comparison holds no variance above 0: every gradient is exact, so there is nothing to draw.")
    width = 1.4 + len(blocks) * max(1.1, 0.16 * len(names))
    figure = Figure(figsize=(min(max(width, 5.5), 16.0), 6.6), layout="constrained")
    axes_of = figure.subplots(len(_PANELS), 1, sharex=True)
    offsets = (np.arange(len(names)) - (len(names) - 1) / 2) * _SPREAD / max(len(names), 1)
    for axes, (variable, title, unit) in zip(axes_of, _PANELS, strict=True):
        for index, name in enumerate(names):
            cell = comparison.sel(inference=name)
            colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
            value, error = cell[variable].values, 2 * cell[f"{variable}_se"].values
            shown = np.isfinite(value) & (value > 0)
            below = np.minimum(error, 0.9 * np.where(shown, value, 1.0))  # a bar cannot reach 0 on this axis
            at = np.arange(len(blocks)) + offsets[index]
            axes.errorbar(
                at[shown], value[shown], (below[shown], error[shown]), fmt="none", color=colour, linewidth=1.0
            )
            biased = cell.bias_p.values < SIGNIFICANT
            for mask, face in ((shown & ~biased, colour), (shown & biased, "white")):
                axes.plot(at[mask], value[mask], marker, color=colour, markerfacecolor=face, markersize=5)
            axes.plot([], [], marker, color=colour, label=str(name))
        for edge in range(1, len(blocks)):
            axes.axvline(edge - 0.5, color="#e5e5e5", linewidth=0.8)
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.5, 0.7)))
        axes.set_title(title, fontsize="medium", loc="left")
        axes.set_ylabel(unit)
        axes.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    axes_of[-1].set_xlim(-0.5, len(blocks) - 0.5)
    long = max(len(str(block)) for block in blocks) > 12 or len(blocks) > 8
    axes_of[-1].set_xticks(range(len(blocks)), blocks, rotation=35 if long else 0, ha="right" if long else "center")
    handles, labels = axes_of[0].get_legend_handles_labels()
    if bool((comparison.bias_p < SIGNIFICANT).any()):
        handles += axes_of[0].plot([], [], "o", color="#777777", markerfacecolor="white")
        labels += ["open: biased"]
    columns = max(1, min(len(labels), int(10 * figure.get_figwidth() / (max(map(len, labels)) + 6))))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    counts = f"{comparison.attrs['num_draws']} draws on {comparison.attrs['num_rows']} rows"
    figure.suptitle(f"Gradients of {comparison.attrs['model']}, {counts}", fontsize="medium")
    return figure
