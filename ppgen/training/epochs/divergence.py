"""What to say when training meets NaN or infinity: the first step, and the first site or parameter."""

from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference import StepResult
from ppgen.inference.structure.missing import filled
from ppgen.training.steps.stepper import Stepper


class DivergenceError(FloatingPointError):
    """Training met a value, a gradient or a parameter that is not finite."""


class Snapshot:
    """A state of training in memory, from which its steps can be run again exactly."""

    def __init__(self, stepper: Stepper) -> None:
        tensors, self.numbers = stepper.capture()
        self.tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def restore(self, stepper: Stepper) -> None:
        """Put the state back."""
        stepper.restore({name: tensor.clone() for name, tensor in self.tensors.items()}, self.numbers)


def explain(stepper: Stepper, snapshot: Snapshot) -> str:
    """Run again from the last good state up to the first bad step, and say what is bad there.

    Afterwards the pair holds the weights from before that step.
    """
    last = stepper.step + 1
    snapshot.restore(stepper)
    while stepper.step < last:
        if stepper.epoch_done:
            stepper.next_epoch()
        before = Snapshot(stepper)
        where = f"step {stepper.step + 1} (epoch {stepper.epoch + 1})"
        found = _try_step(stepper)
        if found is not None:
            before.restore(stepper)
            site = stepper.world.any(_first_bad_site(stepper))
            return f"at {where}: {found}{'' if site is None else f'; the first bad site is {site}'}"
    snapshot.restore(stepper)
    return f"between steps {snapshot.numbers['step']} and {last - 1}, not again when they were repeated"


def _try_step(stepper: Stepper) -> str | None:
    result, found = _look(stepper)
    found = stepper.world.any(found)  # each process sees its own rows only
    if found is not None or result is None:
        return found
    stepper.apply(result)
    for name, parameter in stepper.parameters.items():
        if not _finite(parameter):
            return f"the update of parameter {name!r} is not finite"
    return None


def _look(stepper: Stepper) -> tuple[StepResult | None, str | None]:
    try:
        result = stepper.bound.step(stepper.batch())
    except (ValueError, ArithmeticError, RuntimeError) as error:
        return None, str(error).splitlines()[0]
    if not bool(torch.isfinite(result.value)):
        return result, f"the objective is {float(result.value)}"
    for name, gradient in result.gradients.items():
        if not _finite(gradient):
            return result, f"the gradient of parameter {name!r} is not finite"
    return result, None


def _first_bad_site(stepper: Stepper) -> str | None:
    pair = stepper.pair
    args, kwargs = split_batch(stepper.batch())
    with torch.no_grad(), pair.running(), pyro.validation_enabled(False):
        try:
            guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
            model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(*args, **kwargs)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            return f"in {str(error).splitlines()[0]}"
    for part, trace in (("guide", guide), ("model", model)):
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and not site.get("is_subsample") and _site_is_bad(site):
                return f"{name!r} of the {part}"
    return None


def _site_is_bad(site: Any) -> bool:
    try:
        value = filled(site) if site["is_observed"] else site["value"]
        if isinstance(value, Tensor) and not _finite(value):
            return True
        return not _finite(site["fn"].log_prob(value))
    except (ValueError, ArithmeticError, RuntimeError):
        return False  # an undirected site without its log Z says nothing


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor.detach()).all())
