"""Floating-point types that a program mixes, told in the words of its user."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ppgen.checks.arrays import parameter_dtype

_NAMES = {
    "double": torch.float64,
    "float": torch.float32,
    "half": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
}
_WORDS = re.compile(r"\b(?:torch\.|c10::)?(double|float64|float32|float16|float|half|bfloat16)\b", re.IGNORECASE)


def mixed_dtypes(error: Exception) -> list[torch.dtype]:
    """The two floating-point types that PyTorch says it cannot use together; empty for any other error.

    Example:
        >>> mixed_dtypes(RuntimeError("expected m1 and m2 to have the same dtype, but got: double != float"))
        [torch.float64, torch.float32]
    """
    text = str(error)
    if not re.search(r"dtype|scalar type|type \(", text):
        return []
    return list(dict.fromkeys(_NAMES[found.lower()] for found in _WORDS.findall(text)))[:2]


@contextmanager
def agreeing_dtypes(pair: Any) -> Iterator[None]:
    """Context in which a program that mixes floating-point types is told with what to do.

    Raises:
        TypeError: Names the two types and the line to write.
    """
    try:
        yield
    except RuntimeError as error:
        found = mixed_dtypes(error)
        if len(found) < 2:
            raise
        first = next(((name, each.dtype) for name, each in pair.named_parameters() if each.is_floating_point()), None)
        rule = (
            f"Floating-point data take the type of the first parameter, {first[1]} of {first[0]!r}"
            if first is not None and parameter_dtype(pair) is not None
            else "The pair has no parameter yet, so the data keep their type"
        )
        raise TypeError(
            f"The program uses {found[0]} and {found[1]} together. {rule}. Write pair.double() or pair.float() for all "
            "parameters, and make constants of the program as x.new_tensor(...), or the data by .to(torch.float32)."
        ) from error
