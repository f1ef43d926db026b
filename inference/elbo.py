"""The evidence lower bound."""

from dataclasses import dataclass

from torch import Tensor

from ppgen.inference.log_weights import LogWeights
from ppgen.inference.objective import Objective


@dataclass(frozen=True)
class ELBO(Objective):
    r"""Evidence lower bound, averaged over particles.

    .. math:: \mathcal{L} = E_{q(z \mid x)}[\log p(x, z) - \log q(z \mid x)] \le \log p(x)

    The value is per datum, in nats. Sites outside the data plate count once for the whole data set. With more
    particles the bound is the same and its gradient less noisy.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014)
        | https://arxiv.org/abs/1312.6114

    Args:
        num_particles: Draws of the guide for each datum.
        vectorize_particles: Whether they are drawn at once.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.ELBO(num_particles=5)
        ELBO(num_particles=5, vectorize_particles=True)
    """

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Mean log-weight per datum."""
        value = weights.local.mean()
        return value if weights.outside is None else value + weights.outside.mean() / num_data
