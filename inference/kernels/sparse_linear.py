"""What a Pyro program states, read from it: sparse latents, and data that are Normal around a linear image of them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Exponential, Laplace, Normal

from ppgen.inference.kernels.latent_density import LatentDensity
from ppgen.inference.structure.missing import numbers_that_count
from ppgen.inference.structure.traces import element_law, foreign_scale, sites

_LOG_2PI, _LOG_2 = math.log(2 * math.pi), math.log(2)
_TRIED = (1.0, 8.0)  # points at which linearity is tried, in scales of the prior
_INSTEAD = "Use inference.HMC(), which asks for a density alone."


@dataclass(frozen=True)
class SparseLinear:
    r"""The joint law of codes and data, with the data in units of the noise.

    .. math:: a_k \sim \mathrm{Laplace}(\mu_k, b_k) \text{ or } \mathrm{Exponential}(1 / b_k), \quad
              x \mid a \sim N(c + D a, \mathrm{diag}(\sigma^2)); \qquad
              \Phi = \mathrm{diag}(1 / \sigma) \, D, \quad r = (x - c - D \mu) / \sigma

    Attributes:
        matrix: Phi: (rows or 1, features, codes); 1 where it is the same for all rows.
        residual: r: (rows, features).
        location: mu, zero of positive codes: (rows or 1, codes).
        scale: b: (rows or 1, codes).
        log_noise: Sum of log sigma over the features: (rows or 1,); of a tempered law, that which makes `log_density`
            log p(a) + beta log p(x | a).
        positive: Whether the codes are positive.
    """

    matrix: Tensor
    residual: Tensor
    location: Tensor
    scale: Tensor
    log_noise: Tensor
    positive: bool

    def log_density(self, deviation: Tensor) -> Tensor:
        """log p(x, a) at a = mu + deviation, (chains, rows, codes), in nats: (chains, rows)."""
        error = self.residual - (self.matrix @ deviation.unsqueeze(-1)).squeeze(-1)
        height = self.scale.log().sum(-1) + (0.0 if self.positive else _LOG_2 * self.scale.shape[-1])
        normal = -error.square().sum(-1) / 2 - self.log_noise - _LOG_2PI / 2 * error.shape[-1]
        return normal - (deviation.abs() / self.scale).sum(-1) - height

    def tempered(self, beta: float) -> "SparseLinear":
        """The law with the likelihood to the power of beta: data under the noise sigma / sqrt(beta), up to a height."""
        root, features = beta**0.5, self.residual.shape[-1]
        log_noise = beta * self.log_noise + (beta - 1) * features * _LOG_2PI / 2
        return replace(self, matrix=root * self.matrix, residual=root * self.residual, log_noise=log_noise)


@dataclass(frozen=True)
class _Stated:
    """The laws of a program at one value of its latents, as tables: (rows, codes) and (rows, features)."""

    location: Tensor
    scale: Tensor
    mean: Tensor
    noise: Tensor
    x: Tensor


def read_sparse_linear(density: LatentDensity, position: Tensor) -> SparseLinear:
    """The joint law of sparse codes and data that a program states, in float64.

    The matrix is the Jacobian of the observed mean. That the mean is linear, and that scales are the same everywhere,
    is tried at points of a generator that stands here, so that no other random state moves.

    Args:
        density: The joint density of the pair and its data.
        position: Any position, for its type and device.

    Raises:
        ValueError: If a latent is neither Laplace nor, all of them, Exponential; if there is not one observed site, a
            Normal one; if its mean is not linear, or a scale depends on the latents; if a site is masked, as missing
            values are, or scaled. It names the site and says what to use instead.
    """
    alone = LatentDensity(density.pair, density.batch, layout=density.layout)
    origin = torch.zeros_like(position[:1])
    prior, observed, positive = _roles(alone, origin)
    start, matrix = _with_jacobian(alone, origin, prior, observed)
    generator = torch.Generator(device=origin.device).manual_seed(origin.shape[-1])
    tolerance = torch.finfo(origin.dtype).eps ** 0.5
    for reach in _TRIED:
        noise = torch.empty_like(origin).normal_(generator=generator)
        point = start.location + reach * start.scale * (noise.abs() if positive else noise)
        found = _stated(alone, point, prior, observed)
        for what, name in (("location", prior[0]), ("scale", prior[0]), ("noise", observed)):
            if not torch.allclose(getattr(found, what), getattr(start, what), rtol=tolerance, atol=0.0):
                raise ValueError(
                    f"SparseGibbs at site {name!r}: the {what} of its law depends on the latents, so that their law "
                    f"given the rest is not known. {_INSTEAD}"
                )
        linear = start.mean + (matrix @ point[0].unsqueeze(-1)).squeeze(-1)
        size = start.mean.abs() + (matrix.abs() @ point[0].abs().unsqueeze(-1)).squeeze(-1)
        if not ((found.mean - linear).abs() <= tolerance * (size.amax(-1, keepdim=True) + 1e-30)).all():
            raise ValueError(
                f"SparseGibbs at site {observed!r}: its mean is not linear in the latents (D a + c), so that their law "
                f"given the data is no Normal under any scales. {_INSTEAD}"
            )
    return _in_noise(start, matrix, positive)


def _roles(density: LatentDensity, origin: Tensor) -> tuple[list[str], str, bool]:
    """Names of the latents and of the observed site, and whether latents are positive; raises where laws do not fit."""
    latents, observed = [site.name for site in density.sites], []
    laws = []
    for name, site in sites(density.given(density.pieces(origin))).items():
        if site["infer"].get("_deterministic"):
            continue
        if foreign_scale(site, density.layout.plate):
            raise ValueError(f"SparseGibbs at site {name!r}: it carries a scale of its own (poutine.scale). {_INSTEAD}")
        if not torch.as_tensor(numbers_that_count(site)).all():
            raise ValueError(
                f"SparseGibbs at site {name!r}: it stands under a mask, as missing values do, and no law of the rest "
                f"alone is drawn here. {_INSTEAD}"
            )
        law = element_law(site["fn"])
        if name in latents:
            laws.append(type(law))
            if not isinstance(law, (Laplace, Exponential)):
                raise ValueError(
                    f"SparseGibbs at site {name!r}: its prior is {type(law).__name__}, and the augmentation is of "
                    f"Laplace priors (or, for positive codes, Exponential ones). {_INSTEAD}"
                )
        elif not isinstance(law, Normal):
            raise ValueError(
                f"SparseGibbs at site {name!r}: the law of the data is {type(law).__name__}, and must be Normal. "
                f"{_INSTEAD}"
            )
        else:
            observed.append(name)
    positive = {issubclass(law, Exponential) for law in laws}
    if len(positive) != 1 or len(observed) != 1:
        raise ValueError(
            "SparseGibbs needs latents with Laplace priors, or all with Exponential ones, and one observed site; got "
            f"the latents {latents} and the observed sites {observed}. {_INSTEAD}"
        )
    return latents, observed[0], positive.pop()


def _with_jacobian(density: LatentDensity, origin: Tensor, prior: list[str], observed: str) -> tuple[_Stated, Tensor]:
    """The laws at the origin, and the Jacobian of the mean: (rows, features, codes), one row where all are equal."""
    with torch.enable_grad():
        leaf = origin.clone().requires_grad_()
        stated = _stated(density, leaf, prior, observed)
        found = []
        for feature in stated.mean.unbind(-1):
            slope = None
            if feature.requires_grad:
                (slope,) = torch.autograd.grad(feature.sum(), leaf, retain_graph=True, allow_unused=True)
            slope = torch.zeros_like(origin) if slope is None else slope
            found.append(_once(slope[0]))
    rows = max(len(each) for each in found)
    matrix = torch.stack([each.expand(rows, -1) for each in found], 1)
    tables = (stated.location, stated.scale, stated.mean, stated.noise, stated.x)
    return _Stated(*(table.detach() for table in tables)), matrix


def _stated(density: LatentDensity, values: Tensor, prior: list[str], observed: str) -> _Stated:
    """The laws at values of the latents, (1, rows, codes)."""
    trace: Any = density.given(density.pieces(values))
    laws = {name: element_law(trace.nodes[name]["fn"]) for name in prior}
    location = {name: getattr(law, "loc", torch.zeros_like(law.mean)) for name, law in laws.items()}
    scale = {name: law.scale if isinstance(law, Laplace) else 1 / law.rate for name, law in laws.items()}
    site = trace.nodes[observed]
    law = element_law(site["fn"])
    tables = torch.broadcast_tensors(law.loc, law.scale, site["value"])
    mean, noise, x = (_by_row(table, site["fn"].event_dim, density) for table in tables)
    return _Stated(density.flat(location)[0], density.flat(scale)[0], mean, noise, x)


def _by_row(table: Tensor, event_dim: int, density: LatentDensity) -> Tensor:
    """Numbers of an observed site as (rows, features); all data are one row where latents are common to them."""
    if density.joint:
        return table.reshape(1, -1)
    return table.movedim(table.dim() - event_dim + density.layout.row_dim, 0).reshape(density.num_rows, -1)


def _in_noise(stated: _Stated, matrix: Tensor, positive: bool) -> SparseLinear:
    """The law in units of the noise, what is the same for all rows once."""
    location, scale, noise = (_once(table.double()) for table in (stated.location, stated.scale, stated.noise))
    matrix = matrix.double()
    shift = (matrix @ location.unsqueeze(-1)).squeeze(-1)
    residual = (stated.x.double() - stated.mean.double() - shift) / noise
    return SparseLinear(matrix / noise.unsqueeze(-1), residual, location, scale, noise.log().sum(-1), positive)


def _once(table: Tensor) -> Tensor:
    """A table with one row in the place of many that are equal."""
    return table[:1] if bool((table == table[:1]).all()) else table
