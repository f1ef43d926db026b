"""Units are the exponential families that their energies say."""

import pytest
import torch
from examples.units import COUPLINGS, PARTLY, UNITS

from ppgen import testing


@pytest.mark.parametrize("name", [*UNITS, *PARTLY])
def test_units(name: str, device: torch.device) -> None:
    """Catches units whose mean, log-partition function, samples or tempering contradict their energy."""
    testing.check_units({**UNITS, **PARTLY}[name](device))


@pytest.mark.parametrize("name", COUPLINGS)
def test_couplings(name: str, device: torch.device) -> None:
    """Catches a coupling whose two directions are no adjoints."""
    testing.check_coupling(COUPLINGS[name](device), 4, 3)
