"""The base of causal networks."""

import torch
from torch import Size, Tensor, nn

from ppgen.causal import State
from ppgen.checks.arguments import check_count


class Causal(nn.Module):
    r"""Base of networks that map a vector to the parameters of each entry given the entries before it.

    .. math:: \theta_i = f_i(x_1, \dots, x_{i-1}; \text{given})

    A subclass writes `forward`, all entries at once, and `start` and `step`, one entry after another. Both use the same
    weights and agree; `testing.check_causal` says where they do not, and where an entry sees itself or a later one. The
    state holds tensors of fixed shapes, so that a step compiles.

    Args:
        positions: Entries D of the vector.
        outputs: Parameters P of the law of one entry.
        given: Numbers that each vector is conditioned on, the last dimension of `given`; 0 for none.

    Raises:
        ValueError: If a number is not positive, or `given` is negative.

    Example:
        >>> import torch
        >>> from ppgen.nn import CausalLinear
        >>> network = CausalLinear(4)
        >>> network(torch.zeros(3, 4)).shape
        torch.Size([3, 4, 1])
        >>> parameters, state = network.step(network.start((3,)), torch.zeros(3))
        >>> parameters.shape, int(state["position"])
        (torch.Size([3, 1]), 1)
    """

    def __init__(self, positions: int, outputs: int = 1, given: int = 0) -> None:
        super().__init__()
        check_count("positions", positions, 1, wanted="at least 1")
        check_count("outputs", outputs, 1, wanted="at least 1")
        check_count("given", given, 0, wanted="0 or more")
        self.positions, self.outputs, self.given = positions, outputs, given

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., positions) -> (..., positions, outputs)."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, given=None) of nn.Causal.")

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """State before the first entry of vectors of a batch shape."""
        raise NotImplementedError(f"{type(self).__name__} must define start(batch_shape, given=None) of nn.Causal.")

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., outputs), and the state behind it."""
        raise NotImplementedError(f"{type(self).__name__} must define step(state, previous) of nn.Causal.")

    def initialise(self, bias: Tensor) -> None:
        """Start the output's bias at the entries' own laws, (positions, outputs); by default not at all."""

    def _first(self) -> Tensor:
        """Position of a new state."""
        return torch.zeros((), dtype=torch.long, device=next(self.parameters()).device)
