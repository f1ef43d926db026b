"""Measure one row: start its contenders, alternate them in short turns, keep every number."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks import record
from benchmarks.speed import floors
from benchmarks.speed.pairing import measure_pairs, reached
from benchmarks.speed.rows import Contender, Row
from benchmarks.speed.workers import MissingError, Worker, here

MEMORY_TARGET = 1.2  # peak of ours over that of the eager loop
PROBE_PRODUCTS = 9  # matrix products of one look at the machine's rate
CALIBRATION = 5  # steps from which the length of a turn is found
SIGMAS = 4  # difference of two estimates, in its standard errors, that is still agreement

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to measure."""

    peers_python: Path
    repeats: int = 7
    turn_seconds: float = 1.0
    threads: int = 2
    quick: bool = False


class Rates:
    """The machine's rates, and every look at them."""

    def __init__(self, worker: Any) -> None:
        self.worker, self.seen = worker, []  # type: ignore[var-annotated]

    def __call__(self) -> float:
        """Operations a second of float32 matrix products now."""
        self.seen.append(self.worker.run(PROBE_PRODUCTS))
        return float(self.seen[-1]["flops"])

    def machine(self) -> dict[str, float]:
        """Medians over all looks: operations a second in two precisions, bytes a second."""
        return {name: median(look[name] for look in self.seen) for name in ("flops", "bf16", "bandwidth")}


@contextmanager
def rates(options: Options, device: str) -> Iterator[Rates]:
    """The probe of a device, in a process of its own."""
    with closing(Worker(here(), "benchmarks.speed.probe:rates", {"device": device}, options.threads)) as worker:
        yield Rates(worker)


def heading(title: str, step: str, device: str, options: Options) -> dict[str, Any]:
    """What every record of a row begins with: what was measured, how, when and of which commit."""
    return {
        "title": title,
        "step": step,
        "device": device,
        "quick": options.quick,
        "repeats": options.repeats,
        "threads": options.threads,
        "date": now(),
        "commit": record.commit(),
    }


def measure_row(row: Row, options: Options, say: Say = print) -> dict[str, Any]:
    """Record of a row: each comparison with all its pairs, each contender with its memory, the floor.

    A contender that cannot run is recorded with the reason, and so is every comparison with it.
    """
    with ExitStack() as stack:
        rate = stack.enter_context(rates(options, row.device))
        turns: dict[str, Turn] = {}
        missing: dict[str, str] = {}
        for name, contender in row.contenders.items():
            try:
                worker = _start(contender, options)
                stack.callback(worker.close)
                turns[name] = Turn(worker, options.turn_seconds, row.single)
            except MissingError as error:
                missing[name] = str(error)
                say(f"{row.name}: {contender.title} is missing: {error}")
        comparisons = []
        for ours, peer, target in row.comparisons:
            found = {"ours": ours, "peer": peer, "target": target}
            absent = [name for name in (ours, peer) if name in missing]
            if absent:
                found["missing"] = f"{row.contenders[absent[0]].title}: {missing[absent[0]]}"
            else:
                try:
                    found |= measure_pairs(turns[ours], turns[peer], rate, options.repeats)
                except MissingError as error:
                    found["missing"] = str(error)
            found["reached"] = reached(found)
            comparisons.append(found)
            say(f"{row.name}: {line(found, row)}")
        machine = rate.machine() if rate.seen else None
        return {
            **heading(row.title, row.step, row.device, options),
            "comparisons": comparisons,
            "contenders": {name: _describe(name, row, turns, missing) for name in row.contenders},
            "memory": _memory(row, turns),
            "estimates": _agreement(turns),
            "rates": machine,
            "floor": None if machine is None or row.floor is None else _floor(row.floor, row, machine, comparisons),
        }


class Turn:
    """One contender's turn: so many steps that it lasts about as long as wanted; gives milliseconds a step."""

    def __init__(self, worker: Any, seconds: float, single: bool) -> None:
        self.worker, self.estimates = worker, []  # type: ignore[var-annotated]
        self.steps = 1
        if not single:
            found = worker.run(CALIBRATION)
            self.steps = max(1, math.ceil(seconds * found["steps"] / found["seconds"]))

    def __call__(self) -> float:
        """Milliseconds of a step."""
        found = self.worker.run(self.steps)
        if "log_z" in found:
            self.estimates.append({"log_z": found["log_z"], "se": found["se"]})
        return 1e3 * found["seconds"] / found["steps"]


