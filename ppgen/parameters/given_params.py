"""Values that the parameters of a pair start from: those of Pyro's store, or of any mapping."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro.params.param_store import ParamStoreDict
from torch import Tensor, nn
from torch.distributions import constraints

Values = Mapping[str, Tensor]


def given_values(params: Any) -> dict[str, Tensor]:
    """Copies of the constrained values by name, so that later training of the store changes nothing here.

    Raises:
        TypeError: If it is neither Pyro's store nor a mapping of names to tensors.
    """
    if not isinstance(params, (Mapping, ParamStoreDict)):
        raise TypeError(
            "params must be Pyro's store, params=pyro.get_param_store(), or a mapping from names to tensors, got "
            f"{type(params).__name__}."
        )
    values: dict[str, Any] = dict(params.items())
    for name, value in values.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"params[{name!r}] must be a tensor, got {type(value).__name__}.")
    return {name: value.detach().clone() for name, value in values.items()}


def start_of(name: str, init: Any, constraint: constraints.Constraint, given: Values | None) -> Any:
    """What a parameter starts from: the given value of its name, else what its statement says.

    Raises:
        ValueError: If the given value has another shape, or lies outside of the constraint.
    """
    if not given:  # none, or afresh
        return init
    if name not in given:
        warnings.warn(
            f"params holds no {name!r}, which starts from the value in its pyro.param statement (params holds "
            f"{sorted(given)}).",
            stacklevel=2,
        )
        return init
    value = given[name]
    stated = init() if callable(init) else init
    if isinstance(stated, Tensor) and stated.shape != value.shape:
        raise ValueError(
            f"params[{name!r}] must have the shape of its pyro.param statement, {tuple(stated.shape)}, got "
            f"{tuple(value.shape)}."
        )
    if not bool(torch.as_tensor(constraint.check(value)).all()):
        raise ValueError(f"params[{name!r}] must lie in the constraint of its pyro.param statement, {constraint}.")
    if isinstance(init, nn.Parameter):  # of a module of the user's own, which stays the same object
        with torch.no_grad():
            init.copy_(value)
        return init
    return value


def start_module(prefix: str, module: nn.Module, given: Values | None) -> None:
    """Give the parameters of a `pyro.module` the given values, where they are not the same tensors anyway.

    Raises:
        ValueError: If a shape differs.
    """
    for name, parameter in module.named_parameters():
        value = (given or {}).get(prefix + name)
        if value is None:
            continue
        if value.shape != parameter.shape:
            raise ValueError(
                f"params[{prefix + name!r}] must have the shape of the module's parameter, {tuple(parameter.shape)}, "
                f"got {tuple(value.shape)}."
            )
        with torch.no_grad():
            parameter.copy_(value)


def warn_of_store(names: Sequence[str], given: Values | None) -> None:
    """Warn if Pyro's store holds all parameters of these names, and nothing was said of it."""
    store = pyro.get_param_store()
    if given is None and names and all(name in store for name in names):
        told = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
        warnings.warn(
            f"Pyro's parameter store holds all parameters of this pair ({told}), but a pair has parameters of its own, "
            "which start from their pyro.param statements. To take the trained ones write ppgen.Pair(model, guide, "
            "params=pyro.get_param_store()); to start afresh, params={}.",
            stacklevel=2,
        )
