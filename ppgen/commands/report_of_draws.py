"""What is written when an implicit model was trained: Parzen windows of its draws with their controls, and figures."""

from pathlib import Path
from typing import Any

from ppgen import evaluation
from ppgen.commands import evaluate
from ppgen.commands.data import Data, rows_of
from ppgen.commands.folders import FIGURES

NUM_SAMPLES = 10_000
_LEAST_CONTROLS = 20


def report_of_draws(run: Any, data: Data, *, seed: int = 0) -> None:
    """Score draws of a run without a likelihood, print the score, and write it and figures into its folder.

    Args:
        run: A run with a folder, whose pair says `has_likelihood = False`.
        data: Its data.
        seed: Seed of the draws.
    """
    from ppgen.diagnostics import figures

    split, rows = rows_of(data, None)
    folder, name = Path(run.folder), type(run.pair).__name__
    print(
        f"{name} states no density, so that no log-likelihood is estimated: ppgen.models.with_noise(run.pair, sd) puts "
        'a Normal law around its draws, for evaluation.log_likelihood(..., method="ais") and evaluation.bdmc.'
    )
    score = None
    if len(data.train) >= _LEAST_CONTROLS and len(rows) > 1:
        samples = min(NUM_SAMPLES, 10 * len(data.train))
        score = evaluation.parzen(run.pair, rows, num_samples=samples, controls=data.train, seed=seed)
        print(f"draws against the {split} rows of {data.describe()}\n{score}", flush=True)
    path = evaluate.write(run, data, split, {}, more={} if score is None else {"parzen": score.to_dict()})
    pictures = figures.write_all(run, data, folder / FIGURES)
    print(f"run: {folder}  (config.json, model.safetensors, metrics.csv, {path.name})")
    print(f"figures: {', '.join(str(each) for each in sorted(pictures))}", flush=True)
