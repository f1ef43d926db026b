"""Which fit to believe: results as ArviZ reads them, checks of guides and chains, inferences side by side, figures."""

from typing import TYPE_CHECKING, Any

from ppgen.diagnostics import figures
from ppgen.diagnostics.calibration.result import Calibration
from ppgen.diagnostics.calibration.simulation_based import simulation_based_calibration
from ppgen.diagnostics.chains.convergence import convergence
from ppgen.diagnostics.chains.free_energies import FreeEnergies, free_energies
from ppgen.diagnostics.chains.report import Convergence
from ppgen.diagnostics.checks.check import check
from ppgen.diagnostics.checks.report import Check, Finding
from ppgen.diagnostics.comparison.compare import compare_inferences
from ppgen.diagnostics.converters.from_chains import from_chains
from ppgen.diagnostics.converters.from_pyro import from_pyro
from ppgen.diagnostics.converters.from_pyro_svi import from_pyro_svi
from ppgen.diagnostics.gradients.compare import compare_estimators, gradient_table
from ppgen.diagnostics.guides.approximation_gap import ApproximationGap, approximation_gap
from ppgen.diagnostics.guides.importance_weights import ImportanceWeights, importance_weights
from ppgen.diagnostics.latents.discrete_sites import discrete_sites
from ppgen.diagnostics.latents.exceedance import exceedance
from ppgen.diagnostics.latents.report import LatentUnits
from ppgen.diagnostics.latents.units import latent_units

if TYPE_CHECKING:
    from ppgen.diagnostics.comparison.table import Comparison

__all__ = [
    "ApproximationGap",
    "Calibration",
    "Check",
    "Comparison",
    "Convergence",
    "Finding",
    "FreeEnergies",
    "ImportanceWeights",
    "LatentUnits",
    "approximation_gap",
    "check",
    "compare_estimators",
    "compare_inferences",
    "convergence",
    "discrete_sites",
    "exceedance",
    "figures",
    "free_energies",
    "from_chains",
    "from_pyro",
    "from_pyro_svi",
    "gradient_table",
    "importance_weights",
    "latent_units",
    "simulation_based_calibration",
]


def __getattr__(name: str) -> Any:
    if name == "Comparison":  # a subclass of `xarray.Dataset`, which is imported when it is used
        from ppgen.diagnostics.comparison.table import Comparison

        return Comparison
    raise AttributeError(f"module 'ppgen.diagnostics' has no attribute {name!r}")
