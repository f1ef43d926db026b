"""Results as ArviZ reads them, inferences and gradient estimators side by side, and figures."""

from typing import TYPE_CHECKING, Any

from ppgen.diagnostics import figures
from ppgen.diagnostics.comparison import compare_inferences
from ppgen.diagnostics.from_pyro import from_pyro
from ppgen.diagnostics.from_pyro_svi import from_pyro_svi
from ppgen.diagnostics.gradients import compare_estimators, gradient_table

if TYPE_CHECKING:
    from ppgen.diagnostics.comparison_table import Comparison

__all__ = [
    "Comparison",
    "compare_estimators",
    "compare_inferences",
    "figures",
    "from_pyro",
    "from_pyro_svi",
    "gradient_table",
]


def __getattr__(name: str) -> Any:
    if name == "Comparison":  # a subclass of `xarray.Dataset`, which is imported when it is used
        from ppgen.diagnostics.comparison_table import Comparison

        return Comparison
    raise AttributeError(f"module 'ppgen.diagnostics' has no attribute {name!r}")
