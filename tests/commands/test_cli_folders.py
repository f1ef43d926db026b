"""What commands do in folders that are not, or not wholly, theirs, and with configurations of strangers."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest

import ppgen
from ppgen import models
from ppgen.cli import main

FIT = "fit rbm --hidden 3 --epochs 1 --quiet --report false --compile false --data good.npy"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good data in the working folder."""
    monkeypatch.chdir(tmp_path)
    np.save("good.npy", (np.random.default_rng(0).random((30, 6)) < 0.3).astype(np.float32))


def _refused(line: str, words: str, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(shlex.split(line)) == 2
    said = capsys.readouterr().err
    assert words in said and said.count("\n") == 1, said


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(capsys: pytest.CaptureFixture) -> None:
    """Catches --overwrite that takes a user's figures, tables or TensorBoard folder with it."""
    assert main(shlex.split(f"{FIT} --folder run")) == 0
    mine = [Path("run", name) for name in ("figures/mine.png", "tensorboard/mine", "notes.txt", "checkpoint/mine")]
    Path("run/figures").mkdir(exist_ok=True)
    for path in (*mine, Path("run/figures/curve.png"), Path("run/.config.json.1.tmp")):
        path.write_text("mine")
    (log,) = Path("run/tensorboard").glob("events*")
    size = log.stat().st_size
    assert main(shlex.split(f"{FIT} --folder run --overwrite --seed 5")) == 0
    assert all(path.read_text() == "mine" for path in mine)
    assert not Path("run/figures/curve.png").exists() and not Path("run/.config.json.1.tmp").exists()
    (log,) = Path("run/tensorboard").glob("events*")  # the old one is gone; in one second both have one name
    assert log.stat().st_size == size
    assert "seed: 5" in Path("run/command.yaml").read_text()


@pytest.mark.parametrize("name", ["config.json", "figures/a.png", "tensorboard/b", "metrics.csv", "notes.txt"])
def test_overwrite_refuses_a_folder_that_is_not_of_a_run(name: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --overwrite that deletes the files of somebody else."""
    path = Path("mine", name)
    path.parent.mkdir(parents=True)
    path.write_text('{"mine": 1}')
    _refused(
        f"{FIT} --folder mine --overwrite", "--overwrite removes runs of ppgen only, and mine is not empty", capsys
    )
    assert path.read_text() == '{"mine": 1}'
    assert [each.name for each in Path("mine").rglob("*") if each.is_file()] == [path.name]


@pytest.mark.parametrize("name", ["figures", "checkpoint", "metrics.csv"])
def test_overwrite_follows_no_link(name: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --overwrite that deletes, through a link, what lies elsewhere."""
    assert main(shlex.split(f"{FIT} --folder run")) == 0
    place = Path("run", name)
    Path("elsewhere").mkdir()
    Path("elsewhere/curve.png").write_text("mine")
    if place.is_dir():
        place.rename("moved")
    place.unlink(missing_ok=True)
    place.symlink_to(Path("elsewhere").absolute())
    _refused(f"{FIT} --folder run --overwrite", f"run/{name} is a link", capsys)
    assert Path("elsewhere/curve.png").read_text() == "mine" and Path("run/config.json").exists()


def test_an_empty_folder_name_is_not_the_working_directory(capsys: pytest.CaptureFixture) -> None:
    """Catches --folder "" of an unset variable, which would fill, or clear, the working directory."""
    before = set(Path().iterdir())
    for line in (f"{FIT} --folder ''", f"{FIT} --folder '' --overwrite", "demo --folder ''"):
        _refused(line, "--folder must name a folder", capsys)
    _refused("compare rbm --hidden 3 --data good.npy --inferences cd --folder ''", "--folder must name", capsys)
    _refused("evaluate ''", "is no folder", capsys)
    assert set(Path().iterdir()) == before


def _compare(folder: Path) -> None:
    ppgen.compare_inferences(
        lambda: models.RBM(6, 2), np.load("good.npy"), ["cd"], seeds=1, steps=2, folder=folder, processes=0,
        progress=False,
    )  # fmt: skip


def test_a_comparison_replaces_nothing_of_others(tmp_path: Path) -> None:
    """Catches a comparison that replaces a figure it did not draw, follows links, or believes a damaged result."""
    with pytest.raises(ValueError, match="empty one"):
        _compare("")
    Path("mine").mkdir()
    Path("mine/comparison.png").write_text("mine")
    with pytest.raises(ValueError, match=r"holds comparison.png and no cell"):
        _compare(Path("mine"))
    Path("linked").mkdir()
    Path("linked/rbm").symlink_to(Path("mine").absolute())
    with pytest.raises(ValueError, match="is a link"):
        _compare(Path("linked"))
    _compare(Path("ours"))
    Path("ours/rbm/cd/seed-0/.result.json.1.tmp").write_text("half")
    _compare(Path("ours"))
    result = Path("ours/rbm/cd/seed-0/result.json")
    text = result.read_text()
    for damaged in (text.replace("log_likelihood", "log_likelihoot", 1), text[:-30], '{"status": 3, "config": {}}'):
        result.write_text(damaged)
        with pytest.raises(ValueError, match=r"result.json"):
            _compare(Path("ours"))


def test_data_made_otherwise_than_for_training_are_noticed(capsys: pytest.CaptureFixture) -> None:
    """Catches an evaluation on bits drawn otherwise than those that were trained on, said to be of the same data."""
    line = "fit rbm --hidden 3 --epochs 1 --quiet --report false --data digits --binarize fixed --data-seed 3"
    assert main(shlex.split(f"{line} --folder run")) == 0
    path = Path("run/command.yaml")
    text = path.read_text()
    for old, new in (("binarize: fixed", "binarize: threshold"), ("data_seed: 3", "data_seed: 4")):
        assert old in text
        path.write_text(text.replace(old, new))
        _refused("evaluate run --quiet", "and the run was trained on", capsys)
    path.write_text(text)
    assert main(shlex.split("evaluate run --quiet")) == 0


_LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a0: &a0 [x]\n{_LAUGHS}", "values, and no command has more"),
        ("a: &a [*a]\n", "inside of what it stands for"),
        ("lr: 2001-99-99\n", "is not YAML of options"),
        ("[" * 5000, "is not YAML of options"),
        ("# " + "x" * 2**21, "has more than 1048576 bytes"),
    ],
)
def test_configurations_that_would_take_all_memory(text: str, words: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a YAML file of some lines that stands for billions of values, and errors of the parser as tracebacks."""
    Path("bomb.yaml").write_text(text)
    _refused(f"{FIT} --config bomb.yaml", words, capsys)


def test_a_configuration_is_read_from_a_file_or_an_open_pipe(capsys: pytest.CaptureFixture) -> None:
    """Catches a command that waits for ever at a pipe, and aliases or `<(...)` that are sound and refused."""
    os.mkfifo("pipe.yaml")
    _refused(f"{FIT} --config pipe.yaml", "no regular file", capsys)
    _refused(f"{FIT} --config /dev/zero", "no regular file", capsys)
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:
        file.write("a: &a [1]\nsizes: *a\nfolder: run\nepoch: 1\n")
    _refused(f"{FIT} --config /dev/fd/{reader}", "unknown option", capsys)
    os.close(reader)


def test_a_disk_that_fails_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Catches a traceback for a full or read-only disk, and one that does not say whether the run can go on."""
    assert main(shlex.split(f"{FIT} --folder run --lr-schedule constant")) == 0
    capsys.readouterr()

    def refuse(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    assert main(shlex.split(f"{FIT} --folder run --epochs 2 --lr-schedule constant")) == 1
    said = capsys.readouterr().err
    assert said == "ppgen fit: error: No space left on device (the last checkpoint is whole): run/config.json\n"


def test_a_table_that_finds_no_room_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Catches an error of the log files, which are not replaced but added to, that names no file."""

    def full(self: object, event: object) -> None:
        raise OSError(28, os.strerror(28), "run/metrics.csv")

    monkeypatch.setattr("ppgen.training.epochs.callbacks.CSVLog.__call__", full)
    assert main(shlex.split(f"{FIT} --folder run")) == 1
    said = capsys.readouterr().err
    assert said == "ppgen fit: error: No space left on device (there is no checkpoint yet): run/metrics.csv\n"
