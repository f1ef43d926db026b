"""A program with its data and the inference that it is fitted by."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ppgen


@dataclass(frozen=True, eq=False)
class Example:
    """A taught program.

    Attributes:
        name: What it is, in words.
        make: The pair and its data.
        inference: What it is fitted by.
        options: Options of the fit.
        quick: Whether it is tried in every run of the tests.
    """

    name: str
    make: Callable[[], tuple[ppgen.Pair, Any]]
    inference: Any = "elbo"
    options: dict[str, Any] = field(default_factory=dict)
    quick: bool = True
