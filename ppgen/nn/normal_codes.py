"""The best Normal law of sparse codes of each row, by accelerated gradients of the ELBO in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppgen.nn.fista import eigenvalue_bound

_ROOT_2_OVER_PI, _LOG_2PI = math.sqrt(2 / math.pi), math.log(2 * math.pi)
_NEWTON = 5  # steps after the last sweep, which leave the standard deviations at their best given the means


@dataclass(frozen=True, eq=False)
class NormalCodes:
    r"""The independent Normal law of the codes of each row that has the highest ELBO.

    .. math::
        \max_{m, \sigma} \; -\frac{\|x - D m\|^2 + \sum_k \sigma_k^2 \|D_k\|^2}{2 s^2}
        - \sum_k \frac{E|a_k|}{b} + \sum_k \log \sigma_k, \qquad
        E|a_k| = \sigma_k \sqrt{\tfrac{2}{\pi}} \, e^{-m_k^2 / 2 \sigma_k^2}
        + m_k \, \mathrm{erf}\Big(\frac{m_k}{\sigma_k \sqrt 2}\Big)

    for codes a_k ~ Laplace(0, b) and data x ~ N(D a, s^2 I), each row a problem of its own. It is smooth and concave in
    means and standard deviations together, so that there is one best law. Laws carry no gradient: by the envelope
    theorem those of the ELBO with respect to D, b and s are the ones at the law held fixed.

    References:
        | Learning Sparse Codes with Entropy-Based ELBOs (Velychko, Damm, Fischer and Luecke, 2023),
          https://arxiv.org/abs/2311.01888

    Args:
        x: Data, (..., features).
        dictionary: D, (features, atoms).
        scale: b, a number, or a tensor that broadcasts against (atoms,).
        noise: s, a number, or a tensor of no dimension.

    Raises:
        ValueError: If the shapes of data and dictionary do not fit.

    Example:
        >>> from ppgen.nn import NormalCodes
        >>> import torch
        >>> problem = NormalCodes(torch.tensor([[2.0, 0.0]]), torch.eye(2), scale=0.5, noise=0.5)
        >>> mean, deviation = problem.solve()
        >>> mean, deviation, problem.elbo(mean, deviation)
        (tensor([[1.5013, 0.0000]]), tensor([[0.4979, 0.3388]]), tensor([-4.1602]))
    """

    x: Tensor
    dictionary: Tensor
    scale: Tensor | float
    noise: Tensor | float

    def __post_init__(self) -> None:
        if self.dictionary.dim() != 2 or self.x.dim() < 1 or self.x.shape[-1] != self.dictionary.shape[0]:
            raise ValueError(
                "dictionary must have shape (features, atoms), and x as many features in its last dimension; got "
                f"{tuple(self.dictionary.shape)} and {tuple(self.x.shape)}."
            )

    @torch.no_grad()
    def solve(self, sweeps: int = 100, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means and standard deviations by a fixed number of sweeps, both (..., atoms).

        A sweep is a gradient step of the means, accelerated and restarted where momentum leads a row uphill, and a
        Newton step of each standard deviation given them. The same operations on every device, which can be traced.

        Args:
            sweeps: Gradient steps.
            start: Means to start from, (..., atoms), such as those under the dictionary before; zeros without it.
        """
        variance, inner = self.noise**2, self.x @ self.dictionary
        gram = self.dictionary.mT @ self.dictionary
        curvature, slope = gram.diagonal() / variance, _ROOT_2_OVER_PI / (self.scale * torch.ones_like(inner))
        least = 2 / (slope + (slope.square() + 4 * curvature).sqrt())  # the best deviation at a mean of zero
        bound = eigenvalue_bound(gram) / variance + slope / least
        mean = torch.zeros_like(inner) if start is None else start
        point, t, deviation = mean, inner.new_ones(*inner.shape[:-1], 1), least
        for _ in range(sweeps):
            deviation = _newton(deviation, point, curvature, slope, least)
            tilt = torch.erf(point / deviation / math.sqrt(2)) / self.scale
            new = point - ((point @ gram - inner) / variance + tilt) / bound
            change = new - mean
            uphill = (bound * (point - new) * change).sum(-1, keepdim=True) > 0
            following = (1 + (1 + 4 * t * t).sqrt()) / 2
            momentum = torch.where(uphill, 0.0, (t - 1) / following)
            mean, point, t = new, new + momentum * change, torch.where(uphill, 1.0, following)
        for _ in range(_NEWTON):
            deviation = _newton(deviation, mean, curvature, slope, least)
        return mean, deviation

    def elbo(self, mean: Tensor, deviation: Tensor) -> Tensor:
        """The bound on log p(x) of each row under a Normal law, nats: (...,)."""
        features = self.x.shape[-1]
        variance, norms = torch.as_tensor(self.noise).to(mean) ** 2, self.dictionary.square().sum(0)
        error = (self.x - mean @ self.dictionary.mT).square().sum(-1) + (deviation.square() * norms).sum(-1)
        scale = torch.as_tensor(self.scale).to(mean)
        prior = -expected_magnitude(mean, deviation) / scale - (2 * scale).log()
        entropy = deviation.log() + (1 + _LOG_2PI) / 2
        return -error / (2 * variance) - features * (variance.log() + _LOG_2PI) / 2 + (prior + entropy).sum(-1)


def expected_magnitude(mean: Tensor, deviation: Tensor) -> Tensor:
    r"""`E|a|` of Normal variables: deviation sqrt(2 / pi) exp(-mean^2 / (2 deviation^2)) + mean erf(mean / ...).

    Example:
        >>> expected_magnitude(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.1]))
        tensor([0.7979, 3.0000])
    """
    ratio = mean / deviation
    return deviation * _ROOT_2_OVER_PI * (-ratio.square() / 2).exp() + mean * torch.erf(ratio / math.sqrt(2))


def _newton(deviation: Tensor, mean: Tensor, curvature: Tensor, slope: Tensor, least: Tensor) -> Tensor:
    r"""One Newton step of log sigma towards the best deviations given the means.

    .. math:: h = c \sigma^2 + \frac{\sigma}{b} \sqrt{\tfrac{2}{\pi}} e^{-m^2 / 2 \sigma^2} - 1 = 0, \qquad
              \frac{d h}{d \log \sigma} = 2 c \sigma^2
              + \frac{\sigma}{b} \sqrt{\tfrac{2}{\pi}} e^{-m^2 / 2 \sigma^2} \Big(1 + \frac{m^2}{\sigma^2}\Big)

    h rises with sigma; its root lies between that at a mean of zero and 1 / sqrt(c).
    """
    square = (mean / deviation).square()
    tail = deviation * slope * (-square / 2).exp()
    quadratic = curvature * deviation.square()
    step = (quadratic + tail - 1) / (2 * quadratic + tail * (1 + square))
    return torch.maximum(deviation * (-step).clamp(-1, 1).exp(), least).clamp(max=curvature.rsqrt())
