"""One network for all orders of the entries, which is told which of them it sees."""

import math
from collections.abc import Sequence

import torch
from torch import Size, Tensor, nn
from torch.nn import functional

from ppgen.causal import State
from ppgen.checks.arguments import check_count
from ppgen.checks.shapes import broadcast_shapes
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.degrees import shuffled_orders

_AT_ONCE = 2**22  # hidden values that a forward pass holds at once, where no gradient is asked for


class OrderlessNADENetwork(Causal):
    r"""Layers of rectified units that see any part of the entries, and which part it is.

    .. math:: h^1 = f(W (m \odot x) + M m + U g + c), \quad h^l = f(W^l h^{l-1} + c^l), \quad
        \theta_d = b_d + S_d g + V_d h^L

    With m the known entries, `parameters_of` gives the parameters of all others. In an order o, where m grows by an
    entry at a time, it is causal: `in_order`; as a causal network it is so in the order of the entries as they are.

    References:
        | A Deep and Tractable Density Estimator (Uria, Murray and Larochelle, 2014)
        | https://arxiv.org/abs/1310.1757

    Args:
        positions: Entries D of the vector.
        hidden: Units of each hidden layer, at least one layer.
        outputs: Parameters P of the law of one entry.
        given: Numbers g that each vector is conditioned on.
        orders: Orders that `in_order` knows by number: the first is that of the entries as they are, the others are
            shuffled.
        seed: Seed of the orders.

    Raises:
        ValueError: If a number is not positive, or there is no layer.

    Example:
        >>> import torch
        >>> from ppgen.nn import OrderlessNADENetwork
        >>> network = OrderlessNADENetwork(4, hidden=(8,))
        >>> network.parameters_of(torch.zeros(5, 4), torch.rand(5, 4) < 0.5).shape
        torch.Size([5, 4, 1])
    """

    order: Tensor

    def __init__(
        self,
        positions: int,
        hidden: Sequence[int] = (500,),
        outputs: int = 1,
        given: int = 0,
        *,
        orders: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(positions, outputs, given)
        check_count("seed", seed, 0, room=False)
        self.register_buffer("order", shuffled_orders(positions, check_count("orders", orders), seed))
        sizes = [check_count("each number in hidden", size) for size in hidden]
        if not sizes:
            raise ValueError("hidden must name at least one layer, such as (500,), got ().")
        bound = math.sqrt(3 / positions)  # about half of the entries are seen, and rectified units halve the variance
        self.weight = nn.Parameter(torch.empty(positions, sizes[0]).uniform_(-bound, bound))
        self.known_weight = nn.Parameter(torch.empty(positions, sizes[0]).uniform_(-bound, bound))
        # Biases are not 0, at which rectified units have no derivative.
        self.hidden_bias = nn.Parameter(torch.empty(sizes[0]).uniform_(-1, 1) / math.sqrt(positions))
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:], strict=True))
        for layer in self.layers:
            nn.init.kaiming_uniform_(next(layer.parameters()), nonlinearity="relu")
        self.readout = nn.Parameter(torch.empty(positions, outputs, sizes[-1]).uniform_(-1, 1) / math.sqrt(sizes[-1]))
        self.bias = nn.Parameter(torch.zeros(positions, outputs))
        self.given_hidden = nn.Linear(given, sizes[0], bias=False) if given else None
        self.given_output = nn.Linear(given, positions * outputs, bias=False) if given else None

    def parameters_of(self, x: Tensor, known: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries given some of them; those of entries that are known themselves mean nothing.

        Args:
            x: Entries, shape (..., positions), of which those that are not known are not read.
            known: Whether each is known, shape (..., positions).
            given: What the vectors are conditioned on, shape (..., given).

        Returns:
            Parameters, shape (..., positions, outputs).
        """
        seen = torch.where(known, x.to(self.bias.dtype), 0.0)
        inputs = seen @ self.weight + known.to(self.bias.dtype) @ self.known_weight + self.inputs(given)
        flat = functional.linear(self.values(inputs), self.readout.flatten(0, 1))
        return flat.unflatten(-1, self.bias.shape) + self.offset(given)

    def in_order(self, order: int | Tensor) -> "OrderlessNADEInOrder":
        """The network as one that is causal in an order of the entries: one of its own by number, or any, (positions,).

        Raises:
            ValueError: If there is no such order.
        """
        return OrderlessNADEInOrder(self, order)

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        return _forward(self, self.weight, self.known_weight, self.readout, x, given) + self.offset(given)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs of the first layer without any entry, and weights arranged for the steps."""
        return _start(self, torch.arange(self.positions, device=self.bias.device), batch_shape, given)

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state with the inputs that the last one moved."""
        return _step(self, state, previous)

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias, (positions, outputs), where it was not trained."""
        if not self.bias.any():
            self.bias.copy_(bias)

    def inputs(self, given: Tensor | None) -> Tensor:
        """Inputs of the first layer without any entry, (..., units)."""
        if self.given_hidden is None or given is None:
            return self.hidden_bias
        return self.hidden_bias + self.given_hidden(given)

    def values(self, inputs: Tensor) -> Tensor:
        """Values of the last hidden layer from inputs of the first: (..., units) -> (..., units)."""
        values = functional.relu(inputs)
        for layer in self.layers:
            values = functional.relu(layer(values))
        return values

    def offset(self, given: Tensor | None) -> Tensor:
        """Parameters but for what entries add to them, (..., positions, outputs)."""
        if self.given_output is None or given is None:
            return self.bias
        return self.bias + self.given_output(given).unflatten(-1, self.bias.shape)


class OrderlessNADEInOrder(Causal):
    """`nn.OrderlessNADENetwork` as a network that is causal in an order: position i is that of the order's entry i.

    Args:
        network: The network, whose weights it has.
        order: Number of one of the network's orders, or the entry that stands at each position, (positions,).

    Raises:
        ValueError: If there is no such order.

    Example:
        >>> import torch
        >>> from ppgen.nn import OrderlessNADENetwork
        >>> network = OrderlessNADENetwork(3, hidden=(8,)).in_order(torch.tensor([2, 0, 1]))
        >>> network(torch.zeros(5, 3)).shape, network.order
        (torch.Size([5, 3, 1]), tensor([2, 0, 1]))
    """

    own_order: Tensor | None

    def __init__(self, network: OrderlessNADENetwork, order: int | Tensor) -> None:
        super().__init__(network.positions, network.outputs, network.given)
        if isinstance(order, Tensor):
            if order.shape != (network.positions,):
                raise ValueError(f"order must have shape ({network.positions},), got {tuple(order.shape)}.")
        elif not 0 <= check_count("order", order, 0) < len(network.order):
            raise ValueError(f"order must be below the number of orders, {len(network.order)}, got {order}.")
        self.network, self.index = network, 0 if isinstance(order, Tensor) else order
        self.register_buffer("own_order", order if isinstance(order, Tensor) else None)

    @property
    def order(self) -> Tensor:
        """Entry that stands at each position, (positions,): the order of the law that the network is for."""
        return self.network.order[self.index] if self.own_order is None else self.own_order

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries, in the order: (..., positions) -> (..., positions, outputs)."""
        network, order = self.network, self.order
        weight, known_weight = network.weight.index_select(0, order), network.known_weight.index_select(0, order)
        readout, offset = network.readout.index_select(0, order), network.offset(given).index_select(-2, order)
        return _forward(network, weight, known_weight, readout, x, given) + offset

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs of the first layer without any entry, and weights arranged for the steps."""
        return _start(self.network, self.order, batch_shape, given)

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state with the inputs that the last one moved."""
        return _step(self.network, state, previous)


def _forward(
    network: OrderlessNADENetwork,
    weight: Tensor,
    known_weight: Tensor,
    readout: Tensor,
    x: Tensor,
    given: Tensor | None,
) -> Tensor:
    """What entries add to the parameters, with weights arranged by the order, some positions at once."""
    x = x.to(weight.dtype)
    inputs = network.inputs(given)
    inputs = inputs.expand(*broadcast_shapes(x.shape[:-1], inputs.shape[:-1]), inputs.shape[-1])
    units = max(inputs.shape[-1], readout.shape[-1])
    length = max(1, _AT_ONCE // (units * max(1, inputs.shape[:-1].numel())))
    length = network.positions if torch.is_grad_enabled() else min(length, network.positions)
    found = []
    for first in range(0, network.positions, length):
        part = slice(first, first + length)
        moves = x[..., part, None] * weight[part] + known_weight[part]
        after = inputs.unsqueeze(-2) + moves.cumsum(-2)
        before = torch.cat([inputs.unsqueeze(-2), after[..., :-1, :]], -2)
        found.append(torch.einsum("...ih,iph->...ip", network.values(before), readout[part]))
        inputs = after[..., -1, :]
    return torch.cat(found, -2)


def _start(
    network: OrderlessNADENetwork, order: Tensor, batch_shape: Size | tuple[int, ...], given: Tensor | None
) -> State:
    inputs = network.inputs(given)
    inputs = inputs.expand(*batch_shape, inputs.shape[-1])
    return {
        "position": torch.zeros((), dtype=torch.long, device=order.device),
        "inputs": inputs.clone(memory_format=torch.contiguous_format),
        "weight": network.weight.index_select(0, order),
        "known_weight": network.known_weight.index_select(0, order),
        "readout": network.readout.index_select(0, order),
        "offset": network.offset(given).index_select(-2, order),
    }


def _step(network: OrderlessNADENetwork, state: State, previous: Tensor) -> tuple[Tensor, State]:
    position = state["position"]
    index, last, begun = position.reshape(1), (position - 1).clamp(min=0).reshape(1), position > 0
    weight, known_weight = (state[name].index_select(0, last).squeeze(0) for name in ("weight", "known_weight"))
    inputs = torch.addcmul(state["inputs"], torch.where(begun, previous, 0.0).unsqueeze(-1), weight)
    inputs = inputs + torch.where(begun, known_weight, 0.0)
    readout = state["readout"].index_select(0, index).squeeze(0)
    offset = state["offset"].index_select(-2, index).squeeze(-2)
    return functional.linear(network.values(inputs), readout) + offset, {
        **state,
        "position": position + 1,
        "inputs": inputs,
    }
