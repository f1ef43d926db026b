"""Restricted Boltzmann machine of real-valued visible units."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.distributions import EVEN, Bernoulli, BoltzmannMachine, Dense, Gaussian
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.parts.arguments import positive_size
from ppgen.models.parts.fixed_variance import LOOKED_AT, warn_unless_near_one


class GaussianRBM(RestrictedMachine):
    r"""Restricted Boltzmann machine of real visible and binary hidden units.

    .. math:: p(v, h) = \frac{1}{Z} \exp\Big(-\sum_i \frac{(v_i - a_i)^2}{2 \sigma_i^2} + c \cdot h +
              \sum_{ij} \frac{v_i}{\sigma_i^2} W_{ij} h_j\Big)

    Its marginal is a mixture of 2^H Gaussians of common variance that share the H columns of W, at unit variance

    .. math:: p(v) \propto \sum_h \exp\Big(c \cdot h + \frac{|a + W h|^2 - |a|^2}{2}\Big) N(v;\, a + W h,\, I)

    so data should be standardised unless the variances are learned. The guide is the exact posterior p(h | v), and up
    to 20 hidden units log p(v) is exact. Sites: `hidden` and `visible`, in the plate `data`. Weights start at
    N(0, 1 / (V + H)); at the first `fit` the means a start at those of the training data, learned variances at half of
    theirs.

    References:
        | Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines (Cho, Ilin and Raiko, 2011)

    Args:
        visible: Visible units V.
        hidden: Hidden units H.
        learn_variance: Whether the variances of the visible units are parameters; else they are 1.

    Raises:
        ValueError: If a number of units is not positive.
        TypeError: If `learn_variance` is no truth value.

    Example:
        >>> from ppgen import models
        >>> models.GaussianRBM(visible=64, hidden=16).machine()
        BoltzmannMachine(visible=64, hidden=16)
    """

    default_inference = "pcd"
    # Adam: gradients in the means and weights are as large as the precisions, which differ from unit to unit.
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(self, visible: int, hidden: int, learn_variance: bool = False) -> None:
        super().__init__()
        visible, hidden = positive_size("visible", visible), positive_size("hidden", hidden)
        if not isinstance(learn_variance, bool):
            raise TypeError(f"learn_variance must be True or False, got {learn_variance!r}.")
        self.weight = nn.Parameter(torch.randn(visible, hidden) / (visible + hidden) ** 0.5)
        self.visible_mean = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.log_variance = nn.Parameter(torch.zeros(visible)) if learn_variance else None
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((visible,), float("nan")))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the visible units."""
        return len(self.visible_mean)

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights."""
        layers = {"visible": Gaussian(self.visible_mean, self.log_variance), "hidden": Bernoulli(self.hidden_bias)}
        return BoltzmannMachine(layers, [Dense(self.weight)])

    def mixture(self, max_states: int = 2**16) -> dist.MixtureSameFamily:
        r"""Law of the visible units as the mixture that it is: one Gaussian for each hidden state.

        .. math:: p(v) = \sum_h \pi_h \, N(v;\, a + W h,\, \mathrm{diag}(\sigma^2)), \qquad
                  \log \pi_h = c \cdot h + \sum_i \frac{(a + W h)_i^2 - a_i^2}{2 \sigma_i^2} + \text{const}

        It is normalised and draws independently, without chains. States count in binary, the first hidden unit the
        highest digit. Gradients pass through it.

        Args:
            max_states: Largest number of hidden states.

        Returns:
            A distribution over (visible,) of 2^H components.

        Raises:
            ValueError: If there are more hidden states.

        Example:
            >>> from ppgen import models
            >>> law = models.GaussianRBM(visible=2, hidden=3).mixture()
            >>> law.mixture_distribution.probs.shape, law.sample((5,)).shape
            (torch.Size([8]), torch.Size([5, 2]))
        """
        hidden = len(self.hidden_bias)
        if 2**hidden > max_states:
            raise ValueError(
                f"The mixture of {hidden} hidden units has 2^{hidden} components, more than max_states={max_states}. "
                "Use machine() and an estimate of its log Z (evaluation.log_partition)."
            )
        states = Bernoulli(self.hidden_bias).states(torch.arange(2**hidden, device=self.weight.device))
        means = self.visible_mean + states @ self.weight.mT  # (states, visible)
        scale = torch.ones_like(self.visible_mean) if self.log_variance is None else (self.log_variance / 2).exp()
        squares = (means / scale).square().sum(-1) - (self.visible_mean / scale).square().sum()
        weights = dist.Categorical(logits=states @ self.hidden_bias + squares / 2)
        return dist.MixtureSameFamily(weights, dist.Normal(means, scale).to_event(1))

    @torch.no_grad()
    def hidden_means(self, x: Tensor) -> Tensor:
        """P(h = 1 | v) of each hidden unit, what a layer above sees: (rows, V) -> (rows, H)."""
        return self.machine().base_energy.mean_opposite(x, EVEN)

    @torch.no_grad()
    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights W / sigma^2, (below, above), and biases (above,) of the one sigmoid layer upwards."""
        hears = 1.0 if self.log_variance is None else (-self.log_variance).exp().unsqueeze(-1)
        return [(hears * self.weight, self.hidden_bias)]

    def inspect_data(self, data: Any) -> None:
        """Warn where the variances are fixed at 1 and those of the training data are far from it."""
        if self.log_variance is None:
            warn_unless_near_one(data, type(self).__name__, "take learn_variance=True")

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the training mean, start the means there, and variances that are learned at half those of the data.

        The other half is left to the hidden units, whose weights grow from nothing where the noise explains all. What
        is not zero any more because it was loaded or trained stays. The variances are those of the first 10,000 rows,
        none below a hundredth of their mean; weights are brought to the scale of the data with them.
        """
        self.data_mean.copy_(data.mean)
        if not self.visible_mean.any():
            self.visible_mean.copy_(self.data_mean)
        if self.log_variance is not None and not self.log_variance.any():
            rows = data.batch("train", torch.arange(min(data.num_train, LOOKED_AT)))
            variance = (rows.double() - data.mean.double()).square().mean(0)
            least = variance.mean() / 100
            if least > 0:
                self.log_variance.copy_((variance.clamp(min=least) / 2).log())
                self.weight.mul_((self.log_variance / 2).exp().unsqueeze(-1))
