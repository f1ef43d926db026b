"""Causal networks with every law of an entry: exact laws, in every order."""

import pytest
import torch
from examples.causal import NETWORKS, OUTPUTS

from ppgen import testing


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_causal(network: str, output: str) -> None:
    """Catches an entry that sees itself, steps that are not the forward pass, and a law that does not sum to 1."""
    law = OUTPUTS[output]
    example = NETWORKS[network](law.num_parameters, 0)
    testing.check_causal(example.network, law, field=example.field)


@pytest.mark.parametrize("network", NETWORKS)
def test_causal_given(network: str, device: torch.device) -> None:
    """Catches vectors that are conditioned on another row's numbers, in steps or in the forward pass."""
    law = OUTPUTS["bits"]
    example = NETWORKS[network](law.num_parameters, 2)
    given = torch.randn(3, 2, dtype=torch.float64).to(device)
    testing.check_causal(example.network.to(device), law, given=given, field=example.field)
