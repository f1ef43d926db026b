"""Write docs/speed.md from the records of speed and scaling.

python -m benchmarks.speed.table            # write
python -m benchmarks.speed.table --check    # exit code 1 if it is out of date
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import record
from benchmarks.speed import report, scaling

PAGE = record.ROOT / "docs" / "speed.md"
FIGURE = record.RESULTS / "scaling.png"
Record = Mapping[str, Any]

PREFACE = """\
# Speed

<!-- Written by benchmarks/speed/table.py from benchmarks/results/speed.json and scaling.json; edits are lost. -->

Time of a step of ppgen beside its peers, each in a process of its own, in short alternating turns on the same
processors. A ratio is ours over the peer's, the median over the pairs with their range in brackets; below 1 we are
faster. `make bench` measures all of it again; `benchmarks/README.md` says how, and how to read it.
"""
NOTHING = "Nothing was measured yet: `make bench` does it, on a machine that does nothing else.\n"
NO_GPU = "No GPU on this machine, so there are no rows for one."


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the page is out of date")
    given = parser.parse_args(arguments)
    wanted = page(report.read(), scaling.read())
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted:
        return 0
    if given.check:
        print(f"{PAGE.name} is out of date: run python -m benchmarks.speed.table", file=sys.stderr)
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"{PAGE.name}: {len(wanted.splitlines())} lines")
    return 0


def page(found: Record | None, grown: Record | None) -> str:
    """The page: machine, rows, growth."""
    parts = [PREFACE, NOTHING if found is None else _rows(found)]
    if grown is not None:
        parts.append(_growth(grown))
    return "\n".join(parts)


def _rows(found: Record) -> str:
    hardware, versions = found["hardware"], found["versions"]
    machine = f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB"
    if hardware["device"] != "cpu":
        machine += f"; {hardware['device']}"
    names = ", ".join(f"{name} {number}" for name, number in versions.items())
    parts = [f"Machine: {machine}, {hardware['threads']} threads each; {names}.\n", summary(found)]
    if not any(row["device"] != "cpu" for row in found["rows"].values()):
        parts.append(NO_GPU + "\n")
    parts += [_section(name, row) for name, row in found["rows"].items()]
    return "\n".join(parts)


def summary(found: Record) -> str:
    """How many targets were reached, and which were not."""
    judged = [(name, row, each) for name, row in found["rows"].items() for each in row["comparisons"] if each["target"]]
    missed = [
        f"`{name}` {_title(row, each['ours'])} / {_title(row, each['peer'])}"
        for name, row, each in judged
        if each["reached"] is False
    ]
    text = f"{sum(each['reached'] is True for *_, each in judged)} of {len(judged)} targets of time were reached."
    return text + (f" Not reached: {'; '.join(missed)}." if missed else "") + "\n"


def _section(name: str, row: Record) -> str:
    quick = " A quick run: these figures mean nothing." if row["quick"] else ""
    lines = [
        f"## {row['title']}" + ("" if row["device"] == "cpu" else f", on {row['device']}"),
        "",
        f"`{report.COMMAND} {name}`, {row['date']}, commit {row['commit'] or 'unknown'}.{quick}",
        "",
        f"| ours | peer | ours, ms per {row['step']} | peer, ms | ratio | target | reached |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_comparison(row, each) for each in row["comparisons"]),
        "",
    ]
    described = [_floor(row), _memory(row), _estimates(row), _disturbed(row)]
    lines += [f"- {text}" for text in described if text]
    return "\n".join([*lines, "", *_contenders(row)])


def _comparison(row: Record, each: Record) -> str:
    target = "" if each["target"] is None else f"{each['target']:.2f}"
    names = f"| {_title(row, each['ours'])} | {_title(row, each['peer'])} |"
    if "missing" in each:
        return f"{names} | | not measured: {each['missing']} | {target} | |"
    verdict = {True: "yes", False: "**no**", None: ""}[each["reached"]]
    ratio = f"{each['ratio']:.2f} ({each['low']:.2f} to {each['high']:.2f})"
    return f"{names} {_ms(each['ours_ms'])} | {_ms(each['peer_ms'])} | {ratio} | {target} | {verdict} |"


def _floor(row: Record) -> str:
    floor, rates = row["floor"], row["rates"]
    if not floor:
        return ""
    text = (
        f"Floor: {floor['flops'] / 1e9:.3g} Gflop at the measured {rates['flops'] / 1e9:.0f} Gflop/s is "
        f"{_ms(floor['compute_ms'])} ms, {floor['bytes'] / 2**20:.3g} MiB at {rates['bandwidth'] / 1e9:.1f} GB/s is "
        f"{_ms(floor['memory_ms'])} ms; with bf16 products ({rates['bf16'] / 1e9:.0f} Gflop/s) "
        f"{_ms(floor['bf16_floor_ms'])} ms"
    )
    if "share" in floor:
        text += f". ppgen in float32 runs at {floor['share']:.0%} of the floor's rate"
    if floor.get("share_target"):
        text += f"; target {floor['share_target']:.0%}: {'reached' if floor['reached'] else '**not reached**'}"
    return text + "."


def _memory(row: Record) -> str:
    memory = row["memory"]
    if not memory:
        return ""
    resident = f", resident after the last turn {memory['resident']:.2f}" if "resident" in memory else ""
    verdict = "reached" if memory["reached"] else "**not reached**"
    return (
        f"Memory over the eager loop's: peak of the process {memory['whole']:.2f}{resident}; "
        f"target for the peak {memory['target']}: {verdict}."
    )


def _estimates(row: Record) -> str:
    found = row["estimates"]
    if not found:
        return ""
    texts = [f"{_title(row, name)} {e['log_z']:.3f} ± {e['se']:.3f}" for name, e in found.items() if name != "agree"]
    verdict = {True: "; they agree", False: "; **they disagree**"}.get(found.get("agree"), "")
    return f"log Z in nats: {', '.join(texts)}{verdict}."


def _disturbed(row: Record) -> str:
    counted = [each for each in row["comparisons"] if "pairs" in each]
    again, left = sum(each["repeated"] for each in counted), sum(each["disturbed"] for each in counted)
    text = f"Pairs measured again because the machine's rate had moved: {again}" if again else ""
    if left:
        text += f"{'; ' if text else ''}**disturbed pairs counted for want of quieter ones: {left}**"
    return text + "." if text else ""


def _contenders(row: Record) -> list[str]:
    measured = [each for each in row["contenders"].values() if each.get("memory_mib")]
    if not measured:
        return []
    lines = [
        "| contender | versions | preparation, s | memory after imports, MiB | peak, MiB | resident, MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in measured:
        versions = ", ".join(f"{name} {number}" for name, number in each["versions"].items())
        memory = " | ".join("" if value is None else f"{value:,.0f}" for value in each["memory_mib"].values())
        lines.append(f"| {each['title']} | {versions} | {each['prepare_seconds']:.1f} | {memory} |")
    return [*lines, ""]


def _growth(grown: Record) -> str:
    lines = ["## How cost grows", ""]
    if FIGURE.exists():
        lines += [f"![Time and memory of a step]({os.path.relpath(FIGURE, PAGE.parent)})", ""]
    lines += [
        "Powers are slopes in log-log over the upper half of the sizes; 1 is linear. Memory is what the peak of the "
        "process has grown by since the smallest size. `python -m benchmarks.speed --scaling` measures all curves, or "
        "those that are named: " + ", ".join(f"`{name}`" for name in scaling.CURVES) + ".",
        "",
        *(f"- {sentence}" for sentence in scaling.sentences(grown)),
    ]
    return "\n".join([*lines, ""])


def _title(row: Record, name: str) -> str:
    return str(row["contenders"][name]["title"])


def _ms(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


if __name__ == "__main__":
    sys.exit(main())
