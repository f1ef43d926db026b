"""Results as ArviZ reads them, gradient estimators side by side, and figures."""

from ppgen.diagnostics import figures
from ppgen.diagnostics.approximation_gap import ApproximationGap, approximation_gap
from ppgen.diagnostics.from_pyro import from_pyro
from ppgen.diagnostics.from_pyro_svi import from_pyro_svi
from ppgen.diagnostics.gradients import compare_estimators, gradient_table
from ppgen.diagnostics.importance_weights import ImportanceWeights, importance_weights
from ppgen.diagnostics.latent_report import LatentUnits
from ppgen.diagnostics.latent_units import latent_units

__all__ = [
    "ApproximationGap",
    "ImportanceWeights",
    "LatentUnits",
    "approximation_gap",
    "compare_estimators",
    "figures",
    "from_pyro",
    "from_pyro_svi",
    "gradient_table",
    "importance_weights",
    "latent_units",
]
