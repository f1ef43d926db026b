"""Wrong command lines and wrong data: one clear line on stderr, exit code 2, no traceback; bugs keep theirs."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from ppgen import registry
from ppgen.cli import main
from ppgen.commands import COMMANDS
from ppgen.commands.errors import UsageError, explained
from ppgen.commands.evaluate import show

FIT = "fit rbm --hidden 3 --epochs 1 --quiet --report false --compile false"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Good and bad data in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PPGEN_DATA", raising=False)
    monkeypatch.delenv("PPGEN_ROOT", raising=False)
    good = (np.random.default_rng(0).random((30, 6)) < 0.3).astype(np.float32)
    holed, grey = good.copy(), 0.9 * good
    holed[7, 3] = np.nan
    for name, array in {"good": good, "nan": holed, "grey": grey, "bright": 255 * good, "empty": good[:0]}.items():
        np.save(f"{name}.npy", array)
    Path("junk.npy").write_text("no array")
    Path("broken.yaml").write_text("a: [1")
    Path("typo.yaml").write_text("data: good.npy\nepoch: 3\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fti VAE", "unknown command 'fti' Did you mean 'fit'"),
        ("fit", "name a model VAE RBM"),
        ("fit VEA --data good.npy", "Unknown model 'VEA' VAE RBM Did you mean"),
        ("fit VAE RBM --data good.npy", "unexpected argument 'RBM'"),
        ("fit VAE", "--data is required"),
        ("fit rbm --data good.npy", "--hidden is required"),
        (f"{FIT} --data good.npy --hidden two", "--hidden expected int 'two'"),
        (f"{FIT} --data good.npy --hidden 0", "hidden at least 1 got 0"),
        (f"{FIT} --data good.npy --visible 7", "--visible 7 6 features"),
        ("fit SigmoidBeliefNet --data good.npy --sizes 5,3", "--sizes 5,3 6 features first number must be 6"),
        ("fit SigmoidBeliefNet --data good.npy --sizes 6", "latent layer got (6,)"),
        ("fit StochasticFeedforward --data good.npy --inputs 2 --outputs 1", "y given x ppgen.fit (x, y)"),
        ("fit StochasticFeedforward --data good.npy --inputs 6", "--inputs must be from 1 to 5 y given x got 6"),
        ("fit StochasticFeedforward --data good.npy", "--inputs is required"),
        (f"{FIT} --data good.npy --lr fast", "--lr expected float 'fast'"),
        (f"{FIT} --data good.npy --compile foo", "--compile expected true, false or auto got 'foo'"),
        (f"{FIT} --data good.npy --resume foo", "--resume expected true, false or auto got 'foo'"),
        ("fit hierarchicalvae --data good.npy --hidden 20,20", "--hidden lists in brackets [200,200],[100,100]"),
        (f"{FIT} --data good.npy --lr -1", "lr positive -1"),
        (f"{FIT} --data good.npy --optimizer adm", "optimizer 'adm' adam sgd"),
        (f"{FIT} --data good.npy --batchsize 3", "unknown option --batchsize Did you mean --batch-size"),
        (f"fit rbm --no-report {FIT[8:]} --data good.npy", "unknown option --no-report Did you mean --report"),
        (f"{FIT} --folder --data good.npy", "argument --folder expected one argument"),
        (f"{FIT} --data good.npy --steps 3", "exactly one epochs steps"),
        (f"{FIT} --data good.npy --device gpu7", "device 'gpu7'"),
        (f"{FIT} --data good.npy --inference ''", "Unknown inference ''"),
        (f"{FIT} --data good.npy --estimator ''", "Unknown estimator ''"),
        ("fit --model '' --data good.npy", "Unknown model ''"),
        ("sample . --output ''", "--output must end in .npy or .png"),
        (f"{FIT} --data good.npy --inference pdc", "Unknown inference 'pdc' Did you mean"),
        (
            "fit SigmoidBeliefNet --data good.npy --sizes 6,3 --inference disarm --estimator LeaveOneOut",
            "--inference disarm is an estimator already --estimator",
        ),
        (f"{FIT} --data good.npy --inference.chains 3", "--inference.chains Did you mean --inference.num-chains"),
        (f"{FIT} --data good.npy --inference.k 0", "k at least 1 got 0"),
        (f"{FIT} --data good.npy --inference cd --negative-phase pcd", "--inference cd --negative-phase"),
        ("fit vae --data good.npy --inference pcd --epochs 1", "negative_phase no undirected site"),
        (f"{FIT} --data good.npy --folder good.npy", "folder directory good.npy file"),
        (f"{FIT} --data good.npy --resume true", "--resume true no checkpoint"),
        (f"{FIT} --data digist", "Unknown data set 'digist' Did you mean 'digits'"),
        (f"{FIT} --data absent.npy", "absent.npy"),
        (f"{FIT} --data nan.npy", "nan row 7 feature 3"),
        (f"{FIT} --data grey.npy", "--binarize threshold"),
        (f"{FIT} --data bright.npy --binarize threshold", "[0, 1] 255"),
        (f"{FIT} --data good.npy --binarize never", "binarize 'threshold' 'never'"),
        (f"{FIT} --data empty.npy", "empty"),
        (f"{FIT} --data junk.npy", "junk.npy"),
        ("fit --config absent.yaml", "absent.yaml"),
        ("fit --config broken.yaml", "broken.yaml not YAML"),
        ("fit rbm --hidden 3 --config typo.yaml", "unknown option --epoch Did you mean --epochs"),
        ("evaluate", "FOLDER is required"),
        ("evaluate absent", "absent is no folder"),
        ("evaluate .", "holds no run config.json"),
        ("evaluate . extra", "unexpected argument 'extra'"),
        ("sample absent", "absent is no folder"),
        ("sample . --output draws.jpg", ".npy .png draws.jpg"),
        ("sample . --output absent/draws.npy", "no folder absent"),
        ("list nothing", "unknown topic 'nothing' models"),
        ("demo --epoch 3", "unknown option --epoch Did you mean --epochs"),
    ],
)
def test_wrong_lines(line: str, words: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a traceback, a message of many lines or without the cause, and a wrong exit code."""
    assert main(shlex.split(line)) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1 and "Traceback" not in printed.err
    assert printed.err.startswith("ppgen")
    position = 0
    for word in shlex.split(words, posix=False):
        position = printed.err.find(word.rstrip(","), position)
        assert position >= 0, f"{word} in order in {printed.err}"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"]])
