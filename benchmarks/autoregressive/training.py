"""Training of one model: settings chosen by short trials on validation rows, then the whole run with the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ppgen
from benchmarks import record
from benchmarks.jobs import Job
from ppgen import evaluation

QUIET: dict[str, Any] = {"progress": False, "checkpoint_minutes": 2.0, "resume": "auto"}
CHUNK = 500  # rows that are evaluated at once
NATS = "nats.npy"  # log p of each test row


@dataclass(frozen=True)
class Family:
    """A model with what its training may be.

    Attributes:
        model: Name of its class.
        sizes: Its arguments.
        training: Options of `ppgen.fit`, with `epochs`.
        candidates: Choices that are tried, by their names: other options of `fit`, and under `"model"` other arguments
            of the model.
        trial_epochs: Epochs of a trial.
    """

    model: str
    sizes: Mapping[str, Any]
    training: Mapping[str, Any]
    candidates: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"as given": {}})
    trial_epochs: int = 1

    def settings(self, candidate: str, epochs: int, seed: int) -> dict[str, Any]:
        """Those of one run, as its row keeps them."""
        changed = dict(self.candidates[candidate])
        sizes = {**self.sizes, **changed.pop("model", {})}
        return {"model": self.model, "sizes": sizes, "training": {**self.training, **changed, "epochs": epochs}} | {
            "seed": seed
        }


def chosen(
    job: Job,
    name: str,
    family: Family,
    data: Any,
    measure: Callable[[Any, Path], Mapping[str, Any]] = lambda *_: {},
    seeds: Sequence[int] = (),
) -> None:
    """The row of a model, after those of its trials, unless it was not asked for.

    The candidate with the best validation rows after its trial is trained to the end, and the weights of the epoch
    with the best validation rows are those that are tested.

    Args:
        job: What the rows belong to.
        name: Of the row.
        family: The model.
        data: Data set.
        measure: What else is measured of the trained model, from it and the folder of the row.
        seeds: Of weights and training, for a row each; one row of seed 0 if there are none.
    """
    if not job.wants(name):
        return
    best = next(iter(family.candidates))
    if len(family.candidates) > 1:
        tried = {}
        for candidate in family.candidates:
            settings = family.settings(candidate, family.trial_epochs, 0)
            row = job.row(f"{name}, trial, {candidate}", _trial(settings, data), settings)
            tried[candidate] = row["valid nats"]
        best = max(tried, key=lambda candidate: tried[candidate])
    for seed in seeds or (0,):
        settings = family.settings(best, family.training["epochs"], seed)
        row_name = f"{name}, seed {seed}" if seeds else name
        job.row(row_name, _whole(settings, best, data, measure), settings)


def built(settings: Mapping[str, Any]) -> Any:
    """The model of some settings, its weights from their seed."""
    torch.manual_seed(settings["seed"])
    return getattr(ppgen.models, settings["model"])(**settings["sizes"])


def trained(settings: Mapping[str, Any], data: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """A model in the weights of its best epoch, and what its training was."""
    model = built(settings)
    options = {**settings["training"], "restore_best": True, "seed": settings["seed"], "folder": folder, **QUIET}
    run = ppgen.fit(model, data, **options)
    about = {
        "parameters": sum(each.numel() for each in model.parameters()),
        "best epoch": run.state["best_epoch"],
        "epochs": run.metrics[-1]["epoch"],
        "training seconds": round(float(run.metrics[-1]["seconds"]), 1),
        "valid nats": log_likelihood(model, data.valid)["value"],
    }
    return model.eval(), about


def log_likelihood(model: Any, rows: Any) -> dict[str, Any]:
    """Exact log p of rows in nats; `data_se` is the standard error of its mean over them."""
    return record.figure(evaluation.log_likelihood(model, rows, method="exact", chunk=CHUNK))


def kept(rows: torch.Tensor) -> Callable[[Any, Path], dict[str, Any]]:
    """What keeps log p of each row beside the checkpoints, for differences of models."""

    @torch.no_grad()
    def measure(model: Any, folder: Path) -> dict[str, Any]:
        np.save(folder / NATS, torch.cat([model.law().log_prob(part) for part in rows.split(CHUNK)]).numpy())
        return {}

    return measure


def difference(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Mean difference of log p, in nats, with its standard error over rows that both are of."""
    apart = ours.astype(np.float64) - theirs.astype(np.float64)
    return {"nats more": float(apart.mean()), "se": float(apart.std(ddof=1) / np.sqrt(len(apart)))}


def _whole(
    settings: Mapping[str, Any], candidate: str, data: Any, measure: Callable[[Any, Path], Mapping[str, Any]]
) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        model, about = trained(settings, data, folder)
        return {"chosen": candidate, **about, "nats": log_likelihood(model, data.test), **measure(model, folder)}

    return run


def _trial(settings: Mapping[str, Any], data: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: trained(settings, data, folder)[1]
