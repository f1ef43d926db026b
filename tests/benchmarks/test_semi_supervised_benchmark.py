"""The benchmark of few labels: a trial, and what a second call goes on with."""

import json

import pytest

from benchmarks.semi_supervised import few_labels


def test_a_trial_is_measured_once_and_gone_on_with(tmp_path, monkeypatch):
    """Catches rows that are measured again, errors that are no per cent, and a record of other settings."""
    settings = {**few_labels.SETTINGS["digits"], "hidden": (8,)}
    monkeypatch.setitem(few_labels.SETTINGS, "digits", settings)
    arguments = ["digits", "--quick", "--results", str(tmp_path)]
    assert few_labels.main(arguments) == 0
    path = tmp_path / "semi_supervised-digits-quick.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(found["means"]) == {"M2", "M1+M2", "logistic regression"}
    assert all(0 < row["test error %"] < 95 for row in found["rows"].values())
    monkeypatch.setattr(few_labels, "_error", None)  # no row is measured again
    assert few_labels.main(arguments) == 0
    monkeypatch.setitem(few_labels.QUICK, "labels", 60)
    with pytest.raises(SystemExit, match="other settings"):
        few_labels.main(arguments)
