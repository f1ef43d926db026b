"""Models of y given x on the command line: a row of data holds x and then y."""

import json
from pathlib import Path

import numpy as np
import pytest

import ppgen
from ppgen.cli import main

SIZES = "--hidden 4 --stochastic 2"
LINE = f"StochasticFeedforward {SIZES} --likelihood bernoulli --inputs 2"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch on 60 rows of two inputs and three outputs, 20 of them for tests."""
    folder = tmp_path_factory.mktemp("conditional")
    generator = np.random.default_rng(0)
    rows = (generator.random((60, 5)) < 0.4).astype("float32")
    np.savez(folder / "rows.npz", train=rows[:30], valid=rows[30:40], test=rows[40:])
    np.save(folder / "x.npy", rows[:4, :2])
    line = (
        f"fit {LINE} --data {folder / 'rows.npz'} --epochs 1 --compile false --batch-size 10 --num-particles 30 --quiet"
    )
    assert main([*line.split(), "--folder", str(folder / "run")]) == 0
    return folder


def test_a_run_is_fitted_evaluated_and_drawn(run: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches x and y exchanged or cut elsewhere, validation rows that are lost, and draws that are not of y."""
    found = ppgen.load(run / "run")
    assert found.pair.config()["outputs"] == 3 and found.config["data"]["rows"] == 30
    assert any("valid" in name for name in found.metrics[-1])
    drawn = {path.name for path in (run / "run/figures").iterdir()}
    assert {"curve.png", "samples.png", "reconstructions.png", "filters.png"} <= drawn
    before = json.loads((run / "run/evaluation.json").read_text())["estimates"]["log-likelihood"]
    assert before["num_data"] == 20
    assert main(["evaluate", str(run / "run"), "--num-particles", "30", "--quiet"]) == 0
    assert json.loads((run / "run/evaluation.json").read_text())["estimates"]["log-likelihood"] == before
    assert main(["sample", str(run / "run"), "--covariates", str(run / "x.npy"), "--num-samples", "7", "--quiet"]) == 0
    assert np.load(run / "run/samples.npy").shape == (7, 4, 3)
    picture = run / "y.png"
    line = ["sample", str(run / "run"), "--covariates", str(run / "x.npy"), "--output", str(picture), "--quiet"]
    assert main([*line, "--num-samples", "5"]) == 0 and picture.stat().st_size
    assert main(["sample", str(run / "run"), "--quiet"]) == 2
    assert "--covariates" in capsys.readouterr().err


def test_inferences_are_compared_on_pairs(run: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches a comparison that takes whole rows for y, or evaluates on training rows."""
    line = f"compare {LINE} --data {run / 'rows.npz'} --inferences vimco --compile false --seeds 1 --epochs 1"
    options = ["--processes", "1", "--num-particles", "30", "--quiet"]
    assert main([*line.split(), *options, "--folder", str(run / "comparison")]) == 0
    assert "20 test rows" in capsys.readouterr().out


@pytest.mark.parametrize(("pairs", "covariates", "features"), [("--split-quadrants 1", 16, 48), ("", 3, 64)])
def test_runs_on_pairs_of_images_are_fitted_evaluated_and_drawn(
    pairs: str, covariates: int, features: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Catches a run that is evaluated on other pairs than it was trained on, and covariates of another width taken."""
    model = f"ConditionalVAE --covariates {covariates} --features {features} --latent 2 --hidden 3"
    data = f"--data digits --binarize threshold {pairs or '--given-attributes true'}"
    options = ["--epochs", "1", "--compile", "false", "--num-particles", "20", "--quiet"]
    assert main(["fit", *model.split(), *data.split(), *options, "--folder", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run/evaluation.json").read_text())["estimates"]["log-likelihood"]
    assert found["num_data"] == 300
    assert main(["evaluate", str(tmp_path / "run"), "--num-particles", "20", "--quiet"]) == 0
    assert json.loads((tmp_path / "run/evaluation.json").read_text())["estimates"]["log-likelihood"] == found
    for width in (covariates, covariates + 1):
        np.save(tmp_path / "x.npy", np.zeros((2, width), dtype="float32"))
        line = ["sample", str(tmp_path / "run"), "--covariates", str(tmp_path / "x.npy"), "--num-samples", "4"]
        assert main([*line, "--quiet"]) == (0 if width == covariates else 2)
    assert np.load(tmp_path / "run/samples.npy").shape == (4, 2, features)
    assert f"covariates must have shape (rows, {covariates})" in capsys.readouterr().err
