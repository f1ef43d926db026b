"""What a network is that reads a vector in order: the parameters of each entry follow from those before it."""

from typing import Any, Protocol, runtime_checkable

from torch import Size, Tensor

State = dict[str, Tensor]  # tensors of fixed shapes, with `position`, a whole number, among them


@runtime_checkable
class CausalNetwork(Protocol):
    """A network whose output at position i is a function of the entries before i, and of what is given.

    `forward` computes all positions at once, `start` and `step` one after another, with the same weights and the same
    numbers: so a draw of all entries costs about one forward pass instead of one for each entry. What the
    distribution `distributions.Autoregressive` asks for; `nn.Causal` is the base of such modules.

    Example:
        >>> from ppgen import nn
        >>> isinstance(nn.CausalLinear(5), CausalNetwork)
        True
    """

    @property
    def positions(self) -> int:
        """Entries D of the vector."""

    @property
    def outputs(self) -> int:
        """Parameters P of the law of one entry."""

    def __call__(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Parameters of all entries: (..., D) -> (..., D, P), those at i of entries before i alone."""

    def start(self, batch_shape: Size | tuple[int, ...], given: Tensor | None = None) -> State:
        """State before the first entry, its tensors allocated at their full size."""

    def step(self, state: State, previous: Tensor) -> tuple[Tensor, State]:
        """Parameters of the next entry, (..., P), and the state behind it.

        Args:
            state: That of `start`, or of the step before.
            previous: Value of the entry before, shape (...,); at the first one zeros, which are not read.
        """


def batch_shape_of(given: Any) -> Size:
    """Batch shape that is given with the vector that a network is conditioned on: all but the last dimension."""
    return Size() if given is None else Size(given.shape[:-1])
