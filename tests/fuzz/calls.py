"""Calls of public functions and classes with hostile arguments: a right number, or an error that names the argument."""

import contextlib
import inspect
import io
import os
import random
import resource
import signal
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fuzz.tables.call import Call
from fuzz.tables.judging import JUDGING
from fuzz.tables.objects import OBJECTS
from fuzz.tables.training import TRAINING
from fuzz.tables.values import HUGE_COUNTS, VALUES, Hostile, either
from fuzz.verdicts import REFUSALS, Silent, Tally, Traceback, counted

CALLS = [*JUDGING, *TRAINING, *OBJECTS]
SECONDS = 20.0  # that a call may take
MEMORY = 6 * 2**30  # bytes that it may map beside what is mapped

# Arguments that a message names by another word.
ALSO = {
    "pair": ("model", "guide"),
    "name": ("data", "array", "x"),
    "data": ("x",),
    "train": ("x", "data"),
    "valid": ("x", "data"),
    "test": ("x", "data"),
    "batch": ("x",),
    "folder": ("path",),
    "root": ("path",),
    "inferences": ("inference",),
    "kernel": ("sampler",),
    "epochs": ("steps",),
    "features": ("sizes",),
    "estimate": ("log_likelihood",),
    "callbacks": ("callback",),
    "arrays": ("array",),
    "k": ("stages",),
    "visible": ("pixels",),
    "table": ("stages",),
    "predictions": ("x",),
    "num_particles": ("particles",),
}


class TookTooLong(BaseException):
    """Raised by the clock in a call that goes on and on."""


@dataclass(frozen=True)
class Case:
    """One call with one argument that is not as it should be."""

    call: Call
    argument: str
    hostile: Hostile

    def __repr__(self) -> str:
        return f"{self.call.name}({self.argument}={self.hostile.label}) [{self.hostile.verdict}]"


def cases() -> list[Case]:
    """All of them, in the order of the tables."""
    found = []
    for call in CALLS:
        sound = call.make()
        for argument, kind in call.kinds.items():
            values = VALUES[kind.strip("+?")]
            if kind.endswith("?"):
                values = [each for each in values if each.label != "None"] + either(None)
            values = values + (HUGE_COUNTS if kind.startswith("+") else [])
            given = sound.get(argument) is not None
            found += [Case(call, argument, each) for each in values if given or not each.derived]
    return found


def run(count: int | None, seed: int) -> Tally:
    """Try the calls in an order of the seed.

    Args:
        count: How many; None for all.
        seed: Seed of the order.
    """
    tally, chosen = Tally("calls"), cases()
    random.Random(seed).shuffle(chosen)
    with tempfile.TemporaryDirectory() as folder, _inside(folder):
        for case in chosen[:count]:
            with counted(tally, repr(case)):
                check(case)
    return tally


def check(case: Case) -> None:
    """Raise unless a call does what its case asks for.

    Raises:
        Silent: If what must be refused is taken, or the number is another one.
        Traceback: If the error is of another type, does not name the argument, or the call takes memory or time
            without end.
    """
    arguments = case.call.make()
    sound = arguments.get(case.argument, _default(case))
    arguments[case.argument] = case.hostile.make(sound)
    before = torch.get_rng_state()
    try:
        result = _called(case, arguments)
    finally:
        torch.set_rng_state(before)
    if isinstance(result, Exception):
        _check_error(case, result)
    elif case.hostile.verdict == "refused":
        raise Silent(f"was taken, and gave {_short(result)}")
    elif case.hostile.verdict == "same":
        expected, found = (_number(case.call.number(each)) for each in (_sound(case.call), result))
        if found.shape != expected.shape or not np.allclose(found, expected, rtol=2e-3, atol=2e-3, equal_nan=True):
            raise Silent(f"gave {found.ravel()[:3]} for {expected.ravel()[:3]}")


def _default(case: Case) -> Any:
    return inspect.signature(case.call.function).parameters[case.argument].default


_SOUND: dict[str, Any] = {}


def _sound(call: Call) -> Any:
    if call.name not in _SOUND:
        with quiet():
            _SOUND[call.name] = call.function(**call.make())
    return _SOUND[call.name]


def _called(case: Case, arguments: dict[str, Any]) -> Any:
    try:
        with quiet(), limited():
            return case.call.function(**arguments)
    except TookTooLong:
        raise Traceback(f"took more than {SECONDS:.0f} s") from None
    except MemoryError:
        raise Traceback("took memory without end") from None
    except Exception as error:
        return error


def _check_error(case: Case, error: Exception) -> None:
    text = str(error)
    if not isinstance(error, (*REFUSALS, FileNotFoundError)):
        raise Traceback(f"{type(error).__name__}: {text.partition(chr(10))[0][:160]}")
    if case.hostile.verdict == "same":
        raise Silent(f"was refused: {text[:160]}")
    words = text.replace(".", " ").replace("'", " ").replace("=", " ").replace("[", " ").replace(",", " ").split()
    words = [word.strip('():;`"').lower().rstrip("s") for word in words]
    names = (case.argument, *ALSO.get(case.argument, ()))
    if not any(name.rstrip("s") in words for name in names):
        raise Traceback(f"{type(error).__name__} that does not name the argument: {text[:160]}")


def _number(value: Any) -> np.ndarray:
    value = value.detach() if isinstance(value, torch.Tensor) else value
    return np.asarray(0.0 if value is None else value, dtype=np.float64)


def _short(result: Any) -> str:
    try:
        return repr(result).partition("\n")[0][:100]
    except Exception:  # of an object that should never have been
        return type(result).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context without output and warnings."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Context in which time and memory end."""
    limits = resource.getrlimit(resource.RLIMIT_AS)

    def stop(*_: Any) -> None:
        raise TookTooLong

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, limits[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    here = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
