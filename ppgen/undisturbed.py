"""Contexts that leave a pair and the caller as they were: random state, training flags, buffers."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ppgen.devices import is_accelerator
from ppgen.parameters.capture import CapturedParameters

CPU = torch.device("cpu")


def device_of(*things: Any) -> torch.device:
    """Device of the first tensor that is not on the CPU, looked for in modules, tensors and batches; else the CPU.

    A module stands where its first parameter does.

    Example:
        >>> device_of(nn.Linear(2, 1), (torch.zeros(3), {"x": torch.zeros(2, device="meta")}))
        device(type='meta')
    """
    for thing in things:
        if isinstance(thing, nn.Module):
            thing = next(thing.parameters(), None)
        if isinstance(thing, Tensor):
            found = thing.device
        elif isinstance(thing, Mapping):
            found = device_of(*thing.values())
        else:
            found = device_of(*thing) if isinstance(thing, (tuple, list)) else CPU
        if found.type != "cpu":
            return found
    return CPU


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of torch's generators of the CPU and of `device`, as byte tensors on the CPU."""
    state = {"cpu": torch.get_rng_state()}
    if is_accelerator(device):
        state[device.type] = torch.get_device_module(device).get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave; a state of a device that is not used now is left out."""
    torch.set_rng_state(state["cpu"])
    if is_accelerator(device) and device.type in state:
        torch.get_device_module(device).set_rng_state(state[device.type], device)


@contextmanager
def forked(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Context on random state of its own: that of the CPU and of `device` is afterwards as it was before.

    `torch.manual_seed` would seed every device of the machine, also those that nobody puts back.

    Args:
        device: The device that draws, of whatever type.
        seed: Seed of both states inside; None goes on from the caller's.

    Example:
        >>> with forked(torch.device("cpu"), seed=0):
        ...     first = torch.rand(2)
        >>> with forked(torch.device("cpu"), seed=0):
        ...     bool((torch.rand(2) == first).all())
        True
    """
    before = random_state(device)
    try:
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if is_accelerator(device):
                start = torch.Generator(device=device).manual_seed(seed).get_state()
                torch.get_device_module(device).set_rng_state(start, device)
        yield
    finally:
        set_random_state(before, device)


@contextmanager
def keeping_modes(module: nn.Module) -> Iterator[None]:
    """Context after which the training flag of every module is as before, whatever happens inside.

    Modules made inside get the flag that `module` itself had.

    Args:
        module: Root of the modules.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with keeping_modes(net):
        ...     net = net.train()
        >>> net.training, net[1].training
        (True, False)
    """
    flags = [(each, each.training) for each in module.modules()]
    known = {id(each) for each, _ in flags}
    flag_of_root = module.training
    try:
        yield
    finally:
        for each in module.modules():
            if id(each) not in known:
                each.training = flag_of_root
        for each, flag in flags:
            each.training = flag


@contextmanager
def keeping_buffers(pair: Any) -> Iterator[None]:
    """Context after which buffers, such as running means of batch normalisation, are what they were before."""
    captured = getattr(pair, "captured", None)
    kept = captured.kept if isinstance(captured, CapturedParameters) else {}
    modules = [pair] if isinstance(pair, nn.Module) else []
    modules += captured.known[0].values() if isinstance(captured, CapturedParameters) else []
    kept.update({id(buffer): (buffer, buffer.clone()) for module in modules for buffer in module.buffers()})
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, before in kept.values():
                buffer.copy_(before)
        kept.clear()


@contextmanager
def held_constant(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Context in which none of some leaf tensors wants a gradient; those that did want one again afterwards.

    Args:
        tensors: Leaves, such as parameters.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> with held_constant(net.parameters()):
        ...     net.weight.requires_grad
        False
        >>> net.weight.requires_grad
        True
    """
    wanted = [each for each in tensors if each.requires_grad]
    try:
        for each in wanted:
            each.requires_grad_(False)
        yield
    finally:
        for each in wanted:
            each.requires_grad_(True)


@contextmanager
def evaluating(pair: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Context in which the pair is in evaluation mode without gradients, on random state of its own.

    The training flag of every module and torch's random state are as before afterwards, whatever happens.

    Args:
        pair: Model and guide.
        seed: Seed of the random state inside; None goes on from the caller's.

    Example:
        >>> from ppgen import models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> with evaluating(rbm, seed=0):
        ...     rbm.training
        False
        >>> rbm.training
        True
    """
    with forked(device_of(pair), seed), torch.no_grad(), keeping_modes(pair):
        pair.eval()
        yield
