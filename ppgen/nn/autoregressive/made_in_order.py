"""A masked autoencoder in one of its orders."""

from typing import TYPE_CHECKING

from torch import Size, Tensor

from ppgen.causal import State
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.made_steps import start_units, step_units

if TYPE_CHECKING:
    from ppgen.nn.autoregressive.made import MADENetwork


class MADEInOrder(Causal):
    """`nn.MADENetwork` as a network that is causal in one of its orders: position i is that of the order's entry i.

    Its steps compute each unit once, at the step at which all entries that it sees are known, so that those of a whole
    vector take about as many operations as one forward pass. Without a gradient they write into the state's tensors.

    Args:
        network: The network, whose weights it has.
        index: Number of the order.

    Example:
        >>> import torch
        >>> from ppgen.nn import MADENetwork
        >>> network = MADENetwork(4, hidden=(8,), orders=2).in_order(1)
        >>> network(torch.zeros(5, 4)).shape, sorted(network.order.tolist())
        (torch.Size([5, 4, 1]), [0, 1, 2, 3])
    """

    def __init__(self, network: "MADENetwork", index: int) -> None:
        super().__init__(network.positions, network.outputs, network.given)
        self.network, self.index = network, index

    @property
    def order(self) -> Tensor:
        """Entry that stands at each position, (positions,): the order of the law that the network is for."""
        return self.network.order[self.index]

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries, in the order: (..., positions) -> (..., positions, outputs)."""
        if self.index == 0:
            return self.network.parameters_in(0, x, given)
        placed = x.index_select(-1, self.network.rank[self.index])
        return self.network.parameters_in(self.index, placed, given).index_select(-2, self.order)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs and values of the units before the first entry, with weights arranged for the steps."""
        return start_units(self.network, self.index, batch_shape, given)

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state with the units that the last one completed."""
        return step_units(state, previous)
