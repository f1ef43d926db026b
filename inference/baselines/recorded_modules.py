"""Modules of the user's own in a configuration: what a file can say of them."""

from collections.abc import Mapping
from typing import Any

from torch import nn

MODULE = "module"  # the kind of such an argument


class RecordedModule(nn.Module):
    """Stands for a module that a configuration describes and cannot hold.

    Args:
        type_name: Name of its class.
        shapes: Shapes of its parameters and buffers, by name.

    Example:
        >>> RecordedModule("Linear", {"weight": [1, 2], "bias": [1]}).shapes["weight"]
        [1, 2]
    """

    def __init__(self, type_name: str, shapes: Mapping[str, list[int]]) -> None:
        super().__init__()
        self.type_name, self.shapes = type_name, dict(shapes)

    def extra_repr(self) -> str:
        return self.type_name


def module_config(module: nn.Module) -> dict[str, Any]:
    """What a configuration says of a module: the name of its class and the shapes of its tensors.

    Example:
        >>> module_config(nn.Linear(2, 1))
        {'kind': 'module', 'name': 'Linear', 'shapes': {'weight': [1, 2], 'bias': [1]}}
    """
    if isinstance(module, RecordedModule):
        return {"kind": MODULE, "name": module.type_name, "shapes": module.shapes}
    named = [*module.named_parameters(), *module.named_buffers()]
    shapes = {name: list(tensor.shape) for name, tensor in named}
    return {"kind": MODULE, "name": type(module).__name__, "shapes": shapes}


def recorded_module(config: Mapping[str, Any]) -> RecordedModule:
    """What `module_config` described, as far as it is known."""
    return RecordedModule(config["name"], config["shapes"])
