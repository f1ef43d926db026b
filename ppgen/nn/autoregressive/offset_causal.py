"""A causal network with a term that is computed from what the vector is conditioned on."""

from collections.abc import Sequence

import torch
from torch import Size, Tensor

from ppgen.causal import State
from ppgen.checks.arguments import check_count, check_kind
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.mlp import MLP

_OFFSET = "given_offset"


class OffsetCausal(Causal):
    r"""Causal network to which a network of what is given adds its own parameters of each entry.

    .. math:: \theta_i = f_i(x_1, \dots, x_{i-1}; g) + h_i(g)

    With f = 0 the entries are independent given g, as the decoder of a variational autoencoder has them. h has tanh
    layers and outputs for each position; f may see g too.

    Args:
        network: f, a causal network; where its own `given` is 0 it does not see g.
        given: Numbers g that each vector is conditioned on.
        hidden: Units of the hidden layers of h; may be empty.

    Raises:
        ValueError: If `given` is not positive, or the network takes another number of them.
        TypeError: If an argument is of another type.

    Example:
        >>> import torch
        >>> from ppgen.nn import CausalLinear, OffsetCausal
        >>> OffsetCausal(CausalLinear(4), given=2, hidden=(8,))(torch.zeros(5, 4), torch.zeros(5, 2)).shape
        torch.Size([5, 4, 1])
    """

    def __init__(self, network: Causal, given: int, hidden: Sequence[int] = ()) -> None:
        check_kind("network", network, Causal, "a causal network, such as nn.CausalLinear(positions)")
        check_kind("hidden", hidden, Sequence, "numbers of units, such as (100,)")
        super().__init__(network.positions, network.outputs, given)
        hidden = [check_count("each number in hidden", size) for size in hidden]
        if given < 1 or network.given not in (0, given):
            raise ValueError(
                f"given must be a positive number, and what the network takes if it takes any, {network.given}; got "
                f"{given}."
            )
        self.network = network
        self.offset = MLP((given, *hidden, network.positions * network.outputs))

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        parameters: Tensor = self.network(x, self._passed_on(given)) + self._offset(given)
        return parameters

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """State of the network, and the offset of every entry, (..., positions, outputs)."""
        offset = self._offset(given).expand(*batch_shape, self.positions, self.outputs)
        return {**self.network.start(batch_shape, self._passed_on(given)), _OFFSET: offset}

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state behind it."""
        offset = state[_OFFSET].index_select(-2, state["position"].reshape(1)).squeeze(-2)
        parameters, inner = self.network.step({n: v for n, v in state.items() if n != _OFFSET}, previous)
        return parameters + offset, {**inner, _OFFSET: state[_OFFSET]}

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias of the offset, (positions, outputs), where it was not trained."""
        if not self.offset.output.bias.any():
            self.offset.output.bias.copy_(bias.flatten())

    def _offset(self, given: Tensor | None) -> Tensor:
        if given is None:
            raise ValueError(
                f"given must have shape (..., {self.given}), what the network is conditioned on; got None."
            )
        offset: Tensor = self.offset(given).unflatten(-1, (self.positions, self.outputs))
        return offset

    def _passed_on(self, given: Tensor | None) -> Tensor | None:
        return given if self.network.given else None
