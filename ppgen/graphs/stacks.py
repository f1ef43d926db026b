"""Parts of one tensor that a loop takes one by one and that are stacked again, as one slice of it."""

from typing import Any

import torch
from torch import fx

aten = torch.ops.aten

WORTHWHILE = 8  # parts of a stack from which on the rewrite pays


def sliced_stacks(module: fx.GraphModule) -> fx.GraphModule:
    """Stacks of evenly spaced parts of one tensor as one slice of it, in a functional graph; changes it in place.

    A loop over the columns of the data leaves one operation for each of them, which machine code would write down one
    by one.

    Args:
        module: A functional graph, whose nodes know their shapes.
    """
    graph = module.graph
    for node in list(graph.nodes):
        parts = _parts(node)
        numbers = _evenly_spaced(parts)
        if numbers is None:
            continue
        source, along = parts[0].args[0], _dim(parts[0], 1)
        dims = [dim for dim in range(source.meta["val"].dim()) if dim != along]
        dims.insert(_dim(node, 1), along)
        with graph.inserting_before(node):
            cut = (source, along, numbers[0], numbers[-1] + 1, numbers[1] - numbers[0])
            part = graph.call_function(aten.slice.Tensor, cut)
            moved = graph.call_function(aten.permute.default, (part, dims))
            # A stack is memory of its own, whatever is written to the tensor later; the copy is fused with its reader.
            copy = graph.call_function(aten.clone.default, (moved,), {"memory_format": torch.contiguous_format})
        part.meta["val"] = aten.slice.Tensor(source.meta["val"], *cut[1:])
        moved.meta["val"] = part.meta["val"].permute(dims)
        copy.meta = dict(node.meta)
        node.replace_all_uses_with(copy)
        graph.erase_node(node)
        for each in dict.fromkeys(parts):
            if not each.users:
                graph.erase_node(each)
    module.recompile()
    return module


def _parts(node: fx.Node) -> list[Any]:
    """What a stack holds, if it is large; nothing for other nodes."""
    if node.op != "call_function" or node.target is not aten.stack.default:
        return []
    parts: Any = node.args[0]
    return list(parts) if len(parts) >= WORTHWHILE else []


def _evenly_spaced(parts: list[Any]) -> range | None:
    """Which entries of one dimension of one tensor the parts are, if they are evenly spaced and go up."""
    if not parts or any(not isinstance(part, fx.Node) or part.target is not aten.select.int for part in parts):
        return None
    source, along = parts[0].args[0], _dim(parts[0], 1)
    if any(part.args[0] is not source or _dim(part, 1) != along for part in parts):
        return None
    size = source.meta["val"].shape[along]
    found = [part.args[2] % size for part in parts]
    step = found[1] - found[0]
    even = range(found[0], found[-1] + 1, step) if step > 0 else range(0)
    return even if list(even) == found else None


def _dim(node: fx.Node, place: int) -> int:
    """The dimension that a node names by an argument, counted from the first: 0 if it names none."""
    given: Any = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    tensor: Any = node if node.target is aten.stack.default else node.args[0]
    return int(given) % len(tensor.meta["val"].shape)
