"""Folders of runs: what they hold, who may write to them, and what of them is believed."""

import csv
import json

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

import ppgen
from ppgen import inference, models
from ppgen.training import FolderInUseError
from ppgen.training.run_folder import checkpoint
from ppgen.training.run_folder.folder import RunFolder

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def _fit(pair, folder, **options):
    return ppgen.fit(pair, _ROWS, folder=folder, **{"epochs": 2, "batch_size": 20, "progress": False} | options)


def _vae():
    return models.VAE(features=6, latent=2, hidden=(4,))


def test_a_run_folder_holds_what_the_documentation_says(tmp_path):
    """Catches a missing file, and figures in the table that are not those of the run."""
    run = _fit(_vae(), tmp_path, restore_best=True)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {
        "config.json",
        "model.safetensors",
        "metrics.csv",
        "checkpoint/last.safetensors",
        "checkpoint/best.safetensors",
    } <= files
    assert any(name.startswith("tensorboard/") for name in files)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_value"]) for row in rows] == run.curve("train_value")
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"]["name"] == "VAE"
    assert config["model"]["arguments"]["latent"] == 2
    assert config["environment"]["torch"] == torch.__version__
    assert config["data"]["checksum"]


def test_nothing_is_pickled(tmp_path):
    """Catches a torch.save: a stranger's pickle runs code when it is opened."""
    _fit(models.RBM(6, 3), tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != ".lock":
            start = path.read_bytes()[:4096]
            assert not start.startswith((b"PK", b"\x80")), path
            assert b"torch._utils" not in start, path


@pytest.mark.parametrize("name", ["os:system", "subprocess.Popen", "ppgen.models.variational.vae:VAE"])
def test_no_path_from_a_file_is_imported(name, tmp_path):
    """Catches a loader that imports what config.json names."""
    _fit(_vae(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"]["name"] = name
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="Unknown model"):
        ppgen.load(tmp_path)


def test_weights_chains_and_metrics_come_back(tmp_path):
    """Catches weights of another epoch, lost chains, float64 weights that are rounded."""
    torch.manual_seed(3)
    pair = models.RBM(6, 3).double()
    run = _fit(pair, tmp_path, inference=inference.PCD(num_chains=7))
    loaded = ppgen.load(tmp_path)
    for name, value in pair.state_dict().items():
        torch.testing.assert_close(loaded.pair.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    assert loaded.pair.weight.dtype == torch.float64
    assert torch.equal(loaded.inference_state["hidden.chains"], run.inference_state["hidden.chains"])
    assert str(loaded.metrics) == str(run.metrics)
    assert loaded.inference == run.inference
    assert loaded.dataset == run.dataset
    assert loaded.state["finished"]


def _model(x):
    loc = pyro.param("loc", torch.zeros(6))
    scale = pyro.param("scale", torch.ones(6), constraint=dist.constraints.positive)
    network = pyro.module("network", _NETWORK[0])
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(loc + network(z), scale).to_event(1), obs=x)


def _guide(x):
    with pyro.plate("data", len(x)):
        loc = pyro.param("shift", torch.zeros(2))
        pyro.sample("z", dist.Normal(x[:, :2] * 0.1 + loc, 0.5).to_event(1))


_NETWORK = [nn.Linear(2, 6)]


def _functions():
    torch.manual_seed(0)
    _NETWORK[0] = nn.Linear(2, 6)
    return ppgen.Pair(_model, _guide)


def _global_model(x):
    with pyro.plate("features", 6, dim=-1):
        loc = pyro.sample("loc", dist.Normal(0.0, 2.0))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def _autoguide():
    return ppgen.Pair(_global_model, AutoNormal(pyro.poutine.block(_global_model, hide=["x"])))


@pytest.mark.parametrize("make", [_functions, _autoguide])
def test_pairs_of_ones_own_train_save_and_resume(make, tmp_path):
    """Catches captured parameters that do not move, are not saved, or land in Pyro's store."""
    whole = _fit(make(), None, epochs=3)
    assert any(parameter.abs().sum() > 0 for parameter in whole.pair.parameters())
    assert whole.curve("train_value")[-1] > whole.curve("train_value")[0]

    def stop(event):
        if event.kind == "checkpoint" and event.step == 4:
            event.stop()

    pyro.clear_param_store()
    _fit(make(), tmp_path, epochs=3, checkpoint_minutes=0, callbacks=[stop])
    resumed = _fit(make(), tmp_path, epochs=3, resume="auto")
    loaded = ppgen.load(tmp_path, pair=make())
    for name, value in whole.pair.state_dict().items():
        assert torch.equal(resumed.pair.state_dict()[name], value), name
        assert torch.equal(loaded.pair.state_dict()[name], value), name
    assert not list(pyro.get_param_store().keys())
    with pytest.raises(ValueError, match=r"ppgen.load\(folder, pair="):
        ppgen.load(tmp_path)


def test_weights_of_another_pair_are_refused(tmp_path):
    """Catches weights that are put silently into a pair of other shapes."""
    _fit(_vae(), tmp_path)
    with pytest.raises(ValueError, match="not those of this pair"):
        ppgen.load(tmp_path, pair=models.VAE(features=6, latent=3, hidden=(4,)))


def test_a_folder_in_use_is_locked_and_free_afterwards(tmp_path):
    """Catches two runs that write to one folder, and a lock that outlives its run or an error in it."""
    with RunFolder(tmp_path, False), pytest.raises(FolderInUseError, match="Another run"):
        _fit(_vae(), tmp_path)

    def fail(event):
        raise RuntimeError("callback")

    with pytest.raises(RuntimeError, match="callback"):
        _fit(_vae(), tmp_path, callbacks=[fail])
    assert _fit(_vae(), tmp_path, resume="auto").state["finished"]


def test_writing_is_atomic(tmp_path):
    """Catches a write that destroys the old checkpoint before the new one is whole, and files left behind."""
    path = tmp_path / "state.safetensors"
    checkpoint.write(path, {"a": torch.ones(2)}, {"step": 1})
    with pytest.raises(RuntimeError, match="disk full"), checkpoint.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("disk full")
    tensors, header = checkpoint.read(path)
    assert torch.equal(tensors["a"], torch.ones(2))
    assert header == {"step": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["state.safetensors"]


def test_damaged_and_foreign_files_give_one_clear_error(tmp_path):
    """Catches a traceback from deep inside a parser where a sentence naming the file is due."""
    with pytest.raises(ValueError, match="holds no run"):
        ppgen.load(tmp_path)
    _fit(_vae(), tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        config.replace(f'"checkpoint_format": {checkpoint.FORMAT}', '"checkpoint_format": 99')
    )
    with pytest.raises(ValueError, match="checkpoint_format 99"):
        ppgen.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json cannot be read"):
        ppgen.load(tmp_path)
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "checkpoint" / "last.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"last.safetensors cannot be read"):
        ppgen.load(tmp_path)
