"""What an autoregressive law is conditioned on."""

from typing import Any

from ppgen.causal import CausalNetwork
from ppgen.checks.arguments import check_tensors


def check_given(given: Any, network: CausalNetwork) -> None:
    """Raise unless what is given is None or numbers that a network takes, shape (..., numbers).

    Raises:
        TypeError: If it is no tensor.
        ValueError: Says the shape that it must have.
    """
    if given is None:
        return
    check_tensors(given=given)
    wanted = getattr(network, "given", given.shape[-1] if given.dim() else 0)
    if not given.dim() or given.shape[-1] != wanted:
        raise ValueError(
            f"given must have shape (..., {wanted}), the numbers that the network is conditioned on, got "
            f"{tuple(given.shape)}."
        )
