"""Adaptive ladders: as many levels as the effective number of runs wants, where the law changes."""

import numpy as np
import pytest
import torch

from ppgen import evaluation, models
from ppgen.distributions import BaseRatePath
from ppgen.inference.annealing.adaptive_ladder import adaptive_betas


def strong(scale: float) -> models.RBM:
    torch.manual_seed(0)
    rbm = models.RBM(20, 10)
    with torch.no_grad():
        rbm.weight.normal_(0, scale)
        rbm.hidden_bias.fill_(-0.5)
    return rbm


@pytest.mark.parametrize("target", [0.5, 0.9])
def test_the_effective_number_is_reached_with_no_more_levels_than_needed(target: float) -> None:
    """Catches a ladder that is too coarse, one that is a hundred times too fine, and log Z that it biases."""
    rbm = strong(0.8)
    exact = evaluation.log_partition(rbm, method="exact").value
    errors, shares, levels = [], [], []
    for seed in range(12):
        found = evaluation.log_partition(
            rbm, method="ais", num_chains=400, betas="adaptive", target_ess=target, seed=seed
        )
        errors.append((found.value - exact) / found.se)
        shares.append(found.ess / 400)
        levels.append(int(found.method.split(" x ")[1].split(" ")[0]))
    assert np.mean(shares) > 0.95 * target
    equal = evaluation.log_partition(rbm, method="ais", num_chains=400, betas=max(2, min(levels) // 8), seed=0)
    assert equal.ess / 400 < target  # an eighth of the levels, equally spaced, is not enough
    assert np.abs(np.mean(errors)) < 4 / np.sqrt(len(errors)) + 0.5


def test_a_harder_machine_gets_more_levels() -> None:
    """Catches a number of levels that does not depend on the machine or the target."""
    generator = torch.Generator().manual_seed(0)
    counts = [
        len(adaptive_betas(BaseRatePath(strong(scale).machine().base_energy), target, generator))
        for scale, target in ((0.3, 0.5), (1.0, 0.5), (1.0, 0.9))
    ]
    assert counts[0] < counts[1] < counts[2]


def test_a_wrong_target_is_refused() -> None:
    """Catches a share that no run can have."""
    for target in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="target_ess must lie between 0 and 1"):
            evaluation.log_partition(strong(0.3), method="ais", betas="adaptive", target_ess=target)
