"""Stochastic feedforward networks beside mixture density networks of equal size where one x has many y.

    python -m benchmarks.one_to_many.measure            # some minutes on one core; writes record and page
    python -m benchmarks.one_to_many.measure paths      # one problem again; the others of the record stay
    python -m benchmarks.one_to_many.measure --quick    # a trial of few steps and one seed; writes to runs/benchmarks
    python -m benchmarks.one_to_many.measure --check    # exit code 1 if docs/one_to_many.md is not what the record says

Both are trained by `ppgen.fit` with the same steps, batches and step sizes: the stochastic network by VIMCO, the
mixture by maximum likelihood. The number of components is that with the best validation likelihood for the first
seed, and the mixture's hidden layers are as wide as it takes to have no fewer parameters than the stochastic network
and its guide together. A seed makes data, weights and order anew.
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch

import ppgen
from benchmarks import command, record
from benchmarks.one_to_many import page
from benchmarks.one_to_many.problems import PROBLEMS, Problem, Rows, num_parameters, rival
from ppgen import evaluation, inference, models

KIND, NAME = "one to many", "one_to_many.json"
COMPONENTS = (8, 16, 32, 64)
TRAIN, VALID, TEST, BATCH, LR = 5000, 500, 1000, 100, 3e-3
TRAINED, JUDGED = 20, 500  # particles in training, and of the estimate of log p(y | x)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = command.make_parser(__doc__)
    parser.add_argument("problems", nargs="*", help=f"of {', '.join(PROBLEMS)}; all by default")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps of each network (default: 1500)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default: 3)")
    command.add_page(parser, "10 steps, one seed; writes no page")
    given = parser.parse_args(arguments)
    problems = command.chosen(parser, "problems", given.problems, PROBLEMS)
    if given.check or given.render:
        return page.write(command.read(NAME), check=given.check)
    if given.quick:
        given.steps, given.seeds = 10, 1
    folder = command.folder(given.results, given.quick)
    for name in problems:
        content = updated(
            folder / NAME, settings(given.steps, given.seeds), name, measure(name, given.steps, given.seeds)
        )
        command.write(folder / NAME, content)
    return 0 if given.quick or given.results else page.write(content, check=False)


def updated(path: Path, shared: dict[str, Any], name: str, found: dict[str, Any]) -> dict[str, Any]:
    """The record with one problem measured anew; the others stay if they were measured in the same way."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = {key: value for key, value in old.items() if key != "problems"} == json.loads(json.dumps(shared))
    known = {**(old["problems"] if same else {}), name: found}
    return {**shared, "problems": {each: known[each] for each in PROBLEMS if each in known}}


def measure(name: str, steps: int, seeds: int) -> dict[str, Any]:
    """Test log p(y | x) of both networks on a problem, with the time that it took."""
    start, processor = time.perf_counter(), time.process_time()
    return {
        **compare(name, PROBLEMS[name], steps, seeds),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "commit": record.commit(),
    }


def settings(steps: int, seeds: int) -> dict[str, Any]:
    """What a record says of all problems."""
    options = "" if (steps, seeds) == (1500, 3) else f" --steps {steps} --seeds {seeds}"
    return {
        "kind": KIND,
        "command": "python -m benchmarks.one_to_many.measure" + options,
        "steps": steps,
        "seeds": seeds,
        "rows": {"train": TRAIN, "valid": VALID, "test": TEST},
        "batch_size": BATCH,
        "lr": LR,
        "particles": {"training": TRAINED, "test": JUDGED},
        "hardware": record.hardware(torch.device("cpu")),
        "versions": record.versions(),
    }


def compare(name: str, problem: Problem, steps: int, seeds: int) -> dict[str, Any]:
    """Both networks on one problem."""
    network: list[float] = []
    mixture: list[float] = []
    sizes: list[int] = []
    chosen: int | None = None
    validation: dict[str, float] = {}
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        train, valid, test = (problem.draw(rows, generator) for rows in (TRAIN, VALID, TEST))
        inputs, outputs = train[0].shape[1], train[1].shape[1]
        torch.manual_seed(seed)
        net = models.StochasticFeedforward(inputs, outputs, problem.hidden, problem.stochastic)
        fit(net, train, inference.VIMCO(TRAINED), steps, seed)
        judged = evaluation.log_likelihood(net, test, method="importance", num_particles=JUDGED, seed=seed)
        network.append(float(judged.value))
        tried = {}
        for components in COMPONENTS if chosen is None else (chosen,):
            torch.manual_seed(seed)
            other = rival(inputs, outputs, components, num_parameters(net))
            fit(other, train, inference.MaximumLikelihood(), steps, seed)
            tried[components] = other
        if chosen is None:
            validation = {str(components): likelihood(other, valid) for components, other in tried.items()}
            chosen = max(tried, key=lambda components: validation[str(components)])
            sizes = [num_parameters(net), num_parameters(tried[chosen])]
        mixture.append(likelihood(tried[chosen], test))
        print(f"{name}, seed {seed}: network {network[-1]:.3f}, mixture of {chosen} {mixture[-1]:.3f}", flush=True)
    return {
        "title": problem.title,
        "variables": problem.variables,
        "modes": problem.modes,
        "network": {**summary(network), "parameters": sizes[0], "units": list(problem.stochastic)},
        "mixture": {**summary(mixture), "parameters": sizes[1], "components": chosen, "validation": validation},
        "difference": summary([a - b for a, b in zip(network, mixture, strict=True)]),
    }


def fit(pair: Any, rows: Rows, what: Any, steps: int, seed: int) -> None:
    """The same budget for everyone."""
    schedule = {"lr": LR, "lr_schedule": "cosine", "batch_size": BATCH}
    ppgen.fit(pair, rows, what, steps=steps, seed=seed, progress=False, **schedule)


def likelihood(pair: Any, rows: Rows) -> float:
    """Exact mean log p(y | x) of a pair without latents, in nats."""
    bound = inference.Inference(inference.MaximumLikelihood()).bind(pair, rows, num_data=len(rows[0]))
    return float(bound.value(rows))


def summary(values: list[float]) -> dict[str, Any]:
    """Mean over seeds and its standard error; None with one seed."""
    tensor = torch.tensor(values, dtype=torch.float64)
    se = float(tensor.std()) / math.sqrt(len(values)) if len(values) > 1 else None
    return {"mean": float(tensor.mean()), "se": se, "values": values}


if __name__ == "__main__":
    sys.exit(main())
