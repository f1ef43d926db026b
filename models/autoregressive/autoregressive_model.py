"""What fully observed models share: one observed site, and a guide with nothing to draw."""

from abc import abstractmethod
from typing import Any

import pyro
from pyro.nn.module import pyro_method
from torch import Tensor

from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel


class AutoregressiveModel(GenerativeModel):
    """Base of models whose data are one observed site with an exact likelihood.

    A subclass says by `law` what the data are drawn from. There is no latent, so that log p(x) is exact and maximum
    likelihood is the default. Site: `x`, in the plate `data`.
    """

    default_inference = "maximum-likelihood"
    features: int

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return self.features

    @abstractmethod
    def law(self) -> Any:
        """Law of a datum, with events of shape (features,)."""

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Independent rows.

        Args:
            x: Data, shape (rows, features); None draws them.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        with pyro.plate(self.plate, rows(x, num_rows)):
            return pyro.sample("x", self.law(), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> None:
        """Nothing: there is no latent."""
