"""What autoencoders share: the program of a model whose code is a function of the datum."""

from abc import abstractmethod
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.flat import Flat
from ppgen.models.parts.observation import Observation
from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel


class PointCoded(GenerativeModel):
    r"""Data around a function of their code, and a guide that gives each datum one code.

    .. math:: x \sim p_\theta(x \mid g(z)), \qquad z = f(x)

    The code has a flat prior, which is no law: the program states p(x | z) and nothing of x alone, the guide is a
    point, and training raises log p(x | f(x)). So values are no bound of log p(x), and evaluations of it refuse. Sites:
    `code` and `x`, in the plate `data`.
    """

    network: Any  # encode(x) and decode(code), whose outputs are not yet those of the law
    observation: Observation

    @property
    @abstractmethod
    def num_codes(self) -> int:
        """Numbers of a code."""

    @property
    def draws_data(self) -> bool:  # type: ignore[override]
        """Whether data given a code have a law: not under the cross-entropy of grey levels."""
        return self.observation.normalised

    @property
    def told_of_values(self) -> str:
        """What the values of training are, where they are no log-density of the data."""
        if self.observation.normalised:
            return ""
        return "values are minus the cross-entropy, which is no likelihood: not nats of the data"

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Data given their code.

        Args:
            x: Data, shape (rows, features). Without a prior of the code nothing can be drawn in their place.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        network, observation = self.network, self.observation
        with pyro.plate(self.plate, rows(x, num_rows)):
            code = pyro.sample("code", self._prior())
            return pyro.sample("x", observation(network.decode(code)), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The code of data of shape (rows, features)."""
        network = self.network
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("code", self._code_law(network.encode(x)))

    def encode(self, x: Tensor) -> Tensor:
        """Code of every row: (rows, features) -> (rows, codes)."""
        code: Tensor = self.network.encode(x)
        return code

    def decode(self, codes: Tensor) -> Tensor:
        """Mean of the data given their codes: (rows, codes) -> (rows, features)."""
        return self.observation.mean(self.network.decode(codes))

    def _prior(self) -> Any:
        return Flat(self.num_codes)

    def _code_law(self, code: Tensor) -> Any:
        return dist.Delta(code, code.new_zeros(code.shape[:-1]), event_dim=1)  # on the device of the code

    def initialise(self, data: Any) -> None:
        """Start the output's bias at the training mean (its logit), and the standard deviation at that of the data."""
        mean = torch.as_tensor(data.mean).to(self.device).flatten()
        self.observation.initialise(self.network.output_bias, mean, data)
