"""docs/one_to_many.md from its record."""

from collections.abc import Mapping
from typing import Any

from benchmarks import pages, record
from benchmarks.one_to_many.problems import PROBLEMS

PAGE = record.ROOT / "docs" / "one_to_many.md"
Record = Mapping[str, Any]

PREFACE = """\
# One x, many y

<!-- Written by benchmarks/one_to_many/page.py from benchmarks/results/one_to_many.json; edits are lost. -->

A stochastic feedforward network of k Bernoulli units is a mixture of 2^k components that share their weights; a
mixture density network pays for each component. Here are both, of equal size, on generated problems where one x has
many y: test log p(y | x) in nats per datum, mean over {seeds} seeds with its standard error; higher is better. The
mixture's is exact; that of {{py:class}}`~ppgen.models.StochasticFeedforward` is a lower bound, by importance sampling
with {judged} particles.

- Both have {train:,} training rows, {steps:,} steps of Adam on batches of {batch}, and a step size that falls from {lr}
  along a cosine. The stochastic network is trained by VIMCO with {trained} particles, the mixture by maximum
  likelihood.
- The mixture has the number of components, of {tried}, with the best validation likelihood for the first seed, and
  hidden layers as wide as it takes to have no fewer parameters than the stochastic network and its guide together.

The comparison is that of Tang and Salakhutdinov (2013), on other problems. {verdict}

`{command}` measured it in {minutes:.1f} minutes, of which {busy:.1f} on the processor, {threads} thread{plural}:
{versions}; commit {commit}.
"""

HEAD = ["problem", "variables", "modes", "stochastic network", "mixture", "difference", "parameters", "components"]


def write(found: Record, check: bool) -> int:
    """Write the page, or say whether it is out of date; returns the exit code."""
    return pages.write(PAGE, page(found), check, "python -m benchmarks.one_to_many.measure --render")


def page(found: Record) -> str:
    """The page: what was done, and a row for each problem."""
    problems, threads = found["problems"], found["hardware"]["threads"]
    tried = next(iter(problems.values()))["mixture"]["validation"]
    preface = PREFACE.format(
        seeds=found["seeds"],
        judged=found["particles"]["test"],
        trained=found["particles"]["training"],
        train=found["rows"]["train"],
        steps=found["steps"],
        batch=found["batch_size"],
        lr=found["lr"],
        tried=", ".join(tried),
        verdict=verdict(problems),
        command=found["command"],
        minutes=sum(each["seconds"] for each in problems.values()) / 60,
        busy=sum(each["processor_seconds"] for each in problems.values()) / 60,
        threads=threads,
        plural="" if threads == 1 else "s",
        versions=", ".join(f"{name} {number}" for name, number in found["versions"].items()),
        commit=", ".join(dict.fromkeys(each["commit"] or "unknown" for each in problems.values())),
    )
    rows = [HEAD, ["---"] * len(HEAD), *(_row(each) for each in problems.values())]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"
    missing = [problem.title for name, problem in PROBLEMS.items() if name not in problems]
    return f"{preface}\n{table}" + (f"\nNot measured yet: {', '.join(missing)}.\n" if missing else "")


def verdict(problems: Mapping[str, Record]) -> str:
    """Who wins where, by more than two standard errors of the difference."""
    won, lost, open_ = [], [], []
    for name, each in problems.items():
        mean, se = each["difference"]["mean"], each["difference"]["se"] or 0.0
        (won if mean > 2 * se else lost if mean < -2 * se else open_).append(name)
    parts = [
        f"{who} on {len(names)} of {len(problems)} problems ({', '.join(names)})"
        for who, names in (("The stochastic network is better", won), ("the mixture", lost), ("neither", open_))
        if names
    ]
    text = ", ".join(parts) + "."
    return text[0].upper() + text[1:]


def _row(each: Record) -> list[str]:
    network, mixture = each["network"], each["mixture"]
    return [
        each["title"],
        each["variables"],
        each["modes"],
        _value(network),
        _value(mixture),
        _value(each["difference"]),
        f"{network['parameters']:,} and {mixture['parameters']:,}",
        str(mixture["components"]),
    ]


def _value(found: Record) -> str:
    return f"{found['mean']:.2f}" + ("" if found["se"] is None else f" ± {found['se']:.2f}")
