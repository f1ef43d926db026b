"""What processes of `torch.distributed` tell each other: tensors and JSON, never objects that are unpickled.

A pickle is a program: whoever can speak to the group could run code in every process. A message here holds numbers,
texts, lists, mappings, tensors and errors, and nothing else can come out of one.
"""

import builtins
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_LENGTH = 8  # bytes of the length of the part in JSON, before it


def broadcast(message: bytes, group: Any = None) -> bytes:
    """The message of process 0; those of the others are not looked at. Must be called by all processes."""
    size = torch.tensor([len(message)])
    dist.broadcast(size, src=0, group=group)
    content = _as_tensor(message) if dist.get_rank() == 0 else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, src=0, group=group)
    return _as_bytes(content)


def gather(value: Any, group: Any = None) -> list[Any]:
    """Values of all processes, in their order. Must be called by all processes.

    Raises:
        TypeError: If a value can be in no message.
    """
    return [unpacked(_as_bytes(each)) for each in gather_tensors(_as_tensor(packed(value)), group)]


def gather_tensors(tensor: Tensor, group: Any = None) -> list[Tensor]:
    """Tensors of all processes, in their order; they differ in their first dimension only.

    Must be called by all processes, with tensors on the device that the group talks by.
    """
    tensor = tensor.detach().contiguous()
    own = torch.tensor([len(tensor)], device=tensor.device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own, group=group)
    counts = [int(size) for size in sizes]
    padded = tensor.new_zeros((max(counts), *tensor.shape[1:]))
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded, group=group)
    return [part[:count] for part, count in zip(parts, counts, strict=True)]


def packed(value: Any) -> bytes:
    """A message: its length and text in JSON, then its tensors as a safetensors file.

    Raises:
        TypeError: If the value holds something else than numbers, texts, None, lists, tuples, mappings with texts as
            keys, tensors and exceptions.

    Example:
        >>> unpacked(packed({"epoch": 3, "weights": (torch.ones(2), None)}))
        {'epoch': 3, 'weights': (tensor([1., 1.]), None)}
        >>> packed(len)
        Traceback (most recent call last):
        ...
        TypeError: A builtin_function_or_method cannot be told to other processes.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    text = json.dumps(_tagged(value, tensors)).encode()
    return len(text).to_bytes(_LENGTH, "little") + text + save(tensors)


def unpacked(message: bytes) -> Any:
    """The value of a message."""
    from safetensors.torch import load

    end = _LENGTH + int.from_bytes(message[:_LENGTH], "little")
    return _untagged(json.loads(message[_LENGTH:end]), load(message[end:]))


def _tagged(value: Any, tensors: dict[str, Tensor]) -> list[Any]:
    """Pairs of a kind and a content that JSON can hold."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return ["plain", value]
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return ["tensor", name]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return ["mapping", {key: _tagged(each, tensors) for key, each in value.items()}]
    if isinstance(value, (list, tuple)):
        return ["tuple" if isinstance(value, tuple) else "list", [_tagged(each, tensors) for each in value]]
    if isinstance(value, Exception):
        kind = type(value)
        arguments: list[Any] = [each if isinstance(each, (int, str)) else str(each) for each in value.args]
        if isinstance(value, OSError) and value.filename is not None:
            arguments = [value.errno, value.strerror, str(value.filename)]
        return ["error", [f"{kind.__module__}.{kind.__qualname__}", arguments, str(value)]]
    raise TypeError(f"A {type(value).__name__} cannot be told to other processes.")


def _untagged(pair: list[Any], tensors: Mapping[str, Tensor]) -> Any:
    kind, content = pair
    if kind == "tensor":
        return tensors[content]
    if kind == "mapping":
        return {key: _untagged(each, tensors) for key, each in content.items()}
    if kind in ("list", "tuple"):
        values = [_untagged(each, tensors) for each in content]
        return tuple(values) if kind == "tuple" else values
    return _error(*content) if kind == "error" else content


def _error(name: str, arguments: list[Any], text: str) -> Exception:
    """An error of Python or of ppgen, made again; a RuntimeError that tells of any other."""
    known = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in _subclasses(Exception)}
    kind = known.get(name)
    if kind is not None and kind.__module__.partition(".")[0] in (builtins.__name__, __name__.partition(".")[0]):
        try:
            return kind(*arguments)
        except TypeError:  # one with arguments of another form, such as UnicodeDecodeError
            pass
    return RuntimeError(f"{name.rpartition('.')[2]}: {text}")


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _as_tensor(message: bytes) -> Tensor:
    return torch.frombuffer(bytearray(message), dtype=torch.uint8)


def _as_bytes(message: Tensor) -> bytes:
    return message.numpy().tobytes()
