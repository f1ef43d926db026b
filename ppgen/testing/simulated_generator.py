"""Random numbers of the device `"sim"`: its generators, its default state, and PyTorch's module of the device."""

from typing import Any

import torch
from torch import Tensor

NAME = "sim"
_Plain: Any = torch._C.Generator
_KindOfPlain: Any = type(_Plain)


class _Kind(_KindOfPlain):
    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, _Plain)

    def __call__(cls, device: Any = "cpu") -> Any:
        return super().__call__("cpu") if torch.device(device).type == NAME else _Plain(device)


class SimulatedGenerator(_Plain, metaclass=_Kind):
    """What `torch.Generator` becomes: one of the CPU's kind that says it is of `"sim"`, or PyTorch's own."""

    @property
    def device(self) -> torch.device:
        """The device whose numbers it draws."""
        return torch.device(NAME, 0)


_default: Any = type.__call__(SimulatedGenerator, "cpu")


def install() -> None:
    """Let `torch.Generator(device="sim")` be known; PyTorch's hooks in Python make no generators."""
    torch.Generator = SimulatedGenerator  # type: ignore[misc]
    _default.manual_seed(torch.initial_seed())


def begin() -> Tensor:
    """Put the device's own state in the place of the CPU's, which is returned, for one operation that draws."""
    of_cpu = torch.default_generator.get_state()
    torch.default_generator.set_state(_default.get_state())
    return of_cpu


def end(of_cpu: Tensor) -> None:
    """Take the device's own state back, and put the CPU's in its place."""
    _default.set_state(torch.default_generator.get_state())
    torch.default_generator.set_state(of_cpu)


class Module:
    """What PyTorch asks of `torch.sim`."""

    simulated = True
    """Whether the device only looks like one, so that nobody wants it unasked."""

    def is_initialized(self) -> bool:
        """Whether the device is ready: always."""
        return True

    def is_available(self) -> bool:
        """Whether the device is ready: always."""
        return True

    def current_device(self) -> int:
        """Index of the device in use: 0, the only one."""
        return 0

    def device_count(self) -> int:
        """Number of devices: one."""
        return 1

    def get_device_name(self, device: Any = None) -> str:
        """What the environment of a run records."""
        return "simulated on the CPU"

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Types of automatic mixed precision: none; PyTorch asks whenever it checkpoints activations."""
        return []

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None:
        """Seed the device's own state."""
        _default.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed the device's own state."""
        _default.manual_seed(seed)

    def get_rng_state(self, device: Any = NAME) -> Tensor:
        """The device's own state."""
        return _default.get_state()

    def set_rng_state(self, state: Tensor, device: Any = NAME) -> None:
        """Put back what `get_rng_state` gave."""
        _default.set_state(state)