def test_without_a_command(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    """Catches help that leaves out a command, and no arguments taken for success."""
    assert main(arguments) == (0 if arguments else 2)
    printed = capsys.readouterr().out
    assert printed.startswith("ppgen 0." if arguments == ["--version"] else "usage: ppgen")
    assert arguments == ["--version"] or all(command in printed for command in COMMANDS)


def test_another_run_in_the_folder_is_named(capsys: pytest.CaptureFixture) -> None:
    """Catches a run that is overwritten or continued with other settings."""
    line = shlex.split(f"{FIT} --data good.npy --folder run")
    assert main(line) == 0
    assert main([*line, "--seed", "5"]) == 2
    message = capsys.readouterr().err
    assert "seed: 0 there, 5 in this call" in message and "--folder" in message and "--overwrite" in message


@pytest.mark.parametrize("option", ["--seed=0", "--overwrite"])
def test_a_locked_folder_is_refused(option: str, capsys: pytest.CaptureFixture) -> None:
    """Catches two processes that write to one folder, also through --overwrite, and advice that does not help."""
    from filelock import FileLock

    Path("run").mkdir()
    Path("run/metrics.csv").write_text("epoch")
    with FileLock("run/.lock"):
        assert main([*shlex.split(f"{FIT} --data good.npy --folder run"), option]) == 2
    message = capsys.readouterr().err
    assert "Another run is writing to run. Wait for it to end" in message and "--overwrite" not in message
    assert "or Choose" not in message
    assert Path("run/metrics.csv").exists()


@pytest.mark.parametrize("number", ["0", "-3"])
def test_the_particles_of_the_report_are_checked_before_training(number: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --num-particles 0 refused only by the report, after the whole training."""
    line = (
        f"fit rbm --hidden 3 --epochs 1 --quiet --compile false --data good.npy --folder run --num-particles {number}"
    )
    assert main(shlex.split(line)) == 2
    assert f"--num-particles must be 1 or more, got {number}" in capsys.readouterr().err
    assert not Path("run").exists()


def test_a_foreign_checkpoint_is_refused(capsys: pytest.CaptureFixture) -> None:
    """Catches weights of another model that are loaded, or fail with a traceback."""
    for name, hidden in (("a", "3"), ("b", "4")):
        assert main([*shlex.split(f"{FIT} --data good.npy --folder {name}"), "--hidden", hidden]) == 0
    for path in ("model.safetensors", "checkpoint/last.safetensors"):
        Path("a", path).write_bytes(Path("b", path).read_bytes())
    capsys.readouterr()
    assert main(["evaluate", "a"]) == 2
    assert "weights" in capsys.readouterr().err
    Path("a/config.json").write_text("{")
    assert main(["sample", "a"]) == 2
    assert "config.json" in capsys.readouterr().err


def test_divergence_is_one_line_and_code_1(capsys: pytest.CaptureFixture) -> None:
    """Catches training that diverged and is reported as a bad argument, as a bug, or as success."""
    line = "fit vae --latent 2 --hidden 4 --data good.npy --lr 1e30 --epochs 5 --quiet --compile false"
    assert main(shlex.split(line)) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "not finite" in message


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a bug of ours that is shown as the user's mistake."""

    def broken() -> None:
        return int("three")  # a ValueError that no raise statement of ours made

    monkeypatch.setitem(registry.DATASETS, "broken", "ppgen.datasets.digits:load_broken")
    monkeypatch.setattr("ppgen.datasets.digits.load_broken", lambda root: broken(), raising=False)
    with pytest.raises(ValueError, match="three"):
        main(shlex.split(f"{FIT} --data broken"))


def test_only_our_own_raise_statements_are_explained() -> None:
    """Catches errors of other libraries, and of our own faulty calls, taken for bad input."""
    assert explained(UsageError("a\n  b")) == ("a b", 2)
    for call in (lambda: np.zeros(3).reshape(2, 2), lambda: registry.canonical("model"), lambda: show(None)):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of three types
            call()
        assert explained(caught.value) is None
    with pytest.raises(ValueError, match="Unknown model") as ours:
        registry.canonical("model", "nothing")
    assert explained(ours.value) is not None


@pytest.mark.parametrize("wrong", ["--lr -1", "--monitor nothing", "--hidden 0", "--inference.k 0", "--clip-norm nan"])
def test_a_line_that_is_refused_removes_no_run(wrong: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --overwrite that removes a run before it is known that another one can take its place."""
    line = shlex.split(f"{FIT} --data good.npy --folder run")
    assert main(line) == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    assert main([*line, "--overwrite", *wrong.split()]) == 2
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert main([*line, "--overwrite", "--seed", "3"]) == 0
    assert '"seed": 3' in Path("run/config.json").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "sample run --num-samples 1000000000000",
            "num_samples is too large for this machine: 1000000000000 would take",
        ),
        ("sample run --num-samples 99999999999999999999999", "--num-samples must be less than 2^63"),
        ("sample run --num-samples 3 --chunk 99999999999999999999999", "--chunk must be less than 2^63"),
        (
            "evaluate run --method ais --betas 1000000000000",
            "betas is too large for this machine: 1000000000000 would take",
        ),
        (
            "evaluate run --method ais --num-chains 1000000000000",
            "num_chains is too large for this machine: 1000000000000 would take",
        ),
        (f"{FIT} --data good.npy --folder other --inference.k 99999999999999999999999", "--inference.k less than 2^63"),
        (
            "compare rbm --hidden 2 --data good.npy --inferences cd --epochs 1 --seeds 1000000000000 --folder other",
            "seeds is too large for this machine: 1000000000000 would take",
        ),
    ],
)
def test_numbers_too_large_are_refused(line: str, words: str, capsys: pytest.CaptureFixture) -> None:
    """Catches a number that is left to the allocator, to a loop without end, or to an overflow in PyTorch."""
    assert main(shlex.split(f"{FIT} --data good.npy --folder run")) == 0
    capsys.readouterr()
    assert main(shlex.split(line)) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and all(word in message for word in words.split())


def test_a_full_memory_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Catches the traceback of an allocator, which tells a user nothing that could be done."""

    def load(root: object) -> None:
        torch.empty(2**50)

    monkeypatch.setitem(registry.DATASETS, "large", "ppgen.datasets.digits:load_large")
    monkeypatch.setattr("ppgen.datasets.digits.load_large", load, raising=False)
    assert main(shlex.split(f"{FIT} --data large")) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "not enough memory for 4.19e+06 GiB at once: make" in message
