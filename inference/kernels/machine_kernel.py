"""What Markov chain kernels of Boltzmann machines have in common."""

from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from ppgen.checks.arguments import check_count
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.samplers import base_rate_draw
from ppgen.inference.structure.machine_sites import energy_of

S = TypeVar("S", bound=NamedTuple)


class MachineKernel(ABC, Generic[S]):
    """A Markov kernel on the joint states of a Boltzmann machine: `init` gives a state, `step` the next one.

    The kernel holds the machine, whose weights are read at each step, and nothing that changes; thousands of chains are
    one dimension of its state. Randomness is the generator's. Machines with a batch shape (clamped units, lengths of
    documents) have one chain for each datum: chains are (num_chains, batch..., units).

    Args:
        target: A `BoltzmannMachine`, also one conditioned on values; or a pair, or a run, with one.
        sweeps: Block Gibbs sweeps of a step.
        site: Name of the undirected site of a pair; not needed if there is one only.

    Raises:
        TypeError: If the target is no machine and no pair.
        ValueError: If the pair has no undirected site, or `sweeps` is not positive.
    """

    adaptive = True  # whether steps of the warm-up differ from later ones

    def __init__(self, target: Any, sweeps: int = 1, *, site: str | None = None) -> None:
        self.energy, self.sweeps = energy_of(target, site), check_count("sweeps", sweeps)

    @abstractmethod
    def init(self, num_chains: int, generator: torch.Generator | None = None) -> S:
        """State before the first step.

        Args:
            num_chains: Chains (of each datum).
            generator: Source of all randomness; torch's global one if None.
        """

    @abstractmethod
    def step(self, state: S, generator: torch.Generator | None = None, *, adapt: bool = False) -> tuple[S, Any]:
        """The next state, and what a diagnostic needs: a NamedTuple of tensors (num_chains, batch..., ...).

        Args:
            state: State of the chains.
            generator: Source of all randomness; torch's global one if None.
            adapt: Whether settings are adapted, as in warm-up; then the law is invariant only in the limit.
        """

    @abstractmethod
    def sides(self, state: S) -> tuple[Tensor, Tensor]:
        """Even and odd side of the chains that follow the machine's law, (num_chains, batch..., units)."""

    @abstractmethod
    def moved_to(self, state: S, even: Tensor, odd: Tensor) -> S:
        """State whose chains of the machine stand at given values of both sides."""

    @abstractmethod
    def repeated(self, state: S, times: int) -> S:
        """State with each chain so many times, one after another."""

    def start(self, num_chains: int, generator: torch.Generator | None = None) -> Tensor:
        """Values of the even side where no layer feels another: (num_chains, batch..., units of the side).

        Args:
            num_chains: Chains (of each datum).
            generator: Source of all randomness; torch's global one if None.
        """
        return base_rate_draw(self.energy, (num_chains, *self.energy.batch_shape), generator)

    def values(self, state: S) -> dict[str, Tensor]:
        """Values of the chains by layer, from the bottom up: (num_chains, batch..., units of the layer)."""
        even, odd = self.sides(state)
        layers = {**self.energy.split(even, EVEN), **self.energy.split(odd, ODD)}
        return {self.energy.names[layer]: layers[layer] for layer in sorted(layers)}

    def dims(self) -> dict[str, list[str]]:
        """Names of the last dimensions of what `step` tells, where it is more than a number a chain."""
        return {}

    def coords(self, state: S) -> dict[str, Any]:
        """Coordinates of the dimensions that `dims` names, by name."""
        return {}

    def to_pyro(self, num_chains: int = 1) -> Any:
        """The kernel for `pyro.infer.MCMC`, whose draws are the values by layer.

        Args:
            num_chains: Chains that move together; with more than one, a draw has them in its first dimension, which
                `diagnostics.from_pyro` takes for the chains.

        Example:
            >>> from pyro.infer import MCMC
            >>> from ppgen import inference, models
            >>> kernel = inference.BlockGibbs(models.RBM(visible=4, hidden=3)).to_pyro()
            >>> mcmc = MCMC(kernel, num_samples=5, warmup_steps=5, disable_progbar=True)
            >>> mcmc.run()
            >>> mcmc.get_samples()["hidden"].shape
            torch.Size([5, 3])
        """
        from ppgen.inference.kernels.pyro_kernel import PyroKernel

        return PyroKernel(self, check_count("num_chains", num_chains))
