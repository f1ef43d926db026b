"""docs/pyro_failures.md from its record."""

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, record

PAGE = record.ROOT / "docs" / "pyro_failures.md"
Record = Mapping[str, Any]

PREFACE = """\
# Pyro's objectives, held to exact numbers

<!-- Written by benchmarks/pyro_failures/page.py from benchmarks/results/pyro_failures.json; edits are lost. -->

Models and guides here are plain Pyro programs. Some of Pyro's own objectives have the wrong gradient or value for them
and do not say so; here they run beside ours on programs so small that the exact number is a sum or a quadrature.
Each figure is the mean of {draws:,} single steps with its standard error, and z says how many standard errors lie
between it and the exact number; beyond 4 it is in bold. Losses are in nats per datum, gradients are those of the loss.
The same failures are tests of ppgen (`tests/benchmarks/test_pyro_failures.py`).

`{command}` measured it in {minutes:.1f} minutes, seed {seed}, {threads} thread{plural}: {versions}; commit {commit}.
"""

HEAD = ["", "exact", "Pyro", "z", "ours", "z"]


def write(found: Record, check: bool) -> int:
    """Write the page, or say whether it is out of date; returns the exit code."""
    return pages.write(PAGE, page(found), check, "python -m benchmarks.pyro_failures.measure --render")


def page(found: Record) -> str:
    """The page: gradients case by case, what grows, what happens."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    preface = PREFACE.format(
        draws=found["draws"],
        command=found["command"],
        minutes=found["seconds"] / 60,
        threads=found["hardware"]["threads"],
        plural="" if found["hardware"]["threads"] == 1 else "s",
        seed=found["seed"],
        versions=versions,
        commit=found["commit"] or "unknown",
    )
    seen = found["behaviours"]
    parts = [preface, *(_case(each) for each in found["cases"].values())]
    parts.append("## A loss that grows with the batch\n")
    parts.append(
        "Wake-theta loss per datum of reweighted wake-sleep on copies of the same three data, so that it is the same "
        f"number in every row: {found['cases']['minibatch']['rows']['loss']['exact']:.4f}.\n"
    )
    rows = [
        [f"{each['size']:,}", *(f"{each[who]:.3f} ± {each[f'{who}_se']:.3f}" for who in ("pyro", "ours"))]
        for each in seen["batch"]
    ]
    parts.append(table(["data in the batch", "Pyro", "ours"], rows))
    parts.append("## A diagnostic that worsens with the data\n")
    parts.append(
        "Pareto k of importance weights under a guide a tenth wider than the exact posterior. Pyro's `psis_diagnostic` "
        "gives one for the joint weight of all data ([#1826](https://github.com/pyro-ppl/pyro/issues/1826)), ours "
        "(`diagnostics.importance_weights`) one for each datum; beyond 0.7 an estimate counts as unreliable.\n"
    )
    head = ["data", "Pyro", "ours, median", "ours, largest"]
    parts.append(table(head, [_numbers(each, "size", "pyro", "ours", "largest") for each in seen["pareto"]]))
    parts.append("## What happens\n")
    rows = [[each["what"], _cell(each["pyro"]), _cell(each["ours"])] for each in seen["outcomes"]]
    parts.append(table(["", "Pyro", "ours"], rows))
    return "\n".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)) + "\n"


def _case(each: Record) -> str:
    rows = []
    for name, row in each["rows"].items():
        label = "loss" if name == "loss" else f"gradient of `{name}`"
        rows.append([label, f"{row['exact']:.4f}", *_measured(row["pyro"]), *_measured(row["ours"])])
    return "\n".join([f"## {each['title']}\n", each["told"] + "\n", table(HEAD, rows)])


def _measured(found: Record) -> list[str]:
    z = found["z"]
    if found["se"] == 0:
        return [f"{found['mean']:.4f}, always", "0" if z == 0 else "**∞**"]
    return [f"{found['mean']:.4f} ± {found['se']:.4f}", f"{z:.1f}" if abs(z) < 4 else f"**{z:.1f}**"]


def _numbers(each: Record, first: str, *names: str) -> list[str]:
    return [f"{each[first]:,}", *(f"{each[name]:.3f}" for name in names)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
