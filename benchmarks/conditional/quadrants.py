"""log p(y | x) of MNIST's missing quadrants, of which 1, 2 or 3 are given, by ours and by the method of Pyro's example.

    python -m benchmarks.conditional.quadrants                       # writes results/conditional-quadrants.json
    python -m benchmarks.conditional.quadrants --rows "1 quadrant"   # these rows; goes on where it was stopped
    python -m benchmarks.conditional.quadrants --quick               # a trial on small digits, seconds

Bits are drawn anew for each training epoch and once for validation and test rows (`binarize="dynamic"`). The quadrant
given first is the lower left, then the upper left, then the lower right. Every figure is of all 10,000 test rows by one
estimator, importance sampling by the recognition network, with the bound and the share of rows beside it whose
weights have a Pareto k above .7. The example trains as many seconds as ours did.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks import record
from benchmarks.conditional import pyro_example
from benchmarks.jobs import Job, begin
from ppgen import evaluation, inference, models
from ppgen.datasets import PairedDataset

VALID = 5000
EPOCHS, PARTICLES, CHUNK = 100, 5000, 20
COMPILED: dict[str, Any] = {"lr": 1e-3, "lr_schedule": "cosine", "batch_size": 128, "compile": True}
SIZES: dict[str, Any] = {"latent": 50, "hidden": (500, 500)}
FAMILIES: dict[str, tuple[dict[str, Any], Any]] = {
    "ours": ({}, inference.ELBO()),
    "hybrid": ({}, inference.ELBO(prior_weight=0.2)),
    "prior as guide": ({"recognition": "prior"}, inference.IWELBO(5)),
}
"""Options of the model and what is followed; beside ours there is `Pyro's example`."""
EXAMPLE = "Pyro's example"


def rows_of(given: int) -> list[str]:
    """Rows of so many given quadrants; the other objectives are tried with one."""
    names = [*FAMILIES] if given == 1 else ["ours"]
    count = f"{given} quadrant{'s' if given > 1 else ''}"
    return [f"{count}, {name}" for name in (names[0], EXAMPLE, *names[1:])]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    settings = {"valid_size": VALID, "epochs": EPOCHS, "num_particles": PARTICLES}
    job = begin(__spec__.name, __doc__, settings, arguments)
    torch.set_num_threads(1)
    images = job.images(binarize="dynamic", **({} if job.quick else {"valid_size": VALID}))
    job.keep(data=images.describe(), checksum=images.checksum)
    for given in (1, 2, 3):
        data = images.split_quadrants(given)
        for name in rows_of(given):
            if not job.wants(name):
                continue
            kind = name.partition(", ")[2]
            if kind == EXAMPLE:
                ours = job.content.get("rows", {}).get(rows_of(given)[0])
                if ours is None:
                    raise SystemExit(f"{name} trains as long as ours: measure {rows_of(given)[0]!r} first.")
                job.row(name, _example(job, data, ours))
                add_difference(job, rows_of(given)[0], name)
            else:
                job.row(name, _ours(job, data, kind))
    return 0


def add_difference(job: Job, ours: str, theirs: str) -> None:
    """How many nats ours are above the example, of the same rows."""
    rows = job.content["rows"]
    apart = rows[ours]["nats"]["value"] - rows[theirs]["nats"]["value"]
    job.keep(differences={**job.content.get("differences", {}), theirs: round(apart, 3)})


def _ours(job: Job, data: PairedDataset, kind: str) -> Callable[[Path], dict[str, Any]]:
    options, objective = FAMILIES[kind]

    def measured(folder: Path) -> dict[str, Any]:
        torch.manual_seed(0)
        sizes = {"latent": 4, "hidden": (16,)} if job.quick else SIZES
        covariates, features = (part.shape[1] for part in data.test)
        net = models.ConditionalVAE(covariates, features, **sizes, **options)
        training = {**COMPILED, "compile": False, "epochs": 2} if job.quick else {**COMPILED, "epochs": EPOCHS}
        kept = {"folder": folder, "resume": "auto", "checkpoint_minutes": 2.0, "progress": False}
        run = ppgen.fit(net, data, objective, seed=0, restore_best=True, **kept, **training)
        about = {
            "training seconds": round(float(run.metrics[-1]["seconds"]), 1),
            "epochs": run.metrics[-1]["epoch"],
            "best epoch": run.state["best_epoch"],
        }
        return {**about, **scored(job, net.eval(), data)}

    return measured


def _example(job: Job, data: PairedDataset, ours: dict[str, Any]) -> Callable[[Path], dict[str, Any]]:
    def measured(folder: Path) -> dict[str, Any]:
        sizes = {"latent": 4, "hidden": 16} if job.quick else {}
        net, about = pyro_example.train(data, ours["training seconds"], folder, **sizes)
        return {**about, **scored(job, net, data)}

    return measured


def scored(job: Job, net: Any, data: PairedDataset) -> dict[str, Any]:
    """log p(y | x) of the test rows by importance sampling, with the bound and how the weights are."""
    rows, count = (20, 50) if job.quick else (None, PARTICLES)
    batch = tuple(part[:rows] for part in data.test)
    found = evaluation.log_likelihood(net, batch, method="importance", num_particles=count, chunk=CHUNK, seed=0)
    bound = evaluation.log_likelihood(net, batch, method="elbo", seed=0)
    return {
        "parameters": sum(each.numel() for each in net.parameters()),
        "nats": record.figure(found),
        "bound": bound.value,
        "share of k above .7": float((found.per_datum["pareto_k"] > 0.7).mean()),
        "rows": len(batch[0]),
    }


if __name__ == "__main__":
    sys.exit(main())
