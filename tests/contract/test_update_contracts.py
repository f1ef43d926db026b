"""Updates in closed form raise the objective, and go on from their state."""

from typing import Any

import pytest
import torch
from closed_form_pairs import FactorAnalysis
from examples import instances
from examples.updates import UPDATES

from ppgen import testing
from ppgen.testing.mixtures import two_clusters


@pytest.mark.parametrize(("name", "update"), instances("update", UPDATES))
def test_updates(name: str, update: Any, device: torch.device) -> None:
    """Catches a step that lowers the objective, writes into its state or loses it on loading."""
    assert type(update).__name__ == name
    testing.check_update(update, device=device)
    testing.check_update(update, FactorAnalysis(4), two_clusters(31, 4), device=device)
