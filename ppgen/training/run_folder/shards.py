"""A checkpoint of many processes: chains joined, what is each one's own side by side, and both shared out again."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.state_roles import Role
from ppgen.training.processes.world import World
from ppgen.training.run_folder.checkpoint import prefixed, section


def whole(world: World, bound: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a checkpoint with the chains of all processes.

    Args:
        world: The processes.
        bound: The inference, bound to its pair, whose state stands under `inference/`.
        tensors: Those of this process.
    """
    return world.whole(tensors, _roles(bound, tensors))


def own(world: World, bound: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a checkpoint with this process's share of the chains: the inverse of `whole`."""
    return world.own(tensors, _roles(bound, tensors))


def _roles(bound: Any, tensors: Mapping[str, Tensor]) -> dict[str, Role]:
    found = bound.roles(section(tensors, "inference"))
    return {f"inference/{name}": role for name, role in found.items()}


def joined(world: World, bound: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of all processes: chains joined; random states of process n, and what is its own, under `process{n}/`.

    All else is that of process 0, which what is `"common"` is everywhere.
    """
    state = whole(world, bound, tensors)
    own = {name: tensors[name].cpu() for name, role in _roles(bound, tensors).items() if role == "own"}
    for rank, each in enumerate(world.all_of(own)):
        if rank:
            state |= prefixed(f"process{rank}", each)
    for name in [name for name in tensors if name.startswith("random/") and world.size > 1]:
        for rank, value in enumerate(world.gather(tensors[name][None])):
            state[name if rank == 0 else f"process{rank}/{name}"] = value
    return state


def shared(
    world: World, bound: Any, tensors: Mapping[str, Tensor], header: Mapping[str, Any], seed: int
) -> dict[str, Tensor]:
    """What `joined` gave, for this process; random streams start anew if the number of processes was another.

    Args:
        world: The processes now.
        bound: The inference, bound to its pair.
        tensors: What `joined` gave.
        header: Header of the checkpoint, with the number of `processes` then.
        seed: Seed of the run.
    """
    before = int(header.get("processes", 1))
    found = {name: value for name, value in own(world, bound, tensors).items() if not name.startswith("process")}
    if before == world.size:
        if world.rank:
            found |= section(tensors, f"process{world.rank}")  # files of before hold its random states alone
        return found
    if world.writes:
        warnings.warn(
            f"The run was saved by {before} processes and goes on in {world.size}: its chains are shared out again and "
            "its random streams start anew, so it continues as another, equally valid run.",
            stacklevel=4,
        )
    for name in section(found, "random"):
        if name in ("cpu", "data"):
            generator = torch.Generator().manual_seed(world.seed(seed, "resumed", int(header["step"]), name))
            found[f"random/{name}"] = generator.get_state()
        else:
            del found[f"random/{name}"]  # of a device, which may be another now: started anew where it is used
    return found
