"""A second device without hardware: `"sim"` keeps its numbers in the CPU's memory and computes with the CPU's kernels.

PyTorch sees an accelerator of its own, by its backend in Python for PrivateUse1: tensors of two devices in one
operation fail as on a GPU (0-dimensional tensors of the CPU excepted, as there), random numbers come from a generator
of the device, and what would make a program wait for a GPU can be counted. So the device side is tested anywhere.

Limits: no timing (an operation takes some 30 microseconds more than on the CPU), no streams, events or graphs, one
device, dense strided tensors alone, no Inductor, no process groups. Numbers are those of the CPU, so that what differs
between kernels of two devices is not seen.
"""

import ctypes
import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ppgen.testing import simulated_generator
from ppgen.testing.simulated_generator import NAME

_CPU, _EXTENSION = 1, 12  # device types of DLPack
_HOME = torch.device("cpu")
_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_HELD: list[torch.library.Library] = []  # a library that nobody holds takes its kernels away
_COPIES = {"aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize", "aten::_to_copy"}
# Views share their base's storage, offset and all: these kernels look at shapes alone, and never at the memory.
_VIEWS: tuple[str, ...] = ("as_strided", "view", "_reshape_alias", "unfold", "view_as_real", "view_as_complex")
_VIEWS += ("set_.source_Tensor", "set_.source_Storage", "set_.source_Storage_storage_offset")
# The result's size, or its very value, is wanted by Python: on a GPU the program waits for all that was queued.
_READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive"}
_INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}


@dataclass
class Count:
    """What ran on the second device while it was watched.

    Attributes:
        calls: By name of the operation, how often it ran.
        reads: By operation and place in the program, how often a value was read back (`.item()`, `bool(tensor)`,
            `nonzero`, a copy to the CPU), for which the program waits on a GPU.
        uploads: By place, how often a tensor of the CPU was copied to the device, without `non_blocking`: a GPU waits.
        strays: By operation and place, how often a 0-dimensional tensor of the CPU took part.
    """

    calls: Counter[str] = field(default_factory=Counter)
    reads: Counter[tuple[str, str]] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    strays: Counter[tuple[str, str]] = field(default_factory=Counter)


_counts: list[Count] = []
_lacked: set[torch.dtype] = set()


def second_device() -> torch.device:
    """The device `"sim"`, which PyTorch knows from the first call on, until the process ends.

    From then on it is `torch.accelerator.current_accelerator()`, also where there is a GPU; `device="auto"` never takes
    it. Where there is none, autograd counts devices at the first backward pass of the process: call this, or
    `make_room`, before.

    Raises:
        RuntimeError: If this process has another device of PrivateUse1, or took gradients before.

    Example:
        >>> from ppgen.testing import second_device
        >>> import torch
        >>> device = second_device()
        >>> x = torch.ones(2, device=device)
        >>> x
        sim:tensor([1., 1.])
        >>> x + torch.ones(2)
        Traceback (most recent call last):
        RuntimeError: Expected all tensors to be on the same device, but found at least two devices, sim:0 and cpu!
    """
    if _HELD:
        return torch.device(NAME, 0)
    known = torch._C._get_privateuse1_backend_name()
    if known != "privateuseone":
        raise RuntimeError(f"PyTorch has one place for a device of this kind, and {known!r} stands there.")
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(NAME, backend_module=simulated_generator.Module())
    simulated_generator.install()
    for_all, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    for_all.fallback(_run, "PrivateUse1")
    for name in _VIEWS:
        operation, _, overload = name.partition(".")
        aten.impl(name, _native(getattr(getattr(torch.ops.aten, operation), overload or "default")), "PrivateUse1")
    aten.impl("convolution_overrideable", _convolution, "PrivateUse1")
    aten.impl("convolution_backward_overrideable", _convolution_backward, "PrivateUse1")
    _HELD.extend((for_all, aten))
    shown = Tensor.__repr__
    Tensor.__repr__ = lambda self, **given: (  # type: ignore[method-assign, assignment]
        f"{NAME}:{shown(_as(self.detach(), _CPU))}" if self.device.type == NAME else shown(self, **given)
    )
    copied = Tensor.__deepcopy__
    # PyTorch would allocate a storage of the device, for which a backend in Python has no allocator.
    Tensor.__deepcopy__ = lambda self, memo: (  # type: ignore[method-assign]
        _copied(self, memo) if self.device.type == NAME else copied(self, memo)
    )
    device = torch.device(NAME, 0)
    try:
        torch.ones(1, device=device, requires_grad=True).sum().backward()
    except RuntimeError as error:
        raise RuntimeError(
            "The simulated device came after the first gradient of this process, when autograd had counted its "
            "devices. Call ppgen.testing.second_device() before, or ppgen.testing.make_room() at the start."
        ) from error
    return device


