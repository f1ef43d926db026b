"""What a run folder may hold: files of earlier formats, of another run, damaged, or of somebody else."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import pyro
import pytest
import torch

import ppgen
from ppgen import inference, models
from ppgen.training.run_folder import checkpoint

DATA = Path(__file__).parents[2] / "data" / "folders_1"
_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def _pair(name):
    torch.manual_seed(1)
    return models.VAE(features=6, latent=2, hidden=(4,)) if name == "vae" else models.RBM(visible=6, hidden=3)


def _fit(name, folder=None, **options):
    how = inference.ELBO() if name == "vae" else inference.PCD(num_chains=7)
    given = {"epochs": 4, "batch_size": 20, "seed": 3, "restore_best": True, "compile": False, "lr": 0.05}
    return ppgen.fit(_pair(name), _ROWS, how, folder=folder, progress=False, **given | options)


def _equal(first, second, exact=True):
    tolerance = {"rtol": 0, "atol": 0} if exact else {}
    for state, other in (
        (first.pair.state_dict(), second.pair.state_dict()),
        (first.inference_state or {}, second.inference_state or {}),
    ):
        assert set(state) == set(other)
        for key, value in state.items():
            torch.testing.assert_close(other[key], value, equal_nan=True, **tolerance)
    seen = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.metrics] for run in (first, second)]
    assert str(seen[0]) == str(seen[1]) or not exact


def _stopped(name, folder):
    def stop(event):
        if event.kind == "checkpoint" and event.step == 7:
            event.stop()

    return _fit(name, folder, checkpoint_minutes=0, callbacks=[stop])


@pytest.mark.parametrize("name", ["vae", "rbm"])
def test_folders_of_the_first_format_are_read_and_go_on(name, tmp_path):
    """Catches a new format under which runs of before are lost, or go on otherwise than they would have."""
    for kind in (name, f"{name}_finished"):
        shutil.copytree(DATA / kind, tmp_path / kind)
    before = ppgen.load(tmp_path / name)
    assert before.state["step"] == 7 and not before.state["finished"]
    ended = ppgen.load(tmp_path / f"{name}_finished")
    assert ended.state["restored_best"] and ended.state["finished"]
    here = checkpoint.read_json(DATA / name / "config.json")["environment"]
    whole = _fit(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The run goes on in another environment")
        resumed = _fit(name, tmp_path / name, resume=True)
    same = here == whole.config["environment"]
    _equal(ended, resumed, exact=same)  # the values of all epochs are of the rows that the run looked at before
    assert same is False or resumed.state["best_value"] == ended.state["best_value"]
    assert name == "rbm" or str(whole.state["best_value"]) == str(resumed.state["best_value"])
    for key, value in whole.pair.state_dict().items():  # new runs look at more rows of a machine, and train alike
        assert torch.equal(resumed.pair.state_dict()[key], value)
    _equal(resumed, ppgen.load(tmp_path / name))
    assert checkpoint.read_json(tmp_path / name / "config.json")["checkpoint_format"] == checkpoint.FORMAT


def test_an_upgrade_that_is_stopped_half_way_loses_nothing(tmp_path, monkeypatch):
    """Catches an old folder whose files were written anew before its configuration, and are then of no run."""
    shutil.copytree(DATA / "vae", tmp_path / "vae")

    def full(path, content):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as context, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The run goes on in another environment")
        context.setattr(checkpoint, "write_json", full)
        with pytest.raises(OSError, match=r"No space left on device \(the last checkpoint is whole\)"):
            _fit("vae", tmp_path / "vae", resume=True)
    assert ppgen.load(tmp_path / "vae").state["step"] == 7
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The run goes on in another environment")
        _equal(_fit("vae"), _fit("vae", tmp_path / "vae", resume=True))


def test_a_run_that_ended_before_its_weights_were_written_has_its_own(tmp_path):
    """Catches weights of an earlier stop that are given for those of the end: its file was not replaced yet."""
    _stopped("vae", tmp_path)
    early = (tmp_path / "model.safetensors").read_bytes()
    whole = _fit("vae", tmp_path, resume=True)
    (tmp_path / "model.safetensors").write_bytes(early)
    _equal(whole, ppgen.load(tmp_path))


def test_files_of_another_run_or_epoch_are_refused(tmp_path):
    """Catches weights, chains or a best epoch of one run that are given for those of another."""
    for folder in ("a", "b"):
        _fit("rbm", tmp_path / folder)
    for name in ("config.json", "checkpoint/last.safetensors", "checkpoint/best.safetensors"):
        shutil.copytree(tmp_path / "a", tmp_path / "mixed")
        shutil.copy(tmp_path / "b" / name, tmp_path / "mixed" / name)
        with pytest.raises(ValueError, match="weights of another run"):
            ppgen.load(tmp_path / "mixed")
        with pytest.raises(ValueError, match="weights of another run"):
            _fit("rbm", tmp_path / "mixed", resume=True)
        shutil.rmtree(tmp_path / "mixed")
    path = tmp_path / "a" / "checkpoint/best.safetensors"
    tensors, header = checkpoint.read(path)
    checkpoint.write(path, tensors, {**header, "epoch": header["epoch"] - 1})
    with pytest.raises(ValueError, match="not written together"):
        ppgen.load(tmp_path / "a")
    path.unlink()
    with pytest.raises(ValueError, match=r"best.safetensors cannot be read"):
        ppgen.load(tmp_path / "a")


@pytest.mark.parametrize("name", ["config.json", "checkpoint/last.safetensors", "checkpoint/best.safetensors"])
def test_a_flipped_bit_is_refused(name, tmp_path):
    """Catches numbers of a damaged disk that are believed."""
    _fit("vae", tmp_path)
    content = (tmp_path / name).read_bytes()
    for position in (len(content) // 3, len(content) // 2, len(content) - 9):
        damaged = bytearray(content)
        damaged[position] ^= 4
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=name):
            ppgen.load(tmp_path)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("config", {"checkpoint_format": 99}, "checkpoint_format 99"),
        ("config", {"checkpoint_format": True}, "checkpoint_format True"),
        ("config", {"training": None}, "field 'training' must be an object, found None"),
        ("config", {"data": {}}, "field 'data.description' is missing, expected a text"),
        ("config", {"inference": {"objective": {"name": 3}}}, "'inference' describes no inference"),
        ("last", {"checkpoint_format": 3}, "checkpoint_format 3"),
        ("last", {"step": -1}, "field 'step' must be an integer, 0 or more, found -1"),
        ("last", {"finished": "no"}, "field 'finished' must be true or false, found 'no'"),
        ("last", {"metrics": [{"epoch": 1, "step": 3, "lr": "fast"}]}, "field 'metrics.0.lr' must be a number or null"),
        ("last", {"points": 3}, "field 'points' must be a list, found 3"),
        ("last", {"points": [{"a": 1}]}, "field 'points.0' must be a text"),
        ("last", {"metrics": []}, "one row for each of its 4 epochs, found 0"),
        ("last", {"selection": {"monitor": "train_value"}}, "field 'selection.value' is missing"),
    ],
)
def test_fields_are_named_with_what_was_expected(file, change, words, tmp_path):
    """Catches a KeyError or TypeError from deep inside, and a header that is believed though it cannot be."""
    _fit("vae", tmp_path)
    if file == "config":
        path = tmp_path / "config.json"
        checkpoint.write_json(path, checkpoint.read_json(path) | change)
    else:
        path = tmp_path / "checkpoint/last.safetensors"
        tensors, header = checkpoint.read(path)
        checkpoint.write(path, tensors, header | change)
    for call in (lambda: ppgen.load(tmp_path), lambda: _fit("vae", tmp_path, resume=True)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
            call()
        assert words in str(caught.value) and path.name in str(caught.value)


def test_chains_and_weights_that_are_not_finite_are_refused(tmp_path):
    """Catches chains of NaN from which a machine is then sampled."""
    _fit("rbm", tmp_path, restore_best=False)
    path = tmp_path / "checkpoint/last.safetensors"
    tensors, header = checkpoint.read(path)
    for name, words in (
        ("inference/hidden.chains", "its chains"),
        ("inference/hidden.even_offset", "its averages 'inference/hidden.even_offset' hold NaN"),
        ("pair/weight", "its weights"),
    ):
        bad = {**tensors, name: torch.full_like(tensors[name], torch.nan)}
        checkpoint.write(path, bad, header)
        with pytest.raises(ValueError, match=words):
            ppgen.load(tmp_path)


@pytest.mark.parametrize("told", [True, False])
def test_an_optimiser_that_would_begin_anew_is_refused(told, tmp_path):
    """Catches a run that goes on with fresh moments, in silence, because a file without them is sound in itself."""
    _fit("vae", tmp_path)
    path = tmp_path / "checkpoint/last.safetensors"
    tensors, header = checkpoint.read(path)
    if not told:  # as files were before
        del header["optimizer_tensors"]
    checkpoint.write(path, tensors, header)
    _fit("vae", tmp_path, resume=True)
    lost = [name for name in tensors if name.startswith("optimizer/")]
    gone = lost if not told else [name for name in lost if "encoder.body.0.weight/" in name]
    checkpoint.write(path, {name: value for name, value in tensors.items() if name not in gone}, header)
    with pytest.raises(ValueError, match=r"state of the optimiser \(Adam\) is missing for '.*' and \d+ more"):
        _fit("vae", tmp_path, resume=True, epochs=5)


def test_sizes_of_a_strangers_configuration_are_compared_before_anything_is_built(tmp_path):
    """Catches a configuration of some bytes that takes all memory."""
    _fit("vae", tmp_path)
    path = tmp_path / "config.json"
    config = checkpoint.read_json(path)
    config["model"]["arguments"]["latent"] = 10**9
    checkpoint.write_json(path, config)
    with pytest.raises(ValueError, match=r"has shape \(1000000000,.*not of one run"):
        ppgen.load(tmp_path)
    config["model"]["arguments"] = {"features": 6, "latent": 2, "hidden": [1] * 200_000}
    checkpoint.write_json(path, config)
    started = time.process_time()
    with pytest.raises(ValueError, match=r"makes no VAE \(.*more than 120 parameters, and 10 weights are saved"):
        ppgen.load(tmp_path)
    assert time.process_time() - started < 3  # two minutes, if all of it is built
    config["model"]["arguments"] = {"latent": 2}
    checkpoint.write_json(path, config)
    with pytest.raises(ValueError, match=r"'model.arguments' makes no VAE"):
        ppgen.load(tmp_path)
    config["model"] = {"name": None, "type": "Pair", "example": {"shape": [10**6, 10**6], "dtype": "float32"}}
    checkpoint.write_json(path, config)
    with pytest.raises(ValueError, match="too many to try one"):
        ppgen.load(tmp_path, pair=ppgen.Pair(_lazy, _lazy))


def _lazy(x):
    pyro.param("loc", torch.zeros(6))


def test_what_is_no_regular_file_is_not_opened(tmp_path):
    """Catches a loader that waits for ever at a pipe, or reads a device without an end."""
    _fit("vae", tmp_path / "run")
    for name in ("config.json", "checkpoint/last.safetensors", "checkpoint/best.safetensors"):
        shutil.copytree(tmp_path / "run", tmp_path / "piped")
        (tmp_path / "piped" / name).unlink()
        os.mkfifo(tmp_path / "piped" / name)
        with pytest.raises(ValueError, match="no regular file"):
            ppgen.load(tmp_path / "piped")
        with pytest.raises(ValueError, match="no regular file"):
            _fit("vae", tmp_path / "piped", resume=True, epochs=5)
        (tmp_path / "piped" / name).unlink()
        (tmp_path / "piped" / name).symlink_to("/dev/zero")
        with pytest.raises(ValueError, match="no regular file"):
            ppgen.load(tmp_path / "piped")
        shutil.rmtree(tmp_path / "piped")
    with (tmp_path / "run" / "config.json").open("r+b") as file:
        file.truncate(2**31)
    with pytest.raises(ValueError, match="2147483648 bytes"):
        ppgen.load(tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text("[" * 10**5)
    with pytest.raises(ValueError, match="cannot be read"):
        ppgen.load(tmp_path / "run")


@pytest.mark.parametrize(
    "name", ["metrics.csv", "figures/curve.png", "tensorboard/events.out.tfevents.1", "config.json"]
)
@pytest.mark.parametrize("resume", [False, "auto"])
def test_a_folder_of_somebody_else_is_left_alone(name, resume, tmp_path):
    """Catches a fit that replaces a table, weights or figures that it did not write."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(ValueError, match=name):
        _fit("vae", tmp_path, resume=resume)
    assert (tmp_path / name).read_text() == '{"mine": 1}'


