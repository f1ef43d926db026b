"""A checkpoint of many processes: chains joined, random states side by side, and both shared out again."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen.training.processes.world import World
from ppgen.training.run_folder.checkpoint import prefixed, section


def joined(world: World, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of all processes: chains joined, and the random states of process n under `process{n}/`.

    All else is equal in all processes.
    """
    state = world.whole(tensors)
    for name in [name for name in tensors if name.startswith("random/") and world.size > 1]:
        for rank, value in enumerate(world.gather(tensors[name][None])):
            state[name if rank == 0 else f"process{rank}/{name}"] = value
    return state


def shared(world: World, tensors: Mapping[str, Tensor], header: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    """What `joined` gave, for this process; random streams start anew if the number of processes was another.

    Args:
        world: The processes now.
        tensors: What `joined` gave.
        header: Header of the checkpoint, with the number of `processes` then.
        seed: Seed of the run.
    """
    before = int(header.get("processes", 1))
    own = {name: value for name, value in world.own(tensors).items() if not name.startswith("process")}
    if before == world.size:
        if world.rank:
            own |= prefixed("random", section(tensors, f"process{world.rank}/random"))
        return own
    if world.writes:
        warnings.warn(
            f"The run was saved by {before} processes and goes on in {world.size}: its chains are shared out again and "
            "its random streams start anew, so it continues as another, equally valid run.",
            stacklevel=4,
        )
    for name in section(own, "random"):
        if name in ("cpu", "data"):
            generator = torch.Generator().manual_seed(world.seed(seed, "resumed", int(header["step"]), name))
            own[f"random/{name}"] = generator.get_state()
        else:
            del own[f"random/{name}"]  # of a device, which may be another now: started anew where it is used
    return own
