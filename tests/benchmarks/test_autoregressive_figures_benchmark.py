"""Figures of the page of autoregressive models: drawn from records that anyone can make again."""

from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.autoregressive import figure_records, figures


def test_every_figure_is_drawn_from_its_record() -> None:
    """Catches a figure that needs more than its record holds, and words of numbers that the record has not."""
    assert len(figures.FIGURES) == len(list(record.RESULTS.glob("autoregressive-*.png")))
    for name, figure in figures.FIGURES.items():
        arrays, about = figure_records.read(record.RESULTS, figure.record)
        assert figure.draw(arrays, about).axes, name
        assert about["command"] == f"python -m benchmarks.autoregressive.figure_records {figure.record}"
    text = figures.section(record.RESULTS)
    assert "Not drawn yet" not in text and text.count("![") == len(figures.FIGURES)


def test_a_trial_and_a_missing_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a script that cannot run, a record trained again though it is there, a traceback where there is none."""
    arguments = ["fields", "--quick", "--results", str(tmp_path)]
    assert figure_records.main(arguments) == 0
    written = figure_records.path_of(tmp_path, "fields").read_bytes()
    assert figure_records.main(arguments) == 0 and figure_records.path_of(tmp_path, "fields").read_bytes() == written
    assert figures.main(["blind_spot", "five", "--results", str(tmp_path)]) == 1
    assert "python -m benchmarks.autoregressive.figure_records five" in capsys.readouterr().err
    assert (tmp_path / "autoregressive-blind_spot.png").stat().st_size > 5_000
    assert figures.section(tmp_path).count("Not drawn yet") == len(figures.FIGURES) - 1
