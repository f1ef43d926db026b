"""What a Markov kernel must answer to draw from the posteriors of a pair."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ppgen.inference.kernels.latent_density import LatentDensity


class PosteriorState(Protocol):
    """State of the chains of a posterior, as far as `sample_posterior` reads it; a kernel adds what it goes on from."""

    @property
    def position(self) -> Tensor:
        """Unconstrained latents, (num_chains, rows, dim)."""

    @property
    def log_density(self) -> Tensor:
        """`density(position)`: log p(x, z) + log-Jacobian, nats, (num_chains, rows)."""


@runtime_checkable
class PosteriorKernel(Protocol):
    r"""A kernel that leaves the posterior of every datum as it is, all chains and data in one tensor.

    .. math:: \int p(z \mid x) \, T(z' \mid z) \, dz = p(z' \mid x)

    It holds its settings and nothing that changes, so that one serves many pairs. What it needs of a pair it asks the
    `LatentDensity`: `density(position)`, whose gradient autograd gives, `density.values(position)` for the latents by
    site, `density.sites` for their places in a position, and `density.pair` and `density.batch` for the program
    itself. `ppgen.testing.check_posterior_kernel` holds a kernel to this.

    Example:
        >>> from ppgen import inference
        >>> isinstance(inference.HMC(), inference.PosteriorKernel), isinstance(len, inference.PosteriorKernel)
        (True, False)
    """

    def init(self, density: LatentDensity, position: Tensor, /) -> Any:
        """State of chains that start at a position, a NamedTuple with at least what `PosteriorState` has.

        Args:
            density: The target.
            position: Where the chains start, (num_chains, rows, dim).

        Raises:
            ValueError: If the kernel cannot move the latents of this pair: which site, and what to use instead.
        """

    def step(
        self, density: LatentDensity, state: Any, generator: torch.Generator | None = None, /, *, adapt: bool = False
    ) -> tuple[Any, Any]:
        """The next state, and what a diagnostic needs: a NamedTuple of tensors (num_chains, rows).

        The names are those of ArviZ's `sample_stats`. The state that is given is not written to.

        Args:
            density: The target.
            state: State of the chains.
            generator: Source of all randomness; torch's global one if None.
            adapt: Whether settings are adapted, as in the warmup; then the law is invariant only in the limit.
        """

    def adapted(self, state: Any, /) -> Any:
        """The state with which draws begin, once adaptation ends; the same one where nothing adapts."""


@runtime_checkable
class TemperableKernel(PosteriorKernel, Protocol):
    r"""A kernel of posteriors that can also draw where the data count for a part only, as annealing needs it.

    .. math:: f_\beta(z) = p(z) \, p(x \mid z)^\beta, \qquad 0 < \beta \le 1

    `evaluation.log_likelihood(pair, x, method="ais", kernel=...)` moves its runs by one, as does `evaluation.bdmc`.

    Example:
        >>> from ppgen import inference
        >>> isinstance(inference.SparseGibbs(), inference.TemperableKernel)
        True
        >>> isinstance(inference.HMC(), inference.TemperableKernel)  # annealing gives it tempered densities instead
        False
    """

    def tempered(self, state: Any, position: Tensor, beta: float, /, *, backwards: bool = False) -> Any:
        """State of chains at a position whose steps leave p(z) p(x | z)^beta as it is; nothing adapts in them.

        Args:
            state: A state of chains of the same target, as `init` gives it. It is not written to.
            position: Where the chains are, (num_chains, rows, dim).
            beta: Inverse temperature of the likelihood.
            backwards: Whether the steps are those of the chain run backwards in time, with f(z) T(z' | z) =
                f(z') T'(z | z'). Reversible steps, as those by Metropolis' rule are, are their own way back.
        """
