"""Exact objectives and gradients of small programs: sums over all values of their discrete latents, quadrature else."""

import itertools
import math
from typing import Any

import numpy as np
import torch
from pyro.distributions import Independent, MaskedDistribution, Normal
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.inference.particles.factors import drawn_log_prob
from ppgen.inference.particles.log_weights import LogWeights, log_weights
from ppgen.inference.structure.layout import Layout, find_layout

NODES = 24  # of Gauss and Hermite, for each Normal latent


class _Forced(Messenger):
    """Gives every latent site of the guide its value at each point of a grid, one point a particle."""

    def __init__(self, points: dict[str, Tensor], dims: int, detached: bool) -> None:
        super().__init__()
        self.points, self.dims, self.detached = points, dims, detached  # points: (points, plates, event)

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.points or msg["is_observed"] or msg["value"] is not None:
            return
        fn, points = msg["fn"], self.points[msg["name"]]
        base = fn
        while isinstance(base, (Independent, MaskedDistribution)):
            base = base.base_dist
        plates = points.dim() - 1 - fn.event_dim
        value = points.reshape((len(points),) + (1,) * (self.dims - 1 - plates) + points.shape[1:])
        if isinstance(base, Normal):
            value = base.loc + base.scale * value
        msg["value"] = (value.detach() if self.detached else value).expand(fn.shape(()))
        msg["done"] = True


def enumerated(pair: Any, batch: Any, detached: bool = False, nodes: int = NODES) -> tuple[LogWeights, Tensor]:
    """Log-weights at all values of the latents, and the logarithm of their probability under the guide.

    Bernoulli sites are summed over, Normal ones by quadrature in their noise, and so is every element of a plate beside
    the data plate. All rows of the batch go through the same values; those of several rows under one value of a latent
    outside the data plate are put together by `jointly`.

    Args:
        pair: A pair whose guide draws vectors of Bernoulli and Normal variables.
        batch: A batch.
        detached: Whether values of Normal sites carry no gradient.
        nodes: Nodes of the quadrature for each Normal variable.

    Returns:
        Log-weights with (points, rows) and the log-probability of each point, (points, rows), both differentiable. The
        probability is that of the draws: scales and masks do not change it.
    """
    layout = find_layout(pair, batch)
    points, constants = _grid(layout, nodes)
    with _Forced(points, -layout.particle_dim, detached):
        weights = log_weights(pair, batch, len(constants), layout=layout)
    mass: Tensor = constants.unsqueeze(1).expand(weights.local.shape)
    for name, law in layout.guide_laws.items():
        if not _normal(law):
            site = weights.guide_traces[0].nodes[name]
            mass = mass + drawn_log_prob(site, layout)
    return weights, mass


def jointly(weights: LogWeights, mass: Tensor, outside_mass: Tensor) -> tuple[Tensor, Tensor]:
    """Log-weights of whole data sets, and their log-probability, where a latent outside the data plate joins the rows.

    Args:
        weights: As `enumerated` gives them, of P points: all values of the outer latents times all of the inner.
        mass: Its log-probabilities, (P, rows).
        outside_mass: Log-probability of the outer latents' value at each point, (P,).

    Returns:
        Both for each value of the outer latents and each combination of the rows' inner ones: (combinations, 1).
    """
    outside = outside_mass if weights.outside is None else weights.outside
    groups: dict[tuple[float, float], list[int]] = {}
    for point in range(len(outside)):
        key = (round(outside[point].item(), 10), round(outside_mass[point].item(), 10))
        groups.setdefault(key, []).append(point)
    found, probability = [], []
    rows = range(weights.local.shape[1])
    for members in groups.values():
        for choice in itertools.product(members, repeat=len(rows)):
            first = choice[0]
            found.append(outside[first] + sum(weights.local[at, row] for at, row in zip(choice, rows, strict=True)))
            inner = sum(mass[at, row] - outside_mass[at] for at, row in zip(choice, rows, strict=True))
            probability.append(outside_mass[first] + inner)
    return torch.stack(found).unsqueeze(1), torch.stack(probability).unsqueeze(1)


def particles(log_weights: Tensor, log_mass: Tensor, num_particles: int) -> tuple[Tensor, Tensor]:
    """All combinations of the values of some particles.

    Args:
        log_weights: Log-weights at all values of the latents, (points, rows), nats.
        log_mass: Log-probability of those values under the guide, (points, rows).
        num_particles: Particles.

    Returns:
        Log-weights, (particles, combinations, rows), and the log-probability of each combination.

    Example:
        >>> weights, mass = particles(torch.zeros(3, 2), torch.full((3, 2), -math.log(3)), 2)
        >>> weights.shape, round(float(mass.exp().sum(0)[0]), 5)
        (torch.Size([2, 9, 2]), 1.0)
    """
    index = torch.tensor(list(itertools.product(range(len(log_weights)), repeat=num_particles)))
    chosen = [log_mass[column] for column in index.T]
    return torch.stack([log_weights[column] for column in index.T]), sum(chosen[1:], chosen[0])


def _grid(layout: Layout, count: int) -> tuple[dict[str, Tensor], Tensor]:
    axes: list[tuple[Tensor, Tensor]] = []
    owners: list[tuple[str, int]] = []
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    hermite = torch.tensor(nodes), torch.tensor(np.log(weights) - 0.5 * math.log(2 * math.pi))
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    shapes = {name: _plates(layout, name, law) + law.event_shape for name, law in layout.guide_laws.items()}
    for name, law in layout.guide_laws.items():
        for unit in range(shapes[name].numel()):
            owners.append((name, unit))
            axes.append(hermite if _normal(law) else bits)
    index = list(itertools.product(*(range(len(values)) for values, _ in axes)))
    table = torch.tensor([[axes[axis][0][at] for axis, at in enumerate(point)] for point in index])
    constants = torch.tensor([sum(float(axes[axis][1][at]) for axis, at in enumerate(point)) for point in index])
    points = {}
    for name in layout.guide_laws:
        columns = [axis for axis, (owner, _) in enumerate(owners) if owner == name]
        points[name] = table[:, columns].reshape(len(index), *shapes[name]).double()
    return points, constants.double()


def _plates(layout: Layout, name: str, law: Any) -> torch.Size:
    """Sizes of a site's plates, 1 for that of the data."""
    sizes = list(law.batch_shape)
    if layout.data_dim is not None and name not in layout.global_latents:
        sizes[layout.data_dim] = 1
    return torch.Size(sizes)


def _normal(law: Any) -> bool:
    while isinstance(law, (Independent, MaskedDistribution)):
        law = law.base_dist
    return isinstance(law, Normal)
