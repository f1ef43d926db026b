"""Costs downstream of a site: what its draw can change of a log-weight, plate by plate."""

from collections.abc import Sequence
from typing import Any

from pyro.distributions import Unit
from torch import Tensor

from ppgen.inference.particles.factors import Factor
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.dependencies import Dependencies
from ppgen.inference.structure.plates import Frame
from ppgen.inference.structure.traces import base_law


def downstream_costs(weights: LogWeights, site: str, num_data: int, coupled: bool) -> Tensor | None:
    r"""Sum of the factors that were computed from the draw at a site, each over the plates that the site is not in.

    .. math:: c_i = \sum_{s \text{ downstream of } z_i} \pm_s \log p_s, \qquad
              E[(\log w - c_i) \nabla \log q(z_i)] = 0

    A plate that site and factor share is kept: an element of it at the factor depends on the same element at the site
    alone. It is not kept where a draw outside of the plate stands between the two.

    Args:
        weights: Log-weights of a run that was followed.
        site: A site of the guide.
        num_data: Rows of the whole data set.
        coupled: Whether sites outside the data plate depend on latents inside of it.

    Returns:
        In nats, of each row inside the data plate and per datum outside of it: (particles, *plates of the site), where
        a plate that no factor keeps has one element, or (particles, 1) outside of all plates. None where there is
        nothing to leave out, or it is not known.
    """
    dependencies = weights.dependencies
    own = guide_factor(weights, site)
    if dependencies is None or own is None or weights.log_mass is not None:  # a state has draws of the others' own
        return None
    if any(site in trace and is_factor(trace.nodes[site]) for trace in weights.guide_traces):
        return None  # it draws nothing: it is a part of the law of other draws, and has their costs
    factors = [*weights.factors, *(factor for group in weights.added for factor in group)]
    known = [(factor, shared_plates(weights, dependencies, own, factor)) for factor in factors]
    costs = [(factor, plates) for factor, plates in known if plates is not None]
    rows, alone = own.plates & {own.plate}, own.inside and not coupled
    whole = [(factor, rows if alone else frozenset()) for factor in factors if factor.inside or not alone]
    if costs == whole:
        return None
    dependencies.leaves_out = True
    inside, outside = (1.0, weights.num_rows / num_data) if rows else (1 / weights.num_rows, 1 / num_data)
    parts = [
        by_plates(factor, plates, own.frames) * (factor.sign * (inside if factor.inside else outside))
        for factor, plates in costs
    ]
    total = sum(parts[1:], parts[0])
    total = total if own.frames else total.unsqueeze(1)
    return total.expand(weights.num_particles, *total.shape[1:])


def costs_of_all_rows(local: Tensor, outside: Tensor | None, num_data: int) -> Tensor:
    r"""Costs of the whole data set at each row of a batch, which stands for that row beside all the others.

    .. math:: c_i + \frac{N - 1}{B - 1} \sum_{j \ne i} c_j + c_\text{outside}

    Two rows meet in a batch less often than one comes into it, so that their products count for more.

    Args:
        local: Log-weights, (particles, rows), nats.
        outside: Those outside the data plate, (particles,); None if there are none.
        num_data: Rows N of the whole data set.

    Raises:
        ValueError: If the batch is one row of several, in which no two rows meet.
    """
    rows = local.shape[1]
    if rows == 1 < num_data:
        raise ValueError(
            "Factors of the guide (has_rsample=False) inside the data plate and outside of it are one log-density, of "
            f"which a batch of one row of {num_data} says nothing: use two rows or more, or write both inside."
        )
    others = local.sum(1, keepdim=True) - local
    total = local + others * ((num_data - 1) / max(rows - 1, 1))
    return total if outside is None else total + outside.unsqueeze(1)


def shared_plates(
    weights: LogWeights, dependencies: Dependencies, own: Factor, factor: Factor
) -> frozenset[str | None] | None:
    """Plates in which an element of a factor depends on the same element of a draw alone; None if on none of it.

    What Python read of a draw, and what was not seen to be made, may depend on all elements of a row.
    """
    made, read = dependencies.of(factor.value), dependencies.has_read
    if made is not None and own.name not in made | read:
        return None
    plates = {frame.name for frame in own.frames if _in(frame, factor)}
    rows = plates & {own.plate}
    plates = rows if made is None or own.name in read else rows | (plates & dependencies.separate)
    for between in (made or frozenset()) | read:
        if between != own.name and own.name in dependencies.upstream(between):
            middle = guide_factor(weights, between)
            plates = plates & (frozenset() if middle is None else middle.plates)
    return frozenset(plates)


def is_factor(site: Any) -> bool:
    """Whether a site is a `pyro.factor`, which draws nothing."""
    return isinstance(base_law(site["fn"]), Unit)


def guide_factor(weights: LogWeights, site: str) -> Factor | None:
    """Factor of a site in the guide; None where it is in another's, or what a log-weight is made of is not known."""
    return next((factor for factor in weights.factors if factor.sign < 0 and factor.name == site), None)


def by_plates(factor: Factor, plates: frozenset[str | None], frames: Sequence[Frame]) -> Tensor:
    """Value of a factor summed over all but some plates: (particles or 1, *frames), the others with one element."""
    value = factor.over([plate for plate in plates if plate is not None])
    at = {frame.name: value.dim() + frame.dim for frame in factor.frames if frame.name in plates}
    kept = [at[frame.name] for frame in frames if frame.name in at]
    rest = [dim for dim in range(1, value.dim()) if dim not in kept]
    sizes = [frame.size if frame.name in at else 1 for frame in frames]
    return value.permute(0, *kept, *rest).reshape(len(value), *sizes)


def _in(frame: Frame, factor: Factor) -> bool:
    """Whether a factor lies in the plate of a frame; another plate of its name has another size or dimension."""
    found = next((each for each in factor.frames if each.name == frame.name), None)
    return found is not None and found.size == frame.size and (found.dim == frame.dim or frame.name == factor.plate)
