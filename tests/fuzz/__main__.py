"""`make fuzz`: every corpus whole, in a table; the exit code is 1 if anything went wrong in one."""

import argparse
import importlib
import sys
import time
import traceback

from fuzz.verdicts import Tally

CORPORA = ("calls", "programs", "command_lines", "folders", "kills")


def tallied(name: str, count: int | None, seed: int) -> Tally:
    """What a corpus counted; one that cannot be run counts as a traceback."""
    try:
        return importlib.import_module(f"fuzz.{name}").run(count, seed)
    except Exception:
        return Tally(name, tracebacks=1, failures=[f"the corpus itself: {traceback.format_exc()}"])


def main() -> int:
    """Run the corpora that are named, or all."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("corpora", nargs="*", help=f"Some of {', '.join(CORPORA)}; all by default.")
    parser.add_argument("--count", type=int, default=None, help="Cases of each; all by default.")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    columns, wrong = ("corpus", "tried", "lost", "tracebacks", "silent wrong numbers", "seconds"), False
    print("  ".join(f"{column:>10}" for column in columns), flush=True)
    for name in given.corpora or CORPORA:
        started = time.perf_counter()
        found = tallied(name, given.count, given.seed)
        seconds = round(time.perf_counter() - started)
        cells = (found.name, found.tried, found.lost, found.tracebacks, found.silent, seconds)
        widths = [max(10, len(column)) for column in columns]
        print("  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), flush=True)
        for failure in found.failures:
            print(f"    {failure}", flush=True)
        wrong = wrong or bool(found.lost or found.tracebacks or found.silent) or not found.tried
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
