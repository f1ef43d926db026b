"""Figures of the page of codes: drawn from records, and a page that is what the records say."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import record
from benchmarks.codes import figure_records, figures, page


def test_the_page_is_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a figure of the page changed by hand, and a record that was not rendered."""
    assert page.main(["--check"]) == 0, capsys.readouterr().err


def test_every_figure_is_drawn_from_its_record(tmp_path: Path) -> None:
    """Catches a figure that needs more than its record holds, and a record that needs pickles to be read."""
    for name, figure in figures.FIGURES.items():
        arrays, about = figure_records.read(record.RESULTS, figure.record)
        assert figure.draw(arrays, about).axes, name
        assert about["command"] == f"python -m benchmarks.codes.figure_records {figure.record}"


def test_a_missing_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a traceback where the command that makes the record belongs, and a page that needs all records."""
    assert figures.main(["faces", "--results", str(tmp_path)]) == 1
    assert "python -m benchmarks.codes.figure_records faces" in capsys.readouterr().err
    text = page.page(tmp_path)
    assert text.count("Not drawn yet") == len(figures.FIGURES) and page.NOT_RUN in text
    for run in (figures.main, figure_records.main):
        with pytest.raises(SystemExit):
            run(["nothing"])


def test_shares_and_extents() -> None:
    """Catches the smallest codes taken for the largest, and an extent by magnitudes."""
    codes = np.array([[1.0, 2.0, -3.0, 0.1], [0.0, 0.0, 0.0, 0.0]])
    rows = codes + np.array([[0.0], [1.0]])
    found = figure_records.shares(rows, np.eye(4), codes)
    np.testing.assert_allclose(found, [1 - 0.01 / 14.01, 0])
    np.testing.assert_allclose(figure_records.extent(np.array([[1.0, 0, 0, 0], [1, -1, 1, 1]])), [1, 4])
    points, labels = np.array([[0.0, 0], [0, 1], [5, 5], [5, 6]]), np.array([0, 0, 1, 2])
    assert figure_records.same_class(points, labels) == 0.5


def test_a_trial_of_the_smallest_record(tmp_path: Path) -> None:
    """Catches a script that cannot run, and a record that is trained again though it is there."""
    arguments = ["codes", "--quick", "--results", str(tmp_path)]
    assert figure_records.main(arguments) == 0
    written = figure_records.path_of(tmp_path, "codes").read_bytes()
    assert figure_records.main(arguments) == 0 and figure_records.path_of(tmp_path, "codes").read_bytes() == written
    assert figures.main(["codes", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "codes-codes.png").stat().st_size > 5_000
