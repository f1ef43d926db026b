"""Parameters held constant while a guide runs again, as estimators that stop its score want it."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from pyro import poutine
from torch import nn
from torch.nn.utils.stateless import _reparametrize_module

from ppgen.inference.structure.recognition import parameters_of


@contextlib.contextmanager
def constant_parameters(pair: Any, trace: poutine.Trace) -> Iterator[None]:
    """Context in which the parameters of a pair's programs are constants; what was computed before keeps its graph.

    Args:
        pair: A pair; or two callables that `pyro.infer.SVI` was given, whose parameters are those that they state.
        trace: Run of the program that runs again, whose param statements tell those parameters.
    """
    owner = pair if isinstance(pair, nn.Module) else getattr(pair, "owner", None)
    if owner is not None:
        constants = {name: value.detach() for name, value in owner.named_parameters()}
        with _reparametrize_module(owner, constants), warnings.catch_warnings():
            # `pyro.module` tells its user of parameters without a gradient, who did not ask for them here.
            warnings.filterwarnings("ignore", message=".* was not registered in the param store")
            yield
        return
    trained = [parameter for parameter in parameters_of(trace) if parameter.requires_grad and parameter.is_leaf]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* was not registered in the param store")
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
