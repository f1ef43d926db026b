"""Dictionaries beside scikit-learn's: a job that goes on where it was stopped, and one measure for both."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.codes import dictionary, patches

METHODS = list(dictionary.METHODS)


def test_a_stopped_job_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sees rows that are measured twice or never, and a record of other settings that is gone on with."""
    small = patches.Patches(*(torch.randn(count, 144).numpy() for count in (300, 40, 40)))
    monkeypatch.setattr(dictionary, "cut", lambda data, quick: small)
    threads = torch.get_num_threads()
    try:
        assert dictionary.main(["--quick", "--results", str(tmp_path)]) == 0
        path = tmp_path / dictionary.NAME
        found = json.loads(path.read_text())
        assert [row["method"] for row in found["rows"]] == METHODS
        assert all(0 <= row["oriented"] <= 1 and row["steps"] > 0 for row in found["rows"])
        found["rows"][0]["objective"] = 123.0
        path.write_text(json.dumps({**found, "rows": found["rows"][:1]}))
        assert dictionary.main(["--quick", "--results", str(tmp_path)]) == 0
        again = json.loads(path.read_text())
        assert again["rows"][0]["objective"] == 123.0 and [row["method"] for row in again["rows"]] == METHODS
        before = {**again, "rows": [row for row in again["rows"] if row["method"] != dictionary.FEWEST]}
        path.write_text(json.dumps({name: value for name, value in before.items() if name != "fewest"}))
        assert dictionary.main(["--quick", "--results", str(tmp_path)]) == 0  # a record from before that choice
        later = json.loads(path.read_text())
        assert later["rows"][:3] == again["rows"][:3] and [row["method"] for row in later["rows"]] == METHODS
        path.write_text(json.dumps({**again, "penalty": 1.0}))
        assert dictionary.main(["--quick", "--results", str(tmp_path)]) == 0
        assert json.loads(path.read_text())["rows"][0]["objective"] != 123.0
    finally:
        torch.set_num_threads(threads)
    assert "beside scikit-learn" in capsys.readouterr().out


def test_the_number_of_steps_is_chosen_on_validation_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sees a choice by the test patches, a number of steps that misses the bar, and steps tried after it is reached."""
    rows = patches.Patches(*(np.full((count, 2), float(count)) for count in (2560, 20, 30)))
    values, seen = {10: 81.5, 15: 81.3, 20: 81.2, 0: 81.6}, []
    monkeypatch.setattr(dictionary, "scikit", lambda train, shared: (0, {}))
    monkeypatch.setattr(dictionary, "ours", lambda train, best, shared, steps: (steps, {}))

    def objective(found: int, held: np.ndarray, penalty: float) -> dict[str, float]:
        seen.append((found, len(held)))
        return {"objective": values[found]}

    monkeypatch.setattr(dictionary, "objective", objective)
    shared = {**dictionary.settings(False), "epochs": 4}
    found = dictionary.fewest(rows, {}, shared, (0.25, 0.375, 0.5, 0.75))
    assert found["share"] == 0.5 and found["validation"] == {"0.25": 81.5, "0.375": 81.3, "0.5": 81.2}
    assert seen == [(0, 20), (10, 20), (15, 20), (20, 20)]
    values[20] = 81.4
    assert dictionary.fewest(rows, {}, shared, (0.25, 0.5))["share"] == 1.0


def test_the_objective_is_that_of_the_best_codes() -> None:
    """Sees a mean over the wrong dimension, and atoms counted as dead that a patch uses."""
    found = dictionary.objective(np.eye(3, 4), np.array([[2.0, 0, 0], [0, -3, 0]], dtype=np.float32), penalty=2.0)
    assert found["objective"] == pytest.approx((1 + 2 + 1 + 4) / 2, abs=1e-4)
    assert (found["nonzero"], found["dead"]) == (1.0, 2)
