"""Conditional VAEs that complete MNIST from one, two or three quadrants, all scored by one estimator.

    python -m benchmarks.conditional.quadrants --given 1 --minutes 20
    python -m benchmarks.conditional.quadrants --quick

Each method trains for as many minutes in `runs/benchmarks/quadrants-GIVEN-METHOD` and goes on there when the command is
given again; then all test rows are scored by importance sampling. The record is `results/quadrants-GIVEN.json`.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ppgen
from ppgen import datasets, evaluation, inference, models
from ppgen.datasets import PairedDataset

ROOT = Path(__file__).parents[1]
RUNS = ROOT.parent / "runs" / "benchmarks"


@dataclass(frozen=True)
class Method:
    """How one conditional VAE is made and trained.

    Attributes:
        told: What it is, in a few words.
        model: Options of the model.
        inference: How it is trained.
        lr: Step size of Adam.
    """

    told: str
    model: dict[str, Any]
    inference: inference.ELBO | inference.IWELBO
    lr: float


# Sizes and step size of Pyro's CVAE example: two hidden layers of 500 units, 200 latents, one draw of the ELBO. The
# example trains a network without latents first, whose guess its prior network sees; it stops early by validation rows.
METHODS = {
    "ours": Method("ELBO of the recognition network", {"latent": 50, "hidden": (300, 300)}, inference.ELBO(), 1e-3),
    "hybrid": Method("hybrid, w = .2", {"latent": 50, "hidden": (300, 300)}, inference.ELBO(prior_weight=0.2), 1e-3),
    "gsnn": Method(
        "the prior as guide", {"latent": 50, "hidden": (300, 300), "recognition": "prior"}, inference.IWELBO(5), 1e-3
    ),
    "example": Method("sizes of Pyro's example", {"latent": 200, "hidden": (500, 500)}, inference.ELBO(), 1e-3),
}


def _stopping(seconds: float) -> Callable[[Any], None]:
    """Callback that ends training at the first epoch after so many seconds of it, those of earlier calls included."""

    def callback(event: Any) -> None:
        if event.kind == "epoch" and event.run.seconds >= seconds:
            event.stop()

    return callback


def measured(name: str, data: PairedDataset, given: int, minutes: float, num_particles: int, rows: int | None) -> Any:
    """Train one method for at most so many minutes, and score the test rows; its entry of the record."""
    method = METHODS[name]
    covariates, features = (part.shape[1] for part in data.test)
    net = models.ConditionalVAE(covariates, features, **method.model)
    run = ppgen.fit(
        net,
        data,
        method.inference,
        epochs=10_000,
        lr=method.lr,
        seed=0,
        folder=RUNS / f"quadrants-{given}-{name}",
        resume="auto",
        checkpoint_minutes=min(2.0, minutes),
        callbacks=[_stopping(60 * minutes)],
        progress=False,
    )
    batch = tuple(part[:rows] for part in data.test)
    found = evaluation.log_likelihood(run.pair, batch, method="importance", num_particles=num_particles)
    bound = evaluation.log_likelihood(run.pair, batch, method="bound")
    return {
        "method": method.told,
        "minutes": round(run.seconds / 60, 2),
        "epochs": len(run.metrics),
        "log_likelihood": found.value,
        "se": found.se,
        "elbo": bound.value,
        "share_k_above_0.7": float((found.per_datum["pareto_k"] > 0.7).mean()),
        "rows": len(batch[0]),
        "num_particles": num_particles,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure the methods that are asked for, and write the record after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--given", type=int, choices=(1, 2, 3), default=1, help="Quadrants that are given.")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--minutes", type=float, default=20.0, help="Training time of each method.")
    parser.add_argument("--num-particles", type=int, default=5000)
    parser.add_argument("--data-dir", default=None, help="Folder that holds MNIST/raw/.")
    parser.add_argument("--quick", action="store_true", help="Digits, seconds and few rows: to see that it runs.")
    asked = parser.parse_args(arguments)
    if asked.quick:
        data = datasets.load("digits", binarize="dynamic").split_quadrants(asked.given)
        for name in asked.methods:
            print(name, measured(name, data, 10 + asked.given, 0.05, 20, 20))
        return 0
    data = datasets.load("mnist", binarize="dynamic", root=asked.data_dir).split_quadrants(asked.given)
    path = ROOT / "results" / f"quadrants-{asked.given}.json"
    record = json.loads(path.read_text()) if path.exists() else {"data": data.describe(), "checksum": data.checksum}
    for name in asked.methods:
        entry = measured(name, data, asked.given, asked.minutes, asked.num_particles, None)
        record.setdefault("methods", {})[name] = entry
        path.write_text(json.dumps(record, indent=2) + "\n")
        print(name, entry)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
