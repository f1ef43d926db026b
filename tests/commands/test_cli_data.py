"""Tests of what a command line says of its data: options of a data set, whole numbers."""

import shlex
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

import ppgen
from ppgen import datasets, extension
from ppgen.cli import main
from ppgen.commands.data import COMMAND
from ppgen.commands.evaluate import EVALUATION
from ppgen.pair import GenerativeModel


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


class LabelledBits(GenerativeModel):
    """Bits that are independent given their label, where it is known."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.num_features = features
        self.logits = nn.Parameter(torch.zeros(3, features))

    @pyro_method
    def model(self, x: Tensor, y: Tensor) -> None:
        logits = self.logits
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=y >= 0):
            pyro.sample("x", dist.Bernoulli(logits=logits[y.clamp(min=0)]).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> None:
        """Nothing is latent."""


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[str]:
    """File of bits with labels, beside a registered model of both."""
    ppgen.register("model", "LabelledBitsOfATest", LabelledBits)
    rows = np.random.default_rng(0).integers(0, 2, (60, 4))
    np.savez(tmp_path / "rows.npz", train=rows, train_labels=np.arange(60) % 3)
    yield str(tmp_path / "rows.npz")
    extension._REGISTERED["model"].pop("LabelledBitsOfATest")


@pytest.mark.parametrize("keep", ["all", "9"])
def test_labels_are_asked_for_on_the_command_line(keep: str, labelled: str, tmp_path: Path) -> None:
    """Catches labels that a command line cannot give, or that an evaluation of the run forgets."""
    folder = tmp_path / "run"
    line = f"fit LabelledBitsOfATest --data {labelled} --with-labels {keep} --labels-seed 1 --epochs 1 --quiet"
    assert main([*line.split(), "--report", "false", "--folder", str(folder)]) == 0
    data = datasets.load(labelled).with_labels(None if keep == "all" else 9, 1)
    assert ppgen.load(folder).config["data"]["checksum"] == data.checksum
    assert main(["evaluate", str(folder), "--quiet"]) == 0
    assert data.checksum in (folder / EVALUATION).read_text()


def test_features_are_split_on_the_command_line_and_known_without_its_record(tmp_path: Path) -> None:
    """Catches a split that the model's own sizes contradict, and one that is lost with the options."""
    line = "fit StochasticFeedforward --inputs 60 --data digits --binarize threshold --likelihood bernoulli --hidden 4"
    line += " --stochastic 2 --split-features 60 --steps 1 --quiet --report false --folder"
    assert main([*line.split(), str(tmp_path)]) == 0
    (tmp_path / COMMAND).unlink()
    assert main(["evaluate", str(tmp_path), "--quiet", "--num-particles", "2"]) == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--data bits_of_a_test --data-options '{sise: 6}'", "no option 'sise': its options are size, draw"),
        ("--data bits_of_a_test --data-options '{binarize: fixed}'", "give --binarize"),
        ("--data digits --data-options '{size: 6}'", "it has no options"),
        ("--data digits --with-labels 5", "keep=5 leaves classes without a row"),
        ("--data digits --split-features 64", "k must be from 1 to 63"),
        ("--data digits --with-labels few", "--with-labels: expected"),
        ("--data digits --with-labels all --split-features 3", "both make pairs"),
        ("--data digits --binarize fixed --with-labels all", "RBM is a model of rows alone"),
        ("--data digits --integers words", "--integers: expected tokens, counts, levels"),
        ("--data digits --integers levels --binarize fixed", "makes bits of them"),
    ],
)
def test_options_that_the_data_do_not_have_are_one_line(options: str, told: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a traceback, or an option without effect."""
    assert main(["fit", "rbm", "--hidden", "2", *shlex.split(options)]) == 2
    said = capsys.readouterr().err.strip()
    assert told in said and "\n" not in said
