"""Flows of coupling layers."""

from collections.abc import Sequence

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from ppgen.checks.arguments import check_count
from ppgen.distributions import AffineCoupling, SplineCoupling
from ppgen.nn.flows.flow import Flow
from ppgen.nn.mlp import MLP

_START = 0.1  # scale of the last layers' weights at the start: so the law starts near its base


class CouplingFlow(Flow):
    r"""Flow of coupling layers, two to a step, of which each moves the half of the entries that the other one keeps.

    .. math:: z_A \leftarrow T\big(z_A; f(z_B, h)\big), \quad z_B \leftarrow T\big(z_B; f'(z_A, h)\big)

    Draws and densities of any value take one pass of each network: so it serves guides under every objective, priors
    and densities. Halves are the first and the last entries in one step, and every other entry in the next.

    References:
        | Density Estimation Using Real NVP (Dinh, Sohl-Dickstein and Bengio, 2017)
        | https://arxiv.org/abs/1605.08803
        | Neural Spline Flows (Durkan, Bekasov, Murray and Papamakarios, 2019)
        | https://arxiv.org/abs/1906.04032

    Args:
        features: Entries D of the vector, at least 2.
        hidden: Units of the hidden layers of each network, which are tanh units.
        steps: Steps of two layers.
        given: Numbers h that each vector is conditioned on; 0 for none.
        transform: How entries are moved: `"affine"`, a shift and a scale, or `"spline"`, a monotone spline of rational
            quadratics.
        bins: Bins of each spline.
        bound: Half the length of the interval in which splines bend, in the units of the noise.

    Raises:
        ValueError: If there is one entry alone, a number is not positive, or the transform is unknown.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from ppgen import nn
        >>> flow = nn.CouplingFlow(3, hidden=(8,), transform="spline")
        >>> law = flow(dist.Normal(torch.zeros(5, 3), 1.0).to_event(1))
        >>> law.rsample().shape, law.log_prob(torch.zeros(5, 3)).shape
        (torch.Size([5, 3]), torch.Size([5]))
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (200,),
        steps: int = 2,
        given: int = 0,
        *,
        transform: str = "affine",
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        if transform not in ("affine", "spline"):
            raise ValueError(f'transform must be "affine" or "spline", got {transform!r}.')
        check_count("features", features, 2, wanted="at least 2, as one half of the entries moves the other")
        check_count("bins", bins, 2, wanted="at least 2")
        orders = _halves(features, check_count("steps", steps))
        super().__init__(features, orders, given)
        self.transform, self.bins, self.bound = transform, bins, bound
        kept = features // 2
        parameters = (features - kept) * (2 if transform == "affine" else 3 * bins - 1)
        for _ in orders:
            network = MLP((kept + given, *hidden, parameters))
            with torch.no_grad():
                network.output.weight.mul_(_START)
            self.networks.append(network)

    def step(
        self, base: TorchDistribution, network: nn.Module, order: Tensor | None, given: Tensor | None
    ) -> TorchDistribution:
        """One coupling layer upon the law of those before it."""
        if self.transform == "affine":
            return AffineCoupling(base, network, order, given)
        return SplineCoupling(base, network, order, given, bins=self.bins, bound=self.bound)


def _halves(features: int, steps: int) -> list[list[int]]:
    """Orders of two layers a step, whose first entries are kept: the halves in turn, in one way and another."""
    order = list(range(features))
    mixed = order[::2] + order[1::2]
    ways = [mixed if number % 2 else order for number in range(steps)]
    return [each for way in ways for each in (way, way[::-1])]
