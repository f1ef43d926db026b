"""Hamiltonian Monte Carlo for thousands of independent chains in one tensor."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ppgen.inference.kernels.failing_chains import value_and_gradient, value_and_gradient_or_start

LogDensity = Callable[[Tensor], Tensor]

# Constants of dual averaging in the notation of Hoffman and Gelman; their gamma is 0.05. A chain that adapts alone then
# moves its log step size by about 0.5 either way after 100 steps, so that the acceptance is 0.8 on the average of these
# sizes and 0.94 at their mean, which is what is kept.
_GAMMA, _T0, _KAPPA = 0.2, 10.0, 0.75
_DIVERGENCE = 1000.0  # nats of energy error


class HMCState(NamedTuple):
    """State of Hamiltonian chains; every chain has its own entry.

    Attributes:
        position: Unconstrained values, (..., dim).
        log_density: Its log-density, nats, (...).
        gradient: Gradient of the log-density, (..., dim).
        step_size: Leapfrog step size of the next step, (...).
        averaged_log_step: Logarithm of the step size that dual averaging settles on, (...).
        error: Running mean of target minus acceptance, (...).
        centre: Logarithm of the step size towards which adaptation is drawn, (...).
        num_adapted: Number of adapted steps, scalar.
    """

    position: Tensor
    log_density: Tensor
    gradient: Tensor
    step_size: Tensor
    averaged_log_step: Tensor
    error: Tensor
    centre: Tensor
    num_adapted: Tensor


class HMCInfo(NamedTuple):
    """What a Hamiltonian trajectory tells, under ArviZ's names of sample statistics; all of shape (...).

    Attributes:
        acceptance_rate: Probability with which the proposal was to be accepted.
        accepted: Whether it was.
        diverging: Whether the energy error exceeded 1000 nats or was not a number, or the log-density raised.
        energy: Energy of the state left behind, -log density + half the squared norm of the momentum, nats.
        energy_error: Energy of the proposal minus that of the start, nats.
        step_size: Step size of the trajectory, jitter included.
    """

    acceptance_rate: Tensor
    accepted: Tensor
    diverging: Tensor
    energy: Tensor
    energy_error: Tensor
    step_size: Tensor


@dataclass(frozen=True)
class HMC:
    r"""Hamiltonian Monte Carlo: leapfrog trajectories of a fixed number of steps, accepted by Metropolis' rule.

    .. math::
        H(z, r) = -\log p(z) + \tfrac12 |r|^2, \quad
        \alpha = \min\{1, e^{H(z, r) - H(z', r')}\}, \quad
        \log \epsilon_{t+1} = \mu - \frac{\sqrt t}{\gamma} \bar H_t, \quad
        \bar H_t = \Big(1 - \frac{1}{t + t_0}\Big) \bar H_{t-1} + \frac{\delta - \alpha_t}{t + t_0}

    A position has shape (..., dim); all leading dimensions are independent chains, each with its own momentum,
    acceptance and step size. The log-density is a function of positions (..., dim) to nats (...), and a chain's value
    may depend on its own position only. The value itself holds no state, so that one serves many targets.

    Where the log-density raises a `torch.linalg.LinAlgError`, a `ValueError` or an `ArithmeticError` on the way of a
    chain, as a Cholesky factor or the checks of a law do at absurd positions, that chain stays where it was, its
    trajectory is one that diverged, and the others go on. A trajectory and the one back meet the same positions, so
    that this rejection leaves the target as it is. At the start of the chains such an error is raised.

    Args:
        num_steps: Leapfrog steps of a trajectory.
        step_size: Step size to start from.
        target_accept: Mean acceptance at which adaptation aims.
        jitter: Each trajectory's step size is multiplied by a uniform number in [1 - jitter, 1 + jitter], which
            keeps trajectories off whole periods of the target.
        step_size_per: What has a step size of its own: `"chain"`, each chain; `"datum"`, all chains along the first
            dimension, which are those of one datum under `LatentDensity`.

    Raises:
        ValueError: If an argument is out of its range.

    References:
        Neal (2011), MCMC using Hamiltonian dynamics, arXiv:1206.1901.
        Hoffman and Gelman (2014), The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian Monte Carlo,
        arXiv:1111.4246.

    Example:
        >>> import torch
        >>> from ppgen import inference
        >>> kernel = inference.HMC(num_steps=5)
        >>> log_density = lambda z: -z.square().sum(-1) / 2
        >>> generator = torch.Generator().manual_seed(0)
        >>> state = kernel.init(log_density, torch.zeros(1000, 3))
        >>> for _ in range(100):
        ...     state, info = kernel.step(log_density, state, generator, adapt=True)
        >>> state, info = kernel.step(log_density, kernel.adapted(state), generator)
        >>> state.position.shape, bool(info.diverging.any())
        (torch.Size([1000, 3]), False)
    """

    num_steps: int = 10
    step_size: float = 0.1
    target_accept: float = 0.8
    jitter: float = 0.2
    step_size_per: Literal["chain", "datum"] = "chain"

    def __post_init__(self) -> None:
        if isinstance(self.num_steps, bool) or not isinstance(self.num_steps, int) or self.num_steps < 1:
            raise ValueError(f"num_steps must be an integer of at least 1, got {self.num_steps!r}.")
        for name, asked, holds in (
            ("step_size", "be positive and finite", lambda number: number > 0 and math.isfinite(number)),
            ("target_accept", "lie between 0 and 1, both excluded", lambda number: 0 < number < 1),
            ("jitter", "lie in [0, 1)", lambda number: 0 <= number < 1),
        ):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, (int, float)) or not holds(number):
                raise ValueError(f"{name} must {asked}, got {number!r}.")
        if self.step_size_per not in ("chain", "datum"):
            raise ValueError(f"step_size_per must be 'chain' or 'datum', got {self.step_size_per!r}.")

    def init(self, log_density: LogDensity, position: Tensor, step_size: Tensor | None = None) -> HMCState:
        """State at a position.

        Args:
            log_density: Function of positions (..., dim) to nats (...).
            position: Where the chains start, (..., dim).
            step_size: Their step sizes, (...) or of a shape that broadcasts; by default the kernel's own.

        Raises:
            ValueError: If the log-density has another shape than the chains, or is not finite at the start.
        """
        value, gradient = value_and_gradient(log_density, position)
        if value.shape != position.shape[:-1]:
            raise ValueError(
                f"The log-density must have one value a chain, shape {tuple(position.shape[:-1])} for positions "
                f"{tuple(position.shape)}, got shape {tuple(value.shape)}; sum over dimensions of the target only."
            )
        if not value.isfinite().all():
            bad = int((~value.isfinite()).sum())
            raise ValueError(f"The log-density is not finite at the start of {bad} of {value.numel()} chains.")
        start = torch.as_tensor(self.step_size if step_size is None else step_size)
        steps = start.to(value).expand(value.shape).clone()
        zeros = torch.zeros_like(value)
        return HMCState(
            position.detach(), value, gradient, steps, steps.log(), zeros, (10 * steps).log(), zeros.new_zeros(())
        )

    @torch.no_grad()
    def step(
        self, log_density: LogDensity, state: HMCState, generator: torch.Generator | None = None, *, adapt: bool = False
    ) -> tuple[HMCState, HMCInfo]:
        """One trajectory of every chain.

        Args:
            log_density: Function of positions (..., dim) to nats (...).
            state: State of the chains.
            generator: Source of all randomness; torch's global one if None.
            adapt: Whether the step sizes are adapted; then the step leaves the target invariant only in the limit.
        """
        old = state.position
        momentum = torch.empty_like(old).normal_(generator=generator)
        uniform = torch.rand((2, *state.log_density.shape), generator=generator, dtype=old.dtype, device=old.device)
        step_size = state.step_size * (1 + self.jitter * (2 * uniform[0] - 1))
        position, ended, value, gradient = leapfrog(
            log_density, old, momentum, state.gradient, step_size, self.num_steps
        )
        before = momentum.square().sum(-1) / 2 - state.log_density
        error = ended.square().sum(-1) / 2 - value - before
        error = error.nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
        acceptance = (-error).exp().clamp(max=1.0)
        accepted = uniform[1] < acceptance
        moved = accepted.unsqueeze(-1)
        following = state._replace(
            position=torch.where(moved, position, old),
            log_density=torch.where(accepted, value, state.log_density),
            gradient=torch.where(moved, gradient, state.gradient),
        )
        energy = torch.where(accepted, before + error, before)
        info = HMCInfo(acceptance, accepted, error > _DIVERGENCE, energy, error, step_size)
        return (self._adapt(following, acceptance) if adapt else following), info

    def adapted(self, state: HMCState) -> HMCState:
        """The state with the step sizes on which dual averaging settled; call it once when adaptation ends."""
        return state._replace(step_size=state.averaged_log_step.exp()) if state.num_adapted > 0 else state

    def _adapt(self, state: HMCState, acceptance: Tensor) -> HMCState:
        if self.step_size_per == "datum":
            acceptance = acceptance.mean(0, keepdim=True).expand_as(acceptance)
        count = state.num_adapted + 1
        error = state.error + (self.target_accept - acceptance - state.error) / (count + _T0)
        log_step = state.centre - count.sqrt() / _GAMMA * error
        averaged = state.averaged_log_step + count**-_KAPPA * (log_step - state.averaged_log_step)
        return state._replace(step_size=log_step.exp(), averaged_log_step=averaged, error=error, num_adapted=count)


def leapfrog(
    log_density: LogDensity, position: Tensor, momentum: Tensor, gradient: Tensor, step_size: Tensor, num_steps: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Trajectories of `num_steps` leapfrog steps: reversible and of unit Jacobian.

    Args:
        log_density: Function of positions (..., dim) to nats (...).
        position: Start, (..., dim), where the log-density does not raise.
        momentum: Momentum there, (..., dim).
        gradient: Gradient of the log-density there, (..., dim).
        step_size: Step size of each chain, (...).
        num_steps: Number of steps.

    Returns:
        Position, momentum, log-density and gradient at the end; of chains on whose way the log-density raised, the
        log-density is not a number and the rest without meaning.
    """
    start, step = position, step_size.unsqueeze(-1)
    momentum = momentum + step / 2 * gradient
    value = gradient.new_zeros(gradient.shape[:-1])
    failed: Tensor | None = None
    for index in range(num_steps):
        position = position + step * momentum
        if failed is not None:
            position = torch.where(failed.unsqueeze(-1), start, position)
        value, gradient, failing = value_and_gradient_or_start(log_density, position, start)
        if failing is not None:
            failed = failing if failed is None else failed | failing
        momentum = momentum + (step / 2 if index == num_steps - 1 else step) * gradient
    if failed is not None:
        value = value.masked_fill(failed, math.nan)
    return position, momentum, value, gradient
