"""Which plate goes over the data, or none: then the program has one joint weight of all its data."""

from collections.abc import Collection
from typing import Any

from ppgen.batch import all_tensors_of
from ppgen.inference.structure.plates import Frame, frames_of
from ppgen.inference.structure.traces import enumerable, of_data
from ppgen.pair import Pair

USUAL = "data"  # name of the plate that is looked for first


def data_plate(pair: Any, model_sites: dict[str, Any], guide_sites: dict[str, Any] | None, batch: Any) -> str | None:
    """Name of the vectorised plate over the data; None if the program has none, and all its data are one datum.

    The plate that was named, or `"data"`; else the one plate that holds observed sites and has as many rows as all
    tensors of the batch. None is taken whose rows a sum over a discrete site of the model would join.

    Args:
        pair: A pair, whose `plate` is settled or not.
        model_sites: Sites of the model.
        guide_sites: Sites of the guide; None if they are not known.
        batch: The batch that they ran with.

    Raises:
        ValueError: If the plate that was named is not there; lists those that are.
    """
    stated = [site for site in model_sites.values() if not site["infer"].get("_deterministic")]
    every = [*stated, *(guide_sites or {}).values()]
    names = {frame.name for site in every for frame in frames_of(site)}
    if pair.plate_settled:
        if pair.plate is None or pair.plate in names:
            return pair.plate
        found = sorted({frame.name for site in every for frame in site["cond_indep_stack"]})
        raise ValueError(
            f"{program_name(pair.model)} has no vectorised plate {pair.plate!r} over the data (plates: "
            f"{found or 'none'}). Draw each datum inside pyro.plate({pair.plate!r}, len(x)), or name your plate: "
            f"{pair.plate_argument}."
        )
    observed = [site for site in stated if site["is_observed"]]
    plate = chosen_plate([frames_of(site) for site in observed or every], batch)
    return None if guide_sites is not None and _joined(stated, guide_sites, plate) else plate


def _joined(stated: list[Any], guide_sites: dict[str, Any], plate: str | None) -> bool:
    """Whether a discrete site outside a plate is summed out in the model, whose rows are all at hand."""
    frames = [frame for site in stated for frame in frames_of(site) if frame.name == plate]
    return summed_outside(stated, guide_sites, plate) and all(frame.size == frame.full_size for frame in frames)


def summed_outside(stated: list[Any], guide_sites: Collection[str], plate: str | None) -> bool:
    """Whether a discrete site outside a plate is marked to be summed out in the model, and not drawn by the guide."""
    return any(enumerable(site) and site["name"] not in guide_sites and not of_data(site, plate) for site in stated)


def chosen_plate(around: list[tuple[Frame, ...]], batch: Any) -> str | None:
    """The plate that is taken by itself.

    Args:
        around: Plates around each observed site.
        batch: The batch that the model ran with.

    Example:
        >>> import torch
        >>> chosen_plate([(Frame("school", -1, 8, 8),)], torch.zeros(8))
        'school'
        >>> chosen_plate([(Frame("school", -1, 8, 8),)], torch.zeros(5)) is None
        True
    """
    frames = [frame for each in around for frame in each]
    if any(frame.name == USUAL for frame in frames):
        return USUAL
    rows = rows_of(batch)
    sizes: dict[str, set[int]] = {}
    for frame in frames:
        sizes.setdefault(frame.name, set()).add(frame.size)
    found = [name for name, each in sizes.items() if rows is not None and each == {rows}]
    return found[0] if len(found) == 1 else None


def rows_of(batch: Any) -> int | None:
    """Rows of the data: the first dimension of all tensors of a batch; None if they have no common one."""
    tensors = all_tensors_of(batch)
    sizes = {len(tensor) if tensor.dim() else None for tensor in tensors}
    return next(iter(sizes)) if len(sizes) == 1 else None


def program_name(function: Any) -> str:
    """Name of a program in messages."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Pair):
        return program_name(owner.programs[0])
    return type(owner).__name__ if owner is not None else getattr(function, "__name__", repr(function))
