"""Chains of variables: found among the potentials, stacked over their steps, and eliminated by a parallel scan."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.elimination.chain_products import chain_product
from ppgen.inference.elimination.potentials import Potential, product, summed_over_plates, touching
from ppgen.inference.elimination.sums import Sum, log_sum

SHORTEST = 4  # blocks; fewer are as quickly eliminated one by one
MOST_STATES = 32  # of a block: the scan costs their third power, elimination one by one the second
MOST_TURNS = 4  # kinds of steps that alternate: pyro.markov gives each step other dimensions than the one before it


@dataclass(frozen=True)
class Chain:
    """Variables in blocks of which each is joined to the next alone.

    Attributes:
        blocks: Names of the variables, block by block.
        potentials: The potentials that depend on them.
        plates: Plates that all the variables lie in.
    """

    blocks: tuple[tuple[str, ...], ...]
    potentials: tuple[Potential, ...]
    plates: frozenset[str]


def find_chains(
    potentials: Sequence[Potential], plates: Mapping[str, frozenset[str]], sizes: Mapping[str, int]
) -> list[Chain]:
    """Chains among the connected groups of variables.

    A step may hold several variables (chains side by side) and depend on several steps before it: neighbours in the
    order of the program become one block, as many as any potential reaches over.

    Args:
        potentials: Potentials, each of which depends on variables.
        plates: Plates around each variable, in the order of the program.
        sizes: Number of values of each variable.
    """
    chains = []
    for names in _components(potentials, list(plates)):
        if len({plates[name] for name in names}) > 1:
            continue
        place = {name: at for at, name in enumerate(names)}
        own = touching(potentials, names)
        reach = max(max(at) - min(at) for at in ([place[name] for name in f.dims if name in place] for f in own))
        width = max(reach, 1)
        blocks = tuple(tuple(names[at : at + width]) for at in range(0, len(names), width))
        states = [[sizes[name] for name in block] for block in blocks]
        whole = states[:-1] if len(states[-1]) < width else states
        if len(blocks) < SHORTEST or any(each != states[0] for each in whole) or math.prod(states[0]) > MOST_STATES:
            continue
        chains.append(Chain(blocks, tuple(own), plates[names[0]]))
    return chains


def eliminated(chain: Chain, kept: Collection[str], sum_over: Sum = log_sum) -> Potential:
    """The potential of a chain with all its variables eliminated: a tree of products of neighbours, as deep as log T.

    Args:
        chain: A chain.
        kept: Plates that are left as they are; of the others it keeps those of its variables.
        sum_over: By what variables are eliminated.
    """
    blocks = [list(block) for block in chain.blocks]
    where = {name: at for at, block in enumerate(blocks) for name in block}
    found = {name for potential in chain.potentials for name in potential.dims if name not in where}
    plates = sorted(name for name in found if name in chain.plates or name in kept)
    groups: dict[int, list[Potential]] = {at: [] for at in range(len(blocks))}
    for potential in chain.potentials:
        groups[max(where[name] for name in potential.dims if name in where)].append(
            summed_over_plates(potential, [*plates, *where])
        )
    last = None
    if len(blocks[-1]) < len(blocks[0]):  # summed out into the block before it
        whole = product(groups.pop(len(blocks) - 1))
        for name in blocks.pop():
            at = whole.dims.index(name)
            whole = Potential(sum_over(whole.tensor, at), (*whole.dims[:at], *whole.dims[at + 1 :]), whole.plates)
        last = whole
    sizes = _sizes(chain.potentials)
    size = math.prod(sizes[name] for name in blocks[0])
    vector = _folded(_stacked([groups[0]], [blocks[0]], plates, sizes), len(plates), (size,))
    steps = [[*before, *now] for before, now in zip(blocks, blocks[1:], strict=False)]
    stacked = _stacked([groups[at] for at in range(1, len(blocks))], steps, plates, sizes)
    matrices = _folded(stacked, len(plates), (size, size))
    if last is not None:
        end = last.aligned([*plates, *blocks[-1]]).reshape(*_leading(last, plates), 1, size)
        matrices = torch.cat([matrices[:-1], matrices[-1:] + end])
    matrix = chain_product(matrices, sum_over)
    total = sum_over(sum_over(vector[0].unsqueeze(-1) + matrix, -2), -1)
    shape = [size for size in total.shape if size > 1]
    dims = tuple(name for name, size in zip(plates, total.shape, strict=True) if size > 1)
    return Potential(total.reshape(shape), dims, chain.plates)


def _components(potentials: Sequence[Potential], names: Sequence[str]) -> list[list[str]]:
    """Groups of variables that potentials join, each in the order of the program."""
    group = {name: {name} for name in names}
    for potential in potentials:
        found = [name for name in potential.dims if name in group]
        merged = set().union(*(group[name] for name in found))
        if any(group[name] is not group[found[0]] for name in found):
            for name in merged:
                group[name] = merged
    seen: set[str] = set()
    components = []
    for name in names:
        if name not in seen:
            seen |= group[name]
            components.append([other for other in names if other in group[name]])
    return components


def _sizes(potentials: Sequence[Potential]) -> dict[str, int]:
    return {
        name: size
        for potential in potentials
        for name, size in zip(potential.dims, potential.tensor.shape, strict=True)
    }


def _leading(potential: Potential, plates: Sequence[str]) -> list[int]:
    sizes = _sizes([potential])
    return [sizes.get(name, 1) for name in plates]


def _stacked(
    groups: Sequence[Sequence[Potential]],
    variables: Sequence[Sequence[str]],
    plates: Sequence[str],
    sizes: Mapping[str, int],
) -> Tensor:
    """Products of the potentials of each step, (steps, *plates, *variables); alike ones are stacked, then added.

    Args:
        groups: Potentials by step.
        variables: Variables of each step, in corresponding order.
        plates: Names of the plates.
        sizes: Number of values by variable, which no potential of a step may show: one that the next step forgets.
    """
    kinds: dict[tuple[int, ...], list[list[tuple[Tensor, int]]]] = {}
    known: dict[Any, Tensor] = {}
    for at, (group, names) in enumerate(zip(groups, variables, strict=True)):
        for potential in group:
            rows = _aligned_rows(potential, [*plates, *names], known)
            kinds.setdefault(tuple(rows.shape[1:]), [[] for _ in groups])[at].append((rows, potential.row))
    full = [max(shape[at] for shape in kinds) for at in range(len(plates))]
    full += [sizes[name] for name in variables[0]]
    total: Tensor | None = None
    for entries in sorted(kinds.values(), key=lambda entries: entries[0][0][0].numel() if entries[0] else 0):
        for turn in range(max(map(len, entries))):
            stack = _in_order([row[turn] if turn < len(row) else None for row in entries])
            total = stack if total is None else total + stack
    if total is None:
        raise ValueError("A chain has no potentials.")
    return total.expand(len(groups), *full)


def _aligned_rows(potential: Potential, names: Sequence[str], known: dict[Any, Tensor]) -> Tensor:
    """The tensors of which a potential is a row, with the dimensions of some names: (rows, *names)."""
    rows = potential.tensor.unsqueeze(0) if potential.rows is None else potential.rows
    places = tuple(names.index(name) for name in potential.dims)
    key = (id(rows), places)
    if potential.rows is None or key not in known:
        order = sorted(range(len(places)), key=places.__getitem__)
        shape = [1] * len(names)
        for place, size in zip(places, rows.shape[1:], strict=True):
            shape[place] = size
        known[key] = rows.permute(0, *(1 + at for at in order)).reshape(len(rows), *shape)
    return known[key]


def _in_order(entries: Sequence[tuple[Tensor, int] | None]) -> Tensor:
    """Rows of some tensors in the order of the steps: one for all steps if it is the same, 0 where there is none."""
    some = next(entry for entry in entries if entry is not None)[0]
    if any(entry is None for entry in entries):
        nothing = torch.zeros_like(some[:1])
        entries = [(nothing, 0) if entry is None else entry for entry in entries]
    tensors: dict[int, tuple[int, Tensor]] = {}  # by identity, where its rows begin among those of all
    begin = 0
    for tensor, _ in entries:  # type: ignore[misc]
        if id(tensor) not in tensors:
            tensors[id(tensor)] = begin, tensor
            begin += len(tensor)
    rows = torch.cat([tensor for _, tensor in tensors.values()]) if len(tensors) > 1 else some
    order = [tensors[id(tensor)][0] + row for tensor, row in entries]  # type: ignore[misc]
    period = next(p for p in range(1, len(order) + 1) if all(a == b for a, b in zip(order, order[p:], strict=False)))
    turn = _taken(rows, order[:period])
    if period in (1, len(order)):
        return turn
    times = -(-len(order) // period)
    repeated = turn.unsqueeze(0).expand(times, *turn.shape).reshape(times * period, *turn.shape[1:])
    return repeated[: len(order)]


def _taken(rows: Tensor, order: Sequence[int]) -> Tensor:
    """Rows in an order; by slices where alike steps alternate, as gradients of slices are but slices again."""
    for turns in range(1, min(MOST_TURNS, len(order)) + 1):
        if all(row == order[at % turns] + at // turns for at, row in enumerate(order)):
            times = len(order) // turns
            parts = [rows[begin : begin + times] for begin in order[:turns]]
            taken = parts[0] if turns == 1 else torch.stack(parts, 1).flatten(0, 1)
            rest = [rows[row : row + 1] for row in order[turns * times :]]
            return torch.cat([taken, *rest]) if rest else taken
    return rows[torch.tensor(order, device=rows.device)]


def _folded(tensor: Tensor, num_plates: int, shape: tuple[int, ...]) -> Tensor:
    """The variables of a step as one: (steps, *plates, *shape)."""
    return tensor.reshape(*tensor.shape[: 1 + num_plates], *shape)
