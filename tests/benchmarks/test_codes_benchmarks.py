"""Jobs of codes: rows that are not measured twice, components, moved pictures, and one whole trial."""

import json

import pytest
import torch

from benchmarks import jobs
from benchmarks.codes import contractive, deep_autoencoder
from ppgen import testing


def test_rows_are_measured_once(tmp_path) -> None:
    """Catches a row that is measured again, one that is lost where a later one fails, and settings that are mixed."""
    calls: list[str] = []

    def begun(settings: dict[str, object], *options: str) -> jobs.Job:
        return jobs.begin("benchmarks.codes.some", "", settings, ["--quick", "--results", str(tmp_path), *options])

    job = begun({"epochs": (1, 2)})
    job.row("first", lambda folder: calls.append(str(folder)) or {"error": 1.0})
    with pytest.raises(RuntimeError):
        job.row("second", lambda _: (_ for _ in ()).throw(RuntimeError))
    again = begun({"epochs": (1, 2)})
    assert again.row("first", lambda _: {"error": 2.0})["error"] == 1.0 and len(calls) == 1
    again.keep(best=1.0)
    held = json.loads((tmp_path / "codes-some-quick.json").read_text())
    assert list(held["rows"]) == ["first"] and held["best"] == 1.0 and held["settings"] == {"epochs": [1, 2]}
    with pytest.raises(SystemExit, match="other settings"):
        begun({"epochs": (1, 3)})
    assert not begun({"epochs": (1, 3)}, "--again").content.get("rows")


def test_some_rows_of_a_job(tmp_path) -> None:
    """Catches rows that nobody asked for, a row kept under other settings, and one too many that is begun anew."""

    def begun(*options: str) -> jobs.Job:
        return jobs.begin("benchmarks.some.job", "", {}, ["--quick", "--results", str(tmp_path), *options])

    job = begun("--rows", "first")
    assert job.wants("first, trial") and not job.wants("second")
    for name in ("first", "first, trial", "second"):
        (job.folder / name.replace(", ", "-")).mkdir(parents=True)
        job.row(name, lambda _: {"error": 1.0}, {"epochs": 1})
    with pytest.raises(SystemExit, match="second was measured with other settings"):
        begun().row("second", lambda _: {"error": 2.0}, {"epochs": 2})
    left = begun("--again", "--rows", "first")
    assert list(left.content["rows"]) == ["second"] and [path.name for path in left.folder.iterdir()] == ["second"]


def test_components_and_moved_pictures() -> None:
    """Catches an error by pixel, vectors of the smallest variance, and pictures moved the wrong way."""
    rows = torch.randn(200, 3).double() * torch.tensor([3.0, 2.0, 0.5]).double() + 5
    left = rows[:, 2] - rows[:, 2].mean()
    found = deep_autoencoder.components(rows, rows, 2)
    assert found == pytest.approx(float(left.square().mean()), rel=0.05)
    picture = torch.arange(625.0).reshape(1, 625)
    every = deep_autoencoder.moved(picture, 1).reshape(9, 2, 25, 25)
    assert torch.equal(every[4, 0].flatten(), picture[0]) and torch.equal(every[4, 1], every[4, 0].flip(-1))
    testing.check_close(every[5, 0, :, :-1], every[4, 0, :, 1:], "moved by one column")


def test_a_trial_chooses_on_validation_rows(tmp_path, monkeypatch) -> None:
    """Catches kinds that differ in their seeds or rows, and a choice by the test error."""
    monkeypatch.setitem(contractive.QUICK, "units", 8)
    monkeypatch.setitem(contractive.QUICK, "denoising", (0.1,))
    monkeypatch.setitem(contractive.QUICK, "contractive", (0.1, 0.3))
    monkeypatch.setattr(contractive, "QUIET", {**contractive.QUIET, "compile": False})
    assert contractive.main(["--quick", "--results", str(tmp_path)]) == 0
    held = json.loads((tmp_path / "codes-contractive-quick.json").read_text())
    rows = held["rows"]
    chosen = held["chosen"]["contractive"]
    errors = {value: rows[f"contractive {value:g}, seed 0"]["valid error %"] for value in (0.1, 0.3)}
    assert errors[chosen] == min(errors.values()) and len(rows) == 5
    apart = [
        rows[f"contractive {chosen:g}, seed {seed}"]["test error %"]
        - rows[f"denoising 0.1, seed {seed}"]["test error %"]
        for seed in (0, 1)
    ]
    assert held["contractive_less_denoising"]["mean"] == pytest.approx(sum(apart) / 2)
