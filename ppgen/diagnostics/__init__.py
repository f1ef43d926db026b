"""Results as ArviZ reads them, gradient estimators side by side, and figures."""

from ppgen.diagnostics import figures
from ppgen.diagnostics.from_chains import from_chains
from ppgen.diagnostics.from_pyro import from_pyro
from ppgen.diagnostics.from_pyro_svi import from_pyro_svi
from ppgen.diagnostics.gradients import compare_estimators, gradient_table

__all__ = ["compare_estimators", "figures", "from_chains", "from_pyro", "from_pyro_svi", "gradient_table"]
