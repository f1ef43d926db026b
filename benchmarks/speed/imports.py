"""The row of imports: wall time of fresh processes, in turns with `import torch, pyro`.

`import ppgen` alone loads its parts when they are first used, so what a program needs is timed too.
"""

import subprocess
import time
from collections.abc import Callable
from typing import Any

from benchmarks.speed.measure import Options, heading, rates
from benchmarks.speed.pairing import measure_pairs, reached
from benchmarks.speed.workers import ROOT, environment, here

TARGET = 1.3
STATEMENTS = {
    "ppgen": "import ppgen",
    "ppgen-parts": "from ppgen import fit, inference, models",
    "pyro": "import torch, pyro",
}


def seconds_of(statement: str, threads: int) -> float:
    """Wall seconds of a fresh interpreter that runs one statement."""
    start = time.perf_counter()
    subprocess.run([here(), "-c", statement], cwd=ROOT, env=environment(threads), check=True, capture_output=True)
    return time.perf_counter() - start


def measure_import(options: Options) -> dict[str, Any]:
    """Record in the form of a row."""
    times = {name: _timer(statement, options.threads) for name, statement in STATEMENTS.items()}
    for once in times.values():
        once()  # the files are in the cache of the disk afterwards
    with rates(options, "cpu") as rate:
        comparisons = []
        for ours in ("ppgen", "ppgen-parts"):
            found = {"ours": ours, "peer": "pyro", "target": TARGET}
            found |= measure_pairs(times[ours], times["pyro"], rate, options.repeats)
            found["reached"] = reached(found)
            comparisons.append(found)
        return {
            **heading("import, wall time of a process", "import", "cpu", options),
            "comparisons": comparisons,
            "contenders": {name: {"title": f"`{statement}`"} for name, statement in STATEMENTS.items()},
            "memory": None,
            "estimates": None,
            "rates": rate.machine(),
            "floor": None,
        }


def _timer(statement: str, threads: int) -> Callable[[], float]:
    return lambda: 1e3 * seconds_of(statement, threads)
