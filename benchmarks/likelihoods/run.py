"""Run a benchmark, or go on with it, and record the result when its training is done.

    python -m benchmarks.likelihoods.run vae-mnist --minutes 30

The run is kept in a folder with checkpoints, so that the same command goes on where the last one stopped (or
was killed). When the target number of epochs is reached, it is evaluated and written to benchmarks/results.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks import record
from benchmarks.likelihoods.jobs import JOBS, SBN_LOADING, Job
from benchmarks.likelihoods.pretraining import OutOfTimeError, bounds, pretrain
from ppgen import datasets, inference
from ppgen.datasets.fetch import search_folders
from ppgen.datasets.files import SUFFIXES
from ppgen.training import Event, Run
from ppgen.training.environment import peak_memory, reset_peak_memory, resolve_device


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="job to run, or all; --list shows them")
    parser.add_argument("--minutes", type=float, default=30.0, help="training time of this call (default: 30)")
    parser.add_argument("--data-dir", help="folder with the public data sets, as MNIST/raw/...")
    parser.add_argument("--seed", type=int, default=0, help="seed of training and evaluation (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--runs", type=Path, default=record.ROOT / "runs" / "benchmarks", help="where runs are kept")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="where the record is written")
    parser.add_argument("--evaluate", action="store_true", help="evaluate now, whatever was reached; train no more")
    parser.add_argument("--list", action="store_true", help="show the jobs and stop")
    given = parser.parse_args(arguments)
    if given.list:
        for name, job in JOBS.items():
            print(f"{name:26} {job.title} on {job.dataset} ({job.binarization}), {job.training['epochs']} epochs")
        return 0
    names = list(JOBS) if given.name == "all" else [given.name]
    if given.name is None or not set(names) <= set(JOBS):
        parser.error(f"name must be 'all' or one of {', '.join(JOBS)}; got {given.name!r}.")
    if not given.minutes > 0:
        parser.error(f"--minutes must be positive, got {given.minutes:g}.")
    for name in names:
        _measure(name, JOBS[name], given)
    return 0


def _measure(name: str, job: Job, given: argparse.Namespace) -> None:
    folder = folder_of(name, given)
    device = resolve_device(given.device)
    data = load_data(job, given.data_dir)
    reset_peak_memory(device)
    if given.evaluate:
        run = ppgen.load(folder)
        run.pair.to(device)
    else:
        try:
            run = _train(job, data, folder, given, time.monotonic() + 60 * given.minutes)
        except OutOfTimeError:
            print(f"{name}: within the training of its layers; the same command goes on.")
            return
        if run is None:
            print(f"{name}: within the training of {job.continues}, from which it starts; the same command goes on.")
            return
    if not (run.state["finished"] or given.evaluate):
        done, target = run.state["epoch"], job.training["epochs"]
        print(f"{name}: {done} of {target} epochs in {run.seconds / 60:.1f} minutes; the same command goes on.")
        return
    start = time.perf_counter()
    figures = job.evaluate(run, data, given.seed) | bounds(layers_of(folder))
    seconds = time.perf_counter() - start
    for label, estimate in figures.items():
        print(f"{name}: {label}: {estimate}")
    content = _record(name, job, data, run, figures, given)
    content["seconds"] = {"training": round(60 * content["budget"]["minutes"], 1), "evaluation": round(seconds, 1)}
    content["peak_memory_mib"] = {"training": _round(run.peak_memory), "whole": _round(peak_memory(device))}
    content["hardware"] = record.hardware(device)
    print(f"{name}: written to {record.write(content, given.results)}")


def load_data(job: Job, data_dir: str | None) -> datasets.Dataset:
    """The data of a job: registered ones by name, a file from the first data folder that holds it."""
    if job.tested_on is not None:
        drawn = _loaded(job.dataset, data_dir, binarize=job.binarize, **job.loading)
        fixed = _loaded(job.tested_on, data_dir, binarize=None, **SBN_LOADING)
        name, checksum = f"{drawn.name}, tested on {fixed.name}", f"{drawn.checksum}, {fixed.checksum}"
        return replace(drawn, name=name, test=fixed.test, checksum=checksum)
    return _loaded(job.dataset, data_dir, binarize=job.binarize, **job.loading)


def _loaded(dataset: str, data_dir: str | None, **how: Any) -> datasets.Dataset:
    if not dataset.endswith(SUFFIXES):
        return datasets.load(dataset, root=data_dir, **how)
    searched = [folder / dataset for folder in search_folders(data_dir)]
    found = next((path for path in searched if path.is_file()), None)
    if found is None:
        folders = ", ".join(str(path.parent) for path in searched)
        raise SystemExit(f"{dataset} is in none of {folders}: name its folder by --data-dir or PPGEN_DATA.")
    return datasets.load(found, **how)


def _train(job: Job, data: datasets.Dataset, folder: Path, given: argparse.Namespace, end: float) -> Run | None:
    """The run, trained as far as the time allows; None if that did not suffice for the one from which it starts."""
    before = None
    if job.continues is not None and not (folder / "checkpoint").exists():
        before = _train(JOBS[job.continues], data, folder_of(job.continues, given), given, end)
        if before is None or not before.state["finished"]:
            return None
    torch.manual_seed(given.seed)  # initial weights; everything else that is drawn in training has fit's seed
    model = job.model()
    if before is not None:
        model.load_state_dict(before.pair.state_dict())
    if job.pretraining and not (folder / "checkpoint").exists():
        seconds = pretrain(job, model, data, layers_of(folder), given)
        print(f"The layers are trained, in {seconds / 60:.1f} minutes.")
    return ppgen.fit(
        model,
        data,
        job.inference,
        **job.training,
        seed=given.seed,
        device=given.device,
        folder=folder,
        resume="auto",
        checkpoint_minutes=min(2.0, given.minutes),
        callbacks=[stop_at(end)],
    )


def folder_of(name: str, given: argparse.Namespace) -> Path:
    """Where the run of a job is kept."""
    return given.runs / (name if given.seed == 0 else f"{name}-seed{given.seed}")


def runs_before(job: Job, given: argparse.Namespace) -> list[Run]:
    """The run from which a job's starts, and so on; none if it starts anew."""
    if job.continues is None:
        return []
    return [ppgen.load(folder_of(job.continues, given)), *runs_before(JOBS[job.continues], given)]