def test_files_of_other_names_do_not_stand_in_the_way(tmp_path):
    """Catches a script's own notes taken for a run of somebody else."""
    (tmp_path / "arguments.json").write_text(json.dumps({"lr": 0.05}))
    (tmp_path / "figures").mkdir()
    assert _fit("vae", tmp_path).state["finished"]
    with pytest.raises(ValueError, match="empty one"):
        _fit("vae", "")


@pytest.mark.parametrize("name", ["metrics.csv", "checkpoint", "figures", "tensorboard", ".lock", "model.safetensors"])
def test_links_out_of_a_folder_are_refused(name, tmp_path):
    """Catches a run that writes, through a link, what lies elsewhere."""
    folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir() if name in ("checkpoint", "figures", "tensorboard") else elsewhere.write_text("mine")
    (folder / name).symlink_to(elsewhere)
    for resume in (False, "auto"):
        with pytest.raises(ValueError, match=rf"{name} is a link"):
            _fit("vae", folder, resume=resume)
    assert not any(elsewhere.iterdir()) if elsewhere.is_dir() else elsewhere.read_text() == "mine"


def test_what_killed_writers_left_is_removed(tmp_path):
    """Catches temporary files that stay for ever, and a living writer's that is taken away."""
    _stopped("vae", tmp_path)
    left = ["config.json", "metrics.csv", "checkpoint/last.safetensors", "evaluation.json"]
    dead = [(tmp_path / each).with_name(f".{Path(each).name}.{2**22 + 1}.tmp") for each in left]
    living = tmp_path / f".evaluation.json.{os.getpid()}.tmp"
    others = [tmp_path / ".notes.txt.5.tmp", tmp_path / "config.json.tmp"]
    for path in (*dead, living, *others):
        path.write_text("half")
    _fit("vae", tmp_path, resume=True)
    assert not any(path.exists() for path in dead)
    assert living.exists() and all(path.exists() for path in others)


