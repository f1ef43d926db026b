"""A run that was killed and started again is the run that was not."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import ppgen
from ppgen import datasets, inference, models
from ppgen.training.run_folder import checkpoint

_DIGITS = datasets.load("digits", binarize="dynamic")
_ROWS = _DIGITS.train[:300]


def _vae(seed=0):
    torch.manual_seed(seed)
    return models.VAE(features=64, latent=3, hidden=(8,))


def _rbm(seed=0):
    torch.manual_seed(seed)
    return models.RBM(visible=64, hidden=5)


class Killed(Exception):
    pass


def _kill_at(step):
    def callback(event):
        if event.kind == "checkpoint" and event.step == step:
            raise Killed

    return callback


def _metrics(run):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]


CASES = {
    "vae": (_vae, _DIGITS, inference.IWAE(num_particles=2), {}),
    "pcd": (_rbm, _DIGITS, inference.PCD(num_chains=10), {}),
    "tempered": (_rbm, _DIGITS, inference.TemperedPCD(num_chains=10, num_temperatures=3), {}),
    "online": (_rbm, _DIGITS, inference.PCD(num_chains=10, log_partition_chains=8), {}),
    "stages": (_rbm, _DIGITS, inference.PCD(k={0: 1, 9: 3, 14: 2}, num_chains=10), {}),
    "momentum": (
        _rbm,
        _DIGITS,
        inference.CD(k=1),
        {"optimizer": {"name": "sgd", "momentum": 0.9}, "lr_schedule": "cosine"},
    ),
    "best": (_vae, _DIGITS, inference.ELBO(), {"restore_best": True, "lr": 1.0, "clip_norm": 1.0}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("killed_at", [7, 11, 18])
def test_killed_in_an_epoch_and_resumed_is_bit_for_bit_the_same(case, killed_at, tmp_path):
    """Catches any state missing in a checkpoint: moments, chains, offsets, random states, sums, the place in
    the epoch (step 7), an epoch whose metrics were not yet taken (step 11 of 11), the best epoch so far (step 18)."""
    make, data, how, options = CASES[case]
    options = {"epochs": 3, "batch_size": 128, "seed": 3, "progress": False, **options}
    whole = ppgen.fit(make(), data, how, **options)
    with pytest.raises(Killed):
        ppgen.fit(
            make(),
            data,
            how,
            folder=tmp_path,
            checkpoint_minutes=0,
            callbacks=[_kill_at(killed_at)],
            **options,
        )
    torch.rand(13)  # the caller's random state is elsewhere by now
    resumed = ppgen.fit(make(seed=9), data, how, folder=tmp_path, resume="auto", **options)
    for name, value in whole.pair.state_dict().items():
        torch.testing.assert_close(resumed.pair.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    assert str(_metrics(resumed)) == str(_metrics(whole))
    assert (whole.inference_state is None) == (resumed.inference_state is None)
    for name, value in (whole.inference_state or {}).items():
        assert torch.equal(resumed.inference_state[name], value), name
    loaded = ppgen.load(tmp_path)
    for name, value in whole.pair.state_dict().items():
        torch.testing.assert_close(loaded.pair.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    for run in (resumed, whole):
        timed = {"execution": loaded.state["execution"]}  # differs from run to run
        assert loaded.state == run.state | timed
    assert loaded.state["execution"] == resumed.state["execution"]


def test_more_epochs_extend_a_finished_run_of_constant_step_size(tmp_path):
    """Catches a finished run that is trained again from its start, or not at all, when asked for more."""
    options = {"batch_size": 64, "progress": False}
    whole = ppgen.fit(_vae(), _ROWS, "elbo", epochs=4, **options)
    ppgen.fit(_vae(), _ROWS, "elbo", epochs=2, folder=tmp_path, **options)
    longer = ppgen.fit(_vae(5), _ROWS, "elbo", epochs=4, folder=tmp_path, resume="auto", **options)
    assert str(_metrics(longer)) == str(_metrics(whole))
    assert torch.equal(whole.pair.encoder.state_dict().popitem()[1], longer.pair.encoder.state_dict().popitem()[1])


def test_a_falling_step_size_cannot_be_extended(tmp_path):
    """Catches an extension whose first part would have had other step sizes."""
    options = {"folder": tmp_path, "lr_schedule": "linear", "progress": False}
    ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, **options)
    with pytest.raises(ValueError, match="constant lr_schedule"):
        ppgen.fit(_vae(), _ROWS, "elbo", epochs=2, resume="auto", **options)


def test_a_finished_run_is_given_back_without_training(tmp_path):
    """Catches a script that, run again, trains on beyond what it asked for."""
    options = {"epochs": 2, "folder": tmp_path, "resume": "auto", "progress": False}
    first = ppgen.fit(_vae(), _ROWS, "elbo", **options)
    again = ppgen.fit(_vae(4), _ROWS, "elbo", **options)
    assert again.state["step"] == first.state["step"]
    assert all(torch.equal(a, b) for a, b in zip(first.pair.parameters(), again.pair.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"batch_size": 32}, "training.batch_size"),
        ({"seed": 1}, "training.seed"),
        ({"lr": 0.5}, "training.lr"),
        ({"clip_norm": 1.0}, "training.clip_norm"),
        ({"optimizer": "sgd"}, "training.optimizer.name"),
        ({"inference": inference.ELBO(num_particles=3)}, "inference.objective.num_particles"),
        ({"data": _ROWS[:200]}, "data.checksum"),
        ({"pair": models.VAE(features=64, latent=4, hidden=(8,))}, "model.arguments.latent"),
    ],
)
def test_another_configuration_is_named(changed, named, tmp_path):
    """Catches a resume that silently mixes two runs, and a message that does not say what differs."""
    arguments = {"pair": _vae(), "data": _ROWS, "inference": inference.ELBO(), "epochs": 1, "progress": False}
    ppgen.fit(**arguments, folder=tmp_path)
    with pytest.raises(ValueError, match=named):
        ppgen.fit(**(arguments | changed), folder=tmp_path, resume="auto")


def test_other_versions_are_warned_of(tmp_path):
    """Catches a resume on another thread count that claims to be bit for bit the same."""
    arguments = {"inference": "elbo", "folder": tmp_path, "progress": False}
    ppgen.fit(_vae(), _ROWS, epochs=1, **arguments)
    config = checkpoint.read_json(tmp_path / "config.json")
    config["environment"]["torch"] = "1.0"
    checkpoint.write_json(tmp_path / "config.json", config)
    with pytest.warns(UserWarning, match="torch 1.0 ->"):
        ppgen.fit(_vae(), _ROWS, epochs=2, resume=True, **arguments)


def test_a_record_without_a_newer_argument_goes_on(tmp_path):
    """Catches a run of an earlier version that this one refuses, because a model or an objective learnt something."""
    options = {"epochs": 1, "lr_schedule": "constant", "folder": tmp_path, "progress": False}
    ppgen.fit(models.VAE(12, 3, (5,)), torch.ones(20, 12), "elbo", **options)
    path = tmp_path / "config.json"
    config = checkpoint.read_json(path)
    del config["inference"]["objective"]["kl_weight"], config["model"]["arguments"]["categories"]
    checkpoint.write_json(path, config)
    run = ppgen.fit(models.VAE(12, 3, (5,)), torch.ones(20, 12), "elbo", resume=True, **{**options, "epochs": 2})
    assert run.state["epoch"] == 2


def test_resume_is_refused_where_it_makes_no_sense(tmp_path):
    """Catches a folder that is silently overwritten, and resume=True that silently starts afresh."""
    with pytest.raises(ValueError, match="no checkpoint"):
        ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, folder=tmp_path, resume=True, progress=False)
    with pytest.raises(ValueError, match="needs a folder"):
        ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, resume="auto", progress=False)
    with pytest.raises(ValueError, match="resume must be"):
        ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, folder=tmp_path, resume="yes", progress=False)
    ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, folder=tmp_path, progress=False)
    with pytest.raises(ValueError, match="already holds a run"):
        ppgen.fit(_vae(), _ROWS, "elbo", epochs=1, folder=tmp_path, progress=False)


def test_a_callback_can_stop_and_the_run_goes_on_later(tmp_path):
    """Catches a stop that is taken for the end of the run, or that loses the epoch it happened in."""
    options = {"epochs": 3, "folder": tmp_path, "resume": "auto", "progress": False}

    def stop(event):
        if event.kind == "epoch":
            event.stop()

    first = ppgen.fit(_vae(), _ROWS, "elbo", callbacks=[stop], **options)
    assert (first.state["epoch"], first.state["finished"], first.state["stopped_by"]) == (
        1,
        False,
        "callback",
    )
    assert ppgen.fit(_vae(), _ROWS, "elbo", **options).state["epoch"] == 3


_SCRIPT = """
    import sys, torch, ppgen
    from ppgen import models
    torch.set_num_threads(1)
    rows = (torch.arange(300 * 64).reshape(300, 64) % 7 < 3).float()
    torch.manual_seed(0)
    vae = models.VAE(features=64, latent=3, hidden=(8,))
    def tell(event):
        if event.kind == "epoch":
            print(event.epoch, flush=True)
    epochs = int(sys.argv[2])
    options = {"folder": sys.argv[1], "resume": "auto", "callbacks": [tell], "progress": False}
    ppgen.fit(vae, rows, "elbo", epochs=epochs, **options)
