"""Draws from the posterior of every datum at once, or of all latents of a data set together."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ppgen.batch import as_batch
from ppgen.checks.arguments import check_count
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.seeding import check_seed
from ppgen.inference.kernels.hmc import HMC
from ppgen.inference.kernels.latent_density import STARTS, LatentDensity, Start, frozen
from ppgen.inference.kernels.posterior_kernel import PosteriorKernel
from ppgen.inference.structure.support import check_support, explaining_missing
from ppgen.pair import as_pair


@dataclass(frozen=True)
class PosteriorSamples:
    """Draws of Markov chains from p(z | x) of each datum, and how well the chains moved after warmup.

    `diagnostics.from_chains` makes an ArviZ tree of them. Where latents are common to all data, a chain moves all
    latents of the data set: draws of the sites outside the data plate have no rows, nor have the numbers of chains.

    Attributes:
        draws: By site, (num_chains, num_samples, rows, inner plates, event).
        log_density: log p(x, z) + log-Jacobian of z(u) of each draw, nats: (num_chains, num_samples, rows).
        info: What the kernel tells of each step, a NamedTuple of tensors (num_chains, num_samples, rows).
        step_size: Step size that each chain kept: (num_chains, rows); None where the kernel has none.
        dims: By site, names of the dimensions from the rows on: those of plates, of event dimensions what the model
            says in `infer={"event_dims": ...}`, else None.
        kernel: Name of the kernel.
    """

    draws: dict[str, Tensor]
    log_density: Tensor
    info: Any
    step_size: Tensor | None
    dims: dict[str, tuple[str | None, ...]] = field(default_factory=dict)
    kernel: str = "HMC"

    @property
    def acceptance_rate(self) -> Tensor:
        """Acceptance rate of the proposals, the mean over the draws: (num_chains, rows).

        It is 1 of a kernel that tells none, as every step of a Gibbs sampler is taken.
        """
        told = getattr(self.info, "acceptance_rate", None)
        return torch.ones_like(self.log_density[:, 0]) if told is None else told.mean(1)

    @property
    def num_diverging(self) -> Tensor:
        """Trajectories whose energy error exceeded 1000 nats: (num_chains, rows); none where none are told."""
        told = getattr(self.info, "diverging", None)
        return torch.zeros_like(self.log_density[:, 0], dtype=torch.long) if told is None else told.sum(1)

    def __repr__(self) -> str:
        chains, samples, *rows = self.log_density.shape
        of = f"{rows[0]} row{'s' * (rows[0] > 1)}" if rows else "all data"
        each = f"{chains} chain{'s' * (chains > 1)} x {samples} draws of {of}"
        text = f"PosteriorSamples({', '.join(self.draws)}: {each}, acceptance {self.acceptance_rate.mean():.2f}"
        diverging = int(self.num_diverging.sum())
        return f"{text}, {diverging} diverging)" if diverging else f"{text})"


def sample_posterior(
    pair: Any,
    x: Any,
    *,
    num_samples: int,
    warmup_steps: int = 500,
    num_chains: int = 1,
    kernel: PosteriorKernel | None = None,
    init: Start = "guide",
    seed: int = 0,
) -> PosteriorSamples:
    r"""Draw from the posterior p(z | x) of every datum by Markov chains, all of them in one tensor.

    .. math:: u_t \sim T(\cdot \mid u_{t-1}), \quad T \text{ invariant for } p(x, z(u)) |\partial z / \partial u|

    Chains move in the unconstrained space of all latents of a datum together; what the kernel adapts, such as a step
    size for each chain, it adapts in the warmup, which is thrown away. Where latents are common to all data, a chain
    moves the latents of the whole data set together, p(z | all x). The pair is run in evaluation mode; its training
    flags and the caller's random state are left as they are.

    Args:
        pair: A model of the zoo, a `ppgen.Pair` or a run.
        x: Data: a tensor or an array, or a tuple or a mapping, as the pair takes it.
        num_samples: Draws kept of each chain, one a step.
        warmup_steps: Steps before those.
        num_chains: Chains of each datum.
        kernel: What moves the chains: `HMC()`, the default, for any continuous latents; `SparseGibbs()` for sparse
            codes; or a `PosteriorKernel` of your own.
        init: Where chains start: draws of the `"guide"` or of the `"prior"`. All chains of a datum start at one place
            where the guide has a point (Delta); a number of it that lies on the border of the support, as a positive
            code that is zero does, where the density is degenerate, is drawn from the prior instead.
        seed: Seed of all randomness.

    Raises:
        ValueError: If a number is not positive, data lie outside the support of their law, a latent site is
            discrete, or there is none, or the kernel cannot move the latents of this pair.
        TypeError: If `pair` is none, `x` holds no data, or `kernel` is no kernel of posteriors.

    References:
        Neal (2011), MCMC using Hamiltonian dynamics, arXiv:1206.1901.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> samples = inference.sample_posterior(vae, torch.ones(5, 4), num_samples=20, warmup_steps=20, num_chains=3)
        >>> samples.draws["z"].shape
        torch.Size([3, 20, 5, 2])
    """
    seed = check_seed(seed)
    pair = as_pair(pair)
    check_has_likelihood(pair, "Posteriors")
    for name, number, least in (("num_samples", num_samples, 1), ("warmup_steps", warmup_steps, 0)):
        check_count(name, number, least)
    if init not in STARTS:
        raise ValueError(f"init must be one of {', '.join(map(repr, STARTS))}, got {init!r}.")
    kernel = HMC() if kernel is None else kernel
    check_posterior_kernel(kernel)
    x = as_batch(x, pair)
    with explaining_missing(x):
        pair.prepare(x)
    x = as_batch(x, pair)  # parameters made at the first call decide the type
    with frozen(pair, seed) as generator:
        with explaining_missing(x):
            density = LatentDensity(pair, x, num_chains)
            check_support(pair, x)
        state = kernel.init(density, density.draw(init))
        for _ in range(warmup_steps):
            state, _ = kernel.step(density, state, generator, adapt=True)
        state = kernel.adapted(state)
        draws: dict[str, list[Tensor]] = {}
        log_density, infos = [], []
        for _ in range(num_samples):
            state, info = kernel.step(density, state, generator)
            for name, value in density.values(state.position).items():
                draws.setdefault(name, []).append(value)
            log_density.append(state.log_density)
            infos.append(info)
    stacked = {name: torch.stack(values, 1) for name, values in draws.items()}
    told = [torch.stack(values, 1) for values in zip(*infos, strict=True)]
    lp, step_size = torch.stack(log_density, 1), getattr(state, "step_size", None)
    if density.joint:  # there is one row, which is no dimension of the result
        told, lp = [value.squeeze(-1) for value in told], lp.squeeze(-1)
        step_size = None if step_size is None else step_size.squeeze(-1)
    return PosteriorSamples(stacked, lp, type(infos[0])(*told), step_size, density.dims(), type(kernel).__name__)


def check_posterior_kernel(kernel: Any, argument: str = "kernel") -> None:
    """Raise unless a value is a kernel of posteriors.

    Raises:
        TypeError: Names the argument and says what it may be.
    """
    if isinstance(kernel, PosteriorKernel) and not isinstance(kernel, type):
        return
    given = f"the class {kernel.__name__}: call it" if isinstance(kernel, type) else type(kernel).__name__
    raise TypeError(
        f"{argument} must be an inference.HMC, an inference.SparseGibbs or another inference.PosteriorKernel, an "
        f"object with methods init, step and adapted, got {given}."
    )
