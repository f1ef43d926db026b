"""`ppgen demo`: the whole way from data to figures, for a directed and an undirected model on the embedded digits."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppgen import evaluation
from ppgen.commands import COMMANDS, fit
from ppgen.commands.folders import watched
from ppgen.commands.parser import Parser
from ppgen.commands.report import report
from ppgen.evaluation import Estimate

DIGITS = ("--data", "digits", "--binarize", "threshold")
EPOCHS = 100
RUNS = {
    "vae": "VAE --latent 8 --hidden 64 --inference iwae --inference.num-particles 10 --batch-size 64 --compile false",
    "rbm": "RBM --hidden 16 --inference pcd --inference.num-chains 100 --batch-size 64 --compile false",
}
"""Command lines of `ppgen fit`, by folder; not compiled, so that two runs of a seed agree to the last digit."""

_ANNEALING: dict[str, Any] = {"num_chains": 200, "betas": 2000}


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen demo`."""
    parser = Parser("ppgen demo", _about(), usage="ppgen demo [--folder FOLDER] [--epochs N] [--seed N] [options]")
    parser.add_argument("--folder", type=str, default="runs/demo", help="Folder of the two runs.")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="Passes over the training rows.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of both runs.")
    parser.add_argument("--overwrite", action="store_true", help="Start again, and remove the runs in the folder.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress, only results.")
    values = parser.read(arguments)
    started = time.perf_counter()
    folder = Path(values["folder"])
    rows: list[tuple[str, ...]] = []
    pictures: list[Path] = []
    for name, line in RUNS.items():
        words = [*shlex.split(line), *DIGITS, "--folder", str(folder / name)]
        words += ["--seed", str(values["seed"]), "--epochs", str(values["epochs"])]
        words += ["--overwrite"] if values["overwrite"] else []
        print(f"== {name.upper()} ==\n$ ppgen fit {shlex.join(words)}", flush=True)
        words += [] if watched(values["quiet"]) else ["--quiet"]  # a line an epoch is for those who watch
        again = [word for word in arguments if word != "--overwrite"]
        run, data = fit.train(fit.read(words), shlex.join(["ppgen", "demo", *again]))
        print(run, flush=True)
        estimates = dict(report(run, data, seed=values["seed"], quiet=values["quiet"]))
        if name == "rbm":
            estimates["log Z by annealing"] = evaluation.log_partition(
                run.pair, method="ais", seed=values["seed"], progress=watched(values["quiet"]), **_ANNEALING
            )
        rows += [(name.upper(), what, *_cells(each)) for what, each in estimates.items()]
        rows.append((name.upper(), "training time", f"{run.seconds:.1f}", "", "s", f"{run.state['epoch']} epochs"))
        pictures += sorted((folder / name / "figures").glob("*.png"))
        print(flush=True)
    print(f"== Results: {data.describe()}, {len(data.test)} test rows ==")
    print(_table(rows))
    print("\nFigures:\n" + "\n".join(f"  {path}" for path in pictures))
    print(f"Draws of the posteriors: {', '.join(str(folder / name / 'posterior.nc') for name in RUNS)}")
    print(f"{time.perf_counter() - started:.0f} s in all", flush=True)
    return 0


def _about() -> str:
    lines = "; ".join(f"ppgen fit {line}" for line in RUNS.values())
    return (
        f"{COMMANDS['demo']} It does what these do: {lines}. Called again, it goes on where it was stopped; runs that "
        "are finished are evaluated and drawn again."
    )


def _cells(estimate: Estimate) -> tuple[str, str, str, str]:
    """Value, error, unit and method, with as many digits as the estimate itself prints."""
    value, _, rest = str(estimate).partition(" ")
    error = rest.split()[1] if rest.startswith("±") else ""
    return value, f"± {error}" if error else "", estimate.unit, f"{estimate.method} ({estimate.kind})"


def _table(rows: list[tuple[str, ...]]) -> str:
    heads = ("model", "quantity", "value", "error", "unit", "method")
    every = [heads, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(heads))]
    lines = []
    for row in every:
        cells = [
            f"{cell:>{width}}" if at == 2 else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
