"""A Pyro program with what Pyro's losses make of it, run under Pyro's loss and under the one that stands for it."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import (
    RenyiELBO,
    Trace_ELBO,
    TraceEnum_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    TraceTMC_ELBO,
    config_enumerate,
)
from pyro.infer.elbo import ELBO
from torch import Tensor

from ppgen import inference
from ppgen.inference.pyro_loss import PyroLoss

RUNS, WARNS, REFUSES = "runs", "warns", "refuses"

# Pyro's loss, and what stands for it; one particle at a time, so that both see the same draws.
LOSSES: dict[str, tuple[Callable[[], ELBO], Callable[[], PyroLoss]]] = {
    "Trace": (Trace_ELBO, inference.ELBO),
    "TraceGraph": (TraceGraph_ELBO, inference.ELBO),
    "TraceEnum": (lambda: TraceEnum_ELBO(strict_enumeration_warning=False), inference.ELBO),
    "TraceEnum, strict": (TraceEnum_ELBO, inference.ELBO),
    "TraceTMC": (lambda: TraceTMC_ELBO(strict_enumeration_warning=False), inference.ELBO),
    "MeanField": (TraceMeanField_ELBO, lambda: inference.Inference(inference.ELBO(), inference.AnalyticKL())),
    "Renyi": (
        lambda: RenyiELBO(alpha=0.5, num_particles=3),
        lambda: inference.Renyi(num_particles=3, alpha=0.5, vectorize_particles=False),
    ),
    "Trace, 10 at once": (
        lambda: Trace_ELBO(num_particles=10, vectorize_particles=True),
        lambda: inference.ELBO(num_particles=10),
    ),
    "TraceEnum, 10 at once": (
        lambda: TraceEnum_ELBO(num_particles=10, vectorize_particles=True, strict_enumeration_warning=False),
        lambda: inference.ELBO(num_particles=10),
    ),
}


@dataclass(frozen=True, eq=False)
class Program:
    """A program, and what Pyro makes of it.

    Attributes:
        name: What it is, in words.
        model: Pyro program.
        guide: Pyro program with the same arguments.
        args: Their arguments.
        losses: Names of the losses under which it is tried.
        pyro: What Pyro does: `RUNS`, `WARNS` or `REFUSES`; under some losses something else.
        like_pyro: Whether value and gradient are Pyro's, from the same draws: None if both have the gradient of the
            draws' path or of a sum; False where nothing but an expectation can be compared.
        validated: Whether Pyro's own checks are on.
        fresh: Whether `guide` makes the guide, or model and guide, because modules keep what they have learnt.
    """

    name: str
    model: Callable[..., Any]
    guide: Callable[..., Any]
    args: tuple[Any, ...] = ()
    losses: tuple[str, ...] = ("Trace", "TraceGraph")
    pyro: str | dict[str, str] = RUNS
    like_pyro: bool | None = None
    validated: bool = True
    fresh: bool = False

    def programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Model and guide; modules anew, set up by a call."""
        if not self.fresh:
            return self.model, self.guide
        made = self.guide()
        model, guide = made if isinstance(made, tuple) else (self.model, made)
        guide(*self.args)
        return model, guide

    def expected(self, loss: str) -> str:
        """What Pyro does under one of its losses."""
        return self.pyro if isinstance(self.pyro, str) else self.pyro.get(loss, RUNS)


@dataclass(frozen=True)
class Outcome:
    """What a loss made of a program: a value with gradients, or an error; and its warnings."""

    loss: float | None
    gradients: dict[str, Tensor]
    error: Exception | None
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """`RUNS`, `WARNS` or `REFUSES`."""
        return REFUSES if self.error is not None else WARNS if self.warnings else RUNS

    @property
    def finite(self) -> bool:
        """Whether value and gradients are numbers."""
        return self.loss is not None and all(
            bool(torch.as_tensor(each).isfinite().all()) for each in (self.loss, *self.gradients.values())
        )


@contextlib.contextmanager
def empty_store() -> Iterator[None]:
    """Context around which Pyro's parameter store is empty."""
    pyro.clear_param_store()
    try:
        yield
    finally:
        pyro.clear_param_store()


