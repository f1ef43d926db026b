"""Steps of a masked autoencoder, which compute each unit once, when the entries that it sees are known."""

from typing import TYPE_CHECKING

import torch
from torch import Size, Tensor
from torch.nn import functional

from ppgen.causal import State
from ppgen.nn.autoregressive.degrees import units_of_degree

if TYPE_CHECKING:
    from ppgen.nn.autoregressive.made import MADENetwork


def start_units(
    network: "MADENetwork", index: int, batch_shape: Size | tuple[int, ...], given: Tensor | None = None
) -> State:
    """State before the first entry of an order.

    It holds the inputs of the units of each layer; the values of the last layer, 0 where they are not yet known,
    followed by the entries; and the weights, arranged by the order. Each layer has a unit more, which is always 0
    and stands where a degree has fewer units than another.
    """
    order, positions, batch = network.order[index], network.positions, Size(batch_shape)
    state: State = {"position": torch.zeros((), dtype=torch.long, device=order.device)}
    width = positions
    _, *every = network.degrees(index)
    for number, (layer, degrees) in enumerate(zip(network.linear_layers, every, strict=True)):
        weight = layer.weight.index_select(1, order) if number == 0 else layer.weight
        extended = functional.pad(weight.T, (0, 1) if number == 0 else (0, 1, 0, 1))
        bias: Tensor = layer.bias
        if number == 0 and network.given_hidden is not None and given is not None:
            bias = bias + network.given_hidden(given)
        inputs = functional.pad(bias, (0, 1)).expand(*batch, len(degrees) + 1)
        state[f"inputs_{number}"] = inputs.clone(memory_format=torch.contiguous_format)
        state[f"weight_{number}"] = extended.contiguous()
        state[f"units_{number}"] = units_of_degree(degrees, positions)
        width = positions + len(degrees) + 1
    state["values"] = network.bias.new_zeros(*batch, width)
    state["readout"] = _readout(network, order)
    state["offset"] = network.offset(given).index_select(-2, order)
    return state


def step_units(state: State, previous: Tensor) -> tuple[Tensor, State]:
    """Parameters of the next entry, (..., outputs), and the state with the units that the last one completed."""
    position, writes = state["position"], not torch.is_grad_enabled()
    num_layers, positions = sum(name.startswith("inputs_") for name in state), state["offset"].shape[-2]
    index, last = position.reshape(1), (position - 1).clamp(min=0).reshape(1)
    seen = torch.where(position > 0, previous, 0.0).unsqueeze(-1)
    moved = dict(state)
    moved["position"] = position + 1
    values, where = seen, last
    # An input that has all it sees is read once, and so may change afterwards.
    for number in range(num_layers):
        weight = state[f"weight_{number}"].index_select(0, where)
        inputs = state[f"inputs_{number}"]
        if number == 0:
            weight = weight.squeeze(0)
            inputs = inputs.addcmul_(values, weight) if writes else inputs.addcmul(values, weight)
        else:
            inputs = inputs + values @ weight
        where = state[f"units_{number}"].index_select(0, index).squeeze(0)
        values = functional.relu(inputs.index_select(-1, where))
        moved[f"inputs_{number}"] = inputs
    if num_layers:
        where = torch.cat([where, last + (state["values"].shape[-1] - positions)])
        values = torch.cat([values, seen], -1)
    copied = state["values"].index_copy_ if writes else state["values"].index_copy
    moved["values"] = copied(-1, where, values)
    readout = state["readout"].index_select(0, index).squeeze(0)
    parameters = functional.linear(moved["values"], readout)
    return parameters + state["offset"].index_select(-2, index).squeeze(-2), moved


def _readout(network: "MADENetwork", order: Tensor) -> Tensor:
    """Weights from the values of the last layer, the unit that is always 0, and the entries, by the order."""
    direct = network.bias.new_zeros(network.positions, network.outputs, network.positions)
    if network.direct is not None:
        direct = network.direct.index_select(0, order).index_select(2, order)
    if network.readout is None:
        return direct
    return torch.cat([functional.pad(network.readout.index_select(0, order), (0, 1)), direct], -1)
