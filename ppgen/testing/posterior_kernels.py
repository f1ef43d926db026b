"""Contract of a Markov chain kernel of the posteriors of a pair."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppgen.inference import LatentDensity, PosteriorKernel
from ppgen.pair import Pair
from ppgen.testing.pairs import seeded
from ppgen.testing.quadrature import quadrature
from ppgen.testing.statistics import check_close, check_mean, fail

_MATRIX = ((1.0, 0.8), (0.0, 0.6), (0.3, -0.2))
_SCALE, _NOISE = (0.4, 0.7), (0.5, 0.4, 0.8)
_REACH, _PANELS = 8.0, 80  # of each axis of the quadrature; a panel ends at zero, where the prior has its edge


def check_posterior_kernel(
    kernel: PosteriorKernel, *, device: torch.device | str = "cpu", num_chains: int = 4000, num_steps: int = 60
) -> None:
    r"""Raise unless the chains of a kernel reach the posterior of each datum, wherever they start, and keep it.

    .. math:: \int p(z \mid x) \, T(z' \mid z) \, dz = p(z' \mid x)

    On two correlated sparse codes under a linear Normal likelihood, whose moments are known by quadrature. A step must
    not write into the state that it is given, must follow from that state and the generator alone and leave torch's own
    random state as it is; the log-density that the state tells must be that of its position.

    Args:
        kernel: The kernel, such as `inference.HMC()`.
        device: Where to run.
        num_chains: Chains, each of which is one draw.
        num_steps: Steps until the law is looked at, the first half of which adapt.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_posterior_kernel(inference.SparseGibbs(), num_chains=500, num_steps=30)
    """
    if not isinstance(kernel, PosteriorKernel) or isinstance(kernel, type):
        fail(f"A kernel of posteriors is an object with methods init, step and adapted, got {kernel!r}.")
    pair, x = sparse_pair(torch.device(device))
    with seeded(torch.device(device)):
        _check_state(kernel, LatentDensity(pair, x, 7))
        _check_law(kernel, LatentDensity(pair, x, num_chains), x, num_steps)


def sparse_pair(device: torch.device | str = "cpu") -> tuple[Pair, Tensor]:
    """Two sparse codes and three features, in float64, and two data: (2, 3).

    Example:
        >>> sparse_pair()[1].shape
        torch.Size([2, 3])
    """
    matrix, scale, noise = (
        torch.tensor(value, dtype=torch.float64, device=device) for value in (_MATRIX, _SCALE, _NOISE)
    )

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            codes = pyro.sample("codes", dist.Laplace(torch.zeros_like(scale), scale).to_event(1))
            pyro.sample("x", dist.Normal(codes @ matrix.mT + 0.1, noise).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("codes", dist.Normal(x[..., :2], 1.0).to_event(1))

    return Pair(model, guide), torch.tensor([[1.5, 0.4, -0.3], [0.1, -0.6, 0.2]], dtype=torch.float64, device=device)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means (rows, 2) and second moments (rows, 2, 2) of the codes, by quadrature."""
    points, log_weights = quadrature(constraints.real, _REACH, _PANELS, x)
    codes = torch.cartesian_prod(points, points)
    matrix, scale, noise = (torch.tensor(value).to(x) for value in (_MATRIX, _SCALE, _NOISE))
    error = (x.unsqueeze(1) - codes @ matrix.mT - 0.1) / noise
    log_joint = -error.square().sum(-1) / 2 - (codes.abs() / scale).sum(-1)
    weights = (log_joint + torch.cartesian_prod(log_weights, log_weights).sum(-1)).softmax(-1)
    return weights @ codes, torch.einsum("rp,pi,pj->rij", weights, codes, codes)


def _check_law(kernel: Any, density: LatentDensity, x: Tensor, num_steps: int) -> None:
    name = type(kernel).__name__
    mean, second = _moments(x)
    generator = torch.Generator(device=x.device).manual_seed(0)
    guide = density.draw("guide")
    for start, position in (("draws of the guide", guide), ("the origin", torch.zeros_like(guide))):
        state = kernel.init(density, position)
        for _ in range(num_steps // 2):
            state, _ = kernel.step(density, state, generator, adapt=True)
        state = kernel.adapted(state)
        for _ in range(num_steps - num_steps // 2):
            state, _ = kernel.step(density, state, generator)
        for what in ("steps", "steps and one more"):
            draws = state.position
            told = f"under {name}, {num_steps} {what} from {start}"
            check_mean(draws, mean, f"codes {told}")
            check_mean(draws.unsqueeze(-1) * draws.unsqueeze(-2), second, f"products of codes {told}")
            check_close(state.log_density, density(draws), f"log-density told by {name}", atol=1e-8)
            state, _ = kernel.step(density, state, generator)


def _check_state(kernel: Any, density: LatentDensity) -> None:
    name = type(kernel).__name__
    position = density.draw("prior")
    generators = [torch.Generator(device=position.device).manual_seed(5) for _ in range(2)]
    state = kernel.init(density, position)
    check_close(state.position, position, f"the position after {name}.init")
    check_close(state.log_density, density(position), f"log-density told by {name}.init", atol=1e-8)
    kept = [each.clone() for each in state if isinstance(each, Tensor)]
    before = torch.get_rng_state()
    (first, told), (second, told_again) = (kernel.step(density, state, generator) for generator in generators)
    if not all(map(torch.equal, (each for each in state if isinstance(each, Tensor)), kept)):
        fail(f"{name}.step writes into the state that it is given; make new tensors.")
    check_close(first.log_density, density(first.position), f"log-density told by {name}.step", atol=1e-8)
    same = torch.equal(first.position, second.position) and torch.equal(first.log_density, second.log_density)
    if not (same and all(map(torch.equal, told, told_again)) and torch.equal(before, torch.get_rng_state())):
        fail(f"{name}.step must follow from its state and the generator: two calls from the same differ.")
    wrong = {key: tuple(value.shape) for key, value in told._asdict().items() if value.shape != position.shape[:2]}
    if wrong or first.position.shape != position.shape:
        fail(f"{name}.step must tell tensors of shape (num_chains, rows), got {wrong or tuple(first.position.shape)}.")
