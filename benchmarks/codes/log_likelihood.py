"""log p(x) of a dictionary of 192 atoms by two ways of annealing: Gibbs sampling and Hamiltonian Monte Carlo.

    python -m benchmarks.codes.log_likelihood            # writes code_likelihoods.json; a minute or two on one core
    python -m benchmarks.codes.log_likelihood --quick    # three atoms, seconds; writes to runs/benchmarks

Two white patches under untrained atoms, annealed from the prior, 16 runs a datum. The ladders are those with which
either way has an effective number of runs worth the name; seconds are of processor, one thread, pilot runs included.
The bar: the two agree within half a nat on every datum.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import command, record
from benchmarks.codes.posterior import LARGE, SMALL, posed
from ppgen import evaluation, inference

KIND, NAME, BAR = "log p(x) of sparse codes", "code_likelihoods.json", 0.5
KERNELS = {"Gibbs": inference.SparseGibbs(), "HMC": inference.HMC(num_steps=10)}
BETAS, CHAINS, ROWS = {"Gibbs": 200, "HMC": 500}, 16, 2


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="three atoms in the place of 192")
    parser.add_argument("--results", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    folder = command.folder(given.results, given.quick)
    torch.set_num_threads(1)
    problem = SMALL if given.quick else LARGE
    measured(SMALL, "Gibbs", 2)  # imports
    rows = [{"problem": problem, "kernel": kernel, **measured(problem, kernel, BETAS[kernel])} for kernel in KERNELS]
    found = {
        "kind": KIND,
        "command": "python -m benchmarks.codes.log_likelihood" + " --quick" * given.quick,
        "bar": BAR,
        "quick": given.quick,
        "rows": [
            row | {"hardware": record.hardware(torch.device("cpu")), "versions": record.versions()} for row in rows
        ],
    }
    (folder / NAME).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(summary(rows))
    return 0


def measured(problem: str, kernel: str, betas: int) -> dict[str, Any]:
    """Estimates of every datum with their errors, and the seconds that they took."""
    model, x = posed(problem)
    start = time.process_time()
    found = evaluation.log_likelihood(
        model, x[:ROWS], method="ais", num_chains=CHAINS, betas=betas, kernel=KERNELS[kernel], seed=0
    )
    seconds = time.process_time() - start
    told: Any = found.per_datum
    return {
        "betas": betas,
        "num_chains": CHAINS,
        "log_likelihood": told["log_likelihood"].tolist(),
        "se": told["se"].tolist(),
        "ess": told["ess"].tolist(),
        "seconds": seconds,
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """A line for each way, and how far apart they are."""
    lines = [
        f"{row['problem']}, {row['kernel']}: "
        + ", ".join(f"{value:.2f} ± {se:.2f}" for value, se in zip(row["log_likelihood"], row["se"], strict=True))
        + f" nats ({row['seconds']:.1f} s, {row['num_chains']} runs x {row['betas']} levels)"
        for row in rows
    ]
    pairs = zip(*(row["log_likelihood"] for row in rows), strict=True)
    apart = max(abs(first - second) for first, second in pairs)
    return "\n".join([*lines, f"apart by {apart:.2f} nats at most (bar: {BAR})"])


if __name__ == "__main__":
    sys.exit(main())
