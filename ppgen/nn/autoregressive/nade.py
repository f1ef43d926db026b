"""Neural autoregressive density estimators: hidden units whose inputs grow by one entry at a time."""

import math

import torch
from torch import Size, Tensor, nn

from ppgen.causal import State
from ppgen.checks.arguments import check_count
from ppgen.checks.shapes import broadcast_shapes
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.nade_recursion import ACTIVATIONS, activated, nade_recursion


class NADENetwork(Causal):
    r"""Network of one hidden layer for each entry, which all share their weights.

    .. math:: a_1 = c + U g, \quad \theta_d = b_d + S_d g + \rho_d V_d f(a_d), \quad a_{d+1} = a_d + W_d x_d

    All entries take O(D H) a row, by one operator with a derivative of its own; second derivatives are refused.

    References:
        | The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011)
        | RNADE: The Real-Valued Neural Autoregressive Density-Estimator (Uria, Murray and Larochelle, 2013)
        | https://arxiv.org/abs/1306.0186

    Args:
        positions: Entries D of the vector.
        hidden: Hidden units H.
        outputs: Parameters P of the law of one entry.
        given: Numbers g that each vector is conditioned on; U and S are there if it is not 0.
        activation: f: `"sigmoid"`, `"tanh"` or `"relu"`.
        rescaled: Whether the scales rho, which are positive, are trained; else they are 1. Of rectified units,
            `rho f(a) = f(rho a)`: they make up for inputs that grow with the entries that were read.

    Raises:
        ValueError: If a number is not positive, or the activation is unknown.

    Example:
        >>> import torch
        >>> from ppgen.nn import NADENetwork
        >>> NADENetwork(4, hidden=8, outputs=2)(torch.zeros(5, 4)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(
        self,
        positions: int,
        hidden: int = 500,
        outputs: int = 1,
        given: int = 0,
        *,
        activation: str = "sigmoid",
        rescaled: bool = False,
    ) -> None:
        super().__init__(positions, outputs, given)
        check_count("hidden", hidden)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}, got {activation!r}.")
        self.hidden, self.activation = hidden, activation
        self.weight = nn.Parameter(_uniform((positions, hidden), positions))
        # Not 0, at which rectified units have no derivative.
        self.hidden_bias = nn.Parameter(_uniform((hidden,), hidden))
        self.readout = nn.Parameter(_uniform((positions, outputs, hidden), hidden))
        self.bias = nn.Parameter(torch.zeros(positions, outputs))
        self.log_scale = nn.Parameter(torch.zeros(positions)) if rescaled else None
        self.given_hidden = nn.Linear(given, hidden, bias=False) if given else None
        self.given_output = nn.Linear(given, positions * outputs, bias=False) if given else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        offset = self._offset(given)
        start = self._inputs(given)
        batch = broadcast_shapes(x.shape[:-1], start.shape[:-1])
        rows = x.expand(*batch, self.positions).reshape(-1, self.positions)
        inputs = start.expand(*batch, self.hidden).reshape(-1, self.hidden)
        parameters: Tensor = nade_recursion(rows, inputs, self.weight, self._readout(), self.activation)
        return parameters.unflatten(0, batch) + offset if batch else parameters.squeeze(0) + offset

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs of the hidden units without any entry, and the offsets of the parameters."""
        inputs = self._inputs(given).expand(*batch_shape, self.hidden)
        return {
            "position": self._first(),
            "inputs": inputs.clone(memory_format=torch.contiguous_format),
            "offset": self._offset(given),
            "readout": self._readout(),
        }

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state with the inputs that the last one moved."""
        position = state["position"]
        weight = self.weight.index_select(0, (position - 1).clamp(min=0).reshape(1)).squeeze(0)
        seen = torch.where(position > 0, previous, 0.0)
        inputs = torch.addcmul(state["inputs"], seen.unsqueeze(-1), weight)
        index = position.reshape(1)
        offset = state["offset"].index_select(-2, index).squeeze(-2)
        readout = state["readout"].index_select(0, index).squeeze(0)
        parameters = activated(inputs, self.activation) @ readout.T + offset
        return parameters, {**state, "position": position + 1, "inputs": inputs}

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias, (positions, outputs), where it was not trained."""
        if not self.bias.any():
            self.bias.copy_(bias)

    def _readout(self) -> Tensor:
        return self.readout if self.log_scale is None else self.readout * self.log_scale.exp()[:, None, None]

    def _inputs(self, given: Tensor | None) -> Tensor:
        if self.given_hidden is None or given is None:
            return self.hidden_bias
        return self.hidden_bias + self.given_hidden(given)

    def _offset(self, given: Tensor | None) -> Tensor:
        if self.given_output is None or given is None:
            return self.bias
        return self.bias + self.given_output(given).unflatten(-1, self.bias.shape)


def _uniform(shape: tuple[int, ...], inputs: int) -> Tensor:
    """Weights whose sum over so many inputs of size 1 has a variance of a third."""
    return torch.empty(shape).uniform_(-1, 1) / math.sqrt(inputs)
