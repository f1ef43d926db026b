"""Posteriors of sparse codes: effective draws a second of Gibbs sampling and of Hamiltonian Monte Carlo.

    python -m benchmarks.codes.posterior            # goes on where it was stopped; a few minutes on one core
    python -m benchmarks.codes.posterior --quick    # a trial with few draws; writes to runs/benchmarks
    python -m benchmarks.codes.posterior --again    # measures everything anew

Both kernels draw from the same posteriors through `inference.sample_posterior`: three codes of six features (scale of
the prior 0.4, noise 0.5), of which quadrature knows the means, and 192 atoms of white patches. An effective draw is one
of the code, or of its magnitude, that mixes most slowly, after the warmup; seconds are of processor, one thread, warmup
included. The bar: ten times Hamiltonian Monte Carlo's effective draws a second.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import command, record
from benchmarks.codes import patches
from ppgen import inference, models
from ppgen.rhat import effective_sample_size

KIND, NAME, BAR = "posteriors of sparse codes", "code_posteriors.json", 10.0
KERNELS: dict[str, inference.PosteriorKernel] = {"Gibbs": inference.SparseGibbs(), "HMC": inference.HMC(num_steps=10)}
SMALL, LARGE = "three codes", "192 atoms"
CHAINS = {SMALL: 50, LARGE: 4}
STEPS = {
    (SMALL, "Gibbs"): (100, 500),
    (SMALL, "HMC"): (400, 500),
    (LARGE, "Gibbs"): (300, 700),
    (LARGE, "HMC"): (300, 700),
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, of three codes alone")
    parser.add_argument("--again", action="store_true", help="measure what the record already has, too")
    parser.add_argument("--results", type=Path, help="where the record is written")
    given = parser.parse_args(arguments)
    folder = command.folder(given.results, given.quick)
    path = folder / NAME
    shared = {
        "kind": KIND,
        "command": "python -m benchmarks.codes.posterior" + " --quick" * given.quick,
        "bar": BAR,
        "quick": given.quick,
    }
    found = command.resumed(path, shared, given.again, rows=[])
    torch.set_num_threads(1)
    measured(SMALL, "Gibbs", 2, 10)  # imports
    for problem in (SMALL,) if given.quick else (SMALL, LARGE):
        for kernel in KERNELS:
            if any(row["problem"] == problem and row["kernel"] == kernel for row in found["rows"]):
                continue
            warmup, draws = (steps // 10 if given.quick else steps for steps in STEPS[problem, kernel])
            row = {"problem": problem, "kernel": kernel, **measured(problem, kernel, warmup, draws)}
            found["rows"].append(
                row | {"hardware": record.hardware(torch.device("cpu")), "versions": record.versions()}
            )
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(summary(found["rows"]))
    return 0


def measured(problem: str, kernel: str, warmup: int, draws: int) -> dict[str, Any]:
    """Effective draws of the slowest code of all rows, and the seconds that they took."""
    model, x = posed(problem)
    start = time.process_time()
    found = inference.sample_posterior(
        model,
        x,
        num_samples=draws,
        warmup_steps=warmup,
        num_chains=CHAINS[problem],
        kernel=KERNELS[kernel],
        init="prior" if problem == SMALL else "guide",
        seed=0,
    )
    seconds = time.process_time() - start
    codes = found.draws["codes"]
    least = min(
        effective_sample_size(each) for row in codes.unbind(2) for code in row.unbind(-1) for each in (code, code.abs())
    )
    told = {"warmup_steps": warmup, "num_samples": draws, "num_chains": CHAINS[problem], "rows": len(x)}
    told |= {"seconds": seconds, "least_ess": least, "ess_a_second": len(x) * least / seconds}
    if problem == SMALL:
        told["largest_error"] = float((codes.mean((0, 1)) - means(model, x)).abs().max())
    return told


def posed(problem: str) -> tuple[models.SparseCoding, Tensor]:
    """The model, untrained, and the data of its posteriors."""
    torch.manual_seed(0)
    if problem == SMALL:
        model = models.SparseCoding(6, 3, penalty=2 * 0.5**2 / 0.4, noise=0.5)
        with torch.no_grad(), model.running():
            return model, model.model(num_rows=4)
    rows = torch.from_numpy(patches.split().test)
    model = models.SparseCoding(patches.SIZE**2, 192, penalty=2.0)
    return model, rows[:3]


def means(model: models.SparseCoding, x: Tensor, points: int = 120) -> Tensor:
    """Posterior means of three codes by the rule of midpoints."""
    axis = (torch.arange(points) + 0.5) / points * 10 - 5
    codes = torch.cartesian_prod(axis, axis, axis)
    with torch.no_grad():
        error = (x.unsqueeze(1) - codes @ model.dictionary.mT).square().sum(-1) / float(model.noise) ** 2
    weights = (-error / 2 - codes.abs().sum(-1) / float(model.scale)).softmax(-1)
    return weights @ codes


def summary(rows: list[dict[str, Any]]) -> str:
    """A line for each row, and how many times as many effective draws a second Gibbs has."""
    lines = [
        f"{row['problem']}, {row['kernel']}: {row['ess_a_second']:,.0f} effective draws a second "
        f"({row['seconds']:.1f} s, {row['num_chains']} chains of {row['rows']} rows)"
        for row in rows
    ]
    for problem in dict.fromkeys(row["problem"] for row in rows):
        rate = {row["kernel"]: row["ess_a_second"] for row in rows if row["problem"] == problem}
        if len(rate) == len(KERNELS):
            lines.append(f"{problem}: {rate['Gibbs'] / rate['HMC']:.1f} times as many (bar: {BAR:.0f})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