"""


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGTERM, ""), (signal.SIGINT, "KeyboardInterrupt")])
def test_a_signal_leaves_a_checkpoint_from_which_the_run_goes_on(number, ending, tmp_path):
    """Catches a handler that loses the step in progress, exits with success, or leaves the folder locked."""
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(_SCRIPT))
    folder = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": str(Path(ppgen.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout.readline() == "1\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # What Python makes of an unhandled KeyboardInterrupt depends on what else was imported.
    assert process.returncode == 143 if number == signal.SIGTERM else process.returncode != 0
    assert errors.strip().endswith(ending)
    assert ending or not errors
    stopped = ppgen.load(folder)
    assert not stopped.state["finished"]
    assert stopped.state["step"] >= 3
    epochs = stopped.state["epoch"] + 1
    rows = (torch.arange(300 * 64).reshape(300, 64) % 7 < 3).float()
    options = {"epochs": epochs, "progress": False}
    resumed = ppgen.fit(_vae(8), rows, "elbo", folder=folder, resume="auto", **options)
    whole = ppgen.fit(_vae(), rows, "elbo", **options)
    for name, value in whole.pair.state_dict().items():
        assert torch.equal(resumed.pair.state_dict()[name], value), name


def test_signal_handlers_and_random_state_are_those_of_the_caller_afterwards():
    """Catches handlers that stay installed, and draws that disturb or depend on the caller's."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    runs = []
    for callers_seed in (1, 2):
        pair = _vae()
        torch.manual_seed(callers_seed)
        before = torch.get_rng_state()
        runs.append(ppgen.fit(pair, _ROWS, "elbo", epochs=1, progress=False))
        assert torch.equal(torch.get_rng_state(), before)
    assert _metrics(runs[0]) == _metrics(runs[1])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
