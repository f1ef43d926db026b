"""A comparison as a figure: the test log-likelihood of every seed, and mean and standard error of each inference."""

from typing import Any

import numpy as np

# Okabe and Ito's colours, which remain apart for the colour-blind.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
_WITHIN, _GRID = "#f0f0f0", "#e5e5e5"


def comparison(found: Any) -> Any:
    """Return a figure of a comparison, one panel a model: a dot a seed, mean and standard error beside them.

    Inferences stand in the order of their means, the best at the top; the grey band is the standard error of the best.

    Args:
        found: What `ppgen.compare_inferences` returned.

    Raises:
        ValueError: If every cell failed, so that there is nothing to draw.

    Example:
        >>> from ppgen.diagnostics import figures
        >>> from ppgen.diagnostics.comparison import table as comparison_table
        >>> numbers = lambda value: {"numbers": {"log_likelihood": value}}
        >>> cells = [(("SBN", "vimco", 0), numbers(-2.0)), (("SBN", "nvil", 0), numbers(-3.0))]
        >>> figure = figures.comparison(comparison_table.assemble(cells, {}))
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['vimco', 'nvil']
    """
    from matplotlib.figure import Figure

    from ppgen.diagnostics.comparison.differences import seed_error, seed_means

    panels: list[tuple[str, list[tuple[str, np.ndarray]]]] = []
    order = list(map(str, found.inference.values))
    for model in map(str, found.model.values):
        rows = [(name, found["log_likelihood"].sel(model=model, inference=name).values) for name in order]
        rows = [(name, values) for name, values in rows if np.isfinite(values).any()]
        rows.sort(key=lambda row: -float(seed_means(row[1])))
        if rows:
            panels.append((model, rows))
    if not panels:
        raise ValueError("found holds no cell that finished, so there is nothing to draw.")
    heights = [0.45 * len(rows) + 0.55 for _, rows in panels]
    figure = Figure(figsize=(7.0, sum(heights) + 0.75 * len(panels) + 0.7), layout="constrained")
    axes_of = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (model, rows) in zip(axes_of, panels, strict=True):
        for place, (name, values) in enumerate(rows):
            colour = _COLOURS[order.index(name) % len(_COLOURS)]
            there = values[np.isfinite(values)]
            mean, error = float(there.mean()), seed_error(values)
            if place == 0 and np.isfinite(error):
                axes.axvspan(mean - error, mean + error, color=_WITHIN, zorder=0)
            dots = place + 0.12 + np.linspace(-0.05, 0.05, len(there)) * (len(there) > 1)
            axes.plot(there, dots, "o", color=colour, markersize=4.5, alpha=0.65, markeredgewidth=0)
            axes.errorbar(
                mean,
                place - 0.14,
                xerr=error if np.isfinite(error) else None,
                fmt="D",
                color=colour,
                markersize=5.5,
                capsize=3.5,
                linewidth=1.4,
            )
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_title(model, fontsize="medium", loc="left")
        axes.set_xlabel("test log-likelihood, nats per datum (higher is better)")
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.06)
    count = found.sizes["seed"]
    beside = "diamond: mean ± standard error over seeds" if count > 1 else "one seed, so no error over seeds"
    title = f"{found.attrs.get('data', '')}, {found.attrs.get('rows', '')}\ndot: one seed; {beside}"
    figure.suptitle(title.strip(", \n"), fontsize="medium")
    return figure
