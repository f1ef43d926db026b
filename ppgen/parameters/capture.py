"""Parameters of plain Pyro functions, kept by a module of their own instead of Pyro's global store."""

import warnings
import weakref
from collections.abc import Mapping
from typing import Any, cast

import pyro
import torch
from pyro.nn.module import PyroModule
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from ppgen.parameters.given_params import start_module, start_of, warn_of_store

_SEPARATOR = "$$$"  # between a module's name and its parameter's in the names that `pyro.module` makes


def attribute_name(name: str) -> str:
    """Attribute under which a parameter of that Pyro name is kept: no dots and no `$$$`."""
    return name.replace(_SEPARATOR, "__").replace(".", "__")


class CapturedParameters(nn.Module):
    """Unconstrained parameters of `pyro.param` statements, and the modules of `pyro.module` statements.

    Each is taken in at the first statement of its name, as Pyro's store would; `state_dict`, `.to(device)`, `.train()`
    and optimisers see it like any other part of a module. A state loaded before the first statement waits for it.

    Args:
        known: Modules that the programs refer to, among which those of `pyro.module` are found.
        given: Constrained values that parameters start from, by name; None if none were given.
    """

    def __init__(self, known: Mapping[str, nn.Module] | None = None, given: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.given = given
        self._stored: bool | None = None  # whether Pyro's store was looked at for values that were not given
        self.known = (dict(known or {}),)  # in a tuple, so that they are no children yet
        self.names: dict[str, str] = {}
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}  # buffers that a dry run must leave as they are
        self.foreign: set[str] = set()  # parameters of modules that could not be found
        self._constraints: dict[str, constraints.Constraint] = {}
        self._pending: dict[str, Tensor] = {}

    def get(self, name: str, init: Any, constraint: constraints.Constraint, device: torch.device | None) -> Tensor:
        """Constrained value of the parameter `name`, which is made from `init` if it is new.

        Raises:
            ValueError: If the parameter is new and no initial value is given, or if its name differs from that of
                another only in dots and underscores.
        """
        key = attribute_name(name)
        if self.names.setdefault(key, name) != name:
            raise ValueError(
                f"The parameters {self.names[key]!r} and {name!r} need names that differ in more than dots."
            )
        if key not in self._parameters:
            self._create(key, name, init, constraint, device)
        unconstrained = cast(Tensor, self._parameters[key])  # a traced step puts plain tensors in their place
        value: Any = self.value(key, constraint)
        value.unconstrained = weakref.ref(unconstrained)  # what Pyro's handlers expect of a param site
        return cast(Tensor, value)

    def value(self, key: str, constraint: constraints.Constraint = constraints.real) -> Tensor:
        """Constrained value of a parameter that is there, by its attribute."""
        value: Tensor = transform_to(self._constraints.get(key, constraint))(cast(Tensor, self._parameters[key]))
        return value

    def adopt(self, name: str, parameter: Tensor, device: torch.device | None) -> bool:
        """Take in the whole module whose parameter a `pyro.module` statement names; False if it cannot be found."""
        module_name, _, parameter_name = name.partition(_SEPARATOR)
        for known in self.known[0].values():
            for module in known.modules():
                if dict(module.named_parameters()).get(parameter_name) is parameter:
                    self.add_child(attribute_name(module_name), module.to(device))
                    start_module(f"{module_name}{_SEPARATOR}", module, self.given)
                    if not self.training:  # a pair that is evaluated before it was ever trained
                        module.eval()
                    return True
        return False

    def warn_of_store(self) -> None:
        """Warn, once, if Pyro's store holds all parameters captured so far and nobody said whether to take them."""
        if self._stored is None and self.names:
            self._stored = True
            warn_of_store(list(self.names.values()), self.given)

    def add_child(self, key: str, module: nn.Module) -> None:
        """Make a module part of this one, and give it the state that waited for it."""
        self.add_module(key, module)
        waiting = {name: value for name, value in self._pending.items() if name.startswith(f"{key}.")}
        if waiting:
            module.load_state_dict({name.removeprefix(f"{key}."): self._pending.pop(name) for name in waiting})
            self.kept.update({id(buffer): (buffer, buffer.clone()) for buffer in module.buffers()})

    def _create(
        self, key: str, name: str, init: Any, constraint: constraints.Constraint, device: torch.device | None
    ) -> None:
        init = start_of(name, init, constraint, self.given)
        if init is None:
            raise ValueError(f"pyro.param({name!r}) was read before it was given an initial value; pass one.")
        value = init if isinstance(init, Tensor) else init()
        if isinstance(init, nn.Parameter):
            parameter = init  # a parameter of somebody's module stays the same object
            if device is not None:
                parameter.data = parameter.data.to(device)
            if not self.foreign:
                warnings.warn(
                    f"The module of parameter {name!r} could not be found from the program, so its buffers and its "
                    "training flag are not those of the pair, and steps are not traced. Refer to it by a variable of "
                    "the function, or make it part of a PyroModule.",
                    stacklevel=2,
                )
            self.foreign.add(name)
        else:
            with torch.no_grad():
                value = transform_to(constraint).inv(value.detach().to(device))
                parameter = nn.Parameter(value.clone())
        if key in self._pending:
            with torch.no_grad():
                parameter.copy_(self._pending.pop(key))
        self._constraints[key] = constraint
        self.register_parameter(key, parameter)

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(prefix)]:
            name = key[len(prefix) :]
            if name not in self._parameters and name.partition(".")[0] not in self._modules:
                self._pending[name] = state_dict[key]
        known = {key: value for key, value in state_dict.items() if key[len(prefix) :] not in self._pending}
        super()._load_from_state_dict(known, prefix, *args)


class Capture(Messenger):
    """Handler that answers `pyro.param` statements from `CapturedParameters`; Pyro's store is never asked."""

    def __init__(self, captured: CapturedParameters, owner: nn.Module, device: torch.device | None = None) -> None:
        super().__init__()
        self.captured = captured
        self.owner = owner
        self.device = device

    def _pyro_param(self, msg: Any) -> None:
        # PyroModules announce their own parameters by statements whose value is known; only real requests to the
        # store are answered here.
        if getattr(msg["fn"], "__self__", None) is not pyro.get_param_store():
            return
        name, init = msg["args"][0], msg["args"][1] if len(msg["args"]) > 1 else None
        if isinstance(init, Tensor) and (self._owns(init) or self._adopts(name, init)):
            init.unconstrained = weakref.ref(init)  # type: ignore[attr-defined]
            msg["value"] = init
        else:
            constraint = msg["kwargs"].get("constraint") or constraints.real
            msg["value"] = self.captured.get(name, init, constraint, self.device)
        msg["done"] = True
        msg["stop"] = False

    def _owns(self, tensor: Tensor) -> bool:
        return any(tensor is known for known in self.owner.parameters())

    def _adopts(self, name: str, tensor: Tensor) -> bool:
        return _SEPARATOR in name and self.captured.adopt(name, tensor, self.device)


def prepare_modules(module: nn.Module) -> None:
    """Give PyroModules built under Pyro's global store what its module-local mode expects of them."""
    for child in module.modules():
        if isinstance(child, PyroModule) and not hasattr(child._pyro_context, "param_state"):
            child._pyro_context.param_state = {"params": {}, "constraints": {}}
