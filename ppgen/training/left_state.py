"""The state of an inference that a fit leaves with its pair, and how much of it another fit goes on from."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.updates.update import CANDIDATES, STATISTICS, UPDATE
from ppgen.training.processes.world import World
from ppgen.undisturbed import forked

DATA = f"{UPDATE}.data"  # which data the statistics of an update are of: a hash, (32,), in bytes


def leave_state(pair: Any, bound: Any, data: Mapping[str, Any]) -> None:
    """Leave chains, offsets and statistics with the pair, from which a later fit goes on.

    Args:
        pair: The pair that was trained.
        bound: The inference, bound to it.
        data: What a configuration records of the training data.
    """
    state = {name: value.detach().clone() for name, value in bound.state.items()}
    pair.inference_state = marked(state, data)
    for parameter in pair.parameters():
        parameter.grad = None


def marked(state: dict[str, Tensor], data: Mapping[str, Any]) -> dict[str, Tensor] | None:
    """A state with the mark of the data beside the statistics of an update, where there are some; None if it is empty.

    Args:
        state: Tensors by names `site.key`.
        data: What a configuration records of the training data.
    """
    if any(_of_update(name) for name in state):
        state = {**state, DATA: _mark(data)}
    return state or None


def go_on_from(left: Mapping[str, Tensor], bound: Any, batch: Any, source: Any, world: World) -> None:
    """Take over what an earlier fit left, if this inference has a state of the same names and shapes.

    Chains belong to the model, and go on with any data. Statistics of an update belong to the data that they were
    gathered from: a fit to other data, or to data that nobody knows, gathers its own. A fit that ended left the chains
    of all processes, one that was interrupted those of this process.

    Args:
        left: `pair.inference_state`, perhaps empty.
        bound: The inference, bound to the pair.
        batch: A batch, with which a state is made that shows names and shapes; parameters stay as they are.
        source: Where batches come from.
        world: The processes.
    """
    if not left:
        return
    of = left.get(DATA)
    left = {name: value for name, value in left.items() if name != DATA}
    with forked(source.device):
        bound.step(batch)
    shapes = {name: value.shape for name, value in bound.state.items()}
    if any(_of_update(name) for name in left) and (of is None or not torch.equal(of, _mark(source.to_config()))):
        left = {name: value for name, value in left.items() if not _of_update(name)}
        shapes = {name: shape for name, shape in shapes.items() if not _of_update(name)}
    candidates = (left, world.own(left, bound.roles(left))) if set(left) == set(shapes) else ()
    same = [each for each in candidates if {name: value.shape for name, value in each.items()} == shapes]
    bound.load_state({name: value.to(source.device, copy=True) for name, value in same[0].items()} if same else {})


def _of_update(name: str) -> bool:
    return name.rpartition(".")[0] in (UPDATE, STATISTICS, CANDIDATES)


def _mark(data: Mapping[str, Any]) -> Tensor:
    """Hash of what tells data from others: the rows as stored, and how they are drawn from."""
    told = {name: value for name, value in data.items() if name != "description"}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode()).digest()
    return torch.tensor(list(digest), dtype=torch.uint8)
