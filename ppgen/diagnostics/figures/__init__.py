"""Figures of a trained pair."""

from ppgen.diagnostics.chains.free_energy_figure import free_energy_histogram
from ppgen.diagnostics.comparison.figure import comparison
from ppgen.diagnostics.figures.code_plane import codes
from ppgen.diagnostics.figures.completed_rows import completions
from ppgen.diagnostics.figures.curves import curve
from ppgen.diagnostics.figures.dictionary_atoms import atoms
from ppgen.diagnostics.figures.draw_stages import generation
from ppgen.diagnostics.figures.entry_costs import surprisal
from ppgen.diagnostics.figures.latent_grid import manifold, traversals
from ppgen.diagnostics.figures.nearest import nearest_rows
from ppgen.diagnostics.figures.overview import filters, reconstructions, samples, write_all
from ppgen.diagnostics.figures.panels import side_by_side
from ppgen.diagnostics.figures.product_of_experts import experts
from ppgen.diagnostics.figures.seen_entries import receptive_fields
from ppgen.diagnostics.figures.weighted_sums import decomposition
from ppgen.diagnostics.gradients.figure import estimators

__all__ = [
    "atoms",
    "codes",
    "comparison",
    "completions",
    "curve",
    "decomposition",
    "estimators",
    "experts",
    "filters",
    "free_energy_histogram",
    "generation",
    "manifold",
    "nearest_rows",
    "receptive_fields",
    "reconstructions",
    "samples",
    "side_by_side",
    "surprisal",
    "traversals",
    "write_all",
]
