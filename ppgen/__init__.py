"""Deep generative models as Pyro programs, with the inference chosen outside them.

Everything is imported when it is first used, so that `import ppgen` costs little more than `import torch, pyro`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ppgen.version import __version__

if TYPE_CHECKING:
    from ppgen import datasets, diagnostics, distributions, evaluation, features, inference, models, nn, training
    from ppgen.conditional import ConditionalModel
    from ppgen.diagnostics import compare_inferences
    from ppgen.pair import GenerativeModel, Pair
    from ppgen.registry import register
    from ppgen.training import Run, fit, load, sample

_SUBPACKAGES = (
    "datasets",
    "diagnostics",
    "distributions",
    "evaluation",
    "features",
    "inference",
    "models",
    "nn",
    "training",
)
_OBJECTS = {
    "ConditionalModel": "ppgen.conditional",
    "GenerativeModel": "ppgen.pair",
    "Pair": "ppgen.pair",
    "Run": "ppgen.training",
    "compare_inferences": "ppgen.diagnostics",
    "fit": "ppgen.training",
    "load": "ppgen.training",
    "register": "ppgen.registry",
    "sample": "ppgen.training",
}

__all__ = [
    "ConditionalModel",
    "GenerativeModel",
    "Pair",
    "Run",
    "__version__",
    "compare_inferences",
    "datasets",
    "diagnostics",
    "distributions",
    "evaluation",
    "features",
    "fit",
    "inference",
    "load",
    "models",
    "nn",
    "register",
    "sample",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"ppgen.{name}")
    if name in _OBJECTS:
        return getattr(importlib.import_module(_OBJECTS[name]), name)
    raise AttributeError(f"module 'ppgen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
