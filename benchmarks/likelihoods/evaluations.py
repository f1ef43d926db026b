"""What is evaluated when a job's training is done: functions from the run, the data and a seed to figures by name."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ppgen import evaluation, models
from ppgen.datasets import Dataset
from ppgen.evaluation import Estimate
from ppgen.training import Run

Figures = dict[str, Estimate]


def importance(num_particles: int) -> Callable[[Run, Dataset, int], Figures]:
    """L_K of the IWAE paper on the test rows, and the ELBO."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        bound = evaluation.log_likelihood(
            run, data.test, method="importance", num_particles=num_particles, seed=seed, progress=True
        )
        return {"log p(x), test": bound, "ELBO, test": _elbo(run, data, seed)}

    return evaluate


def guided(num_particles: int) -> Callable[[Run, Dataset, int], Figures]:
    """L_K of the IWAE paper, the ELBO, and the share of test rows whose importance weights have k-hat above .7."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        figures = importance(num_particles)(run, data, seed)
        bound = figures["log p(x), test"]
        share = (bound.num_bad_pareto_k or 0) / len(data.test)
        spread = math.sqrt(share * (1 - share) / len(data.test))
        return figures | {
            "share of rows with k-hat > .7": Estimate(
                share, 0.0, "estimate", bound.method, unit="of rows", num_data=len(data.test), data_se=spread
            )
        }

    return evaluate


def exact(run: Run, data: Dataset, seed: int) -> Figures:
    """Exact log-likelihoods, and annealing beside the exact log Z."""
    log_z = evaluation.log_partition(run, method="exact")
    annealed = evaluation.log_partition(run, method="ais", num_chains=100, betas=1000, seed=seed)
    return _likelihoods(run, data, log_z) | {"log Z": log_z, "log Z, annealed": annealed}


def annealed(betas: int | str) -> Callable[[Run, Dataset, int], Figures]:
    """Log-likelihoods with log Z by 100 annealing runs."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(run, method="ais", num_chains=100, betas=betas, seed=seed, progress=True)
        return _likelihoods(run, data, log_z) | {"log Z": log_z}

    return evaluate


def sandwiched(betas: int | str, sweeps: int = 2000) -> Callable[[Run, Dataset, int], Figures]:
    """Log-likelihoods of a machine with log Z from both sides; of a deep one its classical bound as well.

    The headline has log Z from annealing upwards, which errs high in log p(x); "with the upper log Z" errs low.
    """

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(
            run, method="sandwich", num_chains=100, betas=betas, sweeps=sweeps, seed=seed, progress=True
        )
        deep = isinstance(run.pair, models.DBM)
        method, name = ("bound", "bound of log p(x)") if deep else ("auto", "log p(x)")

        def value(rows: Any, estimate: Any, **how: Any) -> Estimate:
            return evaluation.log_likelihood(run, rows, log_partition=estimate, seed=seed, **how)

        figures = {
            f"{name}, test": value(data.test, log_z, method=method),
            f"{name}, test, with the upper log Z": value(data.test, log_z.upper, method=method),
            f"{name}, train": value(data.train, log_z, method=method),
        }
        if deep:
            figures["log p(x), test"] = value(data.test, log_z, method="importance", num_particles=1000)
        return figures | {"log Z, upwards": log_z.lower, "log Z, downwards": log_z.upper}

    return evaluate


def belief_net_of_machines(betas: int | str, sweeps: int = 2000) -> Callable[[Run, Dataset, int], Figures]:
    """Variational bound and importance sampling of a deep belief network, with log Z of its machine from both sides."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        log_z = evaluation.log_partition(
            run, method="sandwich", num_chains=100, betas=betas, sweeps=sweeps, seed=seed, progress=True
        )

        def value(**how: Any) -> Estimate:
            return evaluation.log_likelihood(run, data.test, log_partition=log_z, seed=seed, progress=True, **how)

        return {
            "log p(x), test": value(method="importance", num_particles=500),
            "bound of log p(x), test": value(method="elbo", num_particles=50),
            "log Z, upwards": log_z.lower,
            "log Z, downwards": log_z.upper,
        }

    return evaluate


def between(num_chains: int, betas: int, num_data: int = 100) -> Callable[[Run, Dataset, int], Figures]:
    """log p(x) of data simulated from the model between annealing upwards and downwards, and by importance sampling."""

    def evaluate(run: Run, data: Dataset, seed: int) -> Figures:
        found = evaluation.bdmc(run, num_data=num_data, num_chains=num_chains, betas=betas, seed=seed, progress=True)

        def bound(value: float, se: float, kind: str) -> Estimate:
            return Estimate(value, se, kind, found.method, num_data=num_data)

        inside = evaluation.log_likelihood(run, found.x, method="importance", num_particles=5000, seed=seed)
        return {
            "log p(x), simulated, annealing upwards": bound(found.lower, found.lower_se, "lower bound"),
            "log p(x), simulated, annealing downwards": bound(found.upper, found.upper_se, "upper bound"),
            "log p(x), simulated, importance sampling": inside,
        }

    return evaluate


def _elbo(run: Run, data: Dataset, seed: int) -> Estimate:
    """Mean log-weight on the test rows: its error is that of ten repetitions with one particle a row."""
    seeds = range(seed + 1, seed + 11)
    repeated = [evaluation.log_likelihood(run, data.test, num_particles=1, seed=each) for each in seeds]
    values = np.array([float(each) for each in repeated])
    spread = np.mean([each.pointwise.values for each in repeated], 0).std(ddof=1) / math.sqrt(len(data.test))
    return Estimate(
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(len(values))),
        "lower bound",
        f"ELBO ({len(values)} draws)",
        num_data=len(data.test),
        data_se=float(spread),
    )


def _likelihoods(run: Run, data: Dataset, log_z: Estimate) -> Figures:
    return {
        f"log p(x), {split}": evaluation.log_likelihood(run, rows, log_partition=log_z)
        for split, rows in (("test", data.test), ("train", data.train))
    }
