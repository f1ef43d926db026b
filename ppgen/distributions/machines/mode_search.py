"""Most probable states of a layered machine: coordinate ascent by sides, and enumeration of the smaller one."""

import math
import warnings

import torch
from torch import Size, Tensor

from ppgen.distributions.machines.enumeration import CHUNK
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.samplers import dispersed_draw


@torch.no_grad()
def ascended(energy: LayeredEnergy, odd: Tensor, max_sweeps: int) -> tuple[Tensor, Tensor]:
    r"""Both sides at a local minimum of the energy: iterated conditional modes, a whole side at once.

    .. math:: x_{\text{even}} \leftarrow \arg\min_x E(x, x_{\text{odd}}), \quad
              x_{\text{odd}} \leftarrow \arg\min_x E(x_{\text{even}}, x)

    Layers of one side are independent given the other, so each update is exact and no sweep raises the energy. Ties
    are always broken the same way, so that a state cannot return after it was left.

    References:
        | On the Statistical Analysis of Dirty Pictures (Besag, 1986)

    Args:
        energy: The machine.
        odd: Values of the odd side to start from, (..., units).
        max_sweeps: Largest number of sweeps.

    Returns:
        Values of the even and of the odd side, which another sweep leaves as they are, or at no lower energy. The
        search is in float64, in which discrete units stop for good.

    Raises:
        ValueError: If the energy has no minimum, as that of real layers next to each other may have none.

    Example:
        >>> from ppgen import testing
        >>> energy = testing.boltzmann_machine((3, 2, 2)).base_energy
        >>> [side.shape for side in ascended(energy, torch.zeros(5, 2, dtype=torch.float64), 10)]
        [torch.Size([5, 5]), torch.Size([5, 2])]
    """
    exact, dtype = energy.to(torch.float64), energy.parameters()[0].dtype
    even, odd, lowest = _swept(exact, odd.double())
    for _ in range(max_sweeps - 1):
        next_even, next_odd, found = _swept(exact, odd)
        still = torch.equal(next_even, even) and torch.equal(next_odd, odd)
        if still or not bool((found < lowest).any()):
            break
        even, odd, lowest = next_even, next_odd, found
    else:
        if bool((_swept(exact, odd)[2] < lowest).any()):
            warnings.warn(
                f"The energy still falls after max_sweeps={max_sweeps} sweeps: what is returned is no mode yet.",
                stacklevel=4,
            )
    return even.to(dtype), odd.to(dtype)


def _swept(energy: LayeredEnergy, odd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Even side of least energy given the odd one, the odd side given that, and the energy of both."""
    even = energy.mode_opposite(odd, ODD)
    odd = energy.mode_opposite(even, EVEN)
    found = energy.energy(even, odd)
    _check_finite(found)
    return even, odd, found


def _check_finite(energy: Tensor) -> None:
    if not bool(energy.isfinite().all()):
        raise ValueError(
            "The energy has no minimum: layers of real units next to each other are coupled too strongly for any law, "
            "or a weight is not finite."
        )


@torch.no_grad()
def lowest_of_starts(
    energy: LayeredEnergy, num_starts: int, max_sweeps: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Both sides at the lowest of the minima reached from starts that are drawn far apart: batch shape + (units,)."""
    start = dispersed_draw(energy, Size((num_starts, *energy.batch_shape)), generator)
    even, odd = ascended(energy, energy.mode_opposite(start, EVEN), max_sweeps)
    best = energy.energy(even, odd).argmin(0, keepdim=True).unsqueeze(-1)
    taken = [side.gather(0, best.expand(1, *side.shape[1:]))[0] for side in (even, odd)]
    return taken[0], taken[1]


@torch.no_grad()
def enumerated_mode(energy: LayeredEnergy, max_states: int = 2**20) -> tuple[Tensor, Tensor]:
    """Both sides at the lowest energy of all, by the best other side of every state of the smaller one.

    Raises:
        ValueError: If the smaller side has more than `max_states` states, or a weight is not finite.
    """
    side = energy.smaller_side
    total = energy.num_states(side)
    if total > max_states:
        raise ValueError(
            "The mode is found by enumeration, which needs the smaller side of the machine to have at most "
            f"{max_states} states; it has 2^{math.log2(total):.0f} ({energy.size(side)} units). machine.find_mode() "
            "searches from many starts, machine.find_mode(start) from those that are given."
        )
    total = int(total)
    exact, dtype = energy.to(torch.float64), energy.parameters()[0].dtype
    chunk = max(1, CHUNK // max(1, energy.batch_shape.numel()))
    best: list[Tensor] = []
    for start in range(0, total, chunk):
        own = exact.states(side, start, min(start + chunk, total))
        other = exact.mode_opposite(own, side)
        own = own.expand(*other.shape[:-1], -1)
        found = exact.energy(*((own, other) if side == EVEN else (other, own)))
        _check_finite(found)
        index = found.argmin(0, keepdim=True).unsqueeze(-1)
        new = [each.gather(0, index.expand(1, *each.shape[1:]))[0] for each in (own, other)]
        least = found.amin(0).unsqueeze(-1)
        if best:
            lower = least < best[2]
            new = [torch.where(lower, each, old) for each, old in zip(new, best[:2], strict=True)]
            least = torch.where(lower, least, best[2])
        best = [*new, least]
    own, other = best[0].to(dtype), best[1].to(dtype)
    return (own, other) if side == EVEN else (other, own)


@torch.no_grad()
def enumerated_side_mode(energy: LayeredEnergy, side: int, max_states: int = 2**20) -> Tensor:
    """Values of a side at the lowest free energy of all, the other side summed out: batch shape + (units,).

    Raises:
        ValueError: If that side has more than `max_states` states, or a weight is not finite.
    """
    total = energy.num_states(side)
    if total > max_states:
        count = "infinitely many" if math.isinf(total) else f"2^{math.log2(total):.0f}"
        raise ValueError(
            f"The mode of one side, the other summed out, is found by enumeration, which needs it to have at most "
            f"{max_states} states; it has {count} ({energy.size(side)} units). The machine's own find_mode() searches "
            "for the most probable state of both sides together."
        )
    exact, dtype = energy.to(torch.float64), energy.parameters()[0].dtype
    chunk = max(1, CHUNK // max(1, energy.batch_shape.numel()))
    values: list[Tensor] = []
    lowest: list[Tensor] = []
    for start in range(0, int(total), chunk):
        states = exact.states(side, start, min(start + chunk, int(total)))
        found = exact.free_energy(states, side)
        _check_finite(found)
        least, index = found.min(0)
        values.append(_picked(states.expand(*found.shape, -1), index))
        lowest.append(least)
    return _picked(torch.stack(values), torch.stack(lowest).argmin(0)).to(dtype)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """One of n values for each datum: (n, ..., units) by (...,) -> (..., units)."""
    return values.gather(0, index[None, ..., None].expand(1, *values.shape[1:]))[0]
