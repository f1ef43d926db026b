"""Kernels whose state holds replicas of the chains, of which the last follow the machine's law."""

from typing import Any

import torch
from torch import Tensor

from ppgen.inference.kernels.machine_kernel import MachineKernel, S


class ReplicaKernel(MachineKernel[S]):
    """A kernel whose state has `even`, `odd` and `replica`: (replicas, num_chains, ...), the machine's own last."""

    def sides(self, state: Any) -> tuple[Tensor, Tensor]:
        """Even and odd side of the chains of the machine itself, each (num_chains, batch..., units)."""
        return state.even[-1], state.odd[-1]

    def moved_to(self, state: Any, even: Tensor, odd: Tensor) -> Any:
        """State whose chains of the machine itself stand at given values, the other replicas where they are."""
        return state._replace(even=torch.cat([state.even[:-1], even[None]]), odd=torch.cat([state.odd[:-1], odd[None]]))

    def repeated(self, state: Any, times: int) -> Any:
        """State with each chain, and its replicas, so many times, one after another."""
        fields = {name: getattr(state, name).repeat_interleave(times, 1) for name in ("even", "odd", "replica")}
        return state._replace(**fields)
