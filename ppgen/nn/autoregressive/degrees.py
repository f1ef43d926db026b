"""Orders of the entries, and how many of the first entries of an order each hidden unit sees."""

from collections.abc import Sequence

import torch
from torch import Tensor


def shuffled_orders(positions: int, orders: int, seed: int) -> Tensor:
    """Orders of the entries, (orders, positions): the first as they are, the others shuffled."""
    generator = torch.Generator().manual_seed(seed)
    shuffled = [torch.randperm(positions, generator=generator) for _ in range(orders - 1)]
    return torch.stack([torch.arange(positions), *shuffled])


def spread_degrees(size: int, positions: int, orders: int, lowest: int, seed: int) -> Tensor:
    """Degrees of the units of a layer, (orders, units): spread evenly over `lowest`, ..., `positions - 1`.

    A unit of degree m sees the first m entries of the order. With the degrees in a row for the first order, and
    shuffled for the others, units have another degree in each.
    """
    degrees = lowest + torch.arange(size) * (positions - lowest) // size
    generator = torch.Generator().manual_seed(seed)
    shuffled = [degrees[torch.randperm(size, generator=generator)] for _ in range(orders - 1)]
    return torch.stack([degrees, *shuffled])


def lowest_degree(positions: int, given: int) -> int:
    """The smallest degree: 1, as units that see no entry are wasted, but 0 if they see what is given, or nothing else.

    Degrees end at `positions - 1`, since a unit that sees all entries feeds none. Of one entry there is only 0.
    """
    return 0 if given or positions == 1 else 1


def units_of_degree(degrees: Tensor, positions: int) -> Tensor:
    """Units of each degree 0, ..., positions - 1, (positions, most of one degree), filled up with their number."""
    counts = (degrees.unsqueeze(1) == torch.arange(positions, device=degrees.device)).sum(0)
    ordered = degrees.argsort(stable=True)
    place = torch.arange(len(degrees), device=degrees.device) - (counts.cumsum(0) - counts)[degrees[ordered]]
    most = -(-len(degrees) // max(positions - 1, 1))  # of evenly spread degrees, whatever the tensor's values
    found = torch.full((positions, most), len(degrees), device=degrees.device)
    return found.index_put((degrees[ordered], place), ordered)


def masks(rank: Tensor, degrees: Sequence[Tensor]) -> list[Tensor]:
    """Which inputs each unit of each layer sees, and which units each entry: (units, inputs) each.

    Args:
        rank: Place of each entry in the order, shape (positions,).
        degrees: Degrees of the units of each hidden layer.
    """
    found, before = [], rank + 1  # an entry is of the degree up to which it must be known
    for layer in degrees:
        found.append(layer.unsqueeze(1) >= before)
        before = layer
    found.append(rank.unsqueeze(1) >= before)
    return found
