"""Parallel tempering of a Boltzmann machine along the path from base rates, as a kernel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppgen.checks.arguments import as_numbers, check_count
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.replicas import Replicas, accepted_swaps, exchanged
from ppgen.inference.annealing.annealing import make_betas
from ppgen.inference.annealing.swap_ladder import followed
from ppgen.inference.kernels.block_gibbs import energies
from ppgen.inference.kernels.replica_kernel import ReplicaKernel
from ppgen.inference.structure.machine_sites import base_mean


class ParallelTemperingState(NamedTuple):
    """State of chains under parallel tempering; temperatures stand from the base rates (0) to the machine (1).

    Attributes:
        even: Values of the even layers, (temperatures, num_chains, batch..., even units).
        odd: Values of the odd layers, drawn given them: (temperatures, num_chains, batch..., odd units).
        replica: Number of the replica at each temperature, (temperatures, num_chains, batch...).
        betas: The ladder, (temperatures,).
        parity: Which pairs are offered a swap next: 0 or 1.
        rejections: Running fraction of rejected swaps of each pair, (temperatures - 1,).
        num_adapted: Number of adapted steps, scalar.
    """

    even: Tensor
    odd: Tensor
    replica: Tensor
    betas: Tensor
    parity: Tensor
    rejections: Tensor
    num_adapted: Tensor


class ParallelTemperingInfo(NamedTuple):
    """What a step of parallel tempering tells; energies are those at the machine's own temperature, in nats.

    Attributes:
        energy: E of the joint state, (num_chains, batch...).
        free_energy: F of its even side, (num_chains, batch...).
        swap_acceptance: Probability with which each pair was to be swapped, also of pairs that were offered none:
            (num_chains, batch..., temperatures - 1).
        replica: Number of the replica at each temperature after the swaps, (num_chains, batch..., temperatures).
    """

    energy: Tensor
    free_energy: Tensor
    swap_acceptance: Tensor
    replica: Tensor


class ParallelTempering(ReplicaKernel[ParallelTemperingState]):
    r"""Parallel tempering: replicas from independent units to the machine, which swap by their tempered free energies.

    .. math:: \log f_\beta(v) = v \cdot ((1 - \beta) b_A + \beta b) + \sum_j \log(1 + e^{\beta (c + v^\top W)_j}), \quad
        \alpha = \min\Big\{1, \frac{f_{\beta}(v') f_{\beta'}(v)}{f_{\beta}(v) f_{\beta'}(v')}\Big\}

    A step is some block Gibbs sweeps of every replica, then one round of swaps: the even pairs and the odd pairs of
    neighbours by turns, which carries replicas through the ladder without going back and forth. At beta = 0 a sweep is
    an independent draw of the base rates, so that modes which Gibbs chains never leave are found anew.

    References:
        | Parallel Tempering is Efficient for Learning Restricted Boltzmann Machines (Cho, Raiko and Ilin, 2010)
        | Non-Reversible Parallel Tempering: a Scalable Highly Parallel MCMC Scheme (Syed et al., 2022)

    Args:
        target: A `BoltzmannMachine`, also one conditioned on values; or a pair, or a run, with one.
        num_temperatures: Temperatures, both ends included. They start in equal steps; warm-up moves them so that
            neighbours swap equally often.
        betas: A ladder of one's own instead, increasing numbers up to 1 (a 0 in front is added if missing), which
            stays as it is.
        sweeps: Block Gibbs sweeps of a step.
        data_mean: Mean of the visible units, (visible,), for the base rates; if None, the training mean that the pair
            has noted, else the machine's own biases.
        site: Name of the undirected site of a pair; not needed if there is one only.

    Raises:
        TypeError: If the target is no machine and no pair.
        ValueError: If the pair has no undirected site, a number is out of its range, or a mean does not fit.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> kernel = inference.ParallelTempering(models.RBM(visible=6, hidden=4), num_temperatures=5)
        >>> generator = torch.Generator().manual_seed(0)
        >>> state, info = kernel.step(kernel.init(100, generator), generator)
        >>> info.swap_acceptance.shape, kernel.values(state)["visible"].shape
        (torch.Size([100, 4]), torch.Size([100, 6]))
    """

    def __init__(
        self,
        target: Any,
        num_temperatures: int = 10,
        *,
        betas: Sequence[float] | Tensor | None = None,
        sweeps: int = 1,
        data_mean: Any = None,
        site: str | None = None,
    ) -> None:
        super().__init__(target, sweeps, site=site)
        self.adaptive = betas is None
        count = check_count("num_temperatures", num_temperatures, 2)
        self.ladder = make_betas(count - 1 if betas is None else betas)
        pair = getattr(target, "pair", target)
        self.mean = base_mean(pair, self.energy, data_mean)

    def path(self) -> BaseRatePath:
        """The tempered laws of the present weights."""
        return BaseRatePath(self.energy, self.mean)

    @torch.no_grad()
    def init(self, num_chains: int, generator: torch.Generator | None = None) -> ParallelTemperingState:
        """Every replica at independent units."""
        check_count("num_chains", num_chains)
        like, count = self.energy.parameters()[0], len(self.ladder)
        betas = torch.tensor(self.ladder, dtype=torch.float64, device=like.device)
        path = self.path()
        even = path.sample_base(count * num_chains, generator).unflatten(0, (count, num_chains))
        replicas = Replicas(path, betas)
        odd = replicas.sample_odd(replicas.inputs(even), generator)
        ids = torch.arange(count, device=like.device).reshape(-1, *(1,) * (even.dim() - 2)).expand(even.shape[:-1])
        zero = torch.zeros((), dtype=torch.long, device=like.device)
        return ParallelTemperingState(even, odd, ids, betas, zero, torch.zeros_like(betas[1:]), zero)

    @torch.no_grad()
    def step(
        self, state: ParallelTemperingState, generator: torch.Generator | None = None, *, adapt: bool = False
    ) -> tuple[ParallelTemperingState, ParallelTemperingInfo]:
        """Sweeps of every replica and one round of swaps."""
        replicas = Replicas(self.path(), state.betas)
        odd = state.odd
        for sweep in range(self.sweeps):
            even = replicas.sample_even(odd, generator)
            inputs = replicas.inputs(even)
            if sweep < self.sweeps - 1:
                odd = replicas.sample_odd(inputs, generator)
        log_ratio = replicas.log_ratio(even, inputs)
        uniform = torch.rand(log_ratio.shape, dtype=even.dtype, device=even.device, generator=generator)
        swaps = accepted_swaps(log_ratio, state.parity, uniform)
        # The odd side belongs to a temperature, not to a replica: it is drawn anew, which costs no product.
        even, inputs = exchanged(even, swaps), [exchanged(input, swaps) for input in inputs]
        odd = replicas.sample_odd(inputs, generator)
        replica = exchanged(state.replica.unsqueeze(-1), swaps).squeeze(-1)
        acceptance = log_ratio.clamp(max=0).exp()
        info = ParallelTemperingInfo(
            *energies(self.energy, even[-1], odd[-1], [input[-1] for input in inputs]),
            acceptance.movedim(0, -1),
            replica.movedim(0, -1),
        )
        state = state._replace(even=even, odd=odd, replica=replica, parity=1 - state.parity)
        return (self._adapted(state, acceptance) if adapt and self.adaptive else state), info

    def _adapted(self, state: ParallelTemperingState, acceptance: Tensor) -> ParallelTemperingState:
        observed = 1 - acceptance.double().flatten(1).mean(1)
        rate = (state.num_adapted + 1.0).double() ** -0.6  # of Robbins and Monro: sums to infinity, squares do not
        betas, rejections = followed(state.betas, state.rejections, observed, rate)
        return state._replace(betas=betas, rejections=rejections, num_adapted=state.num_adapted + 1)

    def dims(self) -> dict[str, list[str]]:
        """Pairs of neighbours by the lower of their temperatures, and temperatures."""
        return {"swap_acceptance": ["pair"], "replica": ["temperature"]}

    def coords(self, state: ParallelTemperingState) -> dict[str, Any]:
        """Inverse temperatures as warm-up left them."""
        betas = state.betas.tolist()
        return {"temperature": betas, "pair": betas[:-1]}

    def __repr__(self) -> str:
        layers = ", ".join(self.energy.names)
        return f"ParallelTempering({layers}, num_temperatures={len(self.ladder)}, sweeps={self.sweeps})"


def round_trips(replica: Any) -> Tensor:
    """How often replicas went from the machine to the base rates and back, over the draws of each chain.

    Args:
        replica: Numbers of replicas, `(chain, draw, ..., temperature)`, as `inference.sample` keeps them in
            `sample_stats["replica"]`; at least two temperatures.

    Returns:
        Round trips of all replicas of a chain together: (chain, ...).

    Example:
        >>> from ppgen.inference import round_trips
        >>> import torch
        >>> there_and_back = torch.tensor([[[0, 1], [1, 0], [0, 1]]])  # replica 1 starts at the machine
        >>> round_trips(there_and_back)
        tensor([1])
    """
    ids = as_numbers("replica", replica)
    if ids.dim() < 3:
        raise ValueError(f"replica must be of shape (chain, draw, ..., temperature), got {tuple(ids.shape)}.")
    if bool(((ids < 0) | (ids >= ids.shape[-1]) | (ids != ids.long())).any()):
        raise ValueError(f"replica must hold whole numbers from 0 to {ids.shape[-1] - 1}, one for each temperature.")
    ids = ids.long().movedim(1, 0)  # (draw, chain, ..., temperature)
    phase = torch.zeros_like(ids[0])  # by replica: 1 after it was at the machine, 2 at the base after that
    trips = torch.zeros_like(ids[0, ..., 0])
    for now in ids:
        hot, cold = now[..., :1], now[..., -1:]
        at_cold = phase.gather(-1, cold)
        trips = trips + (at_cold == 2).squeeze(-1).long()
        phase = phase.scatter(-1, cold, torch.ones_like(at_cold))
        at_hot = phase.gather(-1, hot)
        phase = phase.scatter(-1, hot, torch.where(at_hot == 1, 2, at_hot))
    return trips
