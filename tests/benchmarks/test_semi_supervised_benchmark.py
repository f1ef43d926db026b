"""The benchmark of few labels: a trial, and what a second call goes on with."""

import json

from benchmarks.semi_supervised import few_labels


def test_a_trial_is_measured_once_and_gone_on_with(tmp_path, monkeypatch):
    """Catches rows that are measured again or were not asked for, errors that are no per cent, means of other rows."""
    settings = {**few_labels.SETTINGS["digits"], "M1": {"latent": 3, "hidden": (8,), "epochs": 2, "lr": 1e-2}}
    monkeypatch.setattr(few_labels, "SETTINGS", {"digits": settings})
    arguments = ["--quick", "--results", str(tmp_path), "--rows"]
    assert few_labels.main([*arguments, "digits, M2"]) == 0
    path = tmp_path / "semi_supervised-few_labels-quick.json"
    assert set(json.loads(path.read_text(encoding="utf-8"))["means"]) == {"digits, M2"}
    assert few_labels.main([*arguments, "digits"]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert set(found["means"]) == {f"digits, {kind}" for kind in ("M2", "M1+M2", "logistic regression")}
    assert all(0 < row["test error %"] < 95 for name, row in found["rows"].items() if name != "digits, M1")
    monkeypatch.setattr(few_labels, "_error", None)  # no row is measured again
    assert few_labels.main(arguments[:-1]) == 0
    assert json.loads(path.read_text(encoding="utf-8"))["means"] == found["means"]
