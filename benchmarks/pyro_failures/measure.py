"""Run Pyro's objectives and ours on programs whose gradients are known exactly, and write both beside the number.

    python -m benchmarks.pyro_failures.measure             # some minutes on one core; writes record and page
    python -m benchmarks.pyro_failures.measure --quick     # few draws, to see that it runs; writes to runs/benchmarks
    python -m benchmarks.pyro_failures.measure --check     # exit code 1 if the page is not what the record says

Both take single steps on the same data, as many as `--draws`. A z-score is the distance of their mean from the exact
number in standard errors of the mean.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from benchmarks import command, record
from benchmarks.pyro_failures import behaviours, page
from benchmarks.pyro_failures.programs import BATCH, CASES, Case, exact

KIND, NAME = "pyro failures", "pyro_failures.json"
Draws = dict[str, list[float]]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("--draws", type=int, default=10_000, help="steps of each objective (default: 10000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all of it (default: 0)")
    command.add_page(parser, "200 draws; writes no page")
    given = parser.parse_args(arguments)
    if given.check or given.render:
        return page.write(read(record.RESULTS), check=given.check)
    if given.quick:
        given.draws = 200
    folder = command.folder(given.results, given.quick)
    content = measure(given.draws, given.seed)
    command.write(folder / NAME, content)
    print(page.page(content))
    return 0 if given.quick or given.results else page.write(content, check=False)


def read(folder: Path) -> dict[str, Any]:
    """The record in a folder."""
    found: dict[str, Any] = json.loads((folder / NAME).read_text(encoding="utf-8"))
    return found


def measure(draws: int, seed: int) -> dict[str, Any]:
    """All cases and behaviours as a record."""
    start = time.perf_counter()
    found = {}
    for name, case in CASES.items():
        torch.manual_seed(seed)
        number, peers = exact(case), pyro_draws(case, draws)
        own = our_draws(case, draws)
        rows = {
            key: {"exact": value, "pyro": summary(peers[key], value), "ours": summary(own[key], value)}
            for key, value in number.items()
        }
        found[name] = {"title": case.title, "told": case.told, "rows": rows}
    torch.manual_seed(seed)
    return {
        "kind": KIND,
        "command": "python -m benchmarks.pyro_failures.measure" + ("" if draws == 10_000 else f" --draws {draws}"),
        "draws": draws,
        "seed": seed,
        "cases": found,
        "behaviours": behaviours.observed(),
        "seconds": round(time.perf_counter() - start, 1),
        "hardware": record.hardware(torch.device("cpu")),
        "versions": record.versions(),
        "commit": record.commit(),
    }


def summary(draws: list[float], exact: float) -> dict[str, float | None]:
    """Mean, its standard error, and the z-score; None where there is a deviation and no noise."""
    values = torch.tensor(draws, dtype=torch.float64)
    mean, se = float(values.mean()), float(values.std()) / math.sqrt(len(values))
    if se > 1e-12:
        return {"mean": mean, "se": se, "z": (mean - exact) / se}
    return {"mean": mean, "se": 0.0, "z": 0.0 if abs(mean - exact) < 1e-9 else None}


def batches(case: Case, draws: int) -> list[Tensor]:
    """What each step sees."""
    if not case.subsampled:
        return [case.data] * draws
    return [case.data[torch.randperm(len(case.data))[:BATCH]] for _ in range(draws)]


def pyro_draws(case: Case, draws: int) -> Draws:
    """Loss and gradients per datum of single steps of Pyro's objective."""
    pyro.clear_param_store()
    objective, store = case.peer(), pyro.get_param_store()
    found: Draws = {}
    for batch in batches(case, draws):
        for _, tensor in store.named_parameters():
            tensor.grad = None
        loss = objective.loss_and_grads(case.model, case.guide, batch)
        found.setdefault("loss", []).append((loss[0] if isinstance(loss, tuple) else loss) / len(case.data))
        for name, tensor in store.named_parameters():
            gradient = 0.0 if tensor.grad is None else float(tensor.grad) / len(case.data)
            found.setdefault(name, []).append(gradient)
    pyro.clear_param_store()
    return found


def our_draws(case: Case, draws: int) -> Draws:
    """The same of ours."""
    pair = case.pair()
    bound = case.ours.bind(pair, next(iter(batches(case, 1))), num_data=len(case.data))
    found: Draws = {}
    for batch in batches(case, draws):
        result = bound.step(batch)
        found.setdefault("loss", []).append(-float(result.value))
        for name, gradient in result.gradients.items():
            found.setdefault(name.rpartition(".")[2], []).append(float(gradient))
    return found


if __name__ == "__main__":
    sys.exit(main())
