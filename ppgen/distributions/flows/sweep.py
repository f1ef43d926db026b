"""Autoregressive maps run entry by entry: a loop over positions, which a traced step holds as one operator."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ppgen.causal import CausalNetwork
from ppgen.distributions.autoregressive.draws import network_number, numbered_networks, tracing

_LIMIT = 5.0  # of log-scales, and of logits of gates beside their bias


def bounded(raw: Tensor) -> Tensor:
    """Numbers within 5 of 0, of any numbers; small ones stay nearly as they are."""
    return _LIMIT * torch.tanh(raw / _LIMIT)


class EntryRule(Protocol):
    """How an entry of the output of a sweep follows from that of the input; hashable."""

    def entry(self, parameters: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Output and `log |dz / d noise|` of an entry, from parameters (..., P) and its input (...)."""


@dataclass(frozen=True)
class InverseGates:
    """Noise of an entry that gates have moved: from z = g e + (1 - g) m back to e."""

    gate_bias: float

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m, log g and log(1 - g)."""
        mean, raw = parameters.unbind(-1)
        logit = bounded(raw) + self.gate_bias
        return mean, logsigmoid(logit), logsigmoid(-logit)

    def entry(self, parameters: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Noise and log g."""
        mean, log_gate, log_rest = self.split(parameters)
        return (value - log_rest.exp() * mean) * (-log_gate).exp(), log_gate


@dataclass(frozen=True)
class AffineEntries:
    """Value of an entry that is its noise, scaled and shifted."""

    def entry(self, parameters: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Value and log-scale."""
        location, raw = parameters.unbind(-1)
        log_scale = bounded(raw)
        return location + log_scale.exp() * value, log_scale


_rules: dict[Any, int] = {}  # by the numbers under which graphs know them


def sweep(network: CausalNetwork, rule: EntryRule, values: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    """Output of an autoregressive map whose parameters follow from the output before, and `log |dz / d noise|`.

    Args:
        network: A causal network, which reads the output.
        rule: How an entry follows.
        values: Input, shape (..., positions).
        given: What the network is conditioned on, (..., numbers).

    Returns:
        Output, (..., positions), and the sum over entries, (...).
    """
    if tracing() and isinstance(network, nn.Module):
        number = _rules.setdefault(rule, len(_rules))
        weights, buffers = list(network.parameters()), list(network.buffers())
        output, total = autoregressive_sweep(network_number(network), number, weights, buffers, values, given)
        return output, total
    return _loop(network, rule, values, given)


def _loop(network: CausalNetwork, rule: EntryRule, values: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
    state = network.start(values.shape[:-1], given)
    previous, found, total = torch.zeros_like(values[..., 0]), [], torch.zeros_like(values[..., 0])
    for position in range(values.shape[-1]):
        parameters, state = network.step(state, previous)
        previous, log_slope = rule.entry(parameters, values[..., position])
        total = total + log_slope
        found.append(previous)
    return torch.stack(found, -1), total


class _Sweep(nn.Module):
    """The loop as the forward pass of a module, whose weights can be given."""

    def __init__(self, network: nn.Module, rule: EntryRule) -> None:
        super().__init__()
        self.network, self.rule = network, rule

    def forward(self, values: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor]:
        return _loop(self.network, self.rule, values, given)  # type: ignore[arg-type]


def _numbered(
    network: int, rule: int, weights: list[Tensor], buffers: list[Tensor], values: Tensor, given: Tensor | None
) -> tuple[Tensor, Tensor]:
    module = numbered_networks[network]
    found = next(each for each, number in _rules.items() if number == rule)
    names = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    tensors = {f"network.{name}": tensor for name, tensor in zip(names, (*weights, *buffers), strict=True)}
    output: tuple[Tensor, Tensor] = torch.func.functional_call(_Sweep(module, found), tensors, (values, given))
    return output


# One operator and one for its gradient, as a traced step would else hold some dozens of operations for each entry, and
# take minutes to compile.
@torch.library.custom_op("ppgen::autoregressive_sweep", mutates_args=())
def autoregressive_sweep(
    network: int, rule: int, weights: list[Tensor], buffers: list[Tensor], values: Tensor, given: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Output and sum of logarithms of slopes by the network and the rule of these numbers, with the weights of now."""
    with torch.no_grad():
        return _numbered(network, rule, weights, buffers, values, given)


@autoregressive_sweep.register_fake
def _(
    network: int, rule: int, weights: list[Tensor], buffers: list[Tensor], values: Tensor, given: Tensor | None
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values, memory_format=torch.contiguous_format), values.new_empty(values.shape[:-1])


@torch.library.custom_op("ppgen::autoregressive_sweep_backward", mutates_args=())
def autoregressive_sweep_backward(
    network: int,
    rule: int,
    weights: list[Tensor],
    buffers: list[Tensor],
    values: Tensor,
    given: Tensor | None,
    output_gradient: Tensor,
    total_gradient: Tensor,
) -> list[Tensor]:
    """Gradients in the weights, in the input, and in what is given, which is empty where there is nothing."""
    with _recording(), torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in (*weights, values, *(() if given is None else (given,)))]
        own, held = leaves[: len(weights)], leaves[len(weights) + 1 :]
        outputs = _numbered(network, rule, own, buffers, leaves[len(weights)], held[0] if held else None)
        found = torch.autograd.grad(outputs, leaves, (output_gradient, total_gradient), allow_unused=True)
    gradients = [torch.zeros_like(leaf) if each is None else each for leaf, each in zip(leaves, found, strict=True)]
    return [each.detach().contiguous().clone() for each in gradients]


@autoregressive_sweep_backward.register_fake
def _(
    network: int,
    rule: int,
    weights: list[Tensor],
    buffers: list[Tensor],
    values: Tensor,
    given: Tensor | None,
    output_gradient: Tensor,
    total_gradient: Tensor,
) -> list[Tensor]:
    leaves = (*weights, values, *(() if given is None else (given,)))
    return [torch.empty_like(each, memory_format=torch.contiguous_format) for each in leaves]


def _recording() -> Any:
    """Context in which operations are recorded for autograd, below which operators run; nothing else is let in."""
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for key in ("AutogradFunctionality", "AutogradOther", "ADInplaceOrView"):
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.network, ctx.rule, weights, buffers, values, given = inputs
    ctx.numbers = len(weights), len(buffers)
    ctx.save_for_backward(*weights, *buffers, values, *(() if given is None else (given,)))


def _backward(ctx: Any, output_gradient: Tensor, total_gradient: Tensor) -> tuple[Any, ...]:
    own, other = ctx.numbers
    weights, buffers = list(ctx.saved_tensors[:own]), list(ctx.saved_tensors[own : own + other])
    values, *held = ctx.saved_tensors[own + other :]
    given = held[0] if held else None
    found = autoregressive_sweep_backward(
        ctx.network, ctx.rule, weights, buffers, values, given, output_gradient, total_gradient
    )
    return None, None, found[:own], [None] * other, found[own], found[own + 1] if held else None


autoregressive_sweep.register_autograd(_backward, setup_context=_keep)
