"""Training in closed form from the command line."""

from pathlib import Path

import numpy as np
import pytest
from closed_form_pairs import FactorAnalysis

import ppgen
from ppgen import cli, extension, inference
from ppgen.testing.mixtures import two_clusters


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Rows in a file, and a model with a name for them."""
    monkeypatch.setattr(extension, "_REGISTERED", {kind: {} for kind in extension.GROUPS})
    ppgen.register("model", "FactorAnalysis", FactorAnalysis)
    np.save(tmp_path / "rows.npy", two_clusters(60, 4).numpy())
    return str(tmp_path / "rows.npy")


def test_the_command_alternates(rows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches options of an update that the command does not know, and a folder that does not tell of it."""
    line = f"fit factor-analysis --data {rows} --inference alternating --epochs 3 --batch-size 20 --report false"
    words = [*line.split(), "--inference.forgetting_rate", "0.8", "--folder", str(tmp_path / "run")]
    assert cli.main(words) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "update ClosedForm(forgetting_rate=0.8); no optimizer; 3 epochs" in printed
    run = ppgen.load(tmp_path / "run")
    assert run.inference == inference.Alternating(0.8) and run.state["finished"]
    assert cli.main([*words[:-2], "--lr", "0.1", "--folder", str(tmp_path / "other")]) != 0
    assert "lr=0.1 is of an optimiser" in capsys.readouterr().err
    assert cli.main(["fit", "vae", *line.split()[2:], "--folder", str(tmp_path / "vae")]) != 0
    assert "VAE does not say what they are" in capsys.readouterr().err


def test_the_command_lists_updates(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a kind of part that `ppgen list` leaves out."""
    assert cli.main(["list", "inference"]) == 0
    printed = capsys.readouterr().out
    assert "Alternating  " in printed and "updates\n  ClosedForm  Parameters set to their best values" in printed
