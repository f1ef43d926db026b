"""The pathwise (reparameterisation) gradient."""

from dataclasses import dataclass
from typing import ClassVar

from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.structure.layout import REPARAMETERISED


@dataclass(frozen=True)
class Pathwise(Estimator):
    r"""Gradient through reparameterised draws z = g(epsilon, phi) of the guide.

    .. math:: \nabla_\phi E_q[f(z)] = E_\epsilon[\nabla_\phi f(g(\epsilon, \phi))]

    Sound at sites whose distribution in the guide has `rsample`.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
        | Stochastic Backpropagation and Approximate Inference in Deep Generative Models (Rezende et al., 2014),
          https://arxiv.org/abs/1401.4082

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.Pathwise()).estimator
        Pathwise()
    """

    kinds: ClassVar[frozenset[str]] = frozenset({REPARAMETERISED})
    needs: ClassVar[str] = "a distribution with rsample in the guide"
