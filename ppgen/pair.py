"""A model and its guide as one module, with every parameter of the two as its own."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.contrib.easyguide import EasyGuide
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule
from pyro.params.param_store import ParamStoreDict
from pyro.poutine.block_messenger import BlockMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from ppgen.batch import all_tensors_of, split_batch, tensors_of
from ppgen.checks.arguments import check_kind
from ppgen.checks.arrays import holds_other_dtype, in_dtype, parameter_dtype
from ppgen.checks.dtypes import agreeing_dtypes, mixed_dtypes
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.old_names import honour_old_name
from ppgen.checks.program_errors import explained
from ppgen.checks.room import CheckedAllocations
from ppgen.parameters.capture import Capture, CapturedParameters, attribute_name, prepare_modules
from ppgen.parameters.given_params import given_values
from ppgen.parameters.references import referenced_modules
from ppgen.parameters.values import parameter_values
from ppgen.undisturbed import device_of, forked, keeping_buffers


class _PairMethods(nn.Module):
    """What the training loop and the estimators ask of every pair."""

    plate: str | None = "data"
    plate_settled: bool = True  # whether `plate` was given or found: None is the joint weight of a program without one
    plate_found: bool = False  # whether it was found under another name than the usual one
    plate_argument: str = "Pair(..., plate=...)"  # what names a plate
    default_inference: str = "elbo"
    default_training: Mapping[str, Any] = {}
    has_likelihood: bool = True  # whether the model states a density of the data, or is implicit and draws them only
    inference_state: dict[str, Tensor] | None = None
    draws_data: bool = True  # whether the model's law of the data can be drawn from, or is only a score
    takes_integers: bool = False  # whether whole numbers stay whole numbers where the model is one of the zoo
    surrogate_gradients: tuple[str, ...] = ()  # beginnings of parameters whose gradient is not that of the value
    initialised: bool = False  # whether `initialise` was called, or the weights were given

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        honour_old_name(cls, "look_at", "inspect_data")

    def initialise(self, data: Any) -> None:
        """Set parameters from a `ppgen.datasets.Dataset` before the first training step; nothing by default."""

    def inspect_data(self, data: Any) -> None:
        """Note what of a `ppgen.datasets.Dataset` programs must know while they are traced; called by every fit."""

    def check_batch(self, batch: Any) -> None:
        """Raise unless a batch is what model and guide take; `ppgen.ConditionalModel` says more, others nothing."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context in which model and guide run: parameters are the modules' own, Pyro's global store is not used."""
        prepare_modules(self)
        with pyro.settings.context(module_local_params=True):
            yield

    @property
    def device(self) -> torch.device:
        """Device of the parameters; the CPU if there are none yet."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    def prepare(self, batch: Any) -> None:
        """Run model and guide once, so that parameters made at the first call exist; the random state is restored.

        Parameters decide the floating-point type of the data. Where those that are made at the first call met data of
        another type, the program is run again with data of theirs, which is what it will be given.

        Raises:
            ValueError: If an AutoGuide has parameters for the rows of a batch of another size; if a law does not fit
                its plates.
            TypeError: If the program uses two floating-point types that do not go together.
        """
        self.check_batch(batch)
        check_has_likelihood(self, "Log-weights, and all that is made of them,")
        check_autoguide_rows(self, batch)
        prepare_modules(self)
        known = parameter_dtype(self)
        try:
            self._run_once(batch)
            again = known is None and holds_other_dtype(batch, parameter_dtype(self))
        except RuntimeError as error:
            if len(mixed_dtypes(error)) < 2:
                raise
            again = True
        if again:
            with agreeing_dtypes(self):
                self._run_once(in_dtype(batch, parameter_dtype(self)))
        prepare_modules(self)  # an AutoGuide makes its modules at the first call

    def params(self) -> dict[str, Tensor]:
        """Copies of all parameters as the programs see them, under their constraints, by name.

        Those of `pyro.param("T", ...)` statements have the names that stand there, so that `pair.params()["T"]` has
        rows on the simplex where `pair.captured.T` is the unconstrained tensor that is trained. They begin to exist
        with the first run (`fit`, `prepare`).
        """
        return parameter_values(self)

    def settle_plate(self, plate: str | None) -> None:
        """Keep the data plate that was found, or that there is none."""
        self.plate_found = plate not in (None, self.plate)
        self.plate, self.plate_settled = plate, True

    def _run_once(self, batch: Any) -> None:
        args, kwargs = split_batch(batch)
        with (
            forked(device_of(self, args, kwargs)),
            torch.no_grad(),
            self.running(),
            keeping_buffers(self),
            explained(self.plate) as seen,
        ):
            seen.guide = guide_trace = poutine.trace(self.guide).get_trace(*args, **kwargs)  # type: ignore[arg-type]
            poutine.trace(poutine.replay(self.model, trace=guide_trace)).get_trace(*args, **kwargs)  # type: ignore[arg-type]


@dataclass(frozen=True)
class AutoGuideRows:
    """Latents of an AutoGuide inside the data plate: one set of parameters per row, told apart by their places.

    Attributes:
        guide: Name of the AutoGuide's type.
        site: One of the latents.
        plate: The data plate.
        rows: Rows that there are parameters for.
    """

    guide: str
    site: str
    plate: str
    rows: int

    @property
    def told(self) -> str:
        """What it has, as the beginning of a message."""
        return (
            f"{self.guide} gives site {self.site!r} one set of parameters per row of plate {self.plate!r}, "
            f"{self.rows} in all, so its size is fixed to one batch"
        )


def autoguide_rows(pair: Any) -> AutoGuideRows | None:
    """The latents inside the data plate of an AutoGuide that was called before; None if there are none."""
    modules = pair.modules() if isinstance(pair, nn.Module) else ()
    for guide in (module for module in modules if isinstance(module, AutoGuide)):
        for name, site in _latent_sites(guide).items():
            for frame in site["cond_indep_stack"]:
                if frame.name == pair.plate and name != pair.plate and frame.dim is not None:
                    return AutoGuideRows(type(guide).__name__, name, frame.name, int(frame.size))
    return None


def check_autoguide_rows(pair: Any, batch: Any) -> None:
    """Raise where an AutoGuide has parameters for other rows of the data plate than a batch has.

    Raises:
        ValueError: Names the site, and both numbers of rows.
    """
    found = autoguide_rows(pair)
    tensors = tensors_of(batch)
    if found is not None and tensors and all(len(tensor) != found.rows for tensor in tensors):
        raise ValueError(
            f"{found.told}; this one has {len(tensors[0])} rows. Give it the data that it was trained on, or write a "
            "guide that computes them from the data (amortised)."
        )


def _latent_sites(guide: AutoGuide) -> dict[str, Any]:
    """The sites that an AutoGuide draws, once it was called; AutoStructured empties its prototype and keeps its own."""
    if hasattr(guide, "_sorted_sites"):
        return dict(guide._sorted_sites)
    prototype: Any = getattr(guide, "prototype_trace", None)
    return {} if prototype is None else {name: prototype.nodes[name] for name in prototype.stochastic_nodes}


class GenerativeModel(PyroModule, _PairMethods):
    """Base of the models of the zoo: a PyroModule whose methods `model` and `guide` are the pair.

    Subclasses mark both methods with `pyro.nn.module.pyro_method` (without it `pyro.infer.SVI` finds no parameter of
    plain child modules) and draw every datum inside `pyro.plate(self.plate, len(x))`. Constructor arguments are
    recorded, so that a checkpoint can build the model again.

    An implicit model, which draws data and states no density of them, says `has_likelihood = False`: its `model`
    returns the value of a `pyro.deterministic` site, it needs no guide, and what would need a likelihood refuses it.
    """

    plate: str = "data"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    def config(self) -> dict[str, Any]:
        """Constructor arguments, as JSON can hold them."""
        return dict(self._config)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        outermost = "_config" not in self.__dict__
        if outermost:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = {name: value for name, value in bound.arguments.items() if name != "self"}
            object.__setattr__(self, "_config", {name: _plain(value) for name, value in given.items()})
        if not outermost:
            init(self, *args, **kwargs)
            return
        with CheckedAllocations(type(self).__name__):
            init(self, *args, **kwargs)

    return wrapped


def _plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value  # numbers and arrays of NumPy
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value


class Pair(_PairMethods):
    """A model and a guide of the user's own: functions, PyroModules, methods of one, or AutoGuides.

    Parameters of `pyro.param` and `pyro.module` statements are captured at the first call as parameters of the pair
    (constraints are kept), so that nothing lands in Pyro's global store.

    Args:
        model: Pyro program of the joint density; draws every datum inside `pyro.plate(plate, ...)`.
        guide: Pyro program of the approximate posterior, called with the same arguments.
        plate: Name of the plate over the data. By default `"data"`; where there is none of that name, the one plate
            that holds observed sites and has as many rows as the data; and if there is no such plate, the program has
            one joint weight: all data are one datum, which goes in whole.
        default_inference: Registered name of the inference that completes a bare objective or negative phase.
        model_args: Constant positional arguments, given after those of the batch.
        model_kwargs: Constant keyword arguments.
        params: Values by name that parameters start from instead of those in their statements: after training by
            `pyro.infer.SVI` Pyro's store, `params=pyro.get_param_store()`, which is copied and left alone. `{}` starts
            afresh and says so.

    Raises:
        TypeError: If model or guide cannot be called, `plate` is no name, or `params` is no mapping.
        ValueError: At the first call, if a value of `params` has another shape than the parameter or lies outside of
            its constraint.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> from ppgen import Pair
        >>> def model(x):
        ...     loc = pyro.param("loc", torch.tensor(0.0))
        ...     with pyro.plate("data", len(x)):
        ...         z = pyro.sample("z", dist.Normal(loc, 1.0))
        ...         pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("z", dist.Normal(x / 2, 0.7))
        >>> pair = Pair(model, guide)
        >>> pair.prepare(torch.zeros(3))
        >>> [name for name, _ in pair.named_parameters()]
        ['captured.loc']
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        *,
        plate: str | None = None,
        default_inference: str = "elbo",
        model_args: tuple[Any, ...] = (),
        model_kwargs: Mapping[str, Any] | None = None,
        params: Mapping[str, Tensor] | ParamStoreDict | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("model", model), ("guide", guide)):
            if not callable(value):
                raise TypeError(f"{name} must be a callable with Pyro statements, got {type(value).__name__}.")
        if plate is not None and (not isinstance(plate, str) or not plate):
            raise TypeError(f"plate must be the name of the plate over the data, got {plate!r}.")
        if model_kwargs is not None:
            check_kind("model_kwargs", model_kwargs, Mapping, "a mapping from names to arguments")
        self.plate, self.plate_settled = plate or "data", plate is not None
        self.default_inference = default_inference
        self.model_args, self.model_kwargs = tuple(model_args), dict(model_kwargs or {})
        known = {name: module for program in (model, guide) for name, module in referenced_modules(program).items()}
        self.captured = CapturedParameters(known, None if params is None else given_values(params))
        self._capture = Capture(self.captured, self)
        # In tuples, so that modules are registered once, by their owner and not by their methods.
        self._callables = (model, guide)
        for name, owner in (("model_module", _owner(model)), ("guide_module", _owner(guide))):
            if owner is not None and all(owner is not child for child in self.children()):
                self.add_module(name, owner)
        own = {id(module) for module in self.modules()}
        for name, module in known.items():
            if isinstance(module, PyroModule) and id(module) not in own:  # it announces its parameters by itself
                self.captured.add_child(attribute_name(name), module)
        for module in self.modules():
            if isinstance(module, (AutoGuide, EasyGuide)) and _owner(module.model) is None:
                # Such a guide runs its model behind a block, where only a handler inside of it is heard.
                module._model = (self._capturing(module.model),)
                if getattr(module, "_original_model", None) is not None:  # AutoStructured looks for dependencies there
                    module._original_model = (self._capturing(module._original_model[0]),)

    @property
    def programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The two callables as they were given."""
        return self._callables

    def model(self, *args: Any, **kwargs: Any) -> Any:
        """The model, with the constant arguments added and the parameters of the pair."""
        with self._alone():
            return self._callables[0](*args, *self.model_args, **kwargs, **self.model_kwargs)

    def guide(self, *args: Any, **kwargs: Any) -> Any:
        """The guide, with the constant arguments added and the parameters of the pair."""
        with self._alone():
            return self._callables[1](*args, *self.model_args, **kwargs, **self.model_kwargs)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Context in which model and guide run: every parameter is the pair's own."""
        with super().running(), self._capture:
            yield

    def _alone(self) -> AbstractContextManager[None]:
        """`running`, where nothing around the program has entered it: Pyro's `Predictive`, handlers, a plain call."""
        inside = any(handler is self._capture for handler in _PYRO_STACK)
        return nullcontext() if inside else self.running()

    def prepare(self, batch: Any) -> None:
        """Run both programs on a batch once, so that every parameter exists, on the device of the batch."""
        first = next(iter(all_tensors_of(batch)), None)
        self._capture.device = None if first is None else first.device
        super().prepare(batch)
        self.captured.warn_of_store()

    def _capturing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with parameters of the pair, inside of the last block around it, which would hide them."""
        if any(isinstance(handler, BlockMessenger) for handler in _handlers(function)):
            handler, inner = function.func.args  # type: ignore[attr-defined]
            return handler(self._capturing(inner))

        @functools.wraps(function)
        def captured(*args: Any, **kwargs: Any) -> Any:
            with Capture(self.captured, self, self._capture.device):
                return function(*args, **kwargs)

        return captured


def _owner(function: Callable[..., Any]) -> nn.Module | None:
    if isinstance(function, nn.Module):
        return function
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _handlers(function: Any) -> list[Messenger]:
    """Handlers around a function, as `poutine.block(function)` puts them, the outer ones first."""
    parts: tuple[Any, ...] = getattr(getattr(function, "func", None), "args", ())
    if len(parts) != 2 or not isinstance(parts[0], Messenger):
        return []
    return [parts[0], *_handlers(parts[1])]


AnyPair = GenerativeModel | Pair


def as_pair(candidate: Any) -> AnyPair:
    """The pair itself, or the pair of a training run.

    Raises:
        TypeError: If it is neither; the message says how to wrap two functions.
    """
    pair = getattr(candidate, "pair", candidate)
    if isinstance(pair, (GenerativeModel, Pair)):
        return pair
    raise TypeError(
        f"Expected a model of ppgen.models or a ppgen.Pair, got {type(candidate).__name__}. "
        "Wrap two Pyro programs as ppgen.Pair(model, guide)."
    )
