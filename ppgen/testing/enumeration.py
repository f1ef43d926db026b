"""Exact objectives and gradients of small programs: sums over all values of their discrete latents, quadrature else."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from pyro.distributions import Independent, MaskedDistribution, Normal
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.inference.layout import Layout, find_layout
from ppgen.inference.log_weights import LogWeights, log_weights

NODES = 24  # of Gauss and Hermite, for each Normal latent


class _Forced(Messenger):
    """Gives every latent site of the guide its value at each point of a grid, one point a particle."""

    def __init__(self, points: dict[str, Tensor], dims: int, detached: bool) -> None:
        super().__init__()
        self.points, self.dims, self.detached = points, dims, detached

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.points or msg["is_observed"] or msg["value"] is not None:
            return
        fn, points = msg["fn"], self.points[msg["name"]]
        base = fn
        while isinstance(base, (Independent, MaskedDistribution)):
            base = base.base_dist
        value = points.reshape((len(points),) + (1,) * (self.dims - 1) + points.shape[1:])
        if isinstance(base, Normal):
            value = base.loc + base.scale * value
        msg["value"] = (value.detach() if self.detached else value).expand(fn.shape(()))
        msg["done"] = True


def enumerated(pair: Any, batch: Any, detached: bool = False) -> tuple[LogWeights, Tensor]:
    """Log-weights at all values of the latents, and the logarithm of their probability under the guide.

    Bernoulli sites are summed over, Normal ones by quadrature in their noise; all rows of the batch go through the same
    values, which is exact for programs without latents outside the data plate.

    Args:
        pair: A pair whose guide draws vectors of Bernoulli and Normal variables.
        batch: A batch.
        detached: Whether values of Normal sites carry no gradient.

    Returns:
        Log-weights with (points, rows) and the log-probability of each point, (points, rows), both differentiable.
    """
    layout = find_layout(pair, batch)
    points, constants = _grid(layout)
    with _Forced(points, -layout.particle_dim, detached):
        weights = log_weights(pair, batch, len(constants), layout=layout)
    mass: Tensor = constants.unsqueeze(1).expand(weights.local.shape)
    for name, law in layout.guide_laws.items():
        if not _normal(law):
            mass = mass + weights.guide_terms[name]
    return weights, mass


def particles(log_weights: Tensor, log_mass: Tensor, num_particles: int) -> tuple[Tensor, Tensor]:
    """All combinations of the values of some particles.

    Args:
        log_weights: (points, rows).
        log_mass: The same shape.
        num_particles: Particles.

    Returns:
        Log-weights, (particles, combinations, rows), and the log-probability of each combination.

    Example:
        >>> weights, mass = particles(torch.zeros(3, 2), torch.full((3, 2), -math.log(3)), 2)
        >>> weights.shape, round(float(mass.exp().sum(0)[0]), 5)
        (torch.Size([2, 9, 2]), 1.0)
    """
    index = torch.tensor(list(itertools.product(range(len(log_weights)), repeat=num_particles)))
    return torch.stack([log_weights[column] for column in index.T]), sum(log_mass[column] for column in index.T)  # type: ignore[return-value]


def _grid(layout: Layout) -> tuple[dict[str, Tensor], Tensor]:
    axes: list[tuple[Tensor, Tensor]] = []
    owners: list[tuple[str, int]] = []
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    hermite = torch.tensor(nodes), torch.tensor(np.log(weights) - 0.5 * math.log(2 * math.pi))
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for name, law in layout.guide_laws.items():
        for unit in range(law.event_shape.numel()):
            owners.append((name, unit))
            axes.append(hermite if _normal(law) else bits)
    index = list(itertools.product(*(range(len(values)) for values, _ in axes)))
    table = torch.tensor([[axes[axis][0][at] for axis, at in enumerate(point)] for point in index])
    constants = torch.tensor([sum(float(axes[axis][1][at]) for axis, at in enumerate(point)) for point in index])
    points = {}
    for name, law in layout.guide_laws.items():
        columns = [axis for axis, (owner, _) in enumerate(owners) if owner == name]
        points[name] = table[:, columns].reshape(len(index), *law.event_shape).double()
    return points, constants.double()


def _normal(law: Any) -> bool:
    while isinstance(law, (Independent, MaskedDistribution)):
        law = law.base_dist
    return isinstance(law, Normal)
