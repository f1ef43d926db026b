"""Mean and variance of gradient estimates, exactly: sums over all values of the Bernoulli sites of a guide."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyro
import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

SEED = 5  # of the noise of continuous sites, the same in all runs
Draw = dict[str, Tensor]


class Moments(NamedTuple):
    """Moments of a gradient, all parameters in one vector."""

    mean: Tensor
    variance: Tensor


class Values(Messenger):
    """Gives sites of a guide their values, made from their laws as draws are: those of all particles, or in turn."""

    def __init__(self, values: Draw) -> None:
        super().__init__()
        self.values, self.turns = values, dict.fromkeys(values, 0)

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"] and msg["value"] is None:
            fn, value = msg["fn"], self.values[msg["name"]]
            if value.numel() != fn.shape().numel():
                self.turns[msg["name"]] += 1
                value = value[self.turns[msg["name"]] - 1]
            msg["value"], msg["done"] = (value.reshape(fn.shape()) + 0 * fn.mean).detach(), True


def assignments(guide: Callable[..., Any], *args: Any) -> list[Draw]:
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
        mass, drawn = _mass(guide, values, *args)
        stated = pyro.poutine.trace(pyro.poutine.replay(model, trace=drawn)).get_trace(*args)
        total = total - mass.exp() * (stated.log_prob_sum() - drawn.log_prob_sum())
    _clear()
    total.backward()
    return _gradients()


def moments(
    loss: Any, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, num_particles: int = 1
) -> Moments:
    """Mean and variance of the gradient that a loss gives, over all that its particles may draw."""
    each = [(values, _mass(guide, values, *args)[0].detach()) for values in assignments(guide, *args)]
    loss.loss_and_grads(model, guide, *args)  # looks at the programs as they are
    chances, gradients = [], []
    for particles in itertools.product(each, repeat=num_particles):
        chances.append(sum(mass for _, mass in particles).exp())
        _clear()
        torch.manual_seed(SEED)
        with Values({name: torch.stack([values[name] for values, _ in particles]) for name in each[0][0]}):
            loss.loss_and_grads(model, guide, *args)
        gradients.append(_gradients())
    chance, gradient = torch.stack(chances).unsqueeze(1), torch.stack(gradients)
    mean = (chance * gradient).sum(0)
    return Moments(mean, (chance * (gradient - mean).square()).sum(0))


def _mass(guide: Any, values: Draw, *args: Any) -> tuple[Tensor, pyro.poutine.Trace]:
    """Log-probability of values, and the guide's trace at them."""
    torch.manual_seed(SEED)
    with Values(values):
        drawn = pyro.poutine.trace(guide).get_trace(*args)
    parts = [drawn.nodes[name]["fn"].log_prob(drawn.nodes[name]["value"]).sum() for name in values]
    return sum(parts[1:], parts[0]), drawn


def _named() -> list[Tensor]:
    return [parameter for _, parameter in sorted(pyro.get_param_store().named_parameters())]


def _clear() -> None:
    for parameter in _named():
        parameter.grad = None


def _gradients() -> Tensor:
    return torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten().clone() for p in _named()])
