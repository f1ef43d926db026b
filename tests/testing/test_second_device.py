"""Training, evaluation and files on another device than the CPU; on a simulated one where there is no GPU."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import moved
from examples.models import MODELS

import ppgen
from ppgen import evaluation, features, testing
from ppgen.coders import Coder
from ppgen.datasets import as_dataset
from ppgen.training.environment import describe_environment, resolve_device
from ppgen.training.steps.stepper import Stepper
from ppgen.undisturbed import forked

SETTINGS: dict[str, Any] = {"batch_size": 3, "seed": 1, "progress": False, "compile": False}


def made(name: str, initialised: bool = True) -> tuple[Any, Any]:
    """A model with weights of its own, and its data, in float32 on the CPU."""
    with forked(torch.device("cpu"), seed=7):
        pair, data = MODELS[name][0]()
        data = moved(data, torch.float32)
        if not isinstance(data, tuple) and initialised:  # which may draw on the CPU, whose stream is that of one device
            pair.inspect_data(as_dataset(data))
            pair.initialise(as_dataset(data))
            pair.initialised = True
    return pair, data


def weights(pair: Any) -> dict[str, torch.Tensor]:
    return {key: value.detach().cpu() for key, value in pair.state_dict().items()}


def same(one: Any, other: Any) -> bool:
    return set(one) == set(other) and all(
        torch.allclose(one[name], other[name], rtol=0, atol=0, equal_nan=True) for name in one
    )


def figures(pair: Any, data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What evaluation and `ppgen.sample` give: log-likelihoods of the rows, and draws."""
    like = {"like": data} if isinstance(data, tuple) else {}
    with warnings.catch_warnings():  # so few particles and sweeps that diagnostics may well complain
        warnings.simplefilter("ignore")
        if isinstance(pair, Coder):  # a flat prior: no likelihood and no draws
            return features.encode(pair, data).cpu(), features.reconstruct(pair, data).cpu()
        if not pair.has_likelihood:
            score = evaluation.parzen(pair, data, num_samples=20, controls=data)
            return torch.as_tensor(score.per_datum["model"]), ppgen.sample(pair, 4, seed=3).samples.cpu()
        found = evaluation.log_likelihood(pair, data, num_particles=30, chunk=60, num_chains=8, betas=10)
        draws = ppgen.sample(pair, 6 if like else 4, sweeps=2, warmup_steps=2, seed=3, **like)
    return torch.as_tensor(found.per_datum["log_likelihood"]), draws.samples.cpu()


@pytest.mark.parametrize("name", MODELS)
def test_the_whole_way(name: str, device: torch.device, tmp_path: Path) -> None:
    """Catches a tensor made on the CPU, or a draw from its generator, on the way from training to a figure."""
    pair, data = made(name)
    run = ppgen.fit(pair, data, steps=4, device=device, folder=tmp_path / "run", **SETTINGS)
    assert run.config["environment"]["device"] == describe_environment(device)["device"]
    assert {value.device for value in pair.state_dict().values()} == {resolve_device(device)}
    likelihoods, draws = figures(pair, data)
    assert likelihoods.isfinite().all() and draws.isfinite().all()
    loaded = ppgen.load(tmp_path / "run")
    assert same(weights(getattr(loaded, "pair", loaded)), weights(pair))
    if device.type == "cuda":  # its kernels sum in another order, and draw from another stream
        return
    other, _ = made(name)
    ppgen.fit(other, data, steps=4, device="cpu", **SETTINGS)
    assert same(weights(pair), weights(other))
    on_cpu = figures(other, data)
    assert torch.allclose(likelihoods, on_cpu[0], rtol=1e-5) and torch.allclose(draws, on_cpu[1], rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_run_goes_on_elsewhere(name: str, device: torch.device, tmp_path: Path, monkeypatch: Any) -> None:
    """Catches a checkpoint that only the device that wrote it can read, and state that is left behind on the way.

    The stream of the simulated device is handed on with the checkpoint, so that the numbers are those of one run.
    """
    pair, data = made(name)
    straight, _ = made(name)
    ppgen.fit(straight, data, steps=6, device="cpu", **SETTINGS)
    if device.type == "sim":
        restore = Stepper.restore

        def handed_on(self: Stepper, tensors: Any, numbers: Any) -> None:
            before = tensors.get("random/sim", tensors["random/cpu"])
            restore(self, {**tensors, "random/cpu": before, "random/sim": before}, numbers)

        monkeypatch.setattr(Stepper, "restore", handed_on)
    kept: dict[str, Any] = {"folder": tmp_path, "resume": "auto", "checkpoint_minutes": 0}
    for where, steps in (("cpu", 2), (device, 4), ("cpu", 6)):
        stop = lambda event, steps=steps: event.stop() if event.kind == "checkpoint" and event.step == steps else None
        told = device.type != "cpu" and steps > 2
        with pytest.warns(UserWarning, match="another environment .device") if told else nullcontext():
            ppgen.fit(pair, data, steps=6, device=where, callbacks=[stop], **kept, **SETTINGS)
    if device.type != "cuda":
        assert same(weights(pair), weights(straight))


@pytest.mark.parametrize("name", MODELS)
def test_a_steady_step_waits_for_nothing(name: str, monkeypatch: Any) -> None:
    """Catches a value read back, or a tensor brought from the CPU, in a step: a GPU would wait in each of them."""
    pair, data = made(name, initialised=False)
    counts = []
    advance = Stepper.advance

    def counted(self: Stepper) -> None:
        with testing.counting() as count:
            advance(self)
        counts.append(count)

    monkeypatch.setattr(Stepper, "advance", counted)
    ppgen.fit(pair, data, steps=6, device=testing.second_device(), **SETTINGS)
    for count in counts[3:]:
        assert count.calls
        assert not count.reads and not count.uploads and not count.strays, count
