"""Terms of the objective that are no law of a variable: penalties of a guide, densities of parameters."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor


def penalise(name: str, amount: Tensor) -> None:
    """Add a penalty to log q of a guide, which is taken off the objective: `pyro.factor(..., has_rsample=True)`.

    Pyro's factor carries its tensor to torch's default device, this one leaves it where it is.

    Args:
        name: Of the site.
        amount: Penalty of each datum, (..., rows), with its gradient.
    """
    law = _Factor(amount)
    pyro.sample(name, law, obs=amount.new_empty(law.shape()), infer={"is_auxiliary": True})


def state_density(name: str, log_density: Tensor) -> None:
    """Add the log-density of parameters to the model, outside of the plate of the data, where it counts once.

    Args:
        name: Of the site.
        log_density: A scalar, with its gradient.
    """
    law = _Factor(log_density)
    pyro.sample(name, law, obs=log_density.new_empty(law.shape()))


class _Factor(dist.Unit):
    def __init__(self, log_factor: Tensor) -> None:
        self.log_factor, self.has_rsample = log_factor, True
        super(dist.Unit, self).__init__(log_factor.shape, torch.Size((0,)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Factor":
        return _Factor(self.log_factor.expand(torch.Size(batch_shape)))
