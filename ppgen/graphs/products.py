"""Matrix products of a graph: sums that are one product, biases added elsewhere, factors in bfloat16."""

from typing import Any

import torch
from torch import Tensor, fx

from ppgen.graphs.passes import simplify

aten = torch.ops.aten

_PRODUCTS = (aten.mm.default, aten.bmm.default, aten.addmm.default)
_TRANSPOSES = (aten.t.default, aten.transpose.int)  # of matrices


def joined_products(module: fx.GraphModule) -> fx.GraphModule:
    r"""Sums of matrix products as one product, and what is added to a product added after it; changes the graph.

    .. math:: A_1^\top B_1 + A_2^\top B_2 = \begin{pmatrix} A_1 \\ A_2 \end{pmatrix}^\top
              \begin{pmatrix} B_1 \\ B_2 \end{pmatrix}

    On a CPU a product with something to add to starts with a copy of that, and Inductor joins the two wherever it sees
    them. An addition that stands apart is fused with what reads the sum, at no cost.

    Args:
        module: A functional graph.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or node.kwargs or not _is_float32(node) or node.meta["val"].device.type != "cpu":
            continue
        if node.target is aten.addmm.default:
            added, left, right = node.args
            with graph.inserting_before(node):
                _replace(graph, node, _plus(graph, _call(graph, aten.mm.default, left, right), added))
        elif node.target is aten.add.Tensor and isinstance(node.args[0], fx.Node) and isinstance(node.args[1], fx.Node):
            first, second = node.args
            if not _only_product(first):
                first, second = second, first
            if _only_product(first):
                with graph.inserting_before(node):
                    sum_of = _sum if _only_product(second) else _plus
                    _replace(graph, node, sum_of(graph, first, second))
    module.recompile()
    return module


def products_in_bfloat16(module: fx.GraphModule) -> fx.GraphModule:
    """Round the factors of every float32 matrix product to bfloat16, in a functional graph; changes it in place.

    Sums run in float32; each product is rounded once more, to bfloat16, at its end.
    """
    graph = module.graph
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in _PRODUCTS or not _is_float32(node):
            continue
        if node.target is aten.addmm.default and dict(node.kwargs):
            continue  # scaled terms, which no step states
        *added, left, right = node.args
        with graph.inserting_before(node):
            rounded: dict[str, Any] = {"dtype": torch.bfloat16}
            factors = [graph.call_function(aten._to_copy.default, (factor,), rounded) for factor in (left, right)]
            target = aten.bmm.default if node.target is aten.bmm.default else aten.mm.default
            product = graph.call_function(target, tuple(factors))
            result = graph.call_function(aten._to_copy.default, (product,), {"dtype": torch.float32})
            if added:
                result = graph.call_function(aten.add.Tensor, (result, added[0]))
        node.replace_all_uses_with(result)
        graph.erase_node(node)
    return simplify(module, keep_draws=True)


def _sum(graph: fx.Graph, first: fx.Node, second: fx.Node) -> fx.Node:
    """One product instead of two that are added."""
    (left, right), (other_left, other_right) = _factors(first), _factors(second)
    rights = _call(graph, aten.cat.default, [right, other_right])
    if left.target in _TRANSPOSES and other_left.target in _TRANSPOSES:  # rows lie together in memory as they are
        rows = _call(graph, aten.cat.default, [left.args[0], other_left.args[0]])
        return _call(graph, aten.mm.default, _call(graph, aten.t.default, rows), rights)
    return _call(graph, aten.mm.default, _call(graph, aten.cat.default, [left, other_left], 1), rights)


def _factors(product: fx.Node) -> tuple[fx.Node, fx.Node]:
    left, right = product.args
    assert isinstance(left, fx.Node) and isinstance(right, fx.Node)  # noqa: S101 - narrows the types only
    return left, right


def _plus(graph: fx.Graph, product: fx.Node, added: Any) -> fx.Node:
    # A difference, which Inductor does not look for; to the bit the same number.
    return _call(graph, aten.sub.Tensor, product, _call(graph, aten.neg.default, added))


def _replace(graph: fx.Graph, node: fx.Node, result: fx.Node) -> None:
    result.meta = dict(node.meta)
    node.replace_all_uses_with(result)
    graph.erase_node(node)


def _call(graph: fx.Graph, target: Any, *arguments: Any) -> fx.Node:
    """A new node with the shape of its result, which later rewrites and Inductor read."""
    node = graph.call_function(target, arguments)
    values = torch.utils._pytree.tree_map_only(fx.Node, lambda each: each.meta["val"], arguments)
    node.meta["val"] = target(*values)
    return node


def _only_product(node: Any) -> bool:
    """Whether a node is a float32 product that nothing else reads."""
    return isinstance(node, fx.Node) and node.target is aten.mm.default and _is_float32(node) and len(node.users) == 1


def _is_float32(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float32
