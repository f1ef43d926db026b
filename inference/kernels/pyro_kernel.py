"""Kernels of Boltzmann machines as Pyro runs them: `pyro.infer.MCMC(kernel.to_pyro(), ...)`."""

from typing import TYPE_CHECKING, Any

import torch
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor

if TYPE_CHECKING:
    from ppgen.inference.kernels.machine_kernel import MachineKernel


class PyroKernel(MCMCKernel):
    """Adapter whose parameters are the values of a machine by layer; made by `kernel.to_pyro()`.

    Randomness is torch's global generator, as everywhere in Pyro. Warm-up adapts what the kernel can adapt.

    Args:
        kernel: The kernel.
        num_chains: Chains that move together; with more than one, values are (num_chains, batch..., units).
    """

    def __init__(self, kernel: "MachineKernel[Any]", num_chains: int = 1) -> None:
        self.kernel, self.num_chains = kernel, num_chains
        self.transforms: dict[str, Any] = {}  # values are what they are: nothing is unconstrained
        self._state: Any = None
        self._info: Any = None
        self._infos: list[Any] = []
        self._given: dict[str, Tensor] | None = None
        self._last: dict[str, Tensor] | None = None
        self._warming = False

    def setup(self, warmup_steps: int, *args: Any, **kwargs: Any) -> None:
        """Start anew.

        Raises:
            ValueError: If the run has arguments: there is no model that could take them.
        """
        if args or kwargs:
            raise ValueError(
                "mcmc.run() of a Boltzmann machine takes no arguments: condition the machine on data beforehand, "
                "machine.condition({'visible': x})."
            )
        self._state, self._info, self._last, self._warming = self.kernel.init(self.num_chains), None, None, True
        self._left, self._infos = warmup_steps, []

    @property
    def initial_params(self) -> dict[str, Tensor]:
        """Values to start from: those given, else independent units."""
        return self._given if self._given is not None else self._shown()

    @initial_params.setter
    def initial_params(self, params: dict[str, Tensor]) -> None:
        self._given = params

    def sample(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values by layer after one step from those given."""
        if params is not self._last:
            self._place(params)
        self._state, self._info = self.kernel.step(self._state, adapt=self._left > 0)
        if self._left <= 0:
            self._infos.append(self._info)
        self._left -= 1
        self._last = self._shown()
        return self._last

    def logging(self) -> dict[str, str]:
        """Mean energy of the chains, for the progress bar."""
        return {} if self._info is None else {"energy": f"{float(self._info.energy.mean()):.2f}"}

    def diagnostics(self) -> dict[str, Tensor]:
        """What the kernel told of each draw, (draws, num_chains, batch..., ...), for `diagnostics.from_pyro`."""
        if not self._infos:
            return {}
        return {name: torch.stack([getattr(info, name) for info in self._infos]) for name in self._infos[0]._fields}

    def coords(self) -> dict[str, Any]:
        """Coordinates of the kernel's own dimensions; none before it has run."""
        return {} if self._state is None else self.kernel.coords(self._state)

    def _shown(self) -> dict[str, Tensor]:
        values = self.kernel.values(self._state)
        return values if self.num_chains > 1 else {name: value[0] for name, value in values.items()}

    def _place(self, params: dict[str, Tensor]) -> None:
        energy = self.kernel.energy
        sides = []
        for layers in energy.sides:
            pieces = [params[energy.names[layer]].to(energy.parameters()[0]) for layer in layers]
            values = torch.cat(pieces, -1)
            sides.append(values if self.num_chains > 1 else values.unsqueeze(0))
        self._state = self.kernel.moved_to(self._state, *sides)
