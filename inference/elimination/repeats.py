"""Operations that a loop repeats on the same tensors, done once: the steps of a homogeneous chain share their laws."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

_NAMES = (  # functions without randomness and side effects
    "__getitem__ add sub mul div true_divide __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ "
    "__rtruediv__ __rdiv__ neg exp log log1p sqrt pow square abs sigmoid softmax log_softmax softplus relu tanh sum "
    "logsumexp clamp clamp_min clamp_max expand broadcast_tensors unsqueeze squeeze reshape view permute transpose "
    "flatten movedim tensor matmul __matmul__ linear one_hot index_select gather where stack cat long float double"
)
_PURE = frozenset(_NAMES.split())
_TENSORS = (Tensor, torch.nn.Parameter, FakeTensor)  # the last while a step is traced


class Shared(TorchFunctionMode):
    """Context in which an operation on the very tensors of an earlier one returns its very result.

    So `transition[z]` is one tensor at all steps of a chain at which `z` is. `spoilt` says whether a result that was
    given out twice was written to afterwards, so that the run must be done again without sharing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Any, tuple[Any, list[tuple[Tensor, int]]]] = {}
        self._given: list[tuple[Tensor, int]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        key = _key(func, args, kwargs)
        if key is None:
            return func(*args, **kwargs)
        held = self._known.get(key)
        if held is not None and all(tensor._version == version for tensor, version in held[1]):
            self._given += [(each, each._version) for each in _tensors(held[0])]
            return held[0]
        result = func(*args, **kwargs)
        versions = [(each, each._version) for each in (*_tensors((args, kwargs)), *_tensors(result))]
        self._known[key] = result, versions
        return result

    @property
    def spoilt(self) -> bool:
        """Whether something was written to a shared result."""
        return any(tensor._version != version for tensor, version in self._given)


def shared(run: Callable[[], Any], worthwhile: bool = True) -> Any:
    """The result of a run in which repeated operations are done once, unless it writes to their results."""
    if worthwhile:
        mode = Shared()
        with mode:
            result = run()
        if not mode.spoilt:
            return result
    return run()


def _key(func: Any, args: Any, kwargs: Any) -> Any | None:
    """What makes two calls equal; None where they may differ nonetheless."""
    if getattr(func, "__name__", None) not in _PURE or "out" in kwargs:
        return None
    leaves, spec = tree_flatten((args, kwargs))
    parts: list[Any] = []
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            if type(leaf) not in _TENSORS or leaf.is_inference():
                return None
            parts.append((Tensor, id(leaf)))
        else:
            parts.append((type(leaf), repr(leaf) if isinstance(leaf, slice) else leaf))
    modes = (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.get_default_dtype())
    key = (func, spec, tuple(parts), modes)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
