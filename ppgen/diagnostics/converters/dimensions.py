"""Dimensions of a site in the words of xarray: draws, then plates by name, then event dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

RESERVED = ("chain", "draw", "sample")


def plates(site: Any, ignore: Sequence[str] = ()) -> dict[int, Any]:
    """Frames of the vectorised plates around a site by dimension (negative), outermost first.

    Raises:
        ValueError: If a plate has a name that ArviZ keeps for the draws.
    """
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized and frame.name not in ignore]
    for frame in frames:
        if frame.name in RESERVED:
            raise ValueError(
                f"Plate {frame.name!r} around site {site['name']!r} has a name that ArviZ keeps for draws "
                f"({', '.join(RESERVED)}). Rename the plate."
            )
    return {frame.dim: frame for frame in sorted(frames, key=lambda frame: frame.dim)}


def arrange(
    value: Tensor, event_dim: int, frames: Mapping[int, Any], num_draws: int, draw_dim: int
) -> tuple[Tensor, list[str | None]]:
    """A value as (draws, plates..., event...), and the names of all but the first (None: event).

    Dimensions of size one that no plate declares are dropped; larger ones count as event dimensions.

    Args:
        value: Value of a site, or its log-density with `event_dim=0`.
        event_dim: Number of event dimensions on the right.
        frames: Plates around the site by dimension.
        num_draws: Draws that the value holds.
        draw_dim: Dimension of the draws, left of every plate (negative, without event dimensions).

    Raises:
        ValueError: If the value has more dimensions than plates, events and draws account for.
    """
    batch = value.shape[: value.dim() - event_dim]
    event = value.shape[value.dim() - event_dim :]
    if len(batch) > -draw_dim:
        raise ValueError(f"A value of shape {tuple(value.shape)} has more dimensions than its plates account for.")
    batch = torch.Size((1,) * (-draw_dim - len(batch)) + batch)
    value = value.reshape(batch + event)
    sizes, names = [num_draws], list[str | None]()
    for dim in range(draw_dim + 1, 0):
        if dim in frames:
            sizes.append(frames[dim].size)
            names.append(frames[dim].name)
        elif batch[dim] > 1:
            sizes.append(batch[dim])
            names.append(None)
    dropped = [
        position
        for position, dim in enumerate(range(draw_dim, 0))
        if position and dim not in frames and batch[dim] == 1
    ]
    value = value.squeeze(dropped) if dropped else value
    return value.expand(*sizes, *event), names + [None] * len(event)


def name_dimensions(
    site: str,
    inferred: Sequence[str | None],
    given: Mapping[str, Sequence[str]] | None,
    infer: Mapping[str, Any],
) -> list[str]:
    """Names of all dimensions of a variable after the draws.

    Args:
        site: Name of the variable.
        inferred: Plate names, None where a name is wanted.
        given: The user's names by variable: of the event dimensions alone, or of plates and event dimensions.
        infer: The site's `infer` mapping, where `event_dims` may stand.

    Raises:
        ValueError: If the number of names given is neither that of the event dimensions nor that of all.

    Example:
        >>> name_dimensions("z", ["data", None], None, {})
        ['data', 'z_dim_0']
        >>> name_dimensions("z", ["data", None], {"z": ["unit"]}, {})
        ['data', 'unit']
    """
    names = (given or {}).get(site)
    unnamed = sum(name is None for name in inferred)
    if names is None:
        names = infer.get("event_dims")
    if names is None:
        names = [f"{site}_dim_{index}" for index in range(unnamed)]
    names = [names] if isinstance(names, str) else list(names)
    if len(names) == len(inferred):
        return names
    if len(names) != unnamed:
        raise ValueError(
            f"dims of {site!r} must name its {unnamed} event dimensions or all {len(inferred)} dimensions "
            f"{list(inferred)} (None: not named), got {names}."
        )
    rest = iter(names)
    return [next(rest) if name is None else name for name in inferred]
