"""What mixtures share: the programs, the exact posterior of the component, how data are assigned to components."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.closed_form import Draw
from ppgen.models.mixtures.components import Component, responsibilities
from ppgen.models.mixtures.starts import check_rows
from ppgen.models.parts.arguments import one_of, positive_size
from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel

STARTS = ("kmeans", "rows")


class MixtureModel(GenerativeModel):
    r"""A datum is from component k with probability pi_k, and the guide is the exact posterior of which.

    .. math:: p(x) = \sum_k \pi_k \, p_k(x), \qquad q(z = k \mid x) = \frac{\pi_k \, p_k(x)}{p(x)}

    So every log-weight is log p(x), whatever was drawn, and so is its gradient. A subclass says what the law of a
    component is and how its parameters follow from sums over the data.

    Args:
        features: Observed variables.
        components: Components.
        start: Where components start at the first fit.
    """

    default_inference = "em"

    def __init__(self, features: int, components: int, start: str) -> None:
        super().__init__()
        self.features, self.components = positive_size("features", features), positive_size("components", components)
        self.start = one_of("start", start, STARTS)
        self.weight_logits = nn.Parameter(torch.zeros(self.components))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @property
    def weights(self) -> Tensor:
        """pi, the probabilities of the components: (components,)."""
        return self.weight_logits.detach().softmax(-1)

    @abstractmethod
    def component(self, index: Tensor) -> Component:
        """The law of data given their components (..., rows)."""

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of components and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        self.state_prior()
        logits = self.weight_logits
        with pyro.plate(self.plate, rows(x, num_rows)):
            z = pyro.sample("z", dist.Categorical(logits=logits))
            return pyro.sample("x", self.component(z), obs=x)

    def state_prior(self) -> None:
        """State the prior of the parameters, outside of the plate of the data; none by default."""

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """The exact posterior of the component of each row of data of shape (rows, features)."""
        law = self._law(x)
        exact: Any = {"posterior": "exact"}
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", law, infer=exact)

    def _law(self, x: Tensor) -> dist.Categorical:
        none = torch.zeros((), dtype=torch.long, device=x.device)
        return responsibilities(self.weight_logits, self.component(none), x)

    @torch.no_grad()
    def responsibilities(self, x: Tensor) -> Tensor:
        """Probability that each row is from each component: (rows, features) -> (rows, components)."""
        return self._law(x.to(self.weight_logits)).probs

    def assign(self, x: Tensor) -> Tensor:
        """The most probable component of each row: (rows, features) -> (rows,)."""
        return self.responsibilities(x).argmax(-1)

    @property
    def num_codes(self) -> int:
        """Numbers of a code: the components."""
        return self.components

    def encode(self, x: Tensor) -> Tensor:
        """The responsibilities, as codes: (rows, features) -> (rows, components)."""
        return self.responsibilities(x)

    def initialise(self, data: Any) -> None:
        """Start from the training rows: their k-means clusters, or rows chosen at random."""
        self.check_enough(data)
        with torch.no_grad():
            self.start_from(data)

    def check_enough(self, data: Any) -> None:
        """Raise where a data set has fewer training rows than there are components."""
        check_rows(data, self.components, type(self).__name__)

    @abstractmethod
    def start_from(self, data: Any) -> None:
        """Set the parameters from a data set that has enough rows."""

    def sufficient_statistics(self, guide: Mapping[str, Draw], x: Tensor) -> dict[str, Tensor]:
        """Expected rows of each component, and sums of what its parameters follow from."""
        return self.sums(guide["z"].law.probs, x)

    @abstractmethod
    def sums(self, shares: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Sums over rows (rows, features), of which each component has a share: (rows, components)."""

    @torch.no_grad()
    def set_from(self, statistics: Mapping[str, Tensor]) -> None:
        """Set the parameters that follow from some statistics."""
        for name, value in self.maximise(statistics).items():
            getattr(self, name).copy_(value)

    @abstractmethod
    def maximise(self, statistics: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters from sums over the data, by their names."""


def smallest_count(count: Tensor) -> Tensor:
    """Expected rows, with so many more that none is zero: ten roundings of 1, as scikit-learn has it."""
    return count + 10 * torch.finfo(count.dtype).eps
