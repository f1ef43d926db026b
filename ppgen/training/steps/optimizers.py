"""One optimiser over all parameters of a pair, chosen by name or made by the user's own function."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._foreach_utils import _get_fused_kernels_supported_devices

from ppgen.training.steps.lr_schedules import Schedule, resolve

OPTIMIZERS: Mapping[str, tuple[type[torch.optim.Optimizer], float]] = {
    "adam": (torch.optim.Adam, 1e-3),
    "adamw": (torch.optim.AdamW, 1e-3),
    "adamax": (torch.optim.Adamax, 2e-3),
    "rmsprop": (torch.optim.RMSprop, 1e-3),
    "sgd": (torch.optim.SGD, 1e-2),
}
"""Names that `fit(optimizer=...)` knows, with the step size each has when `lr` is not given."""

_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


@dataclass(frozen=True)
class OptimizerSpec:
    """Which optimiser to make, its step size and how that falls; holds no state."""

    name: str
    lr: float | None
    options: Mapping[str, Any]
    schedule_name: str
    schedule: Schedule = field(repr=False)
    factory: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = field(default=None, repr=False)

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser over `parameters`; fused where PyTorch has a fused kernel for it. Over none, one that rests.

        Raises:
            TypeError: If the user's function does not return a `torch.optim.Optimizer`, or one that steps by a closure.
            ValueError: If an option is not one of the optimiser's.
        """
        if not parameters:
            return torch.optim.SGD([{"params": []}], lr=0.0)
        if self.factory is not None:
            optimizer = self.factory(list(parameters))
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise TypeError(
                    "optimizer must return a torch.optim.Optimizer when it is called with the parameters, "
                    f"got {type(optimizer).__name__}."
                )
            closure = inspect.signature(optimizer.step).parameters.get("closure")
            if closure is not None and closure.default is closure.empty:
                raise TypeError(
                    f"optimizer must be able to step without a closure, and {type(optimizer).__name__} evaluates the "
                    "objective several times a step, which on random batches are different functions. Use "
                    f"{', '.join(OPTIMIZERS)} or another optimiser of first order."
                )
            return optimizer
        cls = OPTIMIZERS[self.name][0]
        fused = _get_fused_kernels_supported_devices()
        speed: dict[str, Any] = {}
        if issubclass(cls, _FUSED) and all(
            parameter.is_floating_point() and parameter.device.type in fused for parameter in parameters
        ):
            speed = {"fused": True}
        try:
            return cls(parameters, lr=self.lr, **speed, **self.options)  # type: ignore[call-arg]
        except TypeError as error:
            raise ValueError(
                f"optimizer {self.name!r} does not take the options {dict(self.options)}: {error}"
            ) from error

    def to_config(self) -> dict[str, Any]:
        """What a checkpoint records; a user's own function only by its name."""
        return {
            "optimizer": {"name": self.name, **self.options},
            "lr": self.lr,
            "lr_schedule": self.schedule_name,
        }

    def describe(self) -> str:
        """One phrase, such as `"sgd (momentum 0.5), lr 0.05, linear"`."""
        if self is NO_OPTIMIZER:
            return "no optimizer"
        options = ", ".join(f"{name} {value}" for name, value in self.options.items())
        lr = "" if self.lr is None else f", lr {self.lr:g}"
        schedule = "" if self.schedule_name == "constant" else f", {self.schedule_name}"
        return f"{self.name}{f' ({options})' if options else ''}{lr}{schedule}"


NO_OPTIMIZER = OptimizerSpec("none", None, {}, *resolve("constant"))
"""In the place of an optimiser where an update sets all parameters."""


def resolve_optimizer(optimizer: Any, lr: Any, lr_schedule: Any, defaults: Mapping[str, Any]) -> OptimizerSpec:
    """Complete what the caller gave from the pair's defaults.

    Args:
        optimizer: A name, a mapping with `"name"` and the optimiser's own options, a function from the list
            of parameters to a `torch.optim.Optimizer`, or None for the pair's default (Adam if it has none).
        lr: Step size; None for the default of the optimiser.
        lr_schedule: Name or function of the progress; None for the default.
        defaults: `pair.default_training`; its `lr`, `lr_schedule` and options count only for its own
            optimiser.

    Raises:
        ValueError: If a name is not known, `lr` is not positive, an option is out of its range, or `lr` is given beside
            a function.
        TypeError: If an argument has the wrong type.

    Example:
        >>> resolve_optimizer("adam", None, None, {}).describe()
        'adam, lr 0.001'
    """
    own = dict(defaults)
    default_name = own.pop("optimizer", "adam")
    default_lr, default_schedule = own.pop("lr", None), own.pop("lr_schedule", "constant")
    options: dict[str, Any] = {}
    if isinstance(optimizer, Mapping):
        options = {key: value for key, value in optimizer.items() if key != "name"}
        optimizer = optimizer.get("name", default_name)
        if "lr" in options:
            raise ValueError("optimizer has an option 'lr': give the step size as fit(lr=...).")
    if optimizer is None or optimizer == default_name:
        optimizer, options = default_name, {**own, **options}
    else:
        default_lr, default_schedule = None, "constant"
    name, schedule = resolve(default_schedule if lr_schedule is None else lr_schedule)
    if callable(optimizer):
        if lr is not None:
            raise ValueError("lr is given beside an optimizer that is a function: set the step size in the function.")
        label = f"function {getattr(optimizer, '__qualname__', type(optimizer).__name__)}"
        return OptimizerSpec(label, None, options, name, schedule, factory=optimizer)
    if not isinstance(optimizer, str):
        raise TypeError(
            "optimizer must be a name, a mapping with 'name' and options, or a function from parameters to a "
            f"torch.optim.Optimizer, got {type(optimizer).__name__}."
        )
    key = optimizer.lower()
    if key not in OPTIMIZERS:
        raise ValueError(f"Unknown optimizer {optimizer!r}. Known: {', '.join(OPTIMIZERS)}; or give a function.")
    lr = lr if lr is not None else default_lr if default_lr is not None else OPTIMIZERS[key][1]
    if isinstance(lr, bool) or not isinstance(lr, (int, float)):
        raise TypeError(f"lr must be a number, got {type(lr).__name__}.")
    if not 0 < lr < float("inf"):
        raise ValueError(f"lr must be positive and finite, got {lr}.")
    _check_options(key, float(lr), options)
    return OptimizerSpec(key, float(lr), options, name, schedule)


