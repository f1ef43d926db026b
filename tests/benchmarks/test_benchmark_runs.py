"""Runs of benchmarks: they go on where they stopped, after their layers, and from the run that they continue."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import record
from benchmarks.likelihoods import jobs, run


@pytest.fixture
def modules() -> dict[str, ModuleType]:
    """The modules that measure likelihoods."""
    return {"jobs": jobs, "record": record, "run": run}


def test_a_run_goes_on_where_it_stopped_and_is_recorded(
    modules: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sees a time limit that does not stop, a second call that starts anew, a budget that is not summed."""
    run = modules["run"]
    job = run.JOBS["rbm-digits"]
    job = replace(job, training={**job.training, "epochs": 2})
    monkeypatch.setitem(run.JOBS, "rbm-digits", job)
    where = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path), "--device", "cpu"]
    assert run.main(["rbm-digits", "--minutes", "1e-6", *where]) == 0
    assert "0 of 2 epochs" in capsys.readouterr().out
    assert not (tmp_path / "rbm-digits.json").exists()
    assert run.main(["rbm-digits", "--minutes", "60", *where]) == 0
    written = json.loads((tmp_path / "rbm-digits.json").read_text(encoding="utf-8"))
    modules["record"].check(written)
    steps = -(-1297 // job.training["batch_size"])
    assert (written["budget"]["epochs"], written["budget"]["updates"]) == (2, 2 * steps)
    assert written["figures"]["log Z"]["kind"] == "exact"
    assert written["curve"]["epoch"] == [1, 2]
    likelihood = written["figures"]["log p(x), test"]["value"]
    capsys.readouterr()
    assert run.main(["rbm-digits", "--minutes", "1", *where]) == 0  # finished: evaluated again, trained no more
    again = json.loads((tmp_path / "rbm-digits.json").read_text(encoding="utf-8"))
    assert again["figures"]["log p(x), test"]["value"] == likelihood
    assert again["budget"]["updates"] == 2 * steps


def test_layers_are_trained_before_the_run_and_their_bounds_recorded(
    modules: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sees layers that a stopped call loses, layers trained again under a run that has begun, bounds left out."""
    run, jobs = modules["run"], modules["jobs"]
    job = replace(
        run.JOBS["dbn-500-500"],
        dataset="digits",
        binarize="threshold",
        model=lambda: jobs.models.DBN(visible=64, hidden=(8, 6)),
        training={"epochs": 1, "batch_size": 100, "lr": 1e-4},
        pretraining={"epochs": 1, "batch_size": 100, "betas": 100},
        evaluate=jobs.belief_net_of_machines(100, sweeps=20),
        loading={},
    )
    monkeypatch.setitem(run.JOBS, "dbn-500-500", job)
    where = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path), "--device", "cpu"]
    assert run.main(["dbn-500-500", "--minutes", "1e-6", *where]) == 0
    assert "within the training of its layers" in capsys.readouterr().out
    assert run.main(["dbn-500-500", "--minutes", "60", *where]) == 0
    assert "The layers are trained" in capsys.readouterr().out
    record = json.loads((tmp_path / "dbn-500-500.json").read_text(encoding="utf-8"))
    figures = record["figures"]
    assert record["budget"]["updates"] == 3 * 13  # two layers and the whole, 1,297 rows each
    first, second = (figures[label]["value"] for label in figures if label.startswith("bound on training rows"))
    assert -45 < first < second + 5
    assert figures["bound of log p(x), test"]["value"] <= figures["log p(x), test"]["value"]
    assert run.main(["dbn-500-500", "--minutes", "60", *where]) == 0
    assert "The layers are trained" not in capsys.readouterr().out


def test_a_run_starts_from_the_one_that_it_continues(
    modules: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Sees a start from new weights, one from a run that is not done, and time and updates that are not counted."""
    run = modules["run"]
    first = run.JOBS["rbm-digits"]
    first = replace(first, training={**first.training, "epochs": 2})
    second = replace(first, training={**first.training, "lr": 1e-9}, continues="rbm-digits")
    monkeypatch.setitem(run.JOBS, "rbm-digits", first)
    monkeypatch.setitem(run.JOBS, "rbm-mnist", second)
    where = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path), "--device", "cpu"]
    assert run.main(["rbm-mnist", "--minutes", "1e-6", *where]) == 0
    assert "within the training of rbm-digits" in capsys.readouterr().out
    assert run.main(["rbm-mnist", "--minutes", "60", *where]) == 0
    assert run.main(["rbm-digits", "--minutes", "60", *where]) == 0
    before, after = (
        json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")) for name in ("rbm-digits", "rbm-mnist")
    )
    one, other = (each["figures"]["log p(x), test"]["value"] for each in (before, after))
    assert one == pytest.approx(other, abs=1e-3)
    assert after["budget"]["updates"] == 2 * before["budget"]["updates"]
    assert after["budget"]["minutes"] >= before["budget"]["minutes"]
