"""Greedy training of the layers of a benchmark before its own training, and the bounds that it leaves."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.likelihoods.jobs import Job
from ppgen import training
from ppgen.datasets import Dataset
from ppgen.evaluation import Estimate
from ppgen.training import Event


class OutOfTimeError(Exception):
    """The time of this call ended within a layer, whose checkpoint was just written."""


def pretrain(job: Job, pair: Any, data: Dataset, folder: Path, given: argparse.Namespace) -> float:
    """Train the layers of a pair, going on from what an earlier call left; returns the seconds of training.

    The bounds of the stack after each layer are kept beside the layers, in `bounds.json`.

    Args:
        job: What is measured; `job.pretraining` are arguments of `ppgen.training.pretrain`.
        pair: The untrained pair, which gets the weights of its layers.
        data: The data.
        folder: Where the layers are kept.
        given: Arguments of the command line.

    Raises:
        OutOfTimeError: If `given.minutes` are over.
    """
    end = time.monotonic() + 60 * given.minutes

    def callback(event: Event) -> None:
        if event.kind == "checkpoint" and time.monotonic() >= end:
            raise OutOfTimeError

    found = training.pretrain(
        pair,
        data,
        **job.pretraining,
        seed=given.seed,
        device=given.device,
        folder=folder,
        resume="auto",
        checkpoint_minutes=min(1.0, given.minutes),
        callbacks=[callback],
    )
    bounds = [{"layer": each.layer, "value": each.train, "se": each.se, "method": each.method} for each in found.bounds]
    (folder / "bounds.json").write_text(json.dumps(bounds, indent=2) + "\n", encoding="utf-8")
    return sum(run.seconds for run in found.runs)


def bounds(folder: Path) -> dict[str, Estimate]:
    """The bound of each stack of layers on training rows, as `pretrain` left it; none without layers."""
    path = folder / "bounds.json"
    if not path.exists():
        return {}
    return {
        f"bound on training rows with {each['layer']} pretrained layer{'s' if each['layer'] > 1 else ''}": Estimate(
            each["value"],
            each["se"],
            # With log Z by annealing upwards, which errs low, a bound errs high.
            "lower bound" if each["method"] == "enumerated" else "estimate",
            f"ELBO of 1,000 rows, log Z {each['method']}",
        )
        for each in json.loads(path.read_text(encoding="utf-8"))
    }