def run(program: Program, loss: Any, seed: int = 0) -> Outcome:
    """One step's value and gradients of a program under a loss, from a seed."""
    with (
        empty_store(),
        warnings.catch_warnings(record=True) as caught,
        pyro.validation_enabled(program.validated),
    ):
        warnings.simplefilter("always")
        torch.manual_seed(seed)
        try:
            model, guide = program.programs()
            if isinstance(loss, (TraceEnum_ELBO, TraceTMC_ELBO)):  # it runs the programs first, to see their plates
                loss._guess_max_plate_nesting(model, guide, program.args, {})
            torch.manual_seed(seed)
            value = loss.loss_and_grads(model, guide, *program.args)
        except Exception as error:
            return Outcome(None, {}, error, tuple(str(each.message) for each in caught))
        found = {name: value for name, value in pyro.get_param_store().named_parameters() if value.grad is not None}
        gradients = {name: tensor.grad.clone() for name, tensor in found.items()}
        told = [each for each in caught if not issubclass(each.category, DeprecationWarning)]
        return Outcome(float(value), gradients, None, tuple(str(each.message) for each in told))


class Stated:
    """What a body of statements draws by in a model: laws with constants, and observations."""

    def __init__(self, law: str) -> None:
        self.law = law

    def parameter(self, name: str = "p") -> Tensor:
        """The constant that stands for a parameter of the guide."""
        return torch.tensor(0.3)

    def latent(self, name: str, *shape: int, shift: Any = 0.0, infer: dict[str, Any] | None = None) -> Tensor:
        """A latent site."""
        law: Any = LAWS[self.law](self.parameter() + shift)
        return pyro.sample(name, law.expand_by(shape) if shape else law, infer=infer)

    def seen(self, name: str, law: Any, value: Any) -> None:
        """An observed site."""
        pyro.sample(name, law, obs=value)


class Guessed(Stated):
    """What the same body draws by in a guide: laws with parameters, and nothing that is observed."""

    def parameter(self, name: str = "p") -> Tensor:
        return pyro.param(name, lambda: torch.tensor(-0.4))

    def seen(self, name: str, law: Any, value: Any) -> None:
        pass


class Unreparameterised(dist.Normal):
    """A normal law whose draws have no gradient."""

    has_rsample = False

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        raise NotImplementedError("These draws have no gradient by design: whoever asks for one must fail the test.")


LAWS: dict[str, Callable[[Tensor], Any]] = {
    "normal": lambda p: dist.Normal(p, 1.0),
    "bernoulli": lambda p: dist.Bernoulli(logits=p),
    "categorical": lambda p: dist.Categorical(logits=torch.stack([p, 2 * p, 0 * p], -1)),
    "score": lambda p: Unreparameterised(p, 1.0),
}


def programs_of(
    name: str,
    body: Callable[..., Any],
    *args: Any,
    laws: tuple[str, ...] = ("normal", "bernoulli"),
    pyro: str | dict[str, str] = RUNS,
    **options: Any,
) -> list[Program]:
    """Model and guide of one body, reparameterised or not; discrete sites are drawn, and summed where it is marked.

    Args:
        name: What it is, in words.
        body: Statements, given what they draw by.
        args: Arguments of the body after that.
        laws: Names of the laws of its latents.
        pyro: What Pyro does.
        options: Attributes of the programs.
    """
    found = []
    for law in laws:
        model, guide = _bound(body, Stated(law), args), _bound(body, Guessed(law), args)
        smooth = law == "normal"
        found.append(
            Program(
                f"{name}, {law}",
                model,
                guide,
                losses=("Trace", "TraceGraph"),
                like_pyro=None if smooth else False,
                pyro=pyro,
                **options,
            )
        )
        if law in ("bernoulli", "categorical"):
            summed = config_enumerate(guide)
            found.append(Program(f"{name}, {law} summed", model, summed, losses=("TraceEnum",), pyro=pyro, **options))
    return found


def _bound(body: Callable[..., Any], draw: Stated, args: tuple[Any, ...]) -> Callable[[], None]:
    def program() -> None:
        body(draw, *args)

    return program
