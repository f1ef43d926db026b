"""Options of greedy training: one for all layers, or one for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from ppgen.checks.arguments import check_count
from ppgen.training.steps.optimizers import resolve_optimizer

# What is a list for one fit already.
_LISTS = ("callbacks",)


def per_layer(name: str, value: Any, num_layers: int) -> list[Any]:
    """The value for each layer: those of a list or tuple, else the same for all.

    Raises:
        ValueError: If a list has not one value for each layer.

    Example:
        >>> per_layer("lr", (0.1, 0.001), 2), per_layer("lr", 0.1, 2)
        ([0.1, 0.001], [0.1, 0.1])
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value] * num_layers
    if len(values) != num_layers:
        raise ValueError(
            f"{name} must be one for all layers, or a list of {num_layers}, one for each hidden layer; got {value!r}."
        )
    return values


def options_of_layers(options: Mapping[str, Any], num_layers: int) -> list[dict[str, Any]]:
    """Arguments of `ppgen.fit` of each layer.

    Raises:
        ValueError: If a list has not one value for each layer, or an optimiser or its step size is none.
        TypeError: If one has the wrong type.

    Example:
        >>> options_of_layers({"lr": (0.1, 0.001), "batch_size": 100}, 2)
        [{'lr': 0.1, 'batch_size': 100}, {'lr': 0.001, 'batch_size': 100}]
    """
    found: list[dict[str, Any]] = [{} for _ in range(num_layers)]
    for name, value in options.items():
        values = [value] * num_layers if name in _LISTS else per_layer(name, value, num_layers)
        for layer, each in zip(found, values, strict=True):
            layer[name] = each
    for layer in found:  # those above the first would be found wrong only when the layers below have been trained
        resolve_optimizer(layer.get("optimizer"), layer.get("lr"), layer.get("lr_schedule"), {})
        check_count("batch_size", layer.get("batch_size", 1), wanted="1 or more", room=False)
    return found


def epochs_of_layers(epochs: Any, num_layers: int) -> list[int]:
    """Passes over the data of each layer.

    Raises:
        ValueError: If one is no whole number of at least 1, or there is not one for each layer.

    Example:
        >>> epochs_of_layers(10, 3)
        [10, 10, 10]
    """
    lengths = list(epochs) if isinstance(epochs, Sequence) and not isinstance(epochs, str) else [epochs] * num_layers
    if len(lengths) != num_layers:
        raise ValueError(f"epochs must be one number, or {num_layers}, one for each hidden layer; got {epochs!r}.")
    if any(isinstance(each, bool) or not isinstance(each, int) or each < 1 for each in lengths):
        raise ValueError(f"epochs must be whole numbers of at least 1, got {epochs!r}.")
    return lengths
