"""Which device is meant, what it lacks, and that the simulated one behaves as a device does."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import ppgen
from ppgen import devices, evaluation, models, testing
from ppgen.graphs.compiler import compiled
from ppgen.training import environment
from ppgen.training.environment import resolve_device
from ppgen.training.steps.stepper import Stepper
from ppgen.undisturbed import random_state

SETTINGS: dict[str, Any] = {"batch_size": 4, "seed": 1, "progress": False}


@pytest.fixture
def sim() -> torch.device:
    return testing.second_device()


def bits() -> torch.Tensor:
    return torch.rand(8, 5).lt(0.5).float()


def test_auto_takes_no_imitation(sim: torch.device) -> None:
    """Catches a training that lands on the simulated device because PyTorch calls it the accelerator."""
    assert torch.accelerator.current_accelerator() == torch.device("sim")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("sim") == resolve_device(torch.device("sim")) == resolve_device("sim:0") == sim


@pytest.mark.parametrize(("kind", "index"), [("xpu", 1), ("mps", 0), ("cuda", 2)])
def test_auto_takes_what_pytorch_finds(kind: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches an accelerator that is not CUDA and is passed over, or its first index where another is current."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device(kind))
    monkeypatch.setattr(torch.get_device_module(kind), "current_device", lambda: index, raising=kind != "mps")
    assert resolve_device("auto") == torch.device(kind, index)


def test_what_is_not_there_is_refused(sim: torch.device) -> None:
    """Catches a name that fails only when the first tensor goes there, and one that is silently replaced."""
    with pytest.raises(ValueError, match="'sim:3' is not there: this machine has 1 SIM devices"):
        resolve_device("sim:3")
    for name in ("xpu", "mps", "cuda"):
        if not torch.get_device_module(name).is_available():
            with pytest.raises(ValueError, match=f"'{name}' is not there: this machine has 0"):
                resolve_device(name)
    for name in ("gpu", "meta", ""):
        with pytest.raises(ValueError, match="device must be 'auto', 'cpu' or an accelerator"):
            resolve_device(name)
    with pytest.raises(TypeError, match="got int"):
        resolve_device(0)


def test_what_inductor_lacks_is_said(sim: torch.device) -> None:
    """Catches a compiled step that fails in Inductor's own words, or stops the training."""
    assert devices.has_inductor("cuda") and not devices.has_inductor("sim")
    with pytest.raises(RuntimeError, match="no Inductor for sim"):
        compiled(lambda x: [x + 1], [torch.zeros(2, device=sim)])
    with pytest.warns(UserWarning, match="runs uncompiled: RuntimeError: PyTorch has no Inductor for sim"):
        ppgen.fit(models.VAE(5, latent=2, hidden=(3,)), bits(), steps=3, device=sim, compile=True, **SETTINGS)


