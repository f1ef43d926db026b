"""Gibbs sampling of sparse codes under a linear Normal likelihood: all codes of a datum at once."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppgen.distributions.units.rectified_gaussian import RectifiedGaussian
from ppgen.inference.kernels.latent_density import LatentDensity
from ppgen.inference.kernels.sparse_linear import SparseLinear, read_sparse_linear

_BLOCK = 2**25  # numbers of the matrices that are factorised at once, which bounds the memory
_FLAT = 1e-10  # curvature in units of the prior's scale below which the data say nothing of a positive code


class SparseGibbsState(NamedTuple):
    """State of the chains of `SparseGibbs`.

    Attributes:
        position: Unconstrained codes, (num_chains, rows, codes): the codes, or the logarithms of positive ones.
        log_density: log p(x, a), plus the log-Jacobian of positive codes, nats: (num_chains, rows).
        law: The law of codes and data, which the steps leave as it is.
        gram: Phi' Phi, (rows or 1, codes, codes); None where matrices of the size of the data are factorised.
        image: Phi' r, (rows, codes).
        backwards: Whether positive codes are drawn from the last to the first.
    """

    position: Tensor
    log_density: Tensor
    law: SparseLinear
    gram: Tensor | None
    image: Tensor
    backwards: bool = False


class SparseGibbsInfo(NamedTuple):
    """What a sweep tells, under ArviZ's names of sample statistics.

    Attributes:
        acceptance_rate: 1, as every draw is one of a conditional law: (num_chains, rows).
    """

    acceptance_rate: Tensor


@dataclass(frozen=True)
class SparseGibbs:
    r"""Gibbs sampling of codes with a Laplace prior whose linear image is observed under Normal noise.

    .. math::
        a_k \sim \mathrm{Laplace}(0, b), \; x \mid a \sim N(D a + c, \sigma^2): \quad
        1 / \tau_k^2 \mid a \sim \mathrm{InverseGaussian}\Big(\frac{1}{b |a_k|}, \frac{1}{b^2}\Big), \quad
        a \mid \tau, x \sim N\big(A^{-1} D^\top (x - c) / \sigma^2, A^{-1}\big), \quad
        A = D^\top D / \sigma^2 + \mathrm{diag}(1 / \tau^2)

    A Laplace law is a Normal one whose variance is exponential; given the variances all codes of a datum are drawn
    together, so that there is no step size, nothing to adapt and nothing to reject. It serves any Pyro program whose
    latents are Laplace and whose one observed site is Normal around a linear (affine) image of them: b, the noise and D
    are read from the program itself, for each datum where they differ, and what is not of this form is refused in
    words. Latents that are common to all data (the Bayesian Lasso) are one datum.

    With Exponential priors, of positive codes, one code after another is drawn from its law given the others, a Normal
    one cut off at zero.

    A sweep costs one Cholesky factor of each chain and datum, of a matrix as large as the codes or as the features are
    many, whichever is cheaper, in float64.

    Raises:
        ValueError: At the first step, if a program is not of this form.

    References:
        | The Bayesian Lasso (Park and Casella, 2008)
        | Fast Sampling with Gaussian Scale-Mixture Priors in High-Dimensional Regression (Bhattacharya, Chakraborty and
          Mallick, 2016), https://arxiv.org/abs/1506.04778

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> import torch
        >>> from ppgen import Pair, inference
        >>> dictionary = torch.tensor([[1.0, 0.6], [0.0, 0.8]])
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         codes = pyro.sample("codes", dist.Laplace(torch.zeros(2), 0.5).to_event(1))
        ...         pyro.sample("x", dist.Normal(codes @ dictionary.T, 0.1).to_event(1), obs=x)
        >>> def guide(x):
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("codes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        >>> pair, x = Pair(model, guide), torch.tensor([[1.0, 0.0]])
        >>> draws = inference.sample_posterior(
        ...     pair, x, num_samples=500, warmup_steps=100, num_chains=4, kernel=inference.SparseGibbs()
        ... )
        >>> draws.draws["codes"].shape, (draws.draws["codes"].mean((0, 1, 2)) - x[0]).abs().max() < 0.1
        (torch.Size([4, 500, 1, 2]), tensor(True))
    """

    def init(self, density: LatentDensity, position: Tensor, /) -> SparseGibbsState:
        """State at a position; the program is read.

        Args:
            density: The joint density of a pair and its data.
            position: Where the chains start, (num_chains, rows, codes).

        Raises:
            ValueError: If the program is not one of sparse codes under linear Normal data.
        """
        if not isinstance(density, LatentDensity):
            raise TypeError(
                "SparseGibbs reads the program of a pair: it needs an inference.LatentDensity, as "
                f"inference.sample_posterior makes it, got {type(density).__name__}."
            )
        law = read_sparse_linear(density, position)
        features, codes = law.matrix.shape[-2:]
        gram = law.matrix.mT @ law.matrix if law.positive or _by_codes(features, codes) else None
        image = (law.matrix.mT @ law.residual.unsqueeze(-1)).squeeze(-1)
        position = position.detach()
        log_density = _log_density(law, position.double()).to(position.dtype)
        return SparseGibbsState(position, log_density, law, gram, image)

    @torch.no_grad()
    def step(
        self,
        density: LatentDensity,
        state: SparseGibbsState,
        generator: torch.Generator | None = None,
        /,
        *,
        adapt: bool = False,
    ) -> tuple[SparseGibbsState, SparseGibbsInfo]:
        """One sweep over all codes of every chain.

        Args:
            density: Not used: the program was read when the chains began.
            state: State of the chains.
            generator: Source of all randomness; torch's global one if None.
            adapt: Nothing adapts.
        """
        law, old = state.law, state.position.double()
        if law.positive:
            position = (
                _positive_sweep(state, old.exp(), generator).clamp(min=torch.finfo(state.position.dtype).tiny).log()
            )
        else:
            deviation = old - law.location
            variances = _variances(deviation.abs() * law.scale, law.scale, generator)
            position = law.location + _normal_draw(state, variances.sqrt(), generator)
        log_density = _log_density(law, position).to(state.log_density.dtype)
        following = state._replace(position=position.to(state.position.dtype), log_density=log_density)
        return following, SparseGibbsInfo(torch.ones_like(log_density))

    def adapted(self, state: SparseGibbsState, /) -> SparseGibbsState:
        """The state as it is, as nothing adapts."""
        return state

    def tempered(
        self, state: SparseGibbsState, position: Tensor, beta: float, /, *, backwards: bool = False
    ) -> SparseGibbsState:
        r"""State of chains at a position under p(a) p(x | a)^beta, which is a noise of sigma / sqrt(beta).

        Args:
            state: A state of chains of the same data, as `init` gives it.
            position: Where the chains are, (num_chains, rows, codes).
            beta: Inverse temperature of the likelihood.
            backwards: Whether positive codes are drawn in the order that undoes a sweep; a draw of all codes at once is
                reversible.
        """
        law, position = state.law.tempered(beta), position.detach()
        return SparseGibbsState(
            position,
            _log_density(law, position.double()).to(position.dtype),
            law,
            None if state.gram is None else beta * state.gram,
            beta * state.image,
            backwards,
        )


def _log_density(law: SparseLinear, position: Tensor) -> Tensor:
    if not law.positive:
        return law.log_density(position - law.location)
    return law.log_density(position.exp()) + position.sum(-1)


def _by_codes(features: int, codes: int) -> bool:
    """Whether factorising a matrix of codes by codes is cheaper than making and factorising one of the features."""
    return codes**3 / 3 <= features**2 * codes + features**3 / 3


def _variances(product: Tensor, scale: Tensor, generator: torch.Generator | None) -> Tensor:
    r"""Variances given the codes, by the product `g = b |a|`: finite and positive also where a code is zero.

    .. math:: h = b^2 y / 2, \; y \sim \chi^2_1; \quad t = g + h + \sqrt{h (h + 2 g)}; \quad
              \tau^2 = t \text{ with probability } t / (t + g), \text{ else } g^2 / t

    This is Michael, Schucany and Haas' draw of an inverse Gaussian 1 / tau^2, with no quotient by `|a|` in it.
    """
    half = (scale * torch.empty_like(product).normal_(generator=generator)).square() / 2
    large = (product + half + (half * (half + 2 * product)).sqrt()).clamp(min=torch.finfo(product.dtype).tiny)
    chosen = torch.empty_like(product).uniform_(generator=generator) * (large + product) < large
    return torch.where(chosen, large, product / large * product)


def _normal_draw(state: SparseGibbsState, deviations: Tensor, generator: torch.Generator | None) -> Tensor:
    r"""Codes less their location, given their standard deviations tau: z tau, with z Normal of precision I + S' S.

    .. math:: S = \Phi \, \mathrm{diag}(\tau), \quad E[z] = (I + S^\top S)^{-1} S^\top r

    No eigenvalue of that matrix, or of I + S S', lies below 1, however small tau is.
    """
    law, (chains, rows, codes) = state.law, deviations.shape
    features = law.matrix.shape[-2]
    noise = torch.empty_like(deviations).normal_(generator=generator)
    if state.gram is None:
        error = torch.empty_like(law.residual.expand(chains, -1, -1)).normal_(generator=generator)
    found, size = [], max(codes if state.gram is not None else features, 1)
    block = max(1, _BLOCK // (chains * size * max(size, codes)))
    for first in range(0, rows, block):
        part = slice(first, first + block)
        if state.gram is not None:
            gram, image = _rows(state.gram, part), state.image[part]
            found.append(_by_code_matrix(gram, image, deviations[:, part], noise[:, part]))
        else:
            matrix, residual = _rows(law.matrix, part), law.residual[part]
            found.append(_by_feature_matrix(matrix, residual, deviations[:, part], noise[:, part], error[:, part]))
    return torch.cat(found, 1)


def _rows(table: Tensor, part: slice) -> Tensor:
    return table if len(table) == 1 else table[part]


def _by_code_matrix(gram: Tensor, image: Tensor, deviations: Tensor, noise: Tensor) -> Tensor:
    """z = L^-T (L^-1 S' r + noise) with L L' = I + S' S, times tau: one Cholesky factor of codes by codes."""
    precision = deviations.unsqueeze(-1) * gram * deviations.unsqueeze(-2)
    precision.diagonal(dim1=-2, dim2=-1).add_(1)
    factor = torch.linalg.cholesky(precision)
    whitened = torch.linalg.solve_triangular(factor, (deviations * image).unsqueeze(-1), upper=False)
    draw = torch.linalg.solve_triangular(factor.mT, whitened + noise.unsqueeze(-1), upper=True)
    return deviations * draw.squeeze(-1)


def _by_feature_matrix(matrix: Tensor, residual: Tensor, deviations: Tensor, noise: Tensor, error: Tensor) -> Tensor:
    """z = noise + S' (I + S S')^-1 (r - S noise - error), times tau: one Cholesky factor of features by features."""
    scaled = matrix * deviations.unsqueeze(-2)
    covariance = scaled @ scaled.mT
    covariance.diagonal(dim1=-2, dim2=-1).add_(1)
    remainder = (residual - error).unsqueeze(-1) - scaled @ noise.unsqueeze(-1)
    weights = torch.cholesky_solve(remainder, torch.linalg.cholesky(covariance))
    return deviations * (noise + (scaled.mT @ weights).squeeze(-1))


def _positive_sweep(state: SparseGibbsState, codes: Tensor, generator: torch.Generator | None) -> Tensor:
    """Each code in turn from its law given the others: a Normal one, tilted by the prior and cut off at zero."""
    gram: Any = state.gram
    law = state.law
    curvature = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0) + _FLAT / law.scale.square()
    uniform = torch.empty_like(codes).uniform_(generator=generator)
    unit = RectifiedGaussian(codes.new_zeros(1))
    codes = codes.clone()
    order = range(codes.shape[-1])
    for index in reversed(order) if state.backwards else order:
        others = (gram[..., index, :] * codes).sum(-1) - gram[..., index, index] * codes[..., index]
        root = curvature[..., index].sqrt()
        standard = (state.image[..., index] - others - 1 / law.scale[..., index]) / root
        codes[..., index] = unit.sample(standard.unsqueeze(-1), uniform[..., index, None]).squeeze(-1) / root
    return codes
