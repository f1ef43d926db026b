"""Checks of the sizes and numbers that constructors of the zoo are given, and of images against them."""

import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ppgen.checks.room import check_room


def positive_size(name: str, value: Any) -> int:
    """The value as a positive number of variables or units.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than 1.

    Example:
        >>> positive_size("latent", 8)
        8
    """
    return _whole(name, value, 1)


def positive_sizes(name: str, value: Any) -> tuple[int, ...]:
    """The value as numbers of units, one for each layer; perhaps none.

    Raises:
        TypeError: If it is no sequence of whole numbers.
        ValueError: If one is less than 1.

    Example:
        >>> positive_sizes("hidden", [200, 200])
        (200, 200)
    """
    if not _is_sequence(value):
        raise TypeError(f"{name} must be numbers of units, one for each layer, such as (200, 200); got {value!r}.")
    return tuple(positive_size(f"each number in {name}", each) for each in value)


def sizes_or_zeros(name: str, value: Any) -> tuple[int, ...]:
    """The value as numbers of units, one for each layer, where a layer may have none.

    Raises:
        TypeError: If it is no sequence of whole numbers.
        ValueError: If one is negative.

    Example:
        >>> sizes_or_zeros("stochastic", [5, 0])
        (5, 0)
    """
    if not _is_sequence(value):
        raise TypeError(f"{name} must be numbers of units, one for each layer, such as (5, 0); got {value!r}.")
    return tuple(_whole(f"each number in {name}", each, 0) for each in value)


def groups_of_sizes(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """The value as one group of layers for each stochastic layer.

    Raises:
        TypeError: If it is no sequence of sequences of whole numbers.
        ValueError: If one is less than 1.

    Example:
        >>> groups_of_sizes("hidden", ((200, 200), (100, 100)))
        ((200, 200), (100, 100))
    """
    if not _is_sequence(value) or not all(_is_sequence(group) for group in value):
        raise TypeError(
            f"{name} must be one group of layers for each stochastic layer, such as ((200, 200), (100, 100)); "
            f"got {value!r}."
        )
    return tuple(positive_sizes(f"each group in {name}", group) for group in value)


def pixels(shape: Any, visible: int) -> tuple[int, ...]:
    """Pixels in each dimension of images that so many visible units are.

    Raises:
        TypeError: If it is no sequence of whole numbers.
        ValueError: If it has more or fewer pixels.

    Example:
        >>> pixels([8, 8], 64)
        (8, 8)
    """
    if not _is_sequence(shape):
        raise TypeError(f"shape must hold the pixels in each dimension, such as (28, 28); got {shape!r}.")
    found = tuple(positive_size("each number in shape", each) for each in shape)
    if math.prod(found) != visible:
        raise ValueError(
            f"shape must have as many pixels as there are visible units, {visible}, got {found} with "
            f"{math.prod(found)}."
        )
    return found


def check_images(data: Any, expected: tuple[int, ...]) -> None:
    """Raise if the data say what shape their images have, and it is not (channels, rows, columns) of the model.

    As many numbers in another order would be trained on as noise: channels last, or rows of another length.

    Raises:
        ValueError: If the shapes differ.
    """
    given = getattr(data, "image_shape", None)
    if given is not None and [n for n in given if n > 1] != [n for n in expected if n > 1]:
        raise ValueError(
            f"The images of the data have shape {tuple(given)}, the model takes {expected}: channels, rows, columns, "
            "in this order. Give the model the shape and channels of the data, and images of several channels with "
            "the channels first."
        )


def number_from_zero(name: str, value: Any) -> float:
    """The value as a finite number that is not negative.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is negative or not finite.

    Example:
        >>> number_from_zero("smoothness", 25)
        25.0
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, such as 25.0; got {value!r}.")
    if not 0 <= float(value) < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, got {value!r}.")
    return float(value)


def one_of(name: str, value: Any, known: Sequence[str]) -> str:
    """The value as one of the known names.

    Raises:
        ValueError: If it is none of them.

    Example:
        >>> one_of("hidden_units", "gaussian", ("bernoulli", "gaussian"))
        'gaussian'
    """
    if not isinstance(value, str) or value not in known:
        *first, last = map(repr, known)
        raise ValueError(f"{name} must be {', '.join(first)} or {last}, got {value!r}.".replace("'", '"'))
    return value


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) or hasattr(value, "tolist") and value.ndim > 0


def _whole(name: str, value: Any, least: int) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        size = None
    if size is None or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, such as 64; got {value!r}.")
    if size < least:
        raise ValueError(f"{name} must be at least {least}, got {size}.")
    check_room(name, size)
    return size
