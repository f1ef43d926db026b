"""Draw samples of a trained machine, and test rows of which half was given and the rest is drawn.

    python -m benchmarks.pictures rbm-500

The run must have been trained by benchmarks/run.py. Writes samples-NAME.png and completions-NAME.png to
benchmarks/results, where the page of results finds them.
"""

import argparse
import sys
from pathlib import Path

import torch

import ppgen
from benchmarks import record
from benchmarks.likelihoods.jobs import JOBS
from benchmarks.likelihoods.run import load_data
from ppgen.diagnostics import figures

IMAGE = (28, 28)
SHOWN = 10  # rows that are completed


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="job whose run is drawn; benchmarks/run.py --list shows them")
    parser.add_argument("--data-dir", help="folder with the public data sets")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--warmup", type=int, default=1_000, help="Gibbs sweeps before the draws (default: 1000)")
    parser.add_argument("--sweeps", type=int, default=1_000, help="sweeps to each draw, of R-hat too (default: 1000)")
    parser.add_argument("--runs", type=Path, default=record.ROOT / "runs" / "benchmarks", help="where runs are kept")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="where the pictures are written")
    given = parser.parse_args(arguments)
    if given.name not in JOBS:
        parser.error(f"name must be one of {', '.join(JOBS)}; got {given.name!r}.")
    run = ppgen.load(given.runs / given.name)
    data = load_data(JOBS[given.name], given.data_dir)
    whole = data.test[:SHOWN]
    shape = data.image_shape or IMAGE
    half = whole.clone()
    half[:, half.shape[1] // 2 :] = torch.nan  # of an image, the lower half
    chains = {"seed": given.seed, "warmup_steps": given.warmup, "sweeps": given.sweeps}
    drawn = {
        "samples": figures.samples(run, shape, num_samples=100, **chains),
        "completions": figures.completions(run, half, shape, whole=whole, **chains),
    }
    for what, figure in drawn.items():
        path = given.results / f"{what}-{given.name}.png"
        figure.savefig(path, dpi=110)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
