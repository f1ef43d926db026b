"""The Estimate: what it prints, what it refuses, what it hands to ArviZ."""

import dataclasses
import json

import numpy as np
import pytest

from ppgen.evaluation import Estimate
from ppgen.evaluation.likelihood.importance import pareto_shapes, summarise


def rows_estimate(**changes):
    per_datum = {"log_likelihood": np.array([-19.0, -21.0]), "pareto_k": np.array([0.1, 0.9])}
    fields = {
        "value": -20.0, "se": 0.0123, "kind": "lower bound", "method": "importance (K=1000)",
        "num_data": 2, "data_se": 0.213, "per_datum": per_datum,
    }  # fmt: skip
    return Estimate(**(fields | changes))


def test_one_line_with_units():
    """Catches digits beyond the error, a missing unit, and a spread that is taken for the error."""
    assert (
        repr(rows_estimate())
        == str(rows_estimate())
        == (
            "-20.000 ± 0.012 nats per datum, lower bound, importance (K=1000), 2 rows; spread over data "
            "±0.21; "
            "Pareto k > 0.7 for 50% of rows"
        )
    )
    assert "\n" not in repr(rows_estimate(warning="w", note="n", bias=-1.0, log_partition_se=0.1))


@pytest.mark.parametrize(
    ("value", "se", "printed"),
    [
        (451.2846, 12.3, "451 ± 12 nats"),
        (451.2846, 0.0456, "451.285 ± 0.046 nats"),
        (451.2846, 0.0, "451.2846 nats"),
        (451.2846, float("nan"), "451.2846 ± unknown nats"),
        (451.2846, 1e-12, "451.2846000 ± <1e-6 nats"),
    ],
)
def test_two_digits_of_the_error(value, se, printed):
    """Catches an error rounded to zero and a value cut too short."""
    assert repr(Estimate(value, se, "exact", "m", unit="nats")).startswith(printed)


def test_is_a_number_and_json():
    """Catches NaN in JSON, which strict readers refuse, and arrays in it."""
    estimate = rows_estimate(se=float("nan"))
    assert float(estimate) == -20.0
    fields = json.loads(json.dumps(estimate.to_dict(), allow_nan=False))
    assert fields["se"] is None
    assert fields["num_bad_pareto_k"] == 1
    assert "per_datum" not in fields


def test_arrays_over_the_data():
    """Catches arrays without the dimension and name that ArviZ asks for."""
    estimate = rows_estimate()
    assert estimate.pointwise.dims == estimate.pareto_k.dims == ("data",)
    assert estimate.pointwise.name == "log_likelihood"
    assert estimate.pointwise.attrs["units"] == "nats"
    assert rows_estimate(per_datum=None).pointwise is None
    assert rows_estimate(per_datum=None).num_bad_pareto_k is None


def test_kind_is_one_of_four_and_fields_are_frozen():
    """Catches a misspelt kind, which a reader would have to guess, and an estimate changed afterwards."""
    with pytest.raises(ValueError, match="'upper bound'"):
        rows_estimate(kind="lower")
    with pytest.raises(dataclasses.FrozenInstanceError):
        rows_estimate().value = 1.0


def test_infinite_pareto_k_counts_as_bad():
    """Catches NaN compared as if it were small."""
    per_datum = {"log_likelihood": np.zeros(3), "pareto_k": np.array([np.inf, np.nan, 0.2])}
    found = rows_estimate(per_datum=per_datum)
    assert found.num_bad_pareto_k == 1 and found.num_unknown_pareto_k == 1 and "Pareto k unknown for" in repr(found)


def test_summary_of_known_weights():
    """Catches the delta method with K for K - 1, and an overflow of weights near exp(1000)."""
    import torch

    log_weights = torch.tensor([[1000.0, 0.0], [1001.0, 0.0], [1003.0, 0.0]], dtype=torch.float64)
    found = summarise(log_weights)
    weights = np.exp([0.0, 1.0, 3.0])
    np.testing.assert_allclose(found.log_likelihood, [1000 + np.log(weights.mean()), 0.0])
    np.testing.assert_allclose(found.se, [weights.std(ddof=1) / weights.mean() / 3**0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.ess, [weights.sum() ** 2 / (weights**2).sum(), 3.0])
    assert found.pareto_k is None
    assert np.isnan(summarise(log_weights[:1]).se).all()


def test_weights_of_zero():
    """Catches NaN where a particle, or every one, has no density at all."""
    import torch

    log_weights = torch.full((3, 2), -torch.inf, dtype=torch.float64)
    log_weights[0, 0] = 2.0
    found = summarise(log_weights)
    np.testing.assert_allclose(found.log_likelihood, [2 - np.log(3), -np.inf])
    np.testing.assert_allclose(found.ess[0], 1.0)


def test_pareto_shape_of_known_tails():
    """Catches log-weights given to ArviZ with the wrong sign: k times an exponential has Pareto tail k."""
    import torch

    generator = torch.Generator().manual_seed(0)
    exponential = -torch.rand(4000, 1, generator=generator, dtype=torch.float64).log()
    for k in (0.2, 0.8):
        assert pareto_shapes(k * exponential)[0] == pytest.approx(k, abs=0.2)
    assert pareto_shapes(torch.zeros(100, 1))[0] == 0.0
    ties = torch.cat([torch.zeros(60, 1), torch.ones(40, 1)])
    assert np.isfinite(pareto_shapes(ties)).all()