def line(comparison: Mapping[str, Any], row: Row) -> str:
    """A comparison in one line of text."""
    names = f"{row.contenders[comparison['ours']].title} / {row.contenders[comparison['peer']].title}"
    if "missing" in comparison:
        return f"{names}: not measured ({comparison['missing']})"
    text = f"{names}: {comparison['ratio']:.2f} ({comparison['low']:.2f} to {comparison['high']:.2f})"
    text += f", {comparison['ours_ms']:.3g} and {comparison['peer_ms']:.3g} ms"
    return text + (f", {comparison['disturbed']} pairs disturbed" if comparison["disturbed"] else "")


def now() -> str:
    """Date and time in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _start(contender: Contender, options: Options) -> Worker:
    python = options.peers_python if contender.peers else here()
    if contender.peers and not Path(python).exists():
        raise MissingError("there is no environment of the peers; `make bench` makes it")
    return Worker(python, contender.target, contender.arguments, options.threads, contender.libraries)


def _describe(name: str, row: Row, turns: Mapping[str, Turn], missing: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"title": row.contenders[name].title}
    if name in missing:
        return found | {"missing": missing[name]}
    worker = turns[name].worker
    kept = {key: worker.ready[key] for key in ("versions", "import_seconds", "prepare_seconds")}
    return found | kept | {"steps_of_a_turn": turns[name].steps, "memory_mib": worker.memory()}


def _memory(row: Row, turns: Mapping[str, Turn]) -> dict[str, Any] | None:
    """Peak of ours over that of the eager loop: of the whole process, and of what is resident while it steps."""
    if row.baseline not in turns or "ppgen" not in turns:
        return None
    ours, eager = turns["ppgen"].worker.memory(), turns[row.baseline].worker.memory()
    ratios = {key: ours[key] / eager[key] for key in ("whole", "resident") if ours[key] and eager[key]}
    if "whole" not in ratios:
        return None
    return {**ratios, "target": MEMORY_TARGET, "reached": ratios["whole"] <= MEMORY_TARGET}


def _agreement(turns: Mapping[str, Turn]) -> dict[str, Any] | None:
    """Mean estimate of every contender that gives one, its error, and whether ours agrees with the eager loop's."""
    found = {}
    for name, turn in turns.items():
        if turn.estimates:
            error = math.sqrt(sum(each["se"] ** 2 for each in turn.estimates)) / len(turn.estimates)
            mean = fmean(each["log_z"] for each in turn.estimates)
            found[name] = {"log_z": mean, "se": error, "runs": turn.estimates}
    if len(found) < 2:
        return found or None
    first, second, *_ = found.values()
    agree = abs(first["log_z"] - second["log_z"]) <= SIGMAS * math.hypot(first["se"], second["se"])
    return {**found, "agree": agree}


def _floor(
    floor: floors.Floor, row: Row, machine: Mapping[str, float], comparisons: list[dict[str, Any]]
) -> dict[str, Any]:
    """The floor in milliseconds, also for bfloat16 products, and the share of it that ours reaches."""
    found: dict[str, Any] = floors.milliseconds(floor, dict(machine))
    found["bf16_floor_ms"] = floors.milliseconds(floor, {**machine, "flops": machine["bf16"]})["floor_ms"]
    times = [each["ours_ms"] for each in comparisons if each["ours"] == "ppgen" and "ours_ms" in each]
    if times:
        found["share"] = found["floor_ms"] / median(times)
        found["share_target"] = row.floor_share
        found["reached"] = None if row.floor_share is None else found["share"] >= row.floor_share
    return found


def quick(options: Options) -> Options:
    """The same in a few minutes, to see that everything runs: the figures mean nothing."""
    return replace(options, repeats=min(options.repeats, 2), turn_seconds=0.1, quick=True)