@pytest.mark.parametrize(("number", "words"), [(28, "No space left on device"), (30, "Read-only file system")])
def test_a_disk_that_takes_no_more_is_named_with_what_is_left(number, words, tmp_path, monkeypatch):
    """Catches a bare traceback that names a temporary file, and does not say that the run can go on."""
    whole = _fit("vae")
    _stopped("vae", tmp_path)

    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match=rf"{words} \(the last checkpoint is whole\): '.*config.json'") as caught:
            _fit("vae", tmp_path, resume=True)
    assert caught.value.errno == number
    _equal(whole, _fit("vae", tmp_path, resume=True))
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path):
    """Catches a run that says "File exists" of a folder that does not."""
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ValueError, match="link is a link that leads nowhere"):
        _fit("vae", tmp_path / "link")


def test_a_sum_of_values_that_is_no_number_is_refused(tmp_path):
    """Catches a run that goes on from a sum of another shape, and ends in a raw error of torch."""
    path = tmp_path / "run" / "checkpoint" / "last.safetensors"
    _stopped("vae", tmp_path / "run")
    tensors, header = checkpoint.read(path)
    checkpoint.write(path, {**tensors, "value_sum": torch.ones(3)}, header)
    with pytest.raises(ValueError, match="last.safetensors is damaged: tensor 'value_sum' must be one number"):
        ppgen.load(tmp_path / "run")
