"""Which epoch of a run is the best, and when there is none."""

import math

import pytest
import torch

import ppgen
from ppgen import datasets, inference, models
from ppgen.training.data.batch_source import BatchSource
from ppgen.training.epochs.best_epoch import BestEpoch
from ppgen.training.epochs.validation import Validation

_DIGITS = datasets.load("digits", binarize="threshold")


def _fit(pair, data, how, **options):
    return ppgen.fit(pair, data, how, **{"epochs": 2, "batch_size": 20, "progress": False} | options)


def test_a_selection_minimises_gaps_and_ignores_nan():
    """Catches a free-energy gap that is maximised, and a NaN that becomes the best for ever."""
    gap, value = BestEpoch("free_energy_gap"), BestEpoch("valid_value", patience=2)
    for epoch, number in enumerate([math.nan, 3.0, 1.0, 2.0, math.nan], 1):
        gap.update({"epoch": epoch, "free_energy_gap": number})
        value.update({"epoch": epoch, "valid_value": number})
    assert (gap.epoch, gap.value) == (3, 1.0)
    assert (value.epoch, value.value) == (2, 3.0)
    assert value.exhausted


def test_a_run_that_diverges_has_no_best_epoch():
    """Catches a best epoch by the pseudo-likelihood of two rows, 0.0 by luck where that of all rows is -66,000."""
    x = (torch.rand(40, 16, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    rbm = models.RBM(visible=16, hidden=8)
    with pytest.warns(UserWarning, match="No epoch is the best: .* worse than twice chance, -11.09"):
        run = _fit(rbm, x, inference.PCD(num_chains=10), epochs=6, batch_size=10, lr=1e5, restore_best=True)
    assert run.state["best_epoch"] is None and not run.state["restored_best"]
    assert max(run.curve("pseudo_log_likelihood")) < -1000


def test_the_error_of_a_pseudo_likelihood_is_that_of_its_rows():
    """Catches an error of one chunk of the rows for all, and chance in other units."""
    run = _fit(models.RBM(64, 8), _DIGITS, inference.PCD(num_chains=20), epochs=1)
    bound = inference.PCD(num_chains=20)
    bound = inference.resolve(bound, run.pair).bind(run.pair, _DIGITS.train[:100], 100)
    source = BatchSource(_DIGITS, torch.device("cpu"))
    whole, parts = (Validation(run.pair, bound, source, size, 10) for size in (1000, 60))
    parts.valid_rows, parts.train_rows = whole.valid_rows, whole.train_rows
    for validation in (whole, parts):
        validation.metrics()
        assert validation.chance["pseudo_log_likelihood"] == pytest.approx(-64 * math.log(2))
        # One of 64 bits of each row: some nats a bit, times 64.
        assert 0.5 < validation.errors["pseudo_log_likelihood"] < 10
    assert parts.errors["pseudo_log_likelihood"] == pytest.approx(whole.errors["pseudo_log_likelihood"], rel=0.5)


def test_an_epoch_below_chance_is_not_the_best():
    """Catches an error that does not count, one that excuses anything, and patience that ends below chance."""
    selection = BestEpoch("value", patience=2, chance=-10.0)
    assert not selection.update({"epoch": 1, "value": -1e5}, 1e6) and selection.epoch is None
    assert not selection.update({"epoch": 2, "value": -19.8}, 0.5) and selection.epoch is None
    assert selection.waited == 0 and selection.value == -19.8
    assert selection.update({"epoch": 3, "value": -10.2}, 0.5) and selection.epoch == 3
    assert not selection.update({"epoch": 4, "value": -10.3}, 0.5) and selection.waited == 1
    assert selection.update({"epoch": 5, "value": -9.0}, 0.5) and (selection.epoch, selection.value) == (5, -9.0)
