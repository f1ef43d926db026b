"""Hostile values for arguments by their kind, each with what must become of the call."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

Verdict = Literal["refused", "same", "either"]
HUGE = 10**15
NAN = float("nan")


@dataclass(frozen=True)
class Hostile:
    """A value that is not what an argument expects.

    Args:
        label: The value in words.
        make: Makes it from the sound one.
        verdict: `"refused"`: the call must raise; `"same"`: it must give the number of the sound value; `"either"`: it
            may do what it does, but not break.
        derived: Whether it is made of the sound one.
    """

    label: str
    make: Callable[[Any], Any]
    verdict: Verdict
    derived: bool = False


def refused(*values: Any) -> list[Hostile]:
    return [Hostile(_words(value), lambda _, value=value: value, "refused") for value in values]


def either(*values: Any) -> list[Hostile]:
    return [Hostile(_words(value), lambda _, value=value: value, "either") for value in values]


def made(label: str, make: Callable[[Any], Any], verdict: Verdict) -> Hostile:
    return Hostile(label, make, verdict, derived=True)


def _words(value: Any) -> str:
    text = repr(value).replace("\n", "")
    return text if len(text) < 50 else f"{type(value).__name__}({text[:40]}...)"


class Unlike:
    """An object that is nothing that anyone expects."""

    def __repr__(self) -> str:
        return "Unlike()"


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value)


def _masked(value: Any) -> Any:
    array = _array(value).astype(np.float64)
    mask = np.zeros(array.shape, bool)
    mask.flat[0] = True
    return np.ma.masked_array(array, mask)


def _with(value: Any, entry: float) -> torch.Tensor:
    changed = torch.as_tensor(_array(value)).double().clone()
    changed.view(-1)[0] = entry
    return changed


def _readonly(value: Any) -> np.ndarray:
    array = _array(value).copy()
    array.flags.writeable = False
    return array


NO_NUMBERS = refused("3", None, [3], {}, b"3", Unlike(), 1j, np.array([1.0, 2.0]), torch.ones(3))
DATA = [
    *refused(None, "no_such_data", 3.0, 1j, Unlike(), {}, (), [], object, b"", {1, 2}),
    made("0-d tensor", lambda x: torch.tensor(1.0), "refused"),
    made("no rows", lambda x: torch.as_tensor(_array(x))[:0], "refused"),
    made("a column too many", lambda x: torch.as_tensor(np.concatenate([_array(x), _array(x)[:, :1]], 1)), "refused"),
    made("no columns", lambda x: torch.as_tensor(_array(x))[:, :0], "refused"),
    made("NaN", lambda x: _with(x, NAN), "refused"),
    made("infinity", lambda x: _with(x, math.inf), "refused"),
    made("complex", lambda x: torch.as_tensor(_array(x)).to(torch.complex64) * (1 + 2j), "refused"),
    made("numpy complex", lambda x: _array(x) * (1 + 2j), "refused"),
    made("numpy.ma", _masked, "refused"),
    made("objects", lambda x: np.array([[Unlike()] * _array(x).shape[1]] * len(_array(x)), dtype=object), "refused"),
    made("strings", lambda x: _array(x).astype(str), "refused"),
    made("dates", lambda x: np.zeros(_array(x).shape, "datetime64[D]"), "refused"),
    made("sparse", lambda x: torch.as_tensor(_array(x)).float().to_sparse(), "either"),
    made("ragged", lambda x: [[1.0, 0.0], [1.0]], "refused"),
    made("generator", lambda x: (row for row in _array(x)), "refused"),
    made("meta tensor", lambda x: torch.empty(_array(x).shape, device="meta"), "refused"),
    made("numpy", _array, "same"),
    made("float64", lambda x: _array(x).astype(np.float64), "same"),
    made("float16", lambda x: _array(x).astype(np.float16), "same"),
    made("list", lambda x: _array(x).tolist(), "either"),
    made("read-only", _readonly, "same"),
    made("other strides", lambda x: np.asfortranarray(_array(x)), "same"),
    made("negative strides", lambda x: _array(x)[::-1].copy()[::-1], "same"),
    made("big-endian", lambda x: _array(x).astype(">f4"), "either"),
    made("requires a gradient", lambda x: torch.as_tensor(_array(x)).float().requires_grad_(), "either"),
]
ARRAY = [  # of a constructor or a converter
    *refused(None, "x", 1j, Unlike(), {}, object),
    made("NaN", lambda x: _with(x, NAN), "either"),
    made("complex", lambda x: torch.as_tensor(_array(x)).to(torch.complex64) * (1 + 2j), "refused"),
    made("one dimension more", lambda x: torch.as_tensor(_array(x))[None], "either"),
    made("strings", lambda x: _array(x).astype(str), "refused"),
]
VALUES: dict[str, list[Hostile]] = {
    # Whole numbers of at least one.
    "count": [*refused(0, -1, 1.5, NAN, math.inf, True, -HUGE), *NO_NUMBERS, *either(np.int64(2), 2.0)],
    # Whole numbers of at least zero.
    "whole": [*refused(-1, 1.5, NAN, math.inf, True, -HUGE), *NO_NUMBERS, *either(0, np.int64(2))],
    "seed": [*refused(-1, 1.5, NAN, True, 10**30), *NO_NUMBERS, *either(0, 2**31, np.int64(3))],
    "flag": [*refused("no", "maybe", "", 2, -1, NAN, Unlike(), [], {}), *either(0, 1, None, np.bool_(True))],
    # A number above 0.
    "rate": [*refused(-1.0, 0.0, NAN, math.inf, True), *NO_NUMBERS, *either(np.float64(0.1))],
    # A number of at least 0.
    "weight": [*refused(-1.0, NAN, math.inf), *NO_NUMBERS, *either(0, True)],
    # A number strictly between 0 and 1.
    "share": [*refused(0.0, 1.0, -0.1, 1.5, NAN), *NO_NUMBERS],
    "number": [*refused(NAN, math.inf, True), *NO_NUMBERS, *either(0, -1.0)],
    # A number from 0 up to 1, excluded.
    "decay": [*refused(-0.1, 1.0, 1.5, NAN), *NO_NUMBERS, *either(0, 0.5)],
    # Rows or a share of them.
    "size": [*refused(-1, 1.5, NAN, "1", True, [1], -0.5, 1.0, HUGE, Unlike()), *either(0, 0.5, None)],
    "weights": refused(-1.0, NAN, math.inf, "3", None, [3], {}, b"3", Unlike(), 1j),  # one, or a tensor of them
    "names": [*refused(3, NAN, Unlike(), [3], [], 1j), *either("a_name", ["chain", "draw"])],
    "choice": [*refused("", "no_such_choice", 3, [], b"x", Unlike(), NAN)],
    # Any word.
    "name": [*refused("", 3, [], b"x", Unlike(), NAN)],
    # A number above 0, and at least 0, up to which something is kept: infinity keeps nothing back.
    "bound": [*refused(-1.0, 0.0, NAN, True), *NO_NUMBERS, *either(math.inf)],
    "limit": [*refused(-1.0, NAN), *NO_NUMBERS, *either(0, True, math.inf)],
    "log_partition": [*refused("", "auto", [], b"x", Unlike(), NAN, object), *either(3.0, None)],
    # How many, or which.
    "seeds": [*refused(0, -1, 1.5, NAN, True, "3", None, [], [1.5], [-1], ["a"], {}, b"3", Unlike()), *either([3])],
    "ladder": [
        *refused(
            0, -1, 1.5, True, "no_such_ladder", [], [0.5, 0.1, 1.0], [0.0, NAN, 1.0], [0.0, 2.0], ["a"], NAN, None
        ),
        *refused(Unlike(), [[0.0, 1.0]], 1j, torch.tensor([0.0, NAN, 1.0])),
        *either(np.int64(3), [0.0, 1.0], (0.0, 0.5, 1.0), np.linspace(0, 1, 4), torch.linspace(0, 1, 4)),
    ],
    "sizes": [
        *refused(3, "33", None, [0], [-1], [1.5], [True], [NAN], ["3"], [None], Unlike(), 1j),
        *either((3,), [3]),
    ],
    "labels": [*refused(3, "33", None, [], [1.5], [True], [NAN], ["3"], [None], Unlike(), 1j), *either([3], (0, 1))],
    "pair": [*refused(None, "pair", 3, Unlike(), [], {}, torch.nn.Linear(2, 2), torch.ones(3), lambda x: x, object)],
    "inference": [*refused("no_such_inference", 3, Unlike(), [], {}, ("elbo",), torch.ones(2), object, NAN)],
    "objective": [*refused("elbo", 3, Unlike(), None, torch.ones(2))],
    "kernel": [*refused("hmc", 3, Unlike(), [], torch.ones(2))],
    "tensors": [
        *refused(3, "33", None, [3], ["a"], [None], Unlike(), {"a": 3}),
        made("one", lambda x: x[0], "refused"),
    ],
    "callable": [*refused(3, "f", Unlike(), [], torch.ones(2))],
    "callables": [*refused(3, "f", Unlike(), [3], torch.ones(2)), *either([], (), None)],  # a sequence of them
    "mapping": [*refused(3, "f", Unlike(), torch.ones(2))],
    "path": [*refused(3, Unlike(), [], 1.5, True)],
    "device": [*refused("no_such_device", "cpu:x", 3.5, Unlike(), [], "")],
    "data": DATA,
    # Data of any number of columns.
    "table": [each for each in DATA if each.label != "a column too many"],
    # Data of a program, which may itself take numbers, and fewer or more columns.
    "arguments": [each for each in DATA if each.label not in ("a column too many", "0-d tensor", "3.0")],
    # Lengths: a number, or a tensor of them.
    "lengths": refused(0, -1, 1.5, NAN, True, "3", None, [3], {}, b"3", Unlike(), 1j),
    "array": ARRAY,
}
HUGE_COUNTS = refused(HUGE, 10**30)
