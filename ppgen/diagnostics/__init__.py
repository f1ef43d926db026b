"""Results as ArviZ reads them, and figures."""

from ppgen.diagnostics import figures
from ppgen.diagnostics.from_pyro import from_pyro
from ppgen.diagnostics.from_pyro_svi import from_pyro_svi

__all__ = ["figures", "from_pyro", "from_pyro_svi"]
