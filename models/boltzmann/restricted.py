"""What restricted Boltzmann machines of any units share: the program that they are."""

from abc import abstractmethod

import pyro
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.distributions import BoltzmannMachine
from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel


class RestrictedMachine(GenerativeModel):
    r"""A machine of a layer `visible` and a layer `hidden`, run forward like any other program.

    .. math:: h \sim p(h), \quad v \sim p(v \mid h), \qquad q(h \mid v) = p(h \mid v)

    The hidden units come from their marginal, the visible ones given them; the guide is the exact posterior, so that a
    log-weight is log p(v) for every h. Sites: `hidden` and `visible`, in the plate `data`.
    """

    @abstractmethod
    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights."""

    def machine_of(self, x: Tensor | None) -> BoltzmannMachine:
        """The Boltzmann machine for rows of data: one for all, unless its energy depends on the datum."""
        return self.machine()

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of hidden and visible units.

        Args:
            x: Data, shape (rows, visible); None draws them, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine = self.machine_of(x)
        with pyro.plate(self.plate, rows(x, num_rows)):
            hidden = pyro.sample("hidden", machine.marginal("hidden"))
            return pyro.sample("visible", machine.conditional("visible", given=hidden), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Exact posterior p(h | v) of data of shape (rows, visible)."""
        machine = self.machine_of(x)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("hidden", machine.conditional("hidden", given=x), infer={"posterior": "exact"})  # type: ignore[arg-type]
