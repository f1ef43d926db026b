"""Mean and variance of gradient estimates, exactly: sums over all values of the Bernoulli sites of a guide."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

SEED = 5  # of the noise of continuous sites, the same in all runs


class Moments(NamedTuple):
    """Moments of a gradient, all parameters in one vector."""

    mean: Tensor
    variance: Tensor


class Values(Messenger):
    """Gives the sites of a guide the values of one run, made from their laws as a draw would be."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"] and msg["value"] is None:
            fn = msg["fn"]
            msg["value"] = (self.values[msg["name"]].reshape(fn.shape()) + 0 * fn.mean).detach()
            msg["done"] = True


def assignments(guide: Callable[..., Any], *args: Any) -> list[dict[str, Tensor]]:
    """All values of the Bernoulli sites of a guide whose sites do not change."""
    trace = pyro.poutine.trace(guide).get_trace(*args)
    sizes = {
        name: trace.nodes[name]["value"].numel()
        for name in trace.stochastic_nodes
        if getattr(trace.nodes[name]["fn"], "support", None) is torch.distributions.constraints.boolean
    }
    found = []
    for bits in itertools.product((0.0, 1.0), repeat=sum(sizes.values())):
        parts = torch.tensor(bits).split(list(sizes.values()))
        found.append(dict(zip(sizes, parts, strict=True)))
    return found


def exact_gradient(model: Callable[..., Any], guide: Callable[..., Any], *args: Any) -> Tensor:
    """Gradient of minus the evidence lower bound, by the sum over all values."""
    total: Any = 0.0
    for values in assignments(guide, *args):
        _, drawn, weight = _run(model, guide, values, *args)
        total = total - drawn.exp() * weight
    _clear()
    total.backward()
    return _gradients()


def moments(loss: Any, model: Callable[..., Any], guide: Callable[..., Any], *args: Any) -> Moments:
    """Mean and variance of the gradient that a loss gives, over all that the guide may draw."""
    chances, gradients = [], []
    for values in assignments(guide, *args):
        chances.append(_run(model, guide, values, *args)[1].exp().detach())
        _clear()
        torch.manual_seed(SEED)
        with Values(values):
            loss.loss_and_grads(model, guide, *args)
        gradients.append(_gradients())
    chance, gradient = torch.stack(chances).unsqueeze(1), torch.stack(gradients)
    mean = (chance * gradient).sum(0)
    return Moments(mean, (chance * (gradient - mean).square()).sum(0))


def _run(model: Any, guide: Any, values: dict[str, Tensor], *args: Any) -> tuple[Any, Tensor, Tensor]:
    """A run at given values: the guide's trace, log-probability of the draws, log-weight."""
    torch.manual_seed(SEED)
    with Values(values):
        drawn = pyro.poutine.trace(guide).get_trace(*args)
    stated = pyro.poutine.trace(pyro.poutine.replay(model, trace=drawn)).get_trace(*args)
    mass = sum(drawn.nodes[name]["fn"].log_prob(drawn.nodes[name]["value"]).sum() for name in values)
    return drawn, torch.as_tensor(mass), stated.log_prob_sum() - drawn.log_prob_sum()


def _named() -> list[Tensor]:
    return [parameter for _, parameter in sorted(pyro.get_param_store().named_parameters())]


def _clear() -> None:
    for parameter in _named():
        parameter.grad = None


def _gradients() -> Tensor:
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten().clone() for p in _named()])
