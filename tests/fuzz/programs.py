"""Random small programs under every evaluation and training method, against sums over all states and quadrature."""

import itertools
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fuzz import machines, objectives
from fuzz.program_parts import RandomProgram, Spec, Unresolved, make
from fuzz.verdicts import Silent, Tally, attempt, check_agreement, check_estimate, counted
from ppgen import evaluation, inference

METHODS = ("auto", "exact", "importance", "elbo", "bound", "ais", "raise")
PARTICLES = 400
SMALL = {"num_particles": PARTICLES, "num_chains": 20, "betas": 8, "compile": False}
# Squared error of the mean weight, relative, from which draws cannot tell what they miss: only the bound holds.
HARD = 0.1
KERNEL = inference.HMC(num_steps=3, step_size=0.3)
COUNT = 250  # programs of a whole corpus


def run(count: int | None, seed: int) -> Tally:
    """Try random programs, machines and training objectives by turns.

    Args:
        count: How many; None for a whole corpus.
        seed: Seed of what they are.
    """
    tally, source = Tally("programs"), random.Random(seed)
    kinds = itertools.cycle([(Spec, check), (objectives.Spec, objectives.check), (machines.Spec, machines.check)])
    for (kind, examine), _ in zip(kinds, range(COUNT if count is None else count), strict=False):
        spec: Any = kind.random(source)
        with counted(tally, f"{examine.__module__}.check({spec!r})"):
            examine(spec)
    return tally


def check(spec: Spec) -> None:
    """Raise unless every evaluation of a program is right or refused.

    Raises:
        Silent: If a number is wrong.
        Traceback: If one ends in an error that is no refusal.
    """
    torch.manual_seed(spec.seed)
    pair, program, batch = make(spec)
    x, seen = batch if isinstance(batch, tuple) else (batch, None)
    try:
        evidence = program.log_evidence(x, seen)
    except Unresolved:
        return
    truth, spread = evidence.numpy(), program.weight_variance(x, seen, evidence)
    known = (spread / PARTICLES).sqrt().numpy()  # relative error of a mean weight, which its draws may not show
    hard = bool((known**2 > HARD).any())
    tolerance = 1e-6 if spec.dtype == torch.float64 else 2e-4
    found = {method: _evaluated(pair, batch, method, spec) for method in METHODS}
    for method, estimate in found.items():
        if estimate is not None:
            sampled = "importance" in estimate.method
            check_estimate(
                f"log_likelihood(method={method!r})",
                estimate,
                truth,
                tolerance,
                doubted=sampled and hard,
                known=known if sampled else None,
            )
    if found["auto"] is None or found["importance"] is None:
        raise Silent("a sound program is refused by method='auto' or 'importance'")
    if spec.exact and (found["exact"] is None or found["auto"].kind != "exact"):
        raise Silent("the exact posterior is not seen")
    if spec.continuous and found["ais"] is None and not spec.sums_out:
        raise Silent("annealing is refused for continuous latents")
    for method in ("auto", "importance"):
        again = _evaluated(pair, batch, method, spec, chunk=90)
        if not hard:
            check_agreement(f"chunk of method={method!r}", found[method], again, tolerance)
    if not hard:
        _check_rows(pair, batch, found, tolerance, spec)
    if spec.continuous and spec.observed != "categorical" and spec.rows > 1 and seen is None:
        _check_sandwich(pair, program, x, tolerance)


def _evaluated(pair: Any, batch: Any, method: str, spec: Spec, **options: Any) -> Any:
    options = {**SMALL, "chunk": spec.chunk, "kernel": KERNEL, "seed": spec.seed, **options}
    what = f"log_likelihood(method={method!r})"
    return attempt(what, lambda: evaluation.log_likelihood(pair, batch, method=method, **options))


def _check_rows(pair: Any, batch: Any, found: dict[str, Any], tolerance: float, spec: Spec) -> None:
    """Raise unless a datum alone is worth what it is among others."""
    alone = tuple(part[-1:] for part in batch) if isinstance(batch, tuple) else batch[-1:]
    if isinstance(batch, tuple) and not bool(alone[1].any()):  # nothing of it is seen
        return
    whole, one = found["importance"], _evaluated(pair, alone, "importance", spec)
    if one is None:
        raise Silent("a row alone is refused")
    allowed = 5 * float(np.hypot(whole.per_datum["se"][-1], one.se)) + tolerance
    difference = whole.per_datum["log_likelihood"][-1] - one.value
    if not (whole.warning or one.warning) and abs(difference) > allowed:
        raise Silent(f"a row is worth {difference:+.4f} nats more among others, of {allowed:.4f} allowed")


def _check_sandwich(pair: Any, program: RandomProgram, x: Tensor, tolerance: float) -> None:
    def sandwich() -> Any:
        return evaluation.bdmc(pair, like=x, num_chains=10, betas=8, kernel=KERNEL)

    found = attempt("bdmc", sandwich)
    if found is None:
        raise Silent("bdmc refuses continuous latents")
    try:
        truth = program.log_evidence(found.x, None).double().numpy()
    except Unresolved:
        return
    mean = float(truth.mean())
    if found.lower > mean + 5 * found.lower_se + tolerance:
        raise Silent(f"bdmc: {found!r} has its lower bound above {mean:.4f}")
    if found.upper < mean - 5 * found.upper_se - tolerance:
        raise Silent(f"bdmc: {found!r} has its upper bound below {mean:.4f}")
