"""Measure the speed of ppgen beside its peers, write the record, and render the page.

    python -m benchmarks.speed                      # every row: about half an hour, on a machine that does nothing else
    python -m benchmarks.speed --quick              # a few minutes, to see that everything runs; figures mean nothing
    python -m benchmarks.speed vae rbm --repeats 9  # some rows again; the others of the record are kept
    python -m benchmarks.speed --scaling            # how time and memory grow, as a figure

Peers run in an environment of their own: `--peers-python`, or PPGEN_PEERS_PYTHON, by default .venv-peers/bin/python.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from benchmarks import record
from benchmarks.speed import report, scaling, table
from benchmarks.speed.imports import measure_import
from benchmarks.speed.measure import Options, measure_row, quick
from benchmarks.speed.rows import rows
from benchmarks.speed.workers import confine

PEERS = record.ROOT / ".venv-peers" / "bin" / "python"
IMPORT = "import"


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="rows, or curves with --scaling, to measure; all by default")
    parser.add_argument("--quick", action="store_true", help="short turns, two repeats; writes to runs/benchmarks")
    parser.add_argument("--scaling", action="store_true", help="measure how cost grows instead of the rows")
    parser.add_argument("--repeats", type=int, default=7, help="undisturbed pairs of each comparison (default: 7)")
    parser.add_argument("--turn", type=float, default=1.0, help="seconds of one turn (default: 1)")
    parser.add_argument("--threads", type=int, default=2, help="threads and processors of everybody (default: 2)")
    chosen = Path(os.environ.get("PPGEN_PEERS_PYTHON", PEERS))
    parser.add_argument("--peers-python", type=Path, default=chosen, help="interpreter of the peers' environment")
    parser.add_argument("--output", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    if not given.quick and given.repeats < report.MIN_REPEATS:
        parser.error(f"--repeats must be at least {report.MIN_REPEATS}, got {given.repeats}.")
    options = Options(given.peers_python, given.repeats, given.turn, given.threads)
    options = quick(options) if given.quick else options
    available = rows(options.quick) | (rows(options.quick, "cuda") if torch.cuda.is_available() else {})
    known = list(scaling.CURVES) if given.scaling else [*available, IMPORT]
    names = given.rows or known
    unknown = [name for name in names if name not in known]
    if unknown:
        what = "curves" if given.scaling else "rows"
        parser.error(f"{what} must be among {', '.join(known)}; got {', '.join(unknown)}.")
    confine(options.threads)
    folder = record.ROOT / "runs" / "benchmarks" if options.quick else record.RESULTS
    if given.scaling:
        scaling.measure(given.output or folder / "scaling.json", options, names)
        return 0 if options.quick else table.main([])
    path = given.output or folder / report.PATH.name
    found = report.begin(path, options.threads)
    for name in names:
        measured = measure_import(options) if name == IMPORT else measure_row(available[name], options)
        found["rows"] = {**found["rows"], name: measured}
        report.write(found, path)
    print(table.page(found, scaling.read(folder / "scaling.json")))
    return 0 if path != report.PATH else table.main([])


if __name__ == "__main__":
    sys.exit(main())
