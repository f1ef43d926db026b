"""Pathwise gradients without the guide's score: sticking the landing, and doubly reparameterised."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.structure.layout import REPARAMETERISED


@dataclass(frozen=True)
class StickTheLanding(Estimator):
    r"""Pathwise gradient of the ELBO without the score of the guide, which is zero in expectation.

    .. math:: \nabla_\phi \mathcal{L} = E_\epsilon\Big[\frac{\partial \log w}{\partial z}
              \frac{\partial z}{\partial \phi}\Big], \quad \log w = \log p(x, z) - \log q(z \mid x)

    Unbiased; its variance goes to zero as the guide goes to the exact posterior. The guide runs twice, once with
    constant parameters; a compiled step computes their common part once.

    References:
        | Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Roeder, Wu and
          Duvenaud, 2017), https://arxiv.org/abs/1703.09194

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.StickTheLanding()).estimator
        StickTheLanding()
    """

    kinds: ClassVar[frozenset[str]] = frozenset({REPARAMETERISED})
    needs: ClassVar[str] = "a distribution with rsample in the guide"
    stops: ClassVar[bool] = True

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether the objective is a mean of log-weights."""
        return objective.is_mean_log_weight()

    @staticmethod
    def factor(slope: Tensor, num_rows: int) -> Tensor:
        """Weight of a log-weight's path, from the derivative of the objective with respect to it."""
        return slope


@dataclass(frozen=True)
class DoublyReparameterized(Estimator):
    r"""Doubly reparameterised gradient of the importance-weighted bound, and of the guide's wake update.

    .. math:: \nabla_\phi \mathcal{L}_K = E\Big[\sum_k \tilde w_k^2 \frac{\partial \log w_k}{\partial z_k}
              \frac{\partial z_k}{\partial \phi}\Big], \quad \tilde w_k = w_k / \sum_j w_j

    Unbiased, and its signal does not fade as K grows. The model's gradient is the usual one, weighted by
    :math:`\tilde w_k`. Under `ReweightedWakeSleep` it stands for the wake update of the guide, of which it has the
    expectation at the same K (RWS-DReG):

    .. math:: E\Big[\sum_k \tilde w_k \nabla_\phi \log q_\phi(z_k \mid x)\Big] = E\Big[\sum_k
              (\tilde w_k - \tilde w_k^2) \frac{\partial \log w_k}{\partial z_k}
              \frac{\partial z_k}{\partial \phi}\Big]

    Sound only where all sites that the guide reparameterises have it, the guide draws no others, and none is masked;
    raises elsewhere.

    References:
        | Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019),
          https://arxiv.org/abs/1810.04152

    Example:
        >>> from ppgen import inference
        >>> inference.DReG(num_particles=10).estimator
        DoublyReparameterized()
    """

    kinds: ClassVar[frozenset[str]] = frozenset({REPARAMETERISED})
    needs: ClassVar[str] = "a distribution with rsample in the guide"
    stops: ClassVar[bool] = True
    alone: ClassVar[bool] = True

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether log-weights are followed by the share of their weight in the sum."""
        return objective.follows_weights()

    @staticmethod
    def factor(slope: Tensor, num_rows: int) -> Tensor:
        """Weight of a log-weight's path: the slope is w / rows, and what is wanted w squared / rows."""
        return slope.square() * num_rows
