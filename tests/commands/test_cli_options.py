"""Options made from signatures and docstrings, help, and configuration files."""

import inspect
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

import ppgen
from ppgen import datasets, evaluation, inference, registry, training
from ppgen.cli import main
from ppgen.commands import COMMANDS, fit
from ppgen.commands.models import build_model
from ppgen.commands.options import argument_help, first_line, options_of
from ppgen.commands.parser import tidy


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal so wide that help is not broken into lines."""
    monkeypatch.setenv("COLUMNS", "5000")


def helped(line: str, capsys: pytest.CaptureFixture) -> str:
    """What a command line with --help prints."""
    assert main(shlex.split(line)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("model", registry.MODELS)
def test_help_of_a_model_is_its_docstring(model: str, capsys: pytest.CaptureFixture) -> None:
    """Catches an argument of a model or of fit that is no option, or whose help is not its docstring's."""
    shown = helped(f"fit {model} --help", capsys)
    cls = registry.lookup("model", model)
    assert first_line(cls) in shown
    for function in (cls, training.fit):
        for name, text in argument_help(function).items():
            if name in ("pair", "data", "callbacks", "progress", "epochs"):
                continue
            assert f"--{name.replace('_', '-')}" in shown
            assert text in shown or name in ("inference", "folder"), name


@pytest.mark.parametrize("name", [*registry.ALGORITHMS, *registry.OBJECTIVES, *registry.NEGATIVE_PHASES])
def test_help_shows_the_arguments_of_the_inference(name: str, capsys: pytest.CaptureFixture) -> None:
    """Catches an inference whose arguments cannot be given."""
    shown = helped(f"fit RBM --inference {name} --help", capsys)
    function = registry.lookup_inference(name)[1]
    for argument in inspect.signature(function).parameters:
        if argument in (
            "discriminator",
            "fantasy",
            "net",
        ):  # function and module: no command line holds them, so that none may offer them
            assert f"--inference.{argument} " not in shown
            continue
        assert f"--inference.{argument.replace('_', '-')}" in shown
        assert argument_help(function).get(argument, "") in shown


@pytest.mark.parametrize(
    ("command", "function", "skip"),
    [
        ("evaluate", evaluation.log_likelihood, ("pair", "x", "log_partition", "per_position", "progress")),
        ("sample", training.sample, ("pair", "like", "progress")),
        ("evaluate", datasets.load, ("name", "root", "seed")),
    ],
)
def test_help_of_a_command_is_its_docstring(
    command: str, function: object, skip: tuple[str, ...], capsys: pytest.CaptureFixture
) -> None:
    """Catches an argument of the library that the command does not offer."""
    shown = helped(f"{command} --help", capsys)
    for option in options_of(function, skip=skip):  # type: ignore[arg-type]
        assert f"--{option.name.replace('_', '-')}" in shown
        assert option.help and option.help.replace("%%", "%") in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture) -> None:
    """Catches --help that fails or says nothing."""
    assert f"ppgen {command}" in helped(f"{command} --help", capsys)
    assert helped(f"{command} -h", capsys)


@pytest.mark.parametrize("model", registry.MODELS)
def test_no_two_options_share_a_name(model: str) -> None:
    """Catches an argument of a model that is called like one of fit or of the data."""
    options = [option.name for option in options_of(registry.lookup("model", model))]
    taken = {option.name for function in (training.fit, datasets.load) for option in options_of(function)}
    assert not taken & set(options)


