"""Values of all parameters of a pair, as its programs see them."""

import torch
from pyro.nn.module import PyroModule
from torch import Tensor, nn
from torch.distributions import transform_to

from ppgen.parameters.capture import CapturedParameters

_UNCONSTRAINED = "_unconstrained"  # how a PyroModule ends the names of what it holds for a PyroParam


@torch.no_grad()
def parameter_values(pair: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters under their constraints, by name.

    Args:
        pair: A pair. Parameters of `pyro.param` statements have the names that stand there, those of modules the names
            that `pair.named_parameters()` has, without what it puts before or behind them for itself.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, module in pair.named_modules():
        inside = prefix.removeprefix("captured").removeprefix(".")
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if isinstance(module, CapturedParameters):
                found[module.names[name]] = module.value(name).clone()
                continue
            stated = name.removesuffix(_UNCONSTRAINED)
            constrained = module._pyro_params.get(stated) if isinstance(module, PyroModule) else None
            value = parameter if constrained is None else transform_to(constrained[0])(parameter)
            found[f"{inside}.{stated}" if inside else stated] = value.detach().clone()
    return found
