"""A small instance of every causal network, and every law of an entry. A new network is one line here."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppgen import nn
from ppgen.distributions import (
    BernoulliOutput,
    CategoricalOutput,
    LaplaceMixtureOutput,
    LogisticMixtureOutput,
    NormalMixtureOutput,
    OutputLaw,
)


@dataclass(frozen=True)
class Example:
    """A network and, where it does not see all earlier entries, which ones it sees: (positions, positions)."""

    network: nn.Causal
    field: Tensor | None = None


def declared(network: nn.CausalConvolutions | nn.GatedCausalConvolutions | nn.RecurrentPixels) -> Example:
    """A network that declares its field."""
    return Example(network, network.field)


# From parameters of an entry, and numbers that vectors are conditioned on.
NETWORKS: dict[str, Callable[[int, int], Example]] = {
    "CausalConvolutions": lambda outputs, given: declared(nn.CausalConvolutions((2, 3), outputs, 4, 1, 1, given, 3)),
    "GatedCausalConvolutions": lambda outputs, given: declared(
        nn.GatedCausalConvolutions((2, 3), outputs, 4, 2, 1, given, 3)
    ),
    "CausalLinear": lambda outputs, given: Example(nn.CausalLinear(4, outputs, given)),
    "NADE": lambda outputs, given: Example(nn.NADENetwork(4, 3, outputs, given)),
    "NADE, rectified": lambda outputs, given: Example(
        nn.NADENetwork(4, 8, outputs, given, activation="relu", rescaled=True)
    ),
    "MADE": lambda outputs, given: Example(nn.MADENetwork(4, (7,), outputs, given)),
    "MADE, deep": lambda outputs, given: Example(nn.MADENetwork(4, (9, 9), outputs, given, orders=2, direct=False)),
    "MADE, in another order": lambda outputs, given: Example(
        nn.MADENetwork(4, (9, 9), outputs, given, orders=2).in_order(1)
    ),
    "OrderlessNADE": lambda outputs, given: Example(nn.OrderlessNADENetwork(4, (8,), outputs, given)),
    "OrderlessNADE, deep, in another order": lambda outputs, given: Example(
        nn.OrderlessNADENetwork(4, (8, 8), outputs, given).in_order(torch.tensor([2, 0, 3, 1]))
    ),
    "row LSTM": lambda outputs, given: declared(nn.RecurrentPixels((2, 3), outputs, "row", 2, 1, given, first_size=3)),
    "diagonal LSTMs": lambda outputs, given: declared(
        nn.RecurrentPixels((2, 3), outputs, "diagonal", 4, 1, given, first_size=3)
    ),
}
OUTPUTS: dict[str, OutputLaw] = {
    "bits": BernoulliOutput(),
    "levels": CategoricalOutput(3),
    "logistics": LogisticMixtureOutput(2, levels=3),
    "Normals": NormalMixtureOutput(2),
    "Laplaces": LaplaceMixtureOutput(2),
}
