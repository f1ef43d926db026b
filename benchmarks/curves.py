"""Draw how the validation value of recorded runs rose with the minutes of training, one panel a kind of model and data.

python -m benchmarks.curves    # writes benchmarks/results/curves.png
"""

import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import record

PICTURE = record.RESULTS / "curves.png"
_SHOWN = 60.0  # nats below the best value at which a panel ends: the first minutes would press the rest flat

MEANING = {
    "pseudo_log_likelihood": "pseudo-log-likelihood\nof validation rows",
    "free_energy_gap": "free energy of validation\nrows, less training's",
}
"""What the monitored metrics are; the others are bounds. Deep machines and belief networks have a gap alone."""

Record = Mapping[str, Any]


def panels(records: Mapping[str, Record]) -> dict[str, list[Record]]:
    """Records that have a curve, by model without its algorithm and by data; panels of one curve come last."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for each in records.values():
        if each["curve"] is not None:
            groups[f"{_model(each)}\n{each['data']['name']}, {each['data']['binarization']}"].append(each)
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def draw(records: Mapping[str, Record], path: Path = PICTURE) -> Path | None:
    """The figure as a file; None without a curve."""
    groups = panels(records)
    if not groups:
        return None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 3.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(groups) :]:
        axis.remove()
    for axis, (title, group) in zip(axes.flat, groups.items(), strict=False):
        best, lowest = -math.inf, math.inf
        for each in sorted(group, key=lambda each: each["model"]):
            values = each["curve"][_metric(each)]
            best, lowest = max(best, *values), min(lowest, *values)
            axis.plot(each["curve"]["minutes"], values, label=_algorithm(each), linewidth=1.4)
        axis.set_title(title, fontsize=9)
        shown = min(_SHOWN, best - lowest)
        axis.set_ylim(best - shown, best + 0.05 * shown)
        axis.set_xlabel("minutes of training")
        axis.set_ylabel(f"{MEANING.get(_metric(group[0]), 'bound on validation rows')}, nats per image", fontsize=9)
        axis.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _model(each: Record) -> str:
    """ "SBN 784-200-200, NVIL" is an SBN 784-200-200."""
    return str(each["model"]).split(", ")[0]


def _algorithm(each: Record) -> str:
    return str(each["model"]).partition(", ")[2] or str(each["inference"]).split(",")[0]


def _metric(each: Record) -> str:
    return next(name for name in each["curve"] if name not in ("epoch", "minutes"))


if __name__ == "__main__":
    print(draw(record.read_all()) or "no record has a curve", file=sys.stdout)
