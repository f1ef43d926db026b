"""Neural autoregressive estimator of categories: each value adds its own vector to the hidden units of later ones."""

import torch
from torch import Size, Tensor, nn
from torch.nn.functional import embedding

from ppgen.causal import State
from ppgen.checks.arguments import check_count
from ppgen.nn.autoregressive.causal import Causal


class CategoricalNADE(Causal):
    r"""NADE of categories without an order: every value at every position has a vector, which the units after it see.

    .. math:: h_i = \tanh\Big(c + \sum_{j < i} W_{j, x_j} + U g\Big), \qquad \theta_i = b_i + V_i h_i

    Entries are whole numbers from 0, taken as names: a code of a codebook, a word. With levels that are numbers take a
    network that reads them as such. V and W start at random, b at zero.

    References:
        | The Neural Autoregressive Distribution Estimator (Larochelle and Murray, 2011)

    Args:
        positions: Entries D of the vector.
        levels: Values of an entry, and as many logits at each position.
        hidden: Hidden units.
        given: Numbers that each vector is conditioned on.

    Raises:
        ValueError: If a number is not positive, or `given` is negative.

    Example:
        >>> import torch
        >>> from ppgen.nn import CategoricalNADE
        >>> CategoricalNADE(4, levels=3, hidden=5)(torch.tensor([[0.0, 2.0, 1.0, 1.0]])).shape
        torch.Size([1, 4, 3])
    """

    def __init__(self, positions: int, levels: int, hidden: int = 64, given: int = 0) -> None:
        levels = check_count("levels", levels, 2, wanted="at least 2")
        super().__init__(positions, levels, given)
        self.hidden = hidden = check_count("hidden", hidden, 1, wanted="at least 1")
        self.table = nn.Parameter(torch.randn(positions * levels, hidden) / positions**0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.weight = nn.Parameter(torch.randn(positions, hidden, levels) / hidden**0.5 / 4)
        self.bias = nn.Parameter(torch.zeros(positions, levels))
        self.given_weight = nn.Parameter(torch.zeros(given, hidden)) if given else None

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Logits of all entries: (..., positions) -> (..., positions, levels)."""
        first = self.outputs * torch.arange(self.positions, device=x.device)
        added = embedding(x.long() + first, self.table)  # (..., positions, hidden)
        before = torch.cat([torch.zeros_like(added[..., :1, :]), added[..., :-1, :].cumsum(-2)], -2)
        hidden = (before + self._start(given).unsqueeze(-2)).tanh()
        return torch.einsum("...ih,ihl->...il", hidden, self.weight) + self.bias

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """Inputs of the hidden units, (..., hidden), and the position."""
        inputs = self._start(given).expand(*batch_shape, self.hidden)
        return {"position": self._first(), "inputs": inputs.clone(memory_format=torch.contiguous_format)}

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Logits of the next entry, (..., levels), and the state with the vector of the last one."""
        position, inputs = state["position"], state["inputs"]
        added = embedding(previous.long() + self.outputs * (position - 1).clamp(min=0), self.table)
        inputs = inputs + torch.where(position > 0, added, torch.zeros_like(added))
        weight, bias = (each.index_select(0, position.reshape(1)).squeeze(0) for each in (self.weight, self.bias))
        return inputs.tanh() @ weight + bias, {"position": position + 1, "inputs": inputs}

    @torch.no_grad()
    def initialise(self, bias: Tensor) -> None:
        """Start the bias, (positions, levels), where it was not trained."""
        if not self.bias.any():
            self.bias.copy_(bias)

    def _start(self, given: Tensor | None) -> Tensor:
        if self.given_weight is None or given is None:
            return self.hidden_bias
        return self.hidden_bias + given @ self.given_weight
