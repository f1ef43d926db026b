"""`ppgen demo`: three models of the embedded digits, each under several inferences, compared and drawn."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ppgen import datasets, inference, models, training
from ppgen.commands import COMMANDS
from ppgen.commands.compare import cores, run
from ppgen.commands.folders import FIGURES, POSTERIOR, folder_of
from ppgen.commands.parser import Parser
from ppgen.commands.report import POSTERIOR_ROWS, write_figures, write_posterior
from ppgen.datasets import Dataset
from ppgen.diagnostics.comparison.compare import compare_inferences

EPOCHS, SEEDS, PARTICLES = 20, 3, 1000
MODELS: Mapping[str, Callable[[], Any]] = {
    "SBN": partial(models.SigmoidBeliefNet, sizes=(64, 20, 10)),
    "VAE": partial(models.VAE, features=64, latent=8, hidden=(64,)),
    "RBM": partial(models.RBM, visible=64, hidden=16),
}
INFERENCES: Mapping[str, Mapping[str, Any]] = {
    "SBN": {"wake-sleep": "wake-sleep", "NVIL": "nvil", "VIMCO": "vimco", "RWS": "rws"},
    "VAE": {"ELBO": "elbo", "IWAE": inference.IWAE(num_particles=10)},
    "RBM": {"CD-1": inference.CD(k=1), "PCD": inference.PCD(num_chains=100)},
}


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen demo`."""
    parser = Parser("ppgen demo", _about(), usage="ppgen demo [--folder FOLDER] [--epochs N] [--seeds N] [options]")
    parser.add_argument("--folder", type=str, default="runs/demo", help="Folder of the comparison.")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="Passes over the training rows.")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="Number of seeds, from 0 on.")
    parser.add_argument("--processes", type=int | None, default=None, help="Cells at the same time; one a core.")
    parser.add_argument("--quiet", action="store_true", help="Print no line for each cell.")
    values = parser.read(arguments)
    started = time.perf_counter()
    folder = folder_of(values["folder"])
    data = datasets.load("digits", binarize="threshold")
    print(f"{_about()}\nComparing them in {folder}.", flush=True)
    pictures: list[Path] = []

    def compare() -> Any:
        found = compare_inferences(
            MODELS,
            data,
            INFERENCES,
            seeds=values["seeds"],
            epochs=values["epochs"],
            folder=folder,
            processes=cores() if values["processes"] is None else values["processes"],
            num_particles=PARTICLES,
            progress=not values["quiet"],
            batch_size=64,
            device="cpu",
            compile=False,  # so that two runs agree to the last digit
        )
        pictures.extend(draw_best(found, data, folder))
        return found

    run("demo", arguments, compare, folder)
    print("figures of the best run of each model:\n" + "\n".join(f"  {path}" for path in pictures))
    posteriors = ", ".join(str(path) for path in sorted({path.parent.parent / POSTERIOR for path in pictures}))
    print(f"draws of their posteriors, for ArviZ: {posteriors}")
    print(f"{time.perf_counter() - started:.0f} s in all", flush=True)
    return 0


def draw_best(found: Any, data: Dataset, folder: Path) -> list[Path]:
    """Draw the run with the highest log-likelihood of each model, and its posterior; the paths of the figures."""
    from ppgen.diagnostics.comparison.plan import cell_folder

    paths = []
    for model in map(str, found.model.values):
        best = found.best(model)
        if best is None:
            continue
        seeds = found["log_likelihood"].sel(model=model, inference=best)
        cell = cell_folder(folder, model, best, int(seeds.idxmax("seed")))
        trained = training.load(cell)
        write_posterior(trained, data.test[:POSTERIOR_ROWS], cell / POSTERIOR)
        paths += write_figures(trained, data, cell / FIGURES)
    return paths


def _about() -> str:
    cells = "; ".join(f"{model} under {', '.join(labels)}" for model, labels in INFERENCES.items())
    return f"{COMMANDS['demo']} {cells}. Called again, it goes on where it was stopped."
