"""Objectives, negative phases and inferences as losses of `pyro.infer.SVI` and as modules."""

import contextlib
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pyro.infer
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from ppgen.batch import Arguments
from ppgen.inference.structure.recognition import parameters_of
from ppgen.pair import GenerativeModel, Pair
from ppgen.undisturbed import held_constant


def engine() -> tuple[Any, Any]:
    """What binds a value to a pair, `BoundInference`, and completes it, `resolve`.

    Imported late, and against the order of the folders: the parts of the engine are such values themselves.
    """
    from ppgen.inference.engine.bound_inference import BoundInference
    from ppgen.inference.engine.specification import resolve

    return BoundInference, resolve


def comparison_engine() -> Any:
    """What binds an objective of draws to a pair: `BoundComparison`; imported late, as `engine`."""
    from ppgen.inference.engine.bound_comparison import BoundComparison

    return BoundComparison


class PyroLoss(pyro.infer.ELBO):
    """What makes a value a drop-in loss: `SVI(model, guide, optim, loss=value)`, or `value(model, guide)` as a module.

    As Pyro's own losses do, it returns minus the bound summed over the data, or an upper bound itself. Pyro's settings
    and parameter store are left alone. State (chains, offsets) is kept for each model as long as the model lives.
    """

    max_plate_nesting = float("inf")

    def __init__(self) -> None:
        pass  # Pyro's settings of plates and particles are fields of the objective here

    def __call__(self, model: Callable[..., Any], guide: Callable[..., Any]) -> "LossModule":  # type: ignore[override]
        """Module whose call gives the loss, with the parameters of both programs as its own."""
        return LossModule(self, model, guide)

    def loss(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
        """Minus the bound summed over the data, in nats; unnormalised under CD and PCD. No chain moves."""
        with self._bound(model, guide, args, kwargs) as (bound, batch):
            return bound.summed_loss(bound.evaluate(batch, training=False)).item()

    def differentiable_loss(
        self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the bound summed over the data, in nats, as a tensor whose gradient is the estimator's.

        Raises:
            ValueError: If no parameter is found.
        """
        with self._bound(model, guide, args, kwargs) as (bound, batch):
            with poutine.trace(param_only=True) as capture:
                evaluation = bound.evaluate(batch, training=True)
            trained = [each for each in parameters_of(capture.trace) if each.requires_grad]
            return bound.differentiable(evaluation, trained)

    def loss_and_grads(self, model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any) -> float:
        """The loss; its gradient is added to the `grad` of every parameter.

        Raises:
            ValueError: If no parameter is found.
        """
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        loss.backward()
        return loss.item()

    def __getstate__(self) -> dict[str, Any]:
        # Copies and pickles are the value; what it was bound to stays with the original.
        return {name: value for name, value in self.__dict__.items() if name != "_bound_to"}

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        return poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(*args, **kwargs), guide_trace

    @contextlib.contextmanager
    def _bound(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Iterator[tuple[Any, Arguments]]:
        """This loss bound to the two programs, and the batch; state lives as long as model and guide do."""
        bound_inference, resolve = engine()
        if getattr(getattr(self, "objective", self), "compares_draws", False):
            raise ValueError(
                f"{self!r} compares draws of the model with data and keeps a state of its own: it is no loss of "
                "pyro.infer.SVI. Train by ppgen.fit."
            )
        batch, programs = Arguments(args, kwargs), Programs(model, guide, self)
        # In __dict__, because fields of a frozen value are not written; equality and hash do not see it.
        known = self.__dict__.setdefault("_bound_to", weakref.WeakKeyDictionary())
        by_guide = known.setdefault(_owner(model), weakref.WeakKeyDictionary())
        by_method = by_guide.setdefault(_owner(guide), {})
        # One that is called with and without labels is two programs, of which one draws what the other observes.
        given = [value is not None for value in args], sorted(name for name, each in kwargs.items() if each is not None)
        key = (getattr(model, "__func__", None), getattr(guide, "__func__", None), str(given))
        if key not in by_method:
            by_method[key] = bound_inference(resolve(self, programs), programs, batch, None)
        bound = by_method[key]
        programs.settle_plate(bound.layout.plate)
        bound.pair = programs  # bound methods are made anew at each access
        try:
            yield bound, batch
        finally:
            bound.pair = None  # it would keep its own key alive


class Programs:
    """Two callables run as they are, in Pyro's own settings and store; plate and defaults are those of their owner.

    Methods of a `ppgen.Pair` run with the parameters that the pair has captured.

    Args:
        model: Pyro program of the joint density.
        guide: Pyro program with the same arguments.
        loss: The loss, which may name the plate over the data.

    Raises:
        ValueError: If only one of the two is a method of a pair.
    """

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any], loss: Any) -> None:
        self.model, self.guide = model, guide
        self.owner = check_same_pair(model, guide)
        given, owner = plate_of(loss), _owner(model)
        self.plate: str | None = "data"
        self.plate_settled = False
        self.plate_argument = f"{type(loss).__name__}(..., plate=...)"
        if isinstance(owner, (GenerativeModel, Pair)):
            self.plate, self.plate_settled = owner.plate, owner.plate_settled
        if given is not None and not (isinstance(owner, (GenerativeModel, Pair)) and owner.plate_settled):
            self.settle_plate(given)
        self.default_inference: str = getattr(_owner(model), "default_inference", "elbo")
        self.has_likelihood: bool = getattr(_owner(model), "has_likelihood", True)

    def check_batch(self, batch: Any) -> None:
        """Raise unless a batch is what the model of the zoo takes whose methods they are."""
        if isinstance(owner := _owner(self.model), GenerativeModel):
            owner.check_batch(batch)

    def settle_plate(self, plate: str | None) -> None:
        """Keep the data plate that was found, or that there is none."""
        self.plate, self.plate_settled = plate, True

    @contextlib.contextmanager
    def constant_parameters(self) -> Iterator[None]:
        """Context in which parameters are constants: those of Pyro's store, and of modules that are programs."""
        owners = (_owner(self.model), _owner(self.guide))
        found: list[Tensor] = [each for owner in owners if isinstance(owner, nn.Module) for each in owner.parameters()]
        store = pyro.get_param_store()
        found += [_leaf(store[name]) for name in store]
        with _ConstantParams(), held_constant(each for each in found if each.is_leaf), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* was not registered in the param store")
            yield

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """No context of ours, but that of the pair they belong to."""
        with self.owner.running() if self.owner is not None else contextlib.nullcontext():
            yield


def check_same_pair(model: Any, guide: Any) -> Pair | None:
    """The `ppgen.Pair` whose methods both programs are; None if neither is a method of one.

    Raises:
        ValueError: If only one is, or they are of two pairs.
    """
    owners = [owner if isinstance(owner, Pair) else None for owner in (_owner(model), _owner(guide))]
    if owners[0] is not owners[1]:
        raise ValueError(
            "model and guide are methods of different pairs, and a pair keeps the parameters of its own programs. "
            "Make one of the two that belong together: ppgen.Pair(model, guide)."
        )
    return owners[0]


class _ConstantParams(Messenger):
    """Gives the values of param statements without their graph; handlers around it do not see them."""

    def _pyro_param(self, msg: Any) -> None:
        msg["stop"] = True

    def _pyro_post_param(self, msg: Any) -> None:
        msg["value"] = msg["value"].detach()


def plate_of(loss: Any) -> str | None:
    """Name of the plate over the data that a loss gives, or its objective."""
    return getattr(getattr(loss, "objective", loss), "plate", None)


def _leaf(value: Any) -> Tensor:
    """The unconstrained tensor behind a value of Pyro's store."""
    return value.unconstrained() if hasattr(value, "unconstrained") else value


def _owner(program: Any) -> Any:
    return getattr(program, "__self__", program)


class LossModule(nn.Module):
    """Loss of a model/guide pair as a module: `module(x).backward()` fills the gradients of its parameters.

    Args:
        loss: An objective, a negative phase or an inference.
        model: Pyro program, a method of a pair or a module of the user's own.
        guide: Pyro program with the same arguments.

    Raises:
        ValueError: If model and guide are methods of different pairs.
    """

    def __init__(self, loss: PyroLoss, model: Callable[..., Any], guide: Callable[..., Any]) -> None:
        super().__init__()
        owner: Any = check_same_pair(model, guide)
        if owner is None and isinstance(_owner(model), GenerativeModel):
            whole = model == _owner(model).model and guide == _owner(model).guide
            owner = _owner(model) if whole else None
        if owner is None:
            programs = Programs(model, guide, loss)
            plate = programs.plate if programs.plate_settled else None
            owner = Pair(model, guide, plate=plate, default_inference=programs.default_inference)
            owner.plate_argument = programs.plate_argument
        self.pair = owner
        self._loss = loss
        self._bound: Any = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Minus the bound summed over the data, in nats: a scalar.

        Raises:
            ValueError: If no parameter is found.
        """
        bound_inference, resolve = engine()
        batch = Arguments(args, kwargs)
        if self._bound is None:
            self.pair.prepare(batch)
            self._bound = bound_inference(resolve(self._loss, self.pair), self.pair, batch, None)
        training = torch.is_grad_enabled()
        evaluation = self._bound.evaluate(batch, training=training)
        if not training:
            return self._bound.summed_loss(evaluation)
        return self._bound.differentiable(evaluation, [p for p in self.parameters() if p.requires_grad])