def _check_options(name: str, lr: float, options: Mapping[str, Any]) -> None:
    """Raise unless the optimiser can be made with these options, which is tried with a parameter of one number."""
    wrong = [key for key, value in options.items() if not _finite(value)]
    if wrong:
        raise ValueError(f"optimizer option {wrong[0]!r} must be finite, got {options[wrong[0]]!r}.")
    try:
        OPTIMIZERS[name][0]([nn.Parameter(torch.zeros(1))], lr=lr, **options)  # type: ignore[call-arg]
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer {name!r} does not take the options {dict(options)}: {error}") from error


def _finite(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def optimizer_state(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State of the optimiser by parameter name: its tensors, and its plain numbers.

    Raises:
        ValueError: If the state holds something else, which a checkpoint without pickling cannot hold.
    """
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            name = f"{names[cast(nn.Parameter, parameter)]}/{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            elif value is None or isinstance(value, (bool, int, float)):
                scalars[name] = value
            else:
                raise ValueError(
                    f"{type(optimizer).__name__} keeps {key!r} as a {type(value).__name__}, "
                    "which a checkpoint cannot hold. Use an optimiser whose state is tensors and "
                    "numbers, one set a parameter."
                )
    return tensors, scalars


def check_complete(
    optimizer: torch.optim.Optimizer,
    names: Mapping[nn.Parameter, str],
    tensors: Iterable[str],
    recorded: Iterable[str] | None,
    step: int,
) -> None:
    """Raise if state of an optimiser is missing, without which it would begin anew.

    Args:
        optimizer: It, before its state is put back.
        names: Names of its parameters.
        tensors: Names of the tensors that are there.
        recorded: Names of those that were written; None in files that do not say it.
        step: Steps that were done.

    Raises:
        ValueError: Names what is missing.
    """
    found = set(tensors)
    missing = sorted(set(recorded or ()) - found)
    if recorded is None and step and not found and _keeps_tensors(optimizer):
        missing = sorted(names.values())
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"the state of the optimiser ({type(optimizer).__name__}) is missing for {missing[0]!r}{more}, so that it "
            "would begin anew"
        )


def _keeps_tensors(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimiser of the table keeps tensors of parameters that have gradients; of others it is not known."""
    if isinstance(optimizer, torch.optim.SGD):
        return any(group["momentum"] for group in optimizer.param_groups)
    return isinstance(optimizer, tuple(cls for cls, _ in OPTIMIZERS.values()))


def load_optimizer_state(
    optimizer: torch.optim.Optimizer,
    names: Mapping[nn.Parameter, str],
    tensors: Mapping[str, Tensor],
    scalars: Mapping[str, Any],
) -> None:
    """Put back what `optimizer_state` gave; step sizes and other settings stay those of this optimiser.

    Raises:
        ValueError: If it is not the state of an optimiser of these parameters.
    """
    states: dict[str, dict[str, Any]] = {}
    for name, value in {**tensors, **scalars}.items():
        parameter, _, key = name.rpartition("/")
        states.setdefault(parameter, {})[key] = value
    ordered = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if isinstance(optimizer, tuple(cls for cls, _ in OPTIMIZERS.values())):
        _check_state({name: parameter.shape for parameter, name in names.items()}, states)
    packed = {index: states[names[p]] for index, p in enumerate(ordered) if names[p] in states}
    optimizer.load_state_dict({"state": packed, "param_groups": optimizer.state_dict()["param_groups"]})


def _check_state(shapes: Mapping[str, torch.Size], states: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the state of an optimiser with its parameters: kernels trust its shapes."""
    keys = {key for state in states.values() for key in state}
    for name, state in states.items():
        if name not in shapes:
            raise ValueError(f"the optimiser has a state of {name!r}, and there is no such parameter")
        for key in keys:
            if key not in state:
                raise ValueError(f"the optimiser's state of {name!r} lacks {key!r}")
            value = state[key]
            if isinstance(value, Tensor) and value.shape not in (shapes[name], torch.Size(())):
                raise ValueError(
                    f"the optimiser's {key!r} of {name!r} has shape {tuple(value.shape)}, and not that of the "
                    f"parameter, {tuple(shapes[name])}"
                )
