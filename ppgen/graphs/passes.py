"""Rewrites of a graph before it is compiled: what is computed twice and what nobody reads."""

from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.fx.experimental.proxy_tensor import make_fx

aten = torch.ops.aten

_ALIASES = (aten.detach.default, aten.alias.default)  # of meaning to autograd only, which a traced step has behind it


def functional(program: Callable[..., Any], inputs: list[Any]) -> fx.GraphModule:
    """Graph of a program without writes in place but for those to its inputs, at the end.

    Rewrites need not look for aliases in it.
    """
    with torch.no_grad():
        traced = make_fx(torch.func.functionalize(program), tracing_mode="fake", _allow_non_fake_inputs=True)
        return traced(*inputs)


def simplify(module: fx.GraphModule, keep_draws: bool = False) -> fx.GraphModule:
    """Share equal computations and drop those without a reader, in a functional graph; changes it in place.

    Guide, model and negative phase state the same products (a chain's hidden input serves its sample, its free energy
    and its gradient), and Inductor removes no repeated matrix product. Draws that nothing depends on go too, with the
    place they had in the random stream; two draws are never the same.

    Args:
        module: A graph without writes in place, but to its inputs.
        keep_draws: Whether draws without a reader stay, so that the random stream is that of the program.
    """
    seen: dict[Any, fx.Node] = {}
    for node in list(module.graph.nodes):
        if node.op not in ("call_function", "get_attr") or _draws(node):
            continue
        if node.target in _ALIASES:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
            continue
        if node.target is aten.sub.Tensor and node.args[0] is node.args[1] and not node.kwargs:
            # A surrogate's value, x - x: its gradient is in the graph already. Numbers that are not finite are
            # noticed in the parameters.
            with module.graph.inserting_before(node):
                zero = module.graph.call_function(aten.full.default, (list(node.meta["val"].shape), 0), _like(node))
                zero.meta = dict(node.meta)
            node.replace_all_uses_with(zero)
            module.graph.erase_node(node)
            continue
        key = _key(node)
        if key is None:
            continue
        if key in seen:
            node.replace_all_uses_with(seen[key])
            module.graph.erase_node(node)
        else:
            seen[key] = node
    kept = _draws if keep_draws else _writes
    module.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output") or kept(node))
    module.recompile()
    return module


def pruned(module: fx.GraphModule) -> fx.GraphModule:
    """Drop what nobody reads, but no draw and no write, so that all numbers stay; changes the graph in place."""
    module.graph.eliminate_dead_code(is_impure_node=lambda node: node.is_impure() or _draws(node))
    module.recompile()
    return module


def _key(node: fx.Node) -> Any | None:
    """What makes two nodes equal; None where an argument cannot be compared."""
    arguments, _ = torch.utils._pytree.tree_flatten((node.args, node.kwargs))
    shape = repr(torch.utils._pytree.tree_flatten((node.args, node.kwargs))[1])
    # 1, 1.0 and True are equal in Python and not the same argument.
    key = (node.op, node.target, shape, tuple((type(argument), argument) for argument in arguments))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _like(node: fx.Node) -> dict[str, Any]:
    value = node.meta["val"]
    return {"dtype": value.dtype, "device": value.device}


def _draws(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and (
        torch.Tag.nondeterministic_seeded in node.target.tags or _writes(node)
    )


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
