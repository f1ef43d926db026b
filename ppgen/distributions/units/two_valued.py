"""What units of two values have in common: they can be counted, and the index of a state is written in bits."""

import torch
from torch import Tensor

from ppgen.distributions.units.biased import Biased


class TwoValued(Biased):
    """Units of two values with an energy -b x."""

    @property
    def num_states(self) -> int:
        """Number of joint states: 2 to the number of units."""
        return 2**self.size

    def digits(self, index: Tensor) -> Tensor:
        """Binary digits of the index of a state, most significant first: (n,) -> (n, size)."""
        shifts = torch.arange(self.size - 1, -1, -1, device=index.device)
        return (index.unsqueeze(-1) >> shifts) & 1