@contextmanager
def lacking(dtype: torch.dtype) -> Iterator[None]:
    """Context in which the second device has no tensors of a type, as MPS has none of float64.

    Example:
        >>> from ppgen.testing import lacking, second_device
        >>> import torch
        >>> device = second_device()
        >>> with lacking(torch.float64):
        ...     torch.zeros(2, device=device).double()
        Traceback (most recent call last):
        TypeError: Cannot convert a sim Tensor to float64 dtype, which the device does not support.
    """
    _lacked.add(dtype)
    try:
        yield
    finally:
        _lacked.discard(dtype)


def make_room() -> None:
    """Let autograd count on a second device, before there is one: nothing else changes.

    For a process that takes gradients first and may want `second_device` later, as one that runs tests.
    """
    from torch.utils.backend_registration import _DummyDeviceGuard

    torch._C._acc.register_python_privateuseone_device_guard(_DummyDeviceGuard())


@contextmanager
def counting() -> Iterator[Count]:
    """Context that counts what runs on the second device, in all threads; gives the `Count`.

    Example:
        >>> from ppgen.testing import counting, second_device
        >>> import torch
        >>> x = torch.arange(3, device=second_device())
        >>> with counting() as count:
        ...     positive = bool((x > 0).any())
        >>> [operation for operation, _ in count.reads], count.calls["aten::gt"]
        (['_local_scalar_dense'], 1)
    """
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [each for each in _counts if each is not count]


def _as(tensor: Tensor, device_type: int) -> Tensor:
    """A tensor of another device on the memory of this one: a DLPack capsule with the device written over."""
    capsule = torch._C._to_dlpack(tensor)
    managed = _pointer(capsule, b"dltensor")  # DLTensor: void* data, then DLDevice {int32 type, int32 id}
    ctypes.c_int32.from_address(managed + 8).value = device_type
    ctypes.c_int32.from_address(managed + 12).value = 0
    return torch._C._from_dlpack(capsule)


