"""Figures of conditional models: drawn from records; the classifier that judges them."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import record
from benchmarks.conditional import digit_classifier, figure_records, figures


def test_every_figure_is_drawn_from_its_record() -> None:
    """Catches a figure that needs more than its record holds, records that grow, and words without their numbers."""
    for name, figure in figures.FIGURES.items():
        path = figure_records.path_of(record.RESULTS, figure.record)
        arrays, about = figure_records.read(record.RESULTS, figure.record)
        assert figure.draw(arrays, about).axes, name
        assert about["command"] == f"python -m benchmarks.conditional.figure_records {figure.record}"
        assert path.stat().st_size < 300_000 and figure.seen.format(**about)
    assert "Not drawn yet" not in figures.section(record.RESULTS)


def test_a_missing_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback where the command that makes the record belongs."""
    assert figures.main(["plane", "--results", str(tmp_path)]) == 1
    assert "python -m benchmarks.conditional.figure_records latents" in capsys.readouterr().err
    assert figures.section(tmp_path).count("Not drawn yet") == len(figures.FIGURES)


def test_a_trial_of_a_record(tmp_path: Path) -> None:
    """Catches a script that cannot run, and a figure of small images that cannot be drawn."""
    assert figure_records.main(["pixels", "--quick", "--results", str(tmp_path)]) == 0
    assert figures.main(["pixels", "--results", str(tmp_path)]) == 0
    arrays, about = figure_records.read(tmp_path, "pixels")
    difference = (arrays["digits"].astype(float) - arrays["shifted"]) / 255
    np.testing.assert_allclose(np.square(difference).sum(1), arrays["own"], rtol=0.02)
    assert all(np.not_equal(about["labels"], about["other labels"]))


def test_the_classifier_is_as_good_as_it_must_be() -> None:
    """Catches a record of another classifier than the one that later work relies on."""
    path = record.RESULTS / "conditional-digit_classifier.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert rows["mnist"]["test error %"] <= 1.0 and rows["mnist"]["test rows"] == 10_000
    assert set(rows) == set(digit_classifier.SETTINGS)
