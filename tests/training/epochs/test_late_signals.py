"""Ctrl-C and SIGTERM in the last phase of a run: the run is complete, and the process still stops."""

import os
import signal

import pytest
import torch

import ppgen
from ppgen import models

_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()
_ENDINGS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}


def _send(kind, number):
    def callback(event):
        if event.kind == kind and (kind != "epoch" or event.step == 6):
            os.kill(os.getpid(), number)

    return callback


def _fit(folder=None, **options):
    torch.manual_seed(0)
    vae = models.VAE(6, 2, (4,))
    options = {"epochs": 2, "batch_size": 20, "progress": False, "folder": folder} | options
    return vae, lambda: ppgen.fit(vae, _ROWS, "elbo", **options)


@pytest.mark.parametrize("number", list(_ENDINGS))
@pytest.mark.parametrize("kind", ["end", "checkpoint", "epoch"])
def test_a_late_signal_is_delivered_once_the_run_is_complete(kind, number, tmp_path):
    """Catches a signal swallowed by the last callbacks or checkpoint, and a finished run left without its weights."""
    vae, fit = _fit(tmp_path, callbacks=[_send(kind, number)])
    with pytest.raises(_ENDINGS[number]):
        fit()
    loaded = ppgen.load(tmp_path)
    assert loaded.state["finished"] and loaded.state["stopped_by"] is None
    assert (tmp_path / "model.safetensors").exists()
    for name, value in vae.state_dict().items():
        assert torch.equal(loaded.pair.state_dict()[name], value), name


def test_a_signal_at_the_end_of_the_last_epoch_leaves_the_best_weights():
    """Catches an interruption that skips putting back the best epoch, though nothing was left to train."""
    states = []

    def spoil(event):
        if event.kind == "epoch" and event.step == 3:
            states.append({name: value.clone() for name, value in event.run.pair.state_dict().items()})
            event.run.pair.decoder.logits.output.bias.data.fill_(20.0)

    vae, fit = _fit(callbacks=[spoil, _send("epoch", signal.SIGINT)], restore_best=True)
    with pytest.raises(KeyboardInterrupt):
        fit()
    assert all(torch.equal(value, states[0][name]) for name, value in vae.state_dict().items())


def test_a_handler_of_the_users_own_that_returns_is_called_once():
    """Catches a signal delivered again at the end of the run that it has stopped."""
    calls = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        for kind in ("start", "end"):
            _, fit = _fit(callbacks=[_send(kind, signal.SIGTERM)])
            run = fit()
            assert run.state["finished"] == (kind == "end")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == [signal.SIGTERM] * 2
