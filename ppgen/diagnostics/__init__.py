"""Results as ArviZ reads them, gradient estimators side by side, and figures."""

from ppgen.diagnostics import figures
from ppgen.diagnostics.convergence import convergence
from ppgen.diagnostics.convergence_report import Convergence
from ppgen.diagnostics.free_energies import FreeEnergies, free_energies
from ppgen.diagnostics.from_pyro import from_pyro
from ppgen.diagnostics.from_pyro_svi import from_pyro_svi
from ppgen.diagnostics.gradients import compare_estimators, gradient_table

__all__ = [
    "Convergence",
    "FreeEnergies",
    "compare_estimators",
    "convergence",
    "figures",
    "free_energies",
    "from_pyro",
    "from_pyro_svi",
    "gradient_table",
]
