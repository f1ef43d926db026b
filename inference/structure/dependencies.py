"""Which draws of the guide each tensor of a run of guide and model was computed from."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NONE: frozenset[str] = frozenset()


class Dependencies:
    """Follows the values of the guide's latent sites through the tensor operations of one run.

    Every operation is seen below autograd, where those of custom functions, of scripts and of C++ arrive too, and names
    are kept by storage, so that views and operations in place share them. Where Python reads a value (`if z > 0`,
    `z.item()`, `z.numpy()`, a mask that sets a shape), all that the programs do may depend on it from then on; it is
    taken for granted of the whole run.

    Nothing is remembered from run to run: what a run did is what is known, also of a branch taken for the first time.

    Args:
        separate: Plates beside the data plate whose elements are known not to see each other's draws.

    Attributes:
        leaves_out: Whether a site was found that not all of a log-weight depends on.
        has_read: Sites whose values Python has read.

    Example:
        >>> dependencies = Dependencies()
        >>> z, x = torch.ones(3), torch.ones(3)
        >>> with dependencies.following():
        ...     dependencies.mark("z", z)
        ...     doubled, other = 2 * z[:2], 2 * x
        >>> sorted(dependencies.of(doubled)), sorted(dependencies.of(other))
        (['z'], [])
    """

    def __init__(self, separate: frozenset[str] = NONE) -> None:
        self.separate, self.leaves_out = separate, False
        self._names: dict[int, frozenset[str]] = {}
        self._held: list[StorageWeakRef] = []  # so that no address is given to another storage
        self._upstream: dict[str, frozenset[str]] = {}
        self.has_read = NONE

    @contextlib.contextmanager
    def following(self) -> Iterator[None]:
        """Context in which tensors are followed."""
        with _Sites(self), _Calls(self), _Operations(self):
            yield

    def mark(self, name: str, value: Any) -> None:
        """Let a value be the draw at a site."""
        drawn = list(_tensors(value))
        before = self.has_read.union(*(self._of(tensor) for tensor in drawn)) - {name}
        self._upstream[name] = self._upstream.get(name, NONE) | before
        for tensor in drawn:
            self._add(tensor, frozenset({name}))

    def of(self, tensor: Tensor) -> frozenset[str] | None:
        """Sites that a tensor was computed from; None if it was not made while tensors were followed."""
        return self._names.get(_storage(tensor))

    def upstream(self, name: str) -> frozenset[str]:
        """Sites that the draw at a site was made from."""
        return self._upstream.get(name, NONE)

    def read(self, names: frozenset[str]) -> None:
        """Remember that Python has read what was computed from some sites, unless it did so to refuse bad values."""
        if not names <= self.has_read and not _validating():
            self.has_read |= names

    def made(self, results: Any, sources: frozenset[str]) -> None:
        """Remember what results were computed from."""
        for tensor in _tensors(results):
            self._add(tensor, sources)

    def joined(self, values: Any) -> frozenset[str]:
        """Sites that some of the tensors among values were computed from."""
        return NONE.union(*(self._of(tensor) for tensor in _tensors(values)))

    def _of(self, tensor: Tensor) -> frozenset[str]:
        return self._names.get(_storage(tensor), NONE)

    def _add(self, tensor: Tensor, names: frozenset[str]) -> None:
        key = _storage(tensor)
        known = self._names.get(key)
        if known is None:
            if key >= 0:
                with torch._C.DisableTorchFunction():
                    self._held.append(StorageWeakRef(tensor.untyped_storage()))
            self._names[key] = names
        elif not names <= known:
            self._names[key] = known | names


class _Sites(Messenger):
    """Marks the draws of latent sites."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__()
        self.dependencies = dependencies

    def _pyro_post_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            self.dependencies.mark(msg["name"], msg["value"])


class _Operations(TorchDispatchMode):
    """Sees each operation on tensors: from what it makes its results, what it writes to, and whether it reads."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__()
        self.dependencies = dependencies

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: what keeps a compiler out of this class would import all of it, seconds before the first step."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        sources = self.dependencies.joined((args, kwargs))
        self.dependencies.made(results, sources)
        if sources:
            given = [*args, *(kwargs.get(each.name) for each in func._schema.arguments[len(args) :])]
            for argument, value in zip(func._schema.arguments, given, strict=False):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    self.dependencies.made(value, sources)
            if _reads(func, args):
                self.dependencies.read(sources)
        return results


class _Calls(TorchFunctionMode):
    """Sees the calls of Python that read tensors, or copy them, without an operation that could be seen."""

    def __init__(self, dependencies: Dependencies) -> None:
        super().__init__()
        self.dependencies = dependencies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        dependencies = self.dependencies
        if name in _READS:
            dependencies.read(dependencies.joined((args, kwargs)))
        if name not in _COPIES:
            return func(*args, **kwargs)
        before = dependencies.has_read
        results = func(*args, **kwargs)
        if name == "__getitem__" and not _shapes(args[1]):
            dependencies.has_read = before  # a number taken as an index stands in the result and nowhere else
        dependencies.made(args[0] if results is None else results, dependencies.joined((args, kwargs)))
        return results


_READS = frozenset(
    "tolist numpy item data_ptr untyped_storage storage share_memory_ __array__ __dlpack__ __bool__ __float__ __int__ "
    "__index__ __complex__ __reduce_ex__ __deepcopy__".split()
)
_COPIES = frozenset("tensor as_tensor asarray new_tensor __getitem__ __setitem__".split())
_PLAIN = (int, float, str, type(None), torch.dtype, torch.device, torch.Size)
_VALUE, _SHAPE = torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape


def _validating() -> bool:
    """Whether the statement that reads is one of those by which distributions check their arguments and values."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") in _CHECKS


_CHECKS = ("torch.distributions.distribution", "torch.distributions.constraints", "pyro.distributions.constraints")


def _reads(func: Any, args: Any) -> bool:
    """Whether an operation gives Python a value, or a shape that follows from values."""
    if _VALUE in func.tags:
        return True
    return _SHAPE in func.tags and (func.overloadpacket is not torch.ops.aten.index or _shapes(args[1]))


def _shapes(index: Any) -> bool:
    """Whether the values of tensors among indices set the shape of the result: masks, and ends of slices."""
    leaves = tree_leaves(index)
    ends = [end for leaf in leaves if isinstance(leaf, slice) for end in (leaf.start, leaf.stop, leaf.step)]
    masks = (leaf.dtype in (torch.bool, torch.uint8) for leaf in leaves if isinstance(leaf, Tensor))
    return any(isinstance(end, Tensor) for end in ends) or any(masks)


def _tensors(values: Any) -> Iterator[Tensor]:
    """Tensors among arguments or results, in whatever they are held."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        for value in values.values():
            yield from _tensors(value)
    elif not isinstance(values, _PLAIN):
        yield from (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    """What tells storages apart; sparse tensors, which have none of their own, count as one."""
    try:
        with torch._C.DisableTorchFunction():
            return tensor.untyped_storage()._cdata
    except NotImplementedError:
        return -1
