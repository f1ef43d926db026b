"""Negative phases have the gradient of log Z at the model."""

from typing import Any

import pytest
import torch
from examples import instances
from examples.negative_phases import NEGATIVE_PHASES
from repetitions import repeated

from ppgen import testing


@pytest.mark.parametrize(("name", "phase"), instances("negative phase", NEGATIVE_PHASES))
def test_negative_phases(name: str, phase: Any, device: torch.device) -> None:
    """Catches a phase that is not stationary at the model, writes into its state, or loses it on loading."""
    assert type(phase).__name__ == name
    testing.check_negative_phase(phase, device=device, num_draws=2 if phase.normalised else repeated(device, 60, 30))
