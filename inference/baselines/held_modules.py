"""Modules of the user's own whose tensors an inference holds in its state: their names there, and Adam's steps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ppgen.inference.baselines.recorded_modules import RecordedModule
from ppgen.undisturbed import forked

OWN = "net/"  # begins the state's names of what a module given by the user holds


def held_tensors(net: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module by their names in the state.

    Example:
        >>> list(held_tensors(nn.Linear(2, 1)))
        ['net/weight', 'net/bias']
    """
    return {_key(name): tensor for name, tensor in _named(net).items()}


def trained_names(net: nn.Module) -> list[str]:
    """Names in the state of the parameters that want a gradient."""
    return [_key(name) for name, tensor in net.named_parameters() if tensor.requires_grad]


def run_held(net: nn.Module, held: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """The module's output with the tensors of a state; its own are left as they are."""
    values = {name: held[_key(name)] for name in _named(net)}
    found: Tensor = functional_call(net, values, (rows,))
    return found


def check_one_number(label: str, net: nn.Module, output: Callable[[], Any], rows: Tensor) -> None:
    """Raise unless a module that was given maps each row to one number; nothing is drawn from the random state.

    Args:
        label: What the module was given to, as messages name it.
        net: The module.
        output: Runs it on the rows, from the state that it begins with.
        rows: Of the data.

    Raises:
        ValueError: If it is only described, cannot be run on the rows, or gives another shape.
    """
    if isinstance(net, RecordedModule):
        raise ValueError(
            f"{label} is known by its description only, which cannot be trained. Give an inference that holds the "
            "module itself."
        )
    with forked(rows.device), torch.no_grad():
        try:
            found = output()
        except Exception as error:  # whatever a user's module does
            raise ValueError(f"{label} could not be run on rows of shape {tuple(rows.shape)}: {error}") from error
    if not isinstance(found, Tensor) or found.shape not in ((len(rows),), (len(rows), 1)):
        given = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(
            f"{label} must map rows of shape {tuple(rows.shape)} to one number each, ({len(rows)},) or "
            f"({len(rows)}, 1), got {given}."
        )


def copied_like(tensor: Tensor, rows: Tensor) -> Tensor:
    """A copy on the rows' device, of their type if it holds real numbers."""
    dtype = rows.dtype if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(device=rows.device, dtype=dtype, copy=True)


def slopes(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Gradient in each weight, zero where the loss does not depend on it."""
    if not weights or not loss.requires_grad:
        return [torch.zeros_like(weight) for weight in weights]
    gradients = torch.autograd.grad(loss, list(weights), allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]


def adam_moments(held: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Adam's averages before the first step, by the names `first_...` and `second_...`."""
    return {f"{which}_{name}": torch.zeros_like(held[name]) for which in ("first", "second") for name in names}


def adam_step(
    name: str,
    weight: Tensor,
    gradient: Tensor,
    state: Mapping[str, Tensor],
    *,
    lr: float,
    steps: Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
) -> dict[str, Tensor]:
    """A weight and Adam's averages of it after a step.

    Args:
        name: Its name in the state.
        weight: Its value.
        gradient: Of what is descended.
        state: Holds the averages.
        lr: Step size.
        steps: Steps with this one, a scalar.
        betas: Weights of the past in the averages of the gradient and of its square.
    """
    first = torch.lerp(gradient, state[f"first_{name}"], betas[0])
    second = torch.lerp(gradient.square(), state[f"second_{name}"], betas[1])
    size = (second / (1 - betas[1] ** steps)).sqrt() + 1e-8
    moved = weight.detach() - lr * (first / (1 - betas[0] ** steps)) / size
    return {name: moved, f"first_{name}": first, f"second_{name}": second}


def module_name(net: nn.Module) -> str:
    """Name of its class, of one that is only described too."""
    return net.type_name if isinstance(net, RecordedModule) else type(net).__name__


def _named(net: nn.Module) -> dict[str, Tensor]:
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def _key(name: str) -> str:
    """Name in the state, in which a dot ends the name of the part."""
    return OWN + name.replace(".", "/")
