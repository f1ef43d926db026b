"""The report on a pair whose code has a flat prior, so that it states no density of the data."""

from typing import Any

from ppgen import features
from ppgen.diagnostics.checks.report import Check, Finding
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import Layout
from ppgen.pair import AnyPair


def check_coded(pair: AnyPair, x: Any, layout: Layout) -> Check:
    """What can be said of it: how well it reconstructs; and what is not defined.

    Args:
        pair: The pair.
        x: Data, of one part.
        layout: Its structure.
    """
    rows = CheckedRows(x, pair)
    site = layout.improper[0]
    findings = [
        Finding(
            "log-likelihood",
            f"not defined: site {site!r} has a flat prior; of training, "
            + (getattr(pair, "told_of_values", "") or "values are the log-density of the data given their codes"),
        )
    ]
    if layout.points:
        findings.append(
            Finding(
                "guide",
                f"it gives {', '.join(map(repr, layout.points))} a point and no law, so that there is no bound, no gap "
                "and no weights",
            )
        )
    parts = rows.tensors()
    if len(parts) == 1:
        findings.append(_reconstruction(features.reconstruction_error(pair, x), parts[0]))
    return Check(f"{type(pair).__name__} on {len(rows)} row{'' if len(rows) == 1 else 's'}", tuple(findings), None)


def _reconstruction(error: float, rows: Any) -> Finding:
    values = rows.double().flatten(1)
    variance = float((values - values.mean(0)).square().sum(1).mean())
    lost = f", {error / variance:.1%} of the variance {variance:.4g}" if variance > 0 else ""
    worse = len(rows) > 1 and error >= variance
    return Finding(
        "reconstruction",
        f"squared error {error:.4g} per datum, summed over features{lost}",
        "the mean of these rows reconstructs them as well, without any code" if worse else None,
        "Train longer, or with another step size; standardise the data, or take a weaker penalty or less noise."
        if worse
        else None,
        {"error": error, "variance": variance},
    )
