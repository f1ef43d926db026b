"""Masked autoencoders: layers of which each output sees the entries before its own."""

import math
from collections.abc import Sequence

import torch
from torch import Size, Tensor, nn
from torch.nn import functional

from ppgen.causal import State
from ppgen.checks.arguments import check_count
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.degrees import lowest_degree, masks, shuffled_orders, spread_degrees
from ppgen.nn.autoregressive.made_in_order import MADEInOrder, start_units, step_units


class MADENetwork(Causal):
    r"""Layers of rectified units whose weights are masked, so that each output sees the entries before its own.

    .. math:: h^l = f\big((M^l \odot W^l) h^{l-1} + b^l\big), \quad
        M^l_{kj} = [m^l_k \ge m^{l-1}_j], \quad \theta_d = b_d + (M_d \odot V_d) h^L + (A_d \odot T_d) x

    Each unit has a degree m, the number of first entries that it sees, from 1 to D - 1 (from 0 where vectors are
    conditioned on something), spread evenly over the units; the degree of an entry is its place in the order. Several
    orders of the entries, each with masks of its own, share the weights. The network is causal in the first, which is
    that of the entries as they are; `in_order` gives the others.

    References:
        | MADE: Masked Autoencoder for Distribution Estimation (Germain, Gregor, Murray and Larochelle, 2015)
        | https://arxiv.org/abs/1502.03509

    Args:
        positions: Entries D of the vector.
        hidden: Units of each hidden layer; may be empty.
        outputs: Parameters P of the law of one entry.
        given: Numbers that each vector is conditioned on; all units of the first layer and all outputs see them.
        orders: Orders of the entries.
        direct: Whether there are weights T from the entries to the outputs.
        seed: Seed of the orders and masks but for the first.

    Raises:
        ValueError: If a number is not positive, or there are neither hidden layers nor direct weights.

    Example:
        >>> import torch
        >>> from ppgen.nn import MADENetwork
        >>> network = MADENetwork(4, hidden=(8,), orders=2)
        >>> network(torch.zeros(5, 4)).shape, network.in_order(0).order
        (torch.Size([5, 4, 1]), tensor([0, 1, 2, 3]))
    """

    order: Tensor
    rank: Tensor

    def __init__(
        self,
        positions: int,
        hidden: Sequence[int] = (500,),
        outputs: int = 1,
        given: int = 0,
        *,
        orders: int = 1,
        direct: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(positions, outputs, given)
        check_count("orders", orders)
        check_count("seed", seed, 0, room=False)
        self.hidden = tuple(check_count("each number in hidden", size) for size in hidden)
        if not self.hidden and not direct:
            raise ValueError("hidden must name at least one layer where direct is False, or no entry sees another.")
        self.orders = orders
        self.register_buffer("order", shuffled_orders(positions, orders, seed))
        self.register_buffer("rank", self.order.argsort(-1))
        lowest = lowest_degree(positions, given)
        for layer, size in enumerate(self.hidden):
            degrees = spread_degrees(size, positions, orders, lowest, seed + layer + 1)
            self.register_buffer(f"degrees_{layer}", degrees)
        sizes = (positions, *self.hidden)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes[:-1], sizes[1:], strict=True))
        for each in self.linear_layers:  # whose biases are not 0, at which rectified units have no derivative
            nn.init.kaiming_uniform_(each.weight, nonlinearity="relu")
        readout = torch.empty(positions, outputs, sizes[-1]).uniform_(-1, 1) / math.sqrt(sizes[-1])
        self.readout = nn.Parameter(readout) if self.hidden else None
        self.direct = nn.Parameter(torch.zeros(positions, outputs, positions)) if direct else None
        self.bias = nn.Parameter(torch.zeros(positions, outputs))
        self.given_hidden = nn.Linear(given, sizes[1], bias=False) if given and self.hidden else None
        self.given_output = nn.Linear(given, positions * outputs, bias=False) if given else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        return self.parameters_in(0, x, given)

    def parameters_in(self, index: int | Tensor, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries, in their own places, under one of the orders.

        Args:
            index: Number of the order; a tensor (1,) may choose it in a traced step.
            x: Entries, shape (..., positions).
            given: What the vectors are conditioned on, shape (..., given).

        Returns:
            Parameters, shape (..., positions, outputs).
        """
        rank, *degrees = self.degrees(index)
        *hidden_masks, output_mask = masks(rank, degrees)
        values = x.to(self.bias.dtype)
        for number, (layer, mask) in enumerate(zip(self.linear_layers, hidden_masks, strict=True)):
            values = functional.linear(values, layer.weight * mask, layer.bias)
            if number == 0 and self.given_hidden is not None and given is not None:
                values = values + self.given_hidden(given)
            values = functional.relu(values)
        parameters = self.offset(given)
        if self.readout is not None:
            parameters = parameters + _read_out(values, self.readout, output_mask)
        if self.direct is not None:
            parameters = parameters + _read_out(x.to(self.bias.dtype), self.direct, rank.unsqueeze(1) > rank)
        return parameters

    def in_order(self, index: int) -> "MADEInOrder":
        """The network as one that is causal in one of its orders.

        Raises:
            ValueError: If there is no such order.
        """
        if not 0 <= check_count("index", index, 0) < self.orders:
            raise ValueError(f"index must be below the number of orders, {self.orders}, got {index}.")
        return MADEInOrder(self, index)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs and values of the units before the first entry, with weights arranged for the steps."""
        return start_units(self, 0, batch_shape, given)

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state with the units that the last one completed."""
        return step_units(state, previous)

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias, (positions, outputs), where it was not trained."""
        if not self.bias.any():
            self.bias.copy_(bias)

    def degrees(self, index: int | Tensor) -> list[Tensor]:
        """Places of the entries in an order, (positions,), and the degrees of the units of each layer."""
        tables: list[Tensor] = [self.rank, *(getattr(self, f"degrees_{layer}") for layer in range(len(self.hidden)))]
        if isinstance(index, int):
            return [table[index] for table in tables]
        return [table.index_select(0, index).squeeze(0) for table in tables]

    @property
    def linear_layers(self) -> list[nn.Linear]:
        """Hidden layers."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def offset(self, given: Tensor | None) -> Tensor:
        """Parameters but for what entries add to them, (..., positions, outputs)."""
        if self.given_output is None or given is None:
            return self.bias
        return self.bias + self.given_output(given).unflatten(-1, self.bias.shape)


def _read_out(values: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Product with masked weights (entries, outputs, values): (..., values) -> (..., entries, outputs)."""
    masked = (weight * mask.unsqueeze(1)).flatten(0, 1)
    return functional.linear(values, masked).unflatten(-1, weight.shape[:2])
