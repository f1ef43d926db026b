"""Programs run at given values of their latents, which stay latent."""

from collections.abc import Mapping
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor


class GivenValues(Messenger):
    """Handler under which latent sites have given values; observed sites keep their own.

    Args:
        values: Values by site, of the shapes in which the program would draw them.

    Example:
        >>> import pyro, torch
        >>> from pyro import poutine
        >>> def model():
        ...     return pyro.sample("z", pyro.distributions.Normal(0.0, 1.0))
        >>> with GivenValues({"z": torch.tensor(2.0)}):
        ...     trace = poutine.trace(model).get_trace()
        >>> trace.nodes["z"]["value"], trace.nodes["z"]["is_observed"]
        (tensor(2.), False)
    """

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True
