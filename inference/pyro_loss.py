"""Objectives, negative phases and inferences as losses of `pyro.infer.SVI` and as modules."""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pyro.infer
import torch
from pyro import poutine
from torch import Tensor, nn

from ppgen.pair import Arguments, GenerativeModel, Pair


class PyroLoss(pyro.infer.ELBO):
    """What makes a value a drop-in loss: `SVI(model, guide, optim, loss=value)`, or `value(model, guide)` as a module.

    As Pyro's own losses do, it returns minus the bound summed over the data. Pyro's settings and parameter store are
    left alone. State (chains, offsets) is kept for each model as long as the model lives.
    """

    max_plate_nesting = float("inf")

    def __init__(self) -> None:
        pass  # Pyro's settings of plates and particles are fields of the objective here

    def __call__(self, model: Callable[..., Any], guide: Callable[..., Any]) -> "LossModule":  # type: ignore[override]
        """Module whose call gives the loss, with the parameters of both programs as its own."""
        return LossModule(self, model, guide)

    def loss(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
        """Minus the bound summed over the data, in nats; unnormalised under CD and PCD. No chain moves."""
        bound, batch = self._bound(model, guide, args, kwargs)
        return bound.summed_loss(bound.evaluate(batch, training=False)).item()

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """The same as a tensor whose gradient is the estimator's.

        Raises:
            ValueError: If no parameter is found.
        """
        bound, batch = self._bound(model, guide, args, kwargs)
        with poutine.trace(param_only=True) as capture:
            evaluation = bound.evaluate(batch, training=True)
        return bound.differentiable(evaluation, _parameters(capture.trace))

    def loss_and_grads(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> float:
        """The loss; its gradient is added to the `grad` of every parameter.

        Raises:
            ValueError: If no parameter is found.
        """
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        loss.backward()
        return loss.item()

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        return poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs), guide_trace

    def _bound(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Arguments]:
        from ppgen.inference.bound import BoundInference
        from ppgen.inference.specification import resolve

        batch = Arguments(args, kwargs)
        # In __dict__, because fields of a frozen value are not written; equality and hash do not see it.
        known = self.__dict__.setdefault("_bound_to", weakref.WeakKeyDictionary())
        key = getattr(model, "__self__", model)
        if key not in known:
            programs = Programs(model, guide)
            known[key] = BoundInference(resolve(self, programs), programs, batch, None)
        bound = known[key]
        bound.pair = Programs(model, guide)  # bound methods are made anew at each access
        return bound, batch


class Programs:
    """Two callables run as they are, in Pyro's own settings and store; plate and defaults are those of their owner."""

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any]) -> None:
        owner = getattr(model, "__self__", model)
        self.model, self.guide = model, guide
        self.plate: str = getattr(owner, "plate", "data")
        self.default_inference: str = getattr(owner, "default_inference", "elbo")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """No context of ours."""
        yield


class LossModule(nn.Module):
    """Loss of a model/guide pair as a module: `module(x).backward()` fills the gradients of its parameters.

    Args:
        loss: An objective, a negative phase or an inference.
        model: Pyro program, a method of a pair or a module of the user's own.
        guide: Pyro program with the same arguments.
    """

    def __init__(self, loss: PyroLoss, model: Callable[..., Any], guide: Callable[..., Any]) -> None:
        super().__init__()
        owner = getattr(model, "__self__", None)
        self.pair = owner if isinstance(owner, (GenerativeModel, Pair)) else Pair(model, guide)
        self._loss = loss
        self._bound: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Minus the bound summed over the data, in nats: a scalar.

        Raises:
            ValueError: If the pair has no parameter.
        """
        from ppgen.inference.bound import BoundInference
        from ppgen.inference.specification import resolve

        batch = Arguments(args, kwargs)
        if self._bound is None:
            self.pair.prepare(batch)
            self._bound = BoundInference(resolve(self._loss, self.pair), self.pair, batch, None)
        training = torch.is_grad_enabled()
        evaluation = self._bound.evaluate(batch, training=training)
        if not training:
            return self._bound.summed_loss(evaluation)
        return self._bound.differentiable(evaluation, [p for p in self.parameters() if p.requires_grad])


def _parameters(trace: poutine.Trace) -> list[Tensor]:
    """Unconstrained parameters of the param statements of a trace, each once."""
    found: dict[int, Tensor] = {}
    for site in trace.nodes.values():
        if site["type"] == "param":
            value = site["value"]
            value = value.unconstrained() if hasattr(value, "unconstrained") else value
            if value.requires_grad:
                found[id(value)] = value
    return list(found.values())
