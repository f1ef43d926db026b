"""Each entry's parameters as a linear function of the entries before it."""

import torch
from torch import Size, Tensor, nn

from ppgen.causal import State
from ppgen.nn.autoregressive.causal import Causal


class CausalLinear(Causal):
    r"""Linear network whose weights from an entry to itself and to earlier ones are 0.

    .. math:: \theta_{ip} = b_{ip} + \sum_{j < i} W_{pij} \, x_j + \sum_k U_{pik} \, g_k

    With one output, the logit, it is the fully visible sigmoid belief net, or logistic autoregression. Weights start at
    zero, as the likelihood of most laws is concave in them.

    References:
        | Connectionist Learning of Belief Networks (Neal, 1992)
        | Does the Wake-Sleep Algorithm Produce Good Density Estimators? (Frey, Hinton and Dayan, 1996)

    Args:
        positions: Entries D of the vector.
        outputs: Parameters P of the law of one entry.
        given: Numbers that each vector is conditioned on.

    Example:
        >>> import torch
        >>> from ppgen.nn import CausalLinear
        >>> CausalLinear(4, outputs=2, given=3)(torch.zeros(5, 4), torch.zeros(5, 3)).shape
        torch.Size([5, 4, 2])
    """

    def __init__(self, positions: int, outputs: int = 1, given: int = 0) -> None:
        super().__init__(positions, outputs, given)
        self.weight = nn.Parameter(torch.zeros(outputs, positions, positions))
        self.bias = nn.Parameter(torch.zeros(positions, outputs))
        self.given_weight = nn.Parameter(torch.zeros(outputs, positions, given)) if given else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        return torch.einsum("pij,...j->...ip", self.weight.tril(-1), x) + self._offset(given)

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Entries so far, zeros where there are none, after a row that is not read: `(1 + positions, *batch_shape)`."""
        state = {"position": self._first(), "seen": self.bias.new_zeros(1 + self.positions, *batch_shape)}
        if self.given_weight is not None and given is not None:
            state["given"] = given.expand(*batch_shape, self.given)
        return state

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs): one product with the entries so far, which are put in place."""
        position, seen = state["position"], state["seen"]
        at = position.reshape(1)
        write = seen.index_copy if torch.is_grad_enabled() else seen.index_copy_
        seen = write(0, at, previous.unsqueeze(0))
        # Later entries are still zeros, so that the weights above the diagonal do not count here either.
        weight, bias = self.weight.index_select(1, at).squeeze(1), self.bias.index_select(0, at).T
        parameters = torch.addmm(bias, weight, seen[1:].reshape(self.positions, -1))
        parameters = parameters.T.reshape(*previous.shape, self.outputs)
        if self.given_weight is not None and "given" in state:
            parameters = parameters + state["given"] @ self.given_weight.index_select(1, at).squeeze(1).T
        return parameters, {**state, "position": position + 1, "seen": seen}

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias, (positions, outputs), where it was not trained."""
        if not self.bias.any():
            self.bias.copy_(bias)

    def _offset(self, given: Tensor | None) -> Tensor:
        if self.given_weight is None or given is None:
            return self.bias
        return self.bias + torch.einsum("pik,...k->...ip", self.given_weight, given)
