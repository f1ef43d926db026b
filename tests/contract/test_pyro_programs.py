"""Programs as users of Pyro write them, under Pyro's losses and under ours in their place."""

import importlib
import re
from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch
from pyro_programs import differences
from pyro_programs.program import LOSSES, REFUSES, RUNS, Outcome, Program, run
from torch import Tensor

from ppgen import testing

SUBJECTS = (
    "plates",
    "enumeration",
    "enumerated_plates",
    "markov",
    "agreement",
    "masks",
    "handlers",
    "guides",
    "networks",
    "changes",
)
# Errors of torch that tell a user nothing of the program.
BARE = re.compile(r"size of tensor|must match the (existing )?size|out of range|out of bounds|mat1 and mat2", re.I)
DRAWS = 300

store = pytest.mark.uses_pyro_store


def programs(subject: str) -> list[Program]:
    """All programs of a subject."""
    return importlib.import_module(f"pyro_programs.{subject}").PROGRAMS


def cases(subject: str, all_losses: bool) -> Iterator[tuple[Program, str]]:
    """Programs with the losses under which each is tried: all, or the first."""
    for program in programs(subject):
        for loss in program.losses if all_losses else program.losses[:1]:
            yield program, loss


@lru_cache(maxsize=2)
def ours(program: Program, loss: str) -> Outcome:
    return run(program, LOSSES[loss][1]())


def faults(program: Program, loss: str) -> Iterator[str]:
    """What is wrong with a program under a loss of Pyro and the one that stands for it."""
    theirs, found = run(program, LOSSES[loss][0]()), ours(program, loss)
    expected, where = program.expected(loss), f"{program.name}, {loss}"
    if theirs.verdict != expected:
        yield f"{where}: Pyro {theirs.verdict}, not {expected}: {theirs.error!r} {theirs.warnings}"
        return
    if found.error is not None:
        listed = (program.name, loss) in differences.REFUSED
        if expected == RUNS and not listed:
            yield f"{where}: refused: {type(found.error).__name__}: {str(found.error)[:300]}"
        words = str(found.error)
        own = isinstance(found.error, (ValueError, NotImplementedError))
        if not own and (not isinstance(found.error, RuntimeError) or BARE.search(words.splitlines()[0])):
            yield f"{where}: no refusal in words: {found.error!r}"
        return
    if expected == REFUSES and (program.name, loss) not in differences.RUN:
        yield f"{where}: runs, where Pyro refuses: {theirs.error}"
    elif expected == RUNS and found.warnings and (program.name, loss) not in differences.WARNED:
        yield f"{where}: warns, where Pyro does not: {found.warnings}"
    if (program.name, loss) in differences.REFUSED:
        yield f"{where}: runs, and is listed among those that are refused"
    if not found.finite:
        yield f"{where}: {found.loss}, {found.gradients}"
    elif expected == RUNS and theirs.finite and program.like_pyro is None and "at once" not in loss:
        yield from (f"{where}: {each}" for each in unlike(theirs, found, of_values=loss != "MeanField"))


def unlike(theirs: Outcome, found: Outcome, of_values: bool) -> Iterator[str]:
    """Differences between two outcomes from the same draws."""
    if of_values and found.loss != pytest.approx(theirs.loss, rel=1e-4, abs=1e-4):
        yield f"{found.loss}, where Pyro has {theirs.loss}"
    for name, gradient in theirs.gradients.items():
        mine = found.gradients.get(name, torch.zeros_like(gradient))
        if not torch.allclose(mine, gradient, rtol=1e-3, atol=1e-3):
            yield f"gradient of {name}: {mine}, where Pyro has {gradient}"


@store
@pytest.mark.parametrize("subject", SUBJECTS)
def test_programs(subject: str) -> None:
    """Catches a program that Pyro runs and we refuse, or run to another value or gradient, or the other way round."""
    found = [fault for case in cases(subject, all_losses=False) for fault in faults(*case)]
    assert not found, f"{len(found)} faults\n" + "\n".join(found)


@store
@pytest.mark.pyro_programs
@pytest.mark.parametrize("subject", SUBJECTS)
def test_programs_under_every_loss(subject: str) -> None:
    """Catches what the first loss of each program does not show."""
    found = [fault for case in cases(subject, all_losses=True) for fault in faults(*case)]
    assert not found, f"{len(found)} faults\n" + "\n".join(found)


def numbers(program: Program, loss: object) -> Tensor:
    """Value and gradients of a program from one seed after another, one row each: of a branch not taken, zeros."""
    outcomes = [run(program, loss, seed) for seed in range(DRAWS)]
    met = {name: gradient for each in outcomes for name, gradient in each.gradients.items()}
    none = {name: torch.zeros_like(met[name]) for name in sorted(met)}
    rows = []
    for each in outcomes:
        parts = [torch.tensor([each.loss]), *(gradient.flatten() for gradient in (none | each.gradients).values())]
        rows.append(torch.cat(parts))
    return torch.stack(rows).double()


EXPECTED = [
    (program, loss)
    for subject in SUBJECTS
    for program in programs(subject)
    for loss in program.losses
    if program.expected(loss) == RUNS and not program.fresh and loss in ("Trace", "TraceGraph", "TraceEnum")
    if program.like_pyro is False and (program.name, loss) not in differences.REFUSED
    if (program.name, loss) not in differences.EXPECTATIONS
]


@store
@pytest.mark.pyro_programs
@pytest.mark.parametrize(("program", "loss"), EXPECTED, ids=[f"{program.name}-{loss}" for program, loss in EXPECTED])
def test_expectations(program: Program, loss: str) -> None:
    """Catches a score function, a partial sum or a scale whose mean is not that of Pyro's value and gradient."""
    theirs, found = (numbers(program, make()) for make in LOSSES[loss])
    less = torch.where(torch.isclose(found, theirs, rtol=1e-5, atol=1e-5), 0.0, found - theirs)  # rounding has a mean
    testing.check_mean(less, torch.zeros(found.shape[1], dtype=found.dtype), "value and gradients less Pyro's")
