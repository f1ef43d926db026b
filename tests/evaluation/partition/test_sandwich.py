"""Annealing downwards and the sandwich of log Z, against enumeration."""

import json
import math

import numpy as np
import pytest
import torch

from ppgen import evaluation, models, testing
from ppgen.distributions import BaseRatePath, ExactSampler
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.inference.annealing.annealing import anneal, make_betas


def machine_pair(scale: float = 1.2) -> models.DBM:
    torch.manual_seed(0)
    dbm = models.DBM(5, (4, 3))
    with torch.no_grad():
        for parameter in dbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape) - 0.3)
    return dbm.double()


@pytest.mark.parametrize("compile", [False, True])
def test_weights_downwards_have_the_mean_that_makes_them_unbiased(compile: bool) -> None:
    """Catches weighing after moving, levels off by one, and the mean of 1/w, which is another number."""
    dbm = machine_pair()
    energy = dbm.machine().base_energy
    exact = float(dbm.machine().exact_log_partition().detach())
    path = BaseRatePath(energy, torch.full((8,), 0.4, dtype=torch.float64))
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    start = ExactSampler()(energy, torch.Size((50_000,)))[EVEN]
    with torch.no_grad():
        runs = anneal(path, make_betas(4), 50_000, generator, start=start, compile=compile)
    weights = (runs.log_weights - (float(runs.log_base_partition) - exact)).exp()
    testing.check_mean(weights.unsqueeze(-1), torch.ones(1, dtype=torch.float64), "Z / Z_A times the mean weight")
    assert float((-runs.log_weights).exp().mean().log()) > exact - float(runs.log_base_partition) + 0.05


def test_both_sides_meet_at_log_z() -> None:
    """Catches an upper estimate with the sign of the lower one, and errors that are not those of the estimates."""
    dbm = machine_pair()
    exact = evaluation.log_partition(dbm, method="exact").value
    lows, highs, far = [], [], []
    for seed in range(40):
        found = evaluation.log_partition(dbm, method="sandwich", num_chains=100, betas=20, seed=seed)
        lows.append(found.lower.value - exact)
        highs.append(found.upper.value - exact)
        far += [abs(each.value - exact) / each.se for each in (found.lower, found.upper)]
        assert found.gap == pytest.approx(found.upper.value - found.lower.value) and found.value == found.lower.value
    low, high = np.array(lows), np.array(highs)
    for values, sign in ((low, 1), (high, -1)):  # bounds in expectation: not above (below) by more than their error
        assert sign * values.mean() < 4 * values.std(ddof=1) / math.sqrt(len(values))
    assert np.mean(np.array(far) < 2) > 0.85


def test_what_a_sandwich_says() -> None:
    """Catches a gap that nobody sees, a record that cannot be written, an estimate for other weights."""
    dbm = machine_pair()
    found = evaluation.log_partition(dbm, method="sandwich", num_chains=50, betas=100)
    assert "<= log Z <=" in repr(found) and "exact draws" in repr(found) and found.warning is None
    told = json.loads(json.dumps(found.to_dict()))
    assert told["upper"]["value"] == found.upper.value and told["lower"]["kind"] == "estimate"
    rows = torch.ones(3, 5, dtype=torch.float64)
    likelihood = evaluation.log_likelihood(dbm, rows, method="elbo", num_particles=50, log_partition=found)
    assert likelihood.log_partition_se == pytest.approx(found.se)
    upper = evaluation.log_partition(dbm, method="reverse_ais", num_chains=50, betas=100)
    assert upper.value == found.upper.value and "upper bound of log Z" in str(upper.note)
    with torch.no_grad():
        dbm.biases[0].add_(0.1)
    with pytest.raises(ValueError, match="other weights"):
        evaluation.log_likelihood(dbm, rows, method="elbo", num_particles=50, log_partition=found)


def test_a_log_likelihood_says_to_which_side_its_log_z_makes_it_err() -> None:
    """Catches the words for log Z from below beside a log-likelihood whose log Z came from above."""
    torch.manual_seed(0)
    rbm, x = models.RBM(5, 4).double(), torch.eye(5, dtype=torch.float64)
    with torch.no_grad():
        rbm.weight.mul_(8)
    found = evaluation.log_partition(rbm, method="sandwich", num_chains=200, betas=4)
    for side, errs in ((found.lower, "errs high"), (found.upper, "errs low")):
        estimate = evaluation.log_likelihood(rbm, x, log_partition=side)
        assert f"{errs} in expectation" in str(estimate.note)
        assert estimate.bias is not None and (estimate.bias > 0) == (errs == "errs high")


def test_chains_that_are_elsewhere_are_noticed() -> None:
    """Catches a sandwich that closes though its upper slice is not of this machine."""
    torch.manual_seed(0)
    rbm = models.RBM(40, 30)
    with torch.no_grad():
        rbm.weight.normal_(0, 0.3)
        rbm.visible_bias.fill_(-1.0)
    rbm.inference_state = {"hidden.chains": torch.zeros(20, 40)}
    stale = evaluation.log_partition(rbm, method="sandwich", num_chains=100, betas=5, sweeps=0)
    assert stale.gap < -1 and "cannot both be right" in str(stale.warning)
    moved = evaluation.log_partition(rbm, method="sandwich", num_chains=100, betas=300, sweeps=100)
    assert moved.warning is None and abs(moved.gap) < 4 * moved.gap_se + 0.02
    assert "persistent chains after 100 sweeps" in moved.method
    with pytest.raises(ValueError, match="sweeps must be"):
        evaluation.log_partition(rbm, method="sandwich", sweeps=-1)
