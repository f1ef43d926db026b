"""Parallel tempering along the machines that training went through, as a kernel."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy
from ppgen.distributions.machines.replicas import accepted_swaps, exchanged
from ppgen.distributions.machines.samplers import dispersed_draw
from ppgen.inference.kernels.parallel_tempering import ParallelTemperingInfo
from ppgen.inference.kernels.replica_kernel import ReplicaKernel
from ppgen.inference.structure.machine_sites import energy_of


class TrajectoryTemperingState(NamedTuple):
    """State of chains under trajectory tempering; machines stand from the earliest (0) to the one that is sampled.

    Attributes:
        even: Values of the even layers, (machines, num_chains, batch..., even units).
        odd: Values of the odd layers, drawn given them: (machines, num_chains, batch..., odd units).
        replica: Number of the replica at each machine, (machines, num_chains, batch...).
        parity: Which pairs are offered a swap next: 0 or 1.
    """

    even: Tensor
    odd: Tensor
    replica: Tensor
    parity: Tensor


class TrajectoryTempering(ReplicaKernel[TrajectoryTemperingState]):
    r"""Replicas under machines of several stages of training, which swap by their free energies.

    .. math:: \pi(v_1, \dots, v_T) \propto \prod_t e^{-F_t(v_t)}, \quad
        \alpha_t = \min\big\{1, \exp\big(F_t(v_t) + F_{t+1}(v_{t+1}) - F_t(v_{t+1}) - F_{t+1}(v_t)\big)\big\}

    Modes part one after another as a machine learns, so that machines of few epochs mix fast and neighbours in time
    overlap, where a machine that is heated up goes through a phase transition. A step is some block Gibbs sweeps of
    every replica, then one round of swaps, of the even pairs and the odd pairs of neighbours by turns. The chains of
    the last machine follow its law whatever the others are; they mix as well as the least of the swaps lets them
    (`swap_acceptance`, `inference.round_trips`).

    References:
        | Fast Training and Sampling of Restricted Boltzmann Machines (Bereux et al., 2024),
          https://arxiv.org/abs/2405.15376

    Args:
        targets: Machines of the same units, or pairs or runs with one, from the earliest to the one to be sampled:
            *copies*, as the weights of a pair that is trained on are always its present ones.
        sweeps: Block Gibbs sweeps of a step.
        site: Name of the undirected site of the pairs; not needed if there is one only.

    Raises:
        TypeError: If `targets` is no sequence, or one of them is no machine and no pair.
        ValueError: If there are fewer than two, two neighbours have the same weights, units differ, a pair has no
            undirected site, or `sweeps` is not positive.

    Example:
        >>> import copy
        >>> import ppgen
        >>> from ppgen import datasets, inference, models
        >>> stages = []
        >>> def keep(event):
        ...     if event.kind == "epoch" and event.epoch in (1, 2, 4):
        ...         stages.append(copy.deepcopy(event.run.pair))
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> rbm = models.RBM(visible=64, hidden=8)
        >>> run = ppgen.fit(rbm, digits, "pcd", epochs=4, seed=0, progress=False, callbacks=[keep])
        >>> kernel = inference.TrajectoryTempering(stages)
        >>> chains = inference.sample(kernel, 10, num_chains=20, warmup_steps=50)
        >>> dict(chains.sample_stats.swap_acceptance.sizes)
        {'chain': 20, 'draw': 10, 'pair': 2}
    """

    adaptive = False

    def __init__(self, targets: Sequence[Any], *, sweeps: int = 1, site: str | None = None) -> None:
        if not isinstance(targets, Sequence) or isinstance(targets, str):
            raise TypeError(
                f"targets must be a list of machines, pairs or runs from early to late, got {type(targets).__name__}."
            )
        if len(targets) < 2:
            raise ValueError(f"targets must hold two machines or more, got {len(targets)}. BlockGibbs samples one.")
        super().__init__(targets[-1], sweeps, site=site)
        self.energies = [energy_of(target, site) for target in targets]
        for index, (before, after) in enumerate(zip(self.energies, self.energies[1:], strict=False)):
            _check_neighbours(index, before, after)

    @torch.no_grad()
    def init(self, num_chains: int, generator: torch.Generator | None = None) -> TrajectoryTemperingState:
        """Every replica at independent units of its machine."""
        shape = (check_count("num_chains", num_chains), *self.energy.batch_shape)
        even = torch.stack([dispersed_draw(energy, shape, generator) for energy in self.energies])
        odd = self._odd(even, generator)
        ids = torch.arange(len(even), device=even[0].device).reshape(-1, *(1,) * len(shape)).expand(-1, *shape)
        return TrajectoryTemperingState(even, odd, ids, torch.zeros_like(ids.flatten()[0]))

    @torch.no_grad()
    def step(
        self, state: TrajectoryTemperingState, generator: torch.Generator | None = None, *, adapt: bool = False
    ) -> tuple[TrajectoryTemperingState, ParallelTemperingInfo]:
        """Sweeps of every replica and one round of swaps; there is nothing to adapt."""
        moved = []
        for energy, before in zip(self.energies, state.odd, strict=True):
            value = energy.sample_opposite(before, ODD, generator)
            moved.append(energy.gibbs(value, EVEN, self.sweeps - 1, generator))
        even = torch.stack(moved)
        log_ratio = self.log_ratio(even)
        uniform = torch.rand(log_ratio.shape, dtype=even.dtype, device=even.device, generator=generator)
        swaps = accepted_swaps(log_ratio, state.parity, uniform)
        even = exchanged(even, swaps)
        # The odd side belongs to a machine, not to a replica: it is drawn anew.
        odd = self._odd(even, generator)
        replica = exchanged(state.replica.unsqueeze(-1), swaps).squeeze(-1)
        info = ParallelTemperingInfo(
            self.energy.energy(even[-1], odd[-1]),
            self.energy.free_energy(even[-1], EVEN),
            log_ratio.clamp(max=0).exp().movedim(0, -1),
            replica.movedim(0, -1),
        )
        return TrajectoryTemperingState(even, odd, replica, 1 - state.parity), info

    def _odd(self, even: Tensor, generator: torch.Generator | None) -> Tensor:
        """Odd side of every replica given its even one, under the machine where it stands."""
        drawn = [
            energy.sample_opposite(value, EVEN, generator) for energy, value in zip(self.energies, even, strict=True)
        ]
        return torch.stack(drawn)

    def log_ratio(self, even: Tensor) -> Tensor:
        """Logarithm of the ratio in a swap's acceptance, for each pair of neighbours: (machines - 1, ...), nats.

        Args:
            even: Values of the even side, (machines, ..., even units).
        """
        # Each machine weighs its own values and those of its neighbours, once: below it, own, above it.
        found = [energy.free_energy(even[max(at - 1, 0) : at + 2], EVEN) for at, energy in enumerate(self.energies)]
        pairs = zip(found, found[1:], strict=False)
        return torch.stack([lower[-2] + upper[1] - lower[-1] - upper[0] for lower, upper in pairs])

    def dims(self) -> dict[str, list[str]]:
        """Pairs of neighbours by the earlier of them, and machines."""
        return {"swap_acceptance": ["pair"], "replica": ["machine"]}

    def __repr__(self) -> str:
        layers = ", ".join(self.energy.names)
        return f"TrajectoryTempering({layers}, machines={len(self.energies)}, sweeps={self.sweeps})"


def _check_neighbours(index: int, before: LayeredEnergy, after: LayeredEnergy) -> None:
    kinds = [
        {name: (type(units).__name__, units.size, tuple(units.batch_shape)) for name, units in energy.layers.items()}
        for energy in (before, after)
    ]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"targets must be machines of the same layers, but targets[{index}] has {kinds[0]} and "
            f"targets[{index + 1}] {kinds[1]} (kind, units, rows)."
        )
    if before.fingerprint() == after.fingerprint():
        raise ValueError(
            f"targets[{index}] and targets[{index + 1}] have the same weights. Keep copies of a pair while it is "
            "trained: copy.deepcopy(event.run.pair) in a callback of ppgen.fit."
        )