def layers_before(job: Job, folder: Path) -> list[Run]:
    """The runs of a stack's layers, which a job trains first; none if it has no such layers."""
    return [ppgen.load(path) for path in sorted(layers_of(folder).glob("layer*"))] if job.pretraining else []


def layers_of(folder: Path) -> Path:
    """Where the runs of a stack's layers are kept, beside the folder of its own."""
    return folder.with_name(f"{folder.name}-layers")


def stop_at(end: float) -> Callable[[Event], None]:
    """Callback that ends training at the first epoch or checkpoint after that time of `time.monotonic`."""

    def callback(event: Event) -> None:
        if event.kind in ("epoch", "checkpoint") and time.monotonic() >= end:
            event.stop()

    return callback


def _record(
    name: str, job: Job, data: datasets.Dataset, run: Run, figures: dict[str, Any], given: argparse.Namespace
) -> dict[str, Any]:
    runs = [run, *runs_before(job, given), *layers_before(job, folder_of(name, given))]
    return {
        "name": name,
        "model": job.title,
        "data": {
            "name": data.name,
            "binarization": data.binarization,
            "description": data.describe(),
            "rows": {split: len(data.split(split)) for split in ("train", "valid", "test")},
            "checksum": data.checksum,
        },
        "inference": inference.describe(run.inference),
        "training": {key: value for key, value in run.config["training"].items() if value is not None},
        "budget": {
            "epochs": run.state["epoch"],
            "target_epochs": job.training["epochs"],
            "updates": sum(each.state["step"] for each in runs),
            "minutes": round(sum(each.seconds for each in runs) / 60, 2),
        },
        "headline": next(iter(figures)),
        "figures": {label: record.figure(estimate) for label, estimate in figures.items()},
        "seed": given.seed,
        "command": record.command(name, given.minutes),
        "versions": record.versions(),
        "commit": record.commit(),
        "published": list(job.published),
        "curve": record.curve(run),
    }


def _round(mebibytes: float | None) -> int | None:
    return None if mebibytes is None else round(mebibytes)


if __name__ == "__main__":
    sys.exit(main())
