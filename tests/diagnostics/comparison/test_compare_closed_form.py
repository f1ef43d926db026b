"""Updates in closed form beside gradients: one comparison, whose step size is for those that have one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closed_form_pairs import FactorAnalysis

import ppgen
from ppgen import diagnostics, inference
from ppgen.testing.mixtures import two_clusters

X = two_clusters(40, 3)


def test_a_closed_form_is_compared_with_a_gradient(tmp_path: Path) -> None:
    """Catches a step size that fails one of the cells, and a variance of a gradient that there is not."""
    quick: dict[str, Any] = {"processes": 0, "steps": 4, "batch_size": 20, "progress": False, "compile": False}
    options = quick | {"num_particles": 20, "gradient_draws": 20, "lr": 0.05, "clip_norm": 1.0, "seeds": 1}
    table = ppgen.compare_inferences(
        lambda: FactorAnalysis(3, 1), X, ["alternating", "elbo"], folder=tmp_path, **options
    )
    noise = table.gradient_variance.sel(inference="alternating").values
    assert np.isnan(noise).all() and not np.isnan(table.gradient_variance.sel(inference="elbo").values).any()
    value = table.log_likelihood.mean("seed").squeeze()
    assert float(value.sel(inference="alternating")) > float(value.sel(inference="elbo"))
    run = next(path.parent for path in tmp_path.rglob("config.json") if "alternating" in str(path))
    assert ppgen.load(run, pair=FactorAnalysis(3, 1)).config["training"]["optimizer"] == {"name": "none"}


def test_estimators_of_no_gradient_are_not_compared() -> None:
    """Catches a table of zeros."""
    with pytest.raises(ValueError, match="inferences: ClosedForm sets parameters in closed form.*inference.ELBO"):
        diagnostics.compare_estimators(FactorAnalysis(3, 1), X, {"a": inference.Alternating()}, num_draws=20)
