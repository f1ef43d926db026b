"""A masked autoencoder in one of its orders; its steps compute a unit once, when the entries it sees are known."""

from typing import TYPE_CHECKING

import torch
from torch import Size, Tensor
from torch.nn import functional

from ppgen.causal import State
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.degrees import units_of_degree

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


def start_units(
    network: "MADENetwork", index: int, batch_shape: Size | tuple[int, ...], given: Tensor | None = None
) -> State:
    """State before the first entry of an order.

    It holds the inputs of the units of each layer; the values of the last layer, 0 where they are not yet known,
    followed by the entries; and the weights, arranged by the order. Each layer has a unit more, which is always 0
    and stands where a degree has fewer units than another, and for the entry before the first.
    """
    order, positions, batch = network.order[index], network.positions, Size(batch_shape)
    state: State = {"position": torch.zeros((), dtype=torch.long, device=order.device)}
    _, *every = network.degrees(index)
    last = 0  # units of the last layer
    for number, (layer, degrees) in enumerate(zip(network.linear_layers, every, strict=True)):
        last = len(degrees)
        # Of the first layer, weights of the entry before each position; of others, of each unit before, and of none.
        weight = layer.weight.index_select(1, order[:-1]) if number == 0 else layer.weight
        bias: Tensor = layer.bias
        if number == 0 and network.given_hidden is not None and given is not None:
            bias = bias + network.given_hidden(given)
        inputs = functional.pad(bias, (0, 1)).expand(*batch, last + 1)
        state[f"inputs_{number}"] = inputs.clone(memory_format=torch.contiguous_format)
        state[f"weight_{number}"] = functional.pad(weight.T, (0, 1, 1, 0) if number == 0 else (0, 1, 0, 1)).contiguous()
        state[f"units_{number}"] = units_of_degree(degrees, positions)
    state["entries"] = last + torch.arange(positions, device=order.device)
    state["values"] = network.bias.new_zeros(*batch, last + positions)
    state["readout"] = _readout(network, order)
    state["offset"] = network.offset(given).index_select(-2, order)
    return state


def step_units(state: State, previous: Tensor) -> tuple[Tensor, State]:
    """Parameters of the next entry, (..., outputs), and the state with the units that the last one completed."""
    position, writes = state["position"], not torch.is_grad_enabled()
    index = position.reshape(1)
    entry, where = previous.unsqueeze(-1), state["entries"].index_select(0, index)
    moved, values, units = {**state, "position": position + 1}, entry, where
    # An input that has all it sees is read once, and so may change afterwards.
    number = 0
    while (inputs := state.get(f"inputs_{number}")) is not None:
        if number == 0:
            weight = state["weight_0"].index_select(0, index).squeeze(0)
            inputs = inputs.addcmul_(values, weight) if writes else inputs.addcmul(values, weight)
        else:
            inputs = inputs + values @ state[f"weight_{number}"].index_select(0, units)
        units = state[f"units_{number}"].index_select(0, index).squeeze(0)
        values = functional.relu(inputs.index_select(-1, units))
        moved[f"inputs_{number}"] = inputs
        number += 1
    if number:
        where, values = torch.cat([units, where]), torch.cat([values, entry], -1)
    copied = state["values"].index_copy_ if writes else state["values"].index_copy
    moved["values"] = copied(-1, where, values)
    readout = state["readout"].index_select(0, index).squeeze(0)
    parameters = functional.linear(moved["values"], readout)
    return parameters + state["offset"].index_select(-2, index).squeeze(-2), moved


def _readout(network: "MADENetwork", order: Tensor) -> Tensor:
    """Weights from the values of the last layer, the unit that is always 0, and the entries but the last."""
    direct = network.bias.new_zeros(network.positions, network.outputs, network.positions)
    if network.direct is not None:
        ordered = network.direct.index_select(0, order).index_select(2, order[:-1])
        direct = functional.pad(ordered, (1, 0))
    if network.readout is None:
        return direct
    return torch.cat([network.readout.index_select(0, order), direct], -1)