def test_printed_config_gives_the_same_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches a value that --print-config drops or writes in a form that --config does not read."""
    line = "VAE --data digits --binarize fixed --data-seed 4 --latent 3 --hidden 7,5 --inference iwae --lr 1e-4"
    line += " --inference.num_particles 9 --optimizer '{name: sgd, momentum: 0.9}' --valid-size 0.2 --epochs 3"
    words = shlex.split(line)
    assert main(["fit", *words, "--print_config"]) == 0
    path = tmp_path / "config.yaml"
    path.write_text(capsys.readouterr().out)
    first, second = fit.read(words), fit.read(["--config", str(path)])
    assert second.model is ppgen.models.VAE and second.parts == first.parts
    drop = {"config"}
    assert {k: v for k, v in first.values.items() if k not in drop} == {
        k: v for k, v in second.values.items() if k not in drop
    }
    assert first.values["hidden"] == [7, 5] and first.values["optimizer"]["momentum"] == 0.9


def test_command_line_wins_over_config(tmp_path: Path) -> None:
    """Catches a config that overrides what is typed, whatever their order, and a short form that is not read."""
    path = tmp_path / "config.yaml"
    path.write_text("model: rbm\nhidden: 4\ndata: digits\ninference: cd\nbatch-size: 7\n")
    command = fit.read(["--hidden", "6", "--config", str(path)])
    assert (command.values["hidden"], command.values["batch_size"]) == (6, 7)
    assert command.parts.inference == "cd"
    path.write_text("model: rbm\nhidden: 4\ndata: digits\ninference: {name: cd, k: 5}\n")
    assert fit.read(["--config", str(path)]).values["inference"]["k"] == 5
    other = fit.read(["--config", str(path), "--inference", "pcd"])
    assert other.values["inference"]["name"] == "pcd" and other.values["inference"]["k"] == 1


def test_recorded_command_reads_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a command.yaml that cannot be run from another folder, or that would overwrite."""
    monkeypatch.chdir(tmp_path)
    np.save("bits.npy", (np.random.default_rng(0).random((30, 4)) < 0.4).astype(np.float32))
    line = "fit rbm --hidden 2 --data bits.npy --folder run --overwrite --epochs 1 --quiet --report false"
    assert main(shlex.split(line)) == 0
    written = yaml.safe_load(Path("run/command.yaml").read_text())
    assert Path(written["data"]).is_absolute() and "overwrite" not in written
    assert main(["fit", "--config", "run/command.yaml", "--quiet", "--report", "false"]) == 0


@pytest.mark.parametrize("hidden", ["[20],[10]", "[[20],[10]]", "[[20], [10]]", "[20] , [10]"])
def test_lists_of_lists_are_read_with_and_without_outer_brackets(hidden: str, capsys: pytest.CaptureFixture) -> None:
    """Catches [[20],[10]] put into another pair of brackets, and help that shows a form which the model refuses."""
    line = ["HierarchicalVAE", "--data", "digits", "--latents", "3,2", "--hidden", hidden]
    assert fit.read(line).values["hidden"] == [[20], [10]]
    shown = helped("fit HierarchicalVAE --help", capsys)
    assert "Written as --hidden [200,200],[100,100]." in shown and "--hidden 64,64" not in shown
    assert "--hidden 64,64" in helped("fit VAE --help", capsys)


def test_the_first_of_the_sizes_comes_from_the_data() -> None:
    """Catches a network for 784 pixels built for other data because its default says so."""
    command = fit.read(["SigmoidBeliefNet", "--data", "digits"])
    assert build_model(command.model, command.values, 64, seed=0).sizes == (64, 200, 200)
    command = fit.read(["HelmholtzMachine", "--data", "digits", "--sizes", "64,20"])
    assert build_model(command.model, command.values, 64, seed=0).sizes == (64, 20)


def test_hyphens_and_underscores_are_one() -> None:
    """Catches the spelling of Python refused on the command line; values must be left alone."""
    assert tidy(["--num_chains=a_b", "--inference", "x_y"]) == ["--num-chains", "a_b", "--inference.name", "x_y"]


def test_types_that_a_shell_cannot_write_are_dropped() -> None:
    """Catches a function or a tensor offered as an option."""
    kinds = {option.name: option.type for option in options_of(training.fit)}
    assert "callbacks" not in kinds and kinds["lr_schedule"] == str | None
    assert kinds["batch_size"] is int and kinds["device"] is str
    assert [option.name for option in options_of(inference.PCD)] == list(inspect.signature(inference.PCD).parameters)
