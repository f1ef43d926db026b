"""Tests of what a command line says of its data: options of a data set, whole numbers."""

import shlex
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import pytest

import ppgen
from ppgen import datasets, extension
from ppgen.cli import main
from ppgen.commands.data import COMMAND
from ppgen.commands.evaluate import EVALUATION


def bits(root: str | PathLike | None = None, size: int = 4, draw: int = 0) -> datasets.Source:
    """Random bits, as many in a row as are asked for."""
    return datasets.Source("bits_of_a_test", {"train": np.random.default_rng(draw).integers(0, 2, (50, size))})


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    ppgen.register("data set", "bits_of_a_test", bits)
    yield
    extension._REGISTERED["data set"].pop("bits_of_a_test")


@pytest.mark.parametrize("recorded", [True, False])
def test_options_of_a_data_set_are_kept_with_the_run(recorded: bool, tmp_path: Path) -> None:
    """Catches an evaluation that loads the data of a run without their options, from either of the two records."""
    line = "fit RBM --hidden 2 --data bits_of_a_test --data-options '{size: 6, draw: 3}' --steps 1 --quiet"
    assert main([*shlex.split(line), "--report", "false", "--folder", str(tmp_path)]) == 0
    run = ppgen.load(tmp_path)
    assert run.config["data"]["options"] == {"size": 6, "draw": 3} and run.pair.num_features == 6
    if not recorded:
        (tmp_path / COMMAND).unlink()
    assert main(["evaluate", str(tmp_path), "--quiet"]) == 0
    assert run.config["data"]["checksum"] in (tmp_path / EVALUATION).read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--data bits_of_a_test --data-options '{sise: 6}'", "no option 'sise': its options are size, draw"),
        ("--data bits_of_a_test --data-options '{binarize: fixed}'", "give --binarize"),
        ("--data digits --data-options '{size: 6}'", "it has no options"),
        ("--data digits --integers words", "--integers: expected tokens, counts, levels"),
        ("--data digits --integers levels --binarize fixed", "makes bits of them"),
    ],
)
def test_options_that_the_data_do_not_have_are_one_line(options: str, told: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a traceback, or an option without effect."""
    assert main(["fit", "rbm", "--hidden", "2", *shlex.split(options)]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said
