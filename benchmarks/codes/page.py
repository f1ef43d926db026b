"""docs/codes.md from whichever records of codes there are.

python -m benchmarks.codes.page            # writes the page
python -m benchmarks.codes.page --check    # exit code 1 if it is not what the records say
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import pages, record
from benchmarks.codes import figure_records
from benchmarks.codes.figures import FIGURES
from benchmarks.codes.text import CALTECH, PREFACE, SEEN
from benchmarks.undirected.page import table

PAGE = record.ROOT / "docs" / "codes.md"
Record = Mapping[str, Any]
NOT_RUN = "not run yet"


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return pages.main(PAGE, page, __doc__, "benchmarks.codes.page", arguments)


def page(folder: Path) -> str:
    """The page, of the records in a folder."""
    found = {name: _read(folder / f"{name}.json") for name in BENCHMARKS}
    cells = [
        [what, target, ours(found[name]) if found[name] else NOT_RUN, f"`python -m benchmarks.codes.{command}`"]
        for name, (command, rows) in BENCHMARKS.items()
        for what, target, ours in rows
    ]
    labels = _few_labels(found["few_labels"]) if found["few_labels"] else NOT_RUN
    parts = [
        PREFACE,
        "## Figures\n",
        *(_figure(folder, name) for name in FIGURES),
        CALTECH.format(labels=labels),
        "## Measured\n",
        table(["what", "wanted", "found", "command"], cells),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _read(path: Path) -> Record | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _figure(folder: Path, name: str) -> str:
    """A figure with what is seen in it, or the command that makes its record."""
    title, text = SEEN[name]
    try:
        _, about = figure_records.read(folder, FIGURES[name].record)
    except FileNotFoundError:
        return f"### {title}\n\nNot drawn yet: `python -m benchmarks.codes.figure_records {FIGURES[name].record}`.\n"
    told = text.format(**about)
    made = f"Trained in {about['processor_seconds']:.0f} s of processor time on one core; commit {about['commit']}."
    return f"### {title}\n\n![{title}](../benchmarks/results/codes-{name}.png)\n\n{told}\n{made}\n"


def _rows(found: Record, **wanted: Any) -> list[Record]:
    """Rows that have those values."""
    return [row for row in found["rows"] if all(row.get(key) == value for key, value in wanted.items())]


def _dictionary(found: Record) -> str:
    by_draw: dict[str, dict[str, Record]] = {}
    for row in found["rows"]:
        by_draw.setdefault(row["data"], {})[row["method"]] = row
    told = []
    for data, rows in by_draw.items():
        told.append(f"{data}: " + "; ".join(f"{name} {_dictionary_row(row)}" for name, row in rows.items()))
    return "<br>".join(told) or NOT_RUN


def _dictionary_row(row: Record) -> str:
    return f"{row['objective']:.2f} in {row['processor']:.1f} s, {row['dead']} dead, {row['oriented']:.0%} oriented"


def _posterior(found: Record) -> str:
    told = []
    for row in found["rows"]:
        error = f", largest error of a mean {row['largest_error']:.3f}" if "largest_error" in row else ""
        told.append(f"{row['problem']}, {row['kernel']}: {row['ess_a_second']:,.0f} effective draws a second{error}")
    return "<br>".join(told) or NOT_RUN


def _likelihoods(found: Record) -> str:
    return "<br>".join(
        f"{row['problem']}, {row['kernel']}: "
        + ", ".join(f"{value:.2f} ± {se:.2f}" for value, se in zip(row["log_likelihood"], row["se"], strict=True))
        + f" nats, {row['seconds']:.0f} s"
        for row in found["rows"]
    )


def _psd(found: Record) -> str:
    told = []
    for encoder in dict.fromkeys(row["encoder"] for row in found["rows"]):
        best = min(_rows(found, encoder=encoder), key=lambda row: row["validation gap"])
        told.append(f"{encoder}: {best['gap']:.2f} % above, {best['speed']:.0f} times as fast")
    return "<br>".join(told) or NOT_RUN


def _linear(found: Record) -> str:
    rows = found["rows"]
    told = [f"{name}: angle {row['angle']:.1e} rad" for name, row in rows.items()]
    for row in rows.values():
        if "log_likelihood" in row:
            ours = row["log_likelihood"]
            told.append(f"log p(x) {ours['value']:.4f} ± {ours['se']:.1g}, PPCA {row['PPCA, all rows']:.4f}")
    return "<br>".join(told) or NOT_RUN


def _few_labels(found: Record) -> str:
    told = []
    for name in dict.fromkeys(row["features"] for row in found["rows"]):
        errors = [row["test"] for row in _rows(found, features=name)]
        spread = f" ± {statistics.stdev(errors):.2f} (sd)" if len(errors) > 1 else ""
        told.append(f"{name} {statistics.fmean(errors):.2f}{spread}")
    return f"{'; '.join(told)}" if told else NOT_RUN


def _errors(found: Record) -> str:
    """Mean errors of a job of several kinds, or the rows that there are so far."""
    if "errors" in found:
        told = [f"{name} {each['mean']:.2f} ± {each['sd']:.2f} % (sd)" for name, each in found["errors"].items()]
        if "contractive_less_denoising" in found:
            apart = found["contractive_less_denoising"]
            told.append(f"difference {apart['mean']:+.3f} ± {apart['se']:.2g} %")
        return "; ".join(told)
    rows = found.get("rows", {})
    return "; ".join(f"{name}: {row['test error %']:.2f} %" for name, row in rows.items()) + " (unfinished)"


def _deep(part: str) -> Callable[[Record], str]:
    def told(found: Record) -> str:
        rows = {name: row for name, row in found.get("rows", {}).items() if name.startswith(part)}
        each = (f"{name.partition(', ')[2]} {row['test error']:.2f}" for name, row in rows.items())
        return "; ".join(each) or NOT_RUN

    return told


def _unpooling(found: Record) -> str:
    kinds: dict[str, list[Record]] = {}
    for name, row in found["rows"].items():
        kinds.setdefault(name.partition(",")[0], []).append(row)
    return "<br>".join(
        f"{name}: {statistics.fmean(row['error'] for row in rows):.2f} ({len(rows)} seeds), {rows[0]['numbers']} "
        f"numbers and {rows[0]['switch_bits']:.0f} bits"
        for name, rows in kinds.items()
    )


BENCHMARKS: Mapping[str, tuple[str, tuple[tuple[str, str, Callable[[Record], str]], ...]]] = {
    "dictionary": (
        "dictionary",
        (
            (
                "sparse coding, 192 atoms of 12 x 12 patches, penalty 2: held-out objective",
                "0.34 below scikit-learn (as SPAMS), in half of its time; no dead atom; 60 % oriented",
                _dictionary,
            ),
        ),
    ),
    "code_posteriors": (
        "posterior",
        (("posterior of codes", "Gibbs, HMC and quadrature agree; 10 times HMC's draws", _posterior),),
    ),
    "code_likelihoods": (
        "log_likelihood",
        (("log p(x) of two patches under a dictionary", "Gibbs and HMC within half a nat", _likelihoods),),
    ),
    "psd": (
        "psd",
        (
            (
                "predicted codes: objective above scikit-learn's codes",
                "one soft threshold 5 % at 50 times the speed; three layers 1 %",
                _psd,
            ),
        ),
    ),
    "codes-linear": (
        "linear",
        (("linear autoencoder beside PCA", "angle below 1e-4 rad; with a prior, log p(x) of PPCA", _linear),),
    ),
    "few_labels": (
        "few_labels",
        (("MNIST with 1,000 labels, test error in %", "5 or less, below PCA", _few_labels),),
    ),
    "codes-stacked_denoising": (
        "stacked_denoising",
        (("stacked denoising, 60,000 labels of MNIST", "1.3 %, below a random start", _errors),),
    ),
    "codes-contractive": (
        "contractive",
        (("contractive beside denoising, 10,000 labels of MNIST", "not above", _errors),),
    ),
    "codes-deep_autoencoder": (
        "deep_autoencoder",
        (
            ("deep autoencoder, MNIST in 30 numbers: squared error", "2.7 (paper 3.00; PCA 13.87)", _deep("mnist")),
            ("faces in 30 numbers, 20 held out: squared error", "below PCA-30, 6.43", _deep("faces")),
        ),
    ),
    "codes-unpooling-digits": (
        "unpooling",
        (("unpooling, small digits: squared error", "reported, with the bits of switches", _unpooling),),
    ),
    "codes-unpooling-mnist": (
        "unpooling mnist",
        (("unpooling, MNIST: squared error", "reported, with the bits of switches", _unpooling),),
    ),
}
"""Records by name: the command that makes each, and rows of the page: what, what is wanted, and how it is told."""


if __name__ == "__main__":
    sys.exit(main())