def test_a_device_without_float64(sim: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a training that needs float64 where MPS has none, and an evaluation that fails there without a word."""
    monkeypatch.setattr(environment, "_TOLD", set())
    pair = models.VAE(5, latent=2, hidden=(3,))
    with testing.lacking(torch.float64):
        assert devices.wide(sim) == torch.float32
        with pytest.raises(ValueError, match=r"sim has no float64, in which the pair holds .*pair.float\(\)"):
            ppgen.fit(models.VAE(5, latent=2, hidden=(3,)).double(), bits(), steps=2, device=sim, **SETTINGS)
        with pytest.warns(UserWarning, match="sim has no float64: train_value is summed in float32") as told:
            run = ppgen.fit(pair, bits(), epochs=2, device=sim, **SETTINGS)
            ppgen.fit(pair, bits(), epochs=1, device=sim, **SETTINGS)
        assert len(told) == 1 and len(run.curve("train_value")) == 2
        with pytest.raises(ValueError, match=r"Log-likelihoods are summed in float64, which sim lacks.*pair.cpu\(\)"):
            evaluation.log_likelihood(pair, bits())
    assert devices.wide(sim) == torch.float64


def test_a_stream_does_not_begin_again(sim: torch.device, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Catches a run that comes to a device half-way and draws there what a run from its start would have drawn."""
    states = []
    advance = Stepper.advance

    def noted(self: Stepper) -> None:
        states.append(random_state(sim)["sim"])
        advance(self)

    monkeypatch.setattr(Stepper, "advance", noted)
    pair, data = models.VAE(5, latent=2, hidden=(3,)), bits()
    ppgen.fit(pair, data, steps=1, device=sim, **SETTINGS)
    kept: dict[str, Any] = {"folder": tmp_path, "resume": "auto", "checkpoint_minutes": 0}
    stop = lambda event: event.stop() if event.kind == "checkpoint" else None
    ppgen.fit(pair, data, steps=4, device="cpu", callbacks=[stop], **kept, **SETTINGS)
    with pytest.warns(UserWarning, match="another environment"):
        ppgen.fit(pair, data, steps=4, device=sim, **kept, **SETTINGS)
    assert len(states) == 5 and not torch.equal(states[0], states[2])


def test_tensors_of_two_devices_do_not_meet(sim: torch.device) -> None:
    """Catches a simulated device that lets through what a GPU refuses, or refuses what a GPU lets through."""
    x = torch.randn(3, 4, device=sim)
    for meet in (lambda: x + torch.ones(4), lambda: torch.ones(2, 3) @ x, lambda: torch.cat([x, torch.ones(1, 4)])):
        with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
            meet()
    assert (x * torch.tensor(2.0)).device == x[torch.tensor([0, 2])].device == sim


def test_numbers_are_those_of_the_cpu(sim: torch.device) -> None:
    """Catches a wrong type beside a number, a gradient through a view that lands elsewhere, a convolution amiss."""
    whole = torch.arange(4, device=sim)
    for made, expected in ((whole * 2.5, torch.float32), (2**whole, torch.int64), (whole / 2, torch.float32)):
        assert made.dtype == expected
    gradients = []
    for device in (torch.device("cpu"), sim):
        torch.manual_seed(0)
        net = nn.Conv2d(1, 2, 2).to(device)
        x = torch.randn(3, 1, 3, 3).to(device).requires_grad_()
        column = torch.randn(3, 1, 3).to(device).requires_grad_()
        changed = x * 1
        changed[..., 1] = 2 * column
        (net(changed).square().sum() + changed[:, 0].diagonal(dim1=1, dim2=2)[1:].exp().sum()).backward()
        gradients.append([value.grad for value in (x, column, *net.parameters())])
    for found, expected in zip(gradients[1], gradients[0], strict=True):
        assert found.device == sim
        torch.testing.assert_close(found.cpu(), expected)
    grown = torch.zeros(2, device=sim)
    assert torch.add(grown, 1, out=torch.empty(0, device=sim)).tolist() == [1, 1]
    assert grown.resize_(3).shape == (3,) and grown[:2].tolist() == [0, 0]


def test_draws_come_from_the_device(sim: torch.device) -> None:
    """Catches draws on the device that move the CPU's stream, or that no seed repeats."""
    of_cpu = torch.get_rng_state()
    draws = []
    for _ in range(2):
        torch.sim.manual_seed(3)  # type: ignore[attr-defined]
        own = torch.Generator(device=sim).manual_seed(4)
        draws.append([torch.rand(3, device=sim), torch.randn_like(torch.ones(20, device=sim))])
        draws[-1] += [torch.rand(3, device=sim, generator=own), torch.ones(9, device=sim).bernoulli_(0.5)]
    assert own.device == sim and isinstance(own, torch.Generator) and isinstance(torch.Generator(), torch.Generator)
    assert all(torch.equal(one, other) for one, other in zip(*draws, strict=True))
    assert torch.equal(of_cpu, torch.get_rng_state())
    with torch.random.fork_rng([sim], device_type="sim"):
        inside = torch.rand(2, device=sim)
    assert torch.equal(inside, torch.rand(2, device=sim))


def test_deep_copies_are_made_there(sim: torch.device) -> None:
    """Catches a copy of a buffer whose memory nobody allocated, which ended the process now and then."""
    net = nn.BatchNorm1d(3).to(sim)
    for _ in range(200):
        copies = copy.deepcopy(net)
        copies.running_mean.add_(1.0)
    assert copies.running_mean.tolist() == [1, 1, 1] and net.running_mean.tolist() == [0, 0, 0]
    assert {value.device for value in copies.state_dict().values()} == {sim}


READS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "cpu": lambda x: x.cpu(),
    "tolist": lambda x: x.tolist(),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
}
UPLOADS = {
    "tensor": lambda x: torch.tensor(3.0, device=x.device),
    "to": lambda x: torch.zeros(2).to(x.device),
    "index": lambda x: x[torch.tensor([0])],
}
QUIET = {
    "made there": lambda x: torch.full((2,), 3.0, device=x.device) + x.new_zeros(2),
    "queued": lambda x: torch.zeros(2).to(x.device, non_blocking=True),
    "written": lambda x: x.clone()[0].fill_(2.0),
    "where": lambda x: torch.where(x > 0, x, 0.0).masked_fill(x < 0, 1.0),
}


@pytest.mark.parametrize("name", [*READS, *UPLOADS, *QUIET, "stray"])
def test_what_waits_is_counted(name: str, sim: torch.device) -> None:
    """Catches a synchronisation that goes unseen, one that is seen where there is none, or a wrong place."""
    x = torch.rand(4, 2, device=sim)
    program = {**READS, **UPLOADS, **QUIET, "stray": lambda x: x * torch.tensor(2.0)}[name]
    program(x)
    with testing.counting() as count:
        program(x)
    assert bool(count.reads) == (name in READS) and bool(count.uploads) == (name in UPLOADS)
    assert bool(count.strays) == (name == "stray") and count.calls
    places = [*(place for _, place in count.reads), *count.uploads, *(place for _, place in count.strays)]
    assert all("test_devices.py" in place and "<lambda>" in place for place in places)
