"""Neural autoregressive density estimators of bits and levels."""

from typing import Any

import torch
from torch import Tensor

from ppgen.distributions import Autoregressive
from ppgen.models.autoregressive.autoregressive_model import AutoregressiveModel
from ppgen.models.parts.arguments import one_of, positive_size
from ppgen.models.parts.entries import output_of_levels, start_at_data
from ppgen.nn import NADENetwork


class NADE(AutoregressiveModel):
    r"""Neural autoregressive distribution estimator: a hidden layer for each entry, with weights in common.

    .. math:: p(x) = \prod_d p\big(x_d \mid b_d + V_d f(a_d)\big), \quad a_1 = c, \quad a_{d+1} = a_d + W_d x_d

    The likelihood of a row takes O(D H), as does a draw. Site: `x`, in the plate `data`.

    References:
        | The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011)
        | Neural Autoregressive Distribution Estimation (Uria, Cote, Gregor, Murray and Larochelle, 2016)
        | https://arxiv.org/abs/1605.02226

    Args:
        features: Observed variables D.
        hidden: Hidden units H.
        levels: Values of each variable, 0, ..., levels - 1; bits by default.
        activation: Function f of the hidden units: `"sigmoid"`, `"tanh"` or `"relu"`.

    Raises:
        ValueError: If a number is not positive, there are fewer than two levels, or the activation is unknown.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.NADE(4, hidden=3)
        >>> model.law().log_prob(torch.ones(2, 4)).shape, model.law().sample((5,)).shape
        (torch.Size([2]), torch.Size([5, 4]))
    """

    def __init__(self, features: int, hidden: int = 500, levels: int = 2, activation: str = "sigmoid") -> None:
        super().__init__()
        self.features = positive_size("features", features)
        self.output = output_of_levels(levels)
        self.network = NADENetwork(
            self.features,
            positive_size("hidden", hidden),
            self.output.num_parameters,
            activation=one_of("activation", activation, ("sigmoid", "tanh", "relu")),
        )

    @classmethod
    def example(cls) -> tuple["NADE", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(features=4, hidden=3), torch.rand(6, 4).lt(0.4).float()

    def law(self) -> Any:
        """Law of a datum, with events of shape (features,)."""
        return Autoregressive(self.network, self.output)

    def initialise(self, data: Any) -> None:
        """Start the biases at the laws of the variables by themselves."""
        start_at_data(self.network, self.output, data)
