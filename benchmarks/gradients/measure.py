"""Measure the gradient of one step under several inferences, for a belief network and for an autoencoder.

    python -m benchmarks.gradients.measure                # a quarter of an hour on two cores
    python -m benchmarks.gradients.measure sbn --quick    # embedded digits and few draws, to see that it runs

Each model is trained for some epochs first, so that the gradients are those of learning and not of the random start.
Bias, variance and signal-to-noise ratio by block of parameters go to benchmarks/results as a record and as a figure.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks import command, record
from benchmarks.likelihoods.jobs import JOBS
from benchmarks.likelihoods.run import load_data
from ppgen import datasets, diagnostics, inference, models

KIND = "gradients"
K = 10
SCORE = inference.Inference(inference.ELBO(K), inference.ScoreFunction(inference.MovingAverage()))


@dataclass(frozen=True)
class Case:
    """A model of so many features, the job whose data it sees, what it is trained by, and what is compared."""

    job: str
    model: Callable[[int], Any]
    training: inference.Inference
    inferences: Mapping[str, Any]


CASES: Mapping[str, Case] = {
    "sbn": Case(
        job="sbn-200-200-vimco",
        model=lambda features: models.SigmoidBeliefNet((features, 200, 200)),
        training=inference.VIMCO(K),
        inferences={
            "score function": SCORE,
            "NVIL": inference.NVIL(K),
            "RLOO": inference.RLOO(K),
            "VIMCO": inference.VIMCO(K),
            "RWS": inference.RWS(K),
            "wake-sleep": inference.WakeSleep(K),
        },
    ),
    "vae": Case(
        job="iwae-mnist",
        model=lambda features: models.VAE(features, 50, (200, 200)),
        training=inference.Inference(inference.ELBO()),
        inferences={
            "ELBO": inference.ELBO(K),
            "STL": inference.STL(K),
            "IWAE": inference.IWAE(K),
            "DReG": inference.DReG(K),
            "IWAE K=50": inference.IWAE(50),
            "DReG K=50": inference.DReG(50),
        },
    ),
}


EPOCHS, DRAWS, ROWS = 5, 200, 100


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("cases", nargs="*", help=f"what to measure, of {', '.join(CASES)}; all by default")
    parser.add_argument("--data-dir", help="folder with the data sets")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of training before (default: 5)")
    parser.add_argument("--draws", type=int, default=DRAWS, help="gradients of each inference (default: 200)")
    parser.add_argument("--rows", type=int, default=ROWS, help="data in the batch (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all of it (default: 0)")
    parser.add_argument("--quick", action="store_true", help="digits, one epoch, few draws; writes to runs/benchmarks")
    parser.add_argument("--results", type=Path, help="where record and figure are written")
    given = parser.parse_args(arguments)
    cases = command.chosen(parser, "cases", given.cases, CASES)
    if given.quick:
        given.epochs, given.draws, given.rows = 1, 20, 20
    folder = command.folder(given.results, given.quick)
    for name in cases:
        _measure(name, CASES[name], given, folder)
    return 0


def _options(given: argparse.Namespace) -> str:
    """What must be added to the command to measure the same again."""
    if given.quick:
        return " --quick"
    usual = {"epochs": EPOCHS, "draws": DRAWS, "rows": ROWS, "seed": 0}
    return "".join(f" --{name} {getattr(given, name)}" for name in usual if getattr(given, name) != usual[name])


def _measure(name: str, case: Case, given: argparse.Namespace, folder: Path) -> None:
    if given.quick:
        data = datasets.load("digits", binarize="threshold")
    else:
        data = load_data(JOBS[case.job], given.data_dir)
    torch.manual_seed(given.seed)
    pair = case.model(data.num_features)
    ppgen.fit(pair, data, case.training, epochs=given.epochs, batch_size=100, seed=given.seed, progress=False)
    start = time.perf_counter()
    batch = data.batch("train", torch.arange(given.rows), torch.Generator().manual_seed(given.seed))
    found = diagnostics.compare_estimators(
        pair, batch, case.inferences, num_draws=given.draws, by="module", num_data=data.num_train, seed=given.seed
    )
    print(f"{name}: {type(pair).__name__} on {data.describe()}, after {given.epochs} epochs")
    print(diagnostics.gradient_table(found))
    content = {
        "kind": KIND,
        "model": type(pair).__name__,
        "data": data.describe(),
        "training": {"inference": inference.describe(case.training), "epochs": given.epochs},
        "comparison": found.to_dict(),
        "command": f"python -m benchmarks.gradients.measure {name}{_options(given)}",
        "seconds": round(time.perf_counter() - start, 1),
        "hardware": record.hardware(torch.device("cpu")),
        "versions": record.versions(),
        "commit": record.commit(),
    }
    path = folder / f"gradients-{name}.json"
    command.write(path, content)
    diagnostics.figures.estimators(found).savefig(path.with_suffix(".png"), dpi=150)
    print(f"{name}: written to {path} and {path.with_suffix('.png').name}")


if __name__ == "__main__":
    sys.exit(main())