def _copied(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(tensor) not in memo:
        memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
    return memo[id(tensor)]


_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype, _pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _native(op: Any) -> Callable[..., Any]:
    def view(*args: Any, **kwargs: Any) -> Any:
        return op.redispatch(_KEY, *args, **kwargs)

    return view


class _Handed:
    """Arguments of an operation on their way to the CPU's kernel, and its results on their way back."""

    def __init__(self) -> None:
        self.own: dict[int, tuple[Tensor, Tensor]] = {}  # by the tensor that the kernel sees
        self.foreign: list[Tensor] = []

    def down(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.device.type != NAME:
                self.foreign.append(value)
                return value
            lent = _as(value, _CPU)
            self.own[id(lent)] = value, lent
            return lent
        if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
            return [self.down(each) for each in value]
        return _HOME if isinstance(value, torch.device) and value.type == NAME else value

    def up(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.dtype in _lacked:
                kind = str(value.dtype).removeprefix("torch.")
                raise TypeError(f"Cannot convert a {NAME} Tensor to {kind} dtype, which the device does not support.")
            known = self.own.get(id(value))
            return _as(value, _EXTENSION) if known is None else known[0]
        return type(value)(self.up(each) for each in value) if isinstance(value, (list, tuple)) else value


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Any operation with a tensor of the device: the same memory is handed to the CPU's kernel."""
    name = op._schema.name
    handed = _Handed()
    given = [handed.down(value) for value in args]
    named = {key: handed.down(value) for key, value in kwargs.items()}
    if handed.foreign and name not in _COPIES:
        # Positions may lie on the CPU: PyTorch takes them to the device of what they point into.
        free = (
            [leaf for leaf in args[1] if leaf is not None] if name in _INDEXING and id(given[0]) in handed.own else []
        )
        for tensor in handed.foreign:
            if tensor.dim() and not any(tensor is each for each in free):
                found = f"but found {NAME}:0 and {tensor.device} {tuple(tensor.shape)}"
                raise RuntimeError(f"{name}: Expected all tensors to be on the same device, {found}.")
    if _counts:
        _note(name, args, handed)
    if name in ("aten::_copy_from", "aten::_copy_from_and_resize"):
        if name.endswith("resize") and args[1].shape != args[0].shape:
            args[1].resize_(args[0].shape)
            given[1] = handed.down(args[1])
        given[1].copy_(given[0])
        return args[1]
    if name == "aten::resize_":
        return _resized(op, args, given[0])
    grown = [key for key, value in named.items() if key in _outs(op) and not value.numel()]
    for out in grown:  # memory that is lent cannot grow
        named[out] = torch.empty(0, dtype=kwargs[out].dtype)
    own_state = torch.Tag.nondeterministic_seeded in op.tags and named.get("generator") is None
    state = simulated_generator.begin() if own_state else None
    try:
        result = op(*given, **named)
    except RuntimeError as error:
        if "Expected a value of type 'Tensor'" not in str(error):
            raise
        result = op(*_with_tensors(op, given), **named)
    finally:
        if state is not None:
            simulated_generator.end(state)
    for out in grown:
        kwargs[out].data = _as(named[out], _EXTENSION)
        handed.own[id(named[out])] = kwargs[out], named[out]
    return handed.up(result)


@functools.cache
def _outs(op: Any) -> frozenset[str]:
    return frozenset(parameter.name for parameter in op._schema.arguments if parameter.is_out)


def _resized(op: Any, args: tuple[Any, ...], lent: Tensor) -> Tensor:
    tensor, size = args[0], torch.Size(args[1])
    if size.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes():
        return op.redispatch(_KEY, *args)
    grown = lent.new_empty(size)
    grown.view(-1)[: lent.numel()] = lent.flatten()
    tensor.data = _as(grown, _EXTENSION)
    return tensor


def _with_tensors(op: Any, args: list[Any]) -> list[Any]:
    """Arguments of an operator that knows numbers only as tensors: they take the type that they would leave it."""
    wanted = [isinstance(parameter.real_type, torch.TensorType) for parameter in op._schema.arguments]
    others = [each for each in args if isinstance(each, Tensor)]

    def made(value: Any) -> Tensor:
        kinds = [torch.result_type(other, value) for other in others]
        return torch.tensor(value, dtype=kinds[0] if kinds else None)

    return [
        made(value) if wants and isinstance(value, (bool, int, float, complex)) else value
        for value, wants in zip(args, wanted, strict=False)
    ]


def _convolution(input: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Tensor:
    return _run(torch.ops.aten.convolution.default, input, weight, bias, *options)


def _convolution_backward(grad: Tensor, input: Tensor, weight: Tensor, *options: Any) -> Any:
    *geometry, mask = options
    biases = [grad.shape[1]]
    return _run(torch.ops.aten.convolution_backward.default, grad, input, weight, biases, *geometry, mask)


def _note(name: str, args: tuple[Any, ...], handed: _Handed) -> None:
    short, foreign = name.removeprefix("aten::"), handed.foreign
    positions = [leaf for leaf in args[1] if leaf is not None] if name in _INDEXING else []
    by_mask = any(index.dtype in (torch.bool, torch.uint8) for index in positions)
    copied = bool(foreign) and (name in _COPIES or any(index is each for index in positions for each in foreign))
    back = copied and name in _COPIES and args[0].device.type == NAME  # the source of a copy comes first
    queued = name == "aten::_copy_from" and len(args) > 2 and args[2]
    read = by_mask or back or short in _READS
    place = _place() if read or foreign else ""
    for count in _counts:
        count.calls[name] += 1
        if read:
            count.reads[short, place] += 1
        elif copied and not queued:
            count.uploads[place] += 1
        elif foreign and not copied:
            count.strays[short, place] += 1


def _place() -> str:
    """File, line and function of the innermost frame that is neither PyTorch's nor of this file."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file != __file__ and "/torch/" not in file.replace("\\", "/") and "contextlib" not in file:
            return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back
    return f"thread {threading.current_thread().name}"
