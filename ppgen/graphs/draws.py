"""Random draws of a graph rewritten so that the compiler can fuse them with what they are compared to."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen.graphs.threefry import make_key, normals, uniforms

aten = torch.ops.aten

WORTHWHILE = 1024  # numbers of a draw from which on the rewrite pays

_UNIFORM, _NORMAL, _BERNOULLI = (aten.rand, aten.rand_like), (aten.randn, aten.randn_like), (aten.bernoulli,)


def vectorised_draws(module: fx.GraphModule, inputs: list[Tensor]) -> fx.GraphModule:
    """The graph with its large float32 draws on the CPU made from one key, by vector instructions on all threads.

    torch's generator for the CPU gives one number after another, three nanoseconds each, on one thread: a tenth to a
    fifth of a step of contrastive divergence. The key is drawn from that generator, so that seeds and checkpoints
    mean what they did; the numbers that follow from them are others.

    Args:
        module: A functional graph.
        inputs: Its inputs.
    """
    if not any(_kind(node) for node in module.graph.nodes):
        return module
    device = torch.device("cpu")

    def program(*arguments: Any) -> Any:
        return _Redrawn(module, make_key(device)).run(*arguments)

    with torch.no_grad():
        return make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)


class _Redrawn(fx.Interpreter):
    """Runs a graph with draws from a key; the number of a draw is its stream."""

    def __init__(self, module: fx.GraphModule, key: Tensor) -> None:
        super().__init__(module)
        self.key, self.drawn = key, 0

    def run_node(self, n: fx.Node) -> Any:
        kind = _kind(n)
        if kind is None:
            return super().run_node(n)
        self.drawn += 1
        shape = n.meta["val"].shape
        if kind == "normal":
            return normals(self.key, self.drawn, shape)
        uniform = uniforms(self.key, self.drawn, shape)
        if kind == "uniform":
            return uniform
        probability = self.fetch_args_kwargs_from_env(n)[0][0]
        return (uniform < probability).to(torch.float32)


def _kind(node: fx.Node) -> str | None:
    """What a node draws, if it is a draw to be rewritten."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    packet, value = node.target.overloadpacket, node.meta.get("val")
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or value.device.type != "cpu":
        return None
    if value.numel() < WORTHWHILE or node.kwargs.get("generator") is not None:
        return None
    if packet in _UNIFORM:
        return "uniform"
    if packet in _NORMAL:
        return "normal"
    return "bernoulli" if packet in _BERNOULLI and len(node.args) == 1 else None
