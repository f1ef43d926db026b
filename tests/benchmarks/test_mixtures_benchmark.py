"""The benchmarks of mixtures: trials that measure once and say what they must."""

import json
from pathlib import Path

import pytest

from benchmarks.mixtures import bits, classes, normal


def rows_of(path: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return found


def test_trials_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches rows that are measured again, a peer of another start, scores that put outliers below digits."""
    arguments = ["--quick", "--results", str(tmp_path)]
    assert (
        bits.main(arguments) == 0 and normal.main(arguments) == 0 and classes.main([*arguments, "--rows", "mix"]) == 0
    )
    of_bits = rows_of(tmp_path / "mixtures-bits-quick.json")
    assert of_bits["20 components"]["test log p"] > of_bits["5 components"]["test log p"] > -30
    assert of_bits["5 components"]["parameters"] == 5 * 64 + 4
    assert all(row["largest difference"] < 1e-6 for row in rows_of(tmp_path / "mixtures-normal-quick.json").values())
    of_classes = rows_of(tmp_path / "mixtures-classes-quick.json")["mixture of 50, classes"]
    assert of_classes["test error %"] < 20 and of_classes["AUROC blank, ratio"] > 0.9
    monkeypatch.setattr(normal, "_measured", None)
    assert normal.main(arguments) == 0
