"""The prior of the codes of a vector-quantised autoencoder, as a model of codes."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ppgen.distributions import Autoregressive, CategoricalOutput
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.nn import CategoricalNADE


@dataclass(frozen=True)
class CodeOutput(CategoricalOutput):
    """Number of a code, which networks see as it is: a name, and no level.

    Args:
        levels: Codes of the codebook.

    Example:
        >>> import torch
        >>> CodeOutput(8).code(torch.tensor(5.0))
        tensor(5.)
    """

    def code(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


class CodePrior(AutoregressiveModel):
    """Numbers of codes under an autoregressive law, one after another; what `training.fit_prior` trains.

    Args:
        network: Network over the codes, which is trained in its place.

    Example:
        >>> from ppgen import models
        >>> prior = models.VQVAE(shape=(8, 8), codes=16, channels=4).code_prior()
        >>> prior.model(num_rows=3).shape
        torch.Size([3, 16])
    """

    def __init__(self, network: CategoricalNADE) -> None:
        super().__init__()
        self.network, self.output = network, CodeOutput(network.outputs)
        self.features = network.positions

    def law(self) -> Any:
        """Law of the numbers of a datum's codes, with events of shape (places,)."""
        return Autoregressive(self.network, self.output)
