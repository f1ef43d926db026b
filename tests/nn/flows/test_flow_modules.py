"""Flows of several steps: which entries move, where they start, and what they are conditioned on."""

import pyro.distributions as dist
import pytest
import torch

from ppgen import nn

FLOWS = {
    "inverse": lambda features, given: nn.InverseAutoregressiveFlow(features, (6,), given=given),
    "masked": lambda features, given: nn.MaskedAutoregressiveFlow(features, (6,), given=given),
    "coupling": lambda features, given: nn.CouplingFlow(features, (6,), 1, given),
    "spline": lambda features, given: nn.CouplingFlow(features, (6,), 1, given, transform="spline"),
}


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("features", [2, 5])
def test_every_entry_moves_and_every_weight_counts(name: str, features: int) -> None:
    """Catches an entry of an odd number that no step moves, and weights that the law does not see."""
    flow = FLOWS[name](features, 3).double()
    given = torch.randn(7, 3).double().requires_grad_()
    noise = torch.randn(7, features).double()
    moved = flow(dist.Delta(noise, event_dim=1), given).rsample()
    assert bool(((moved - noise).abs() > 1e-9).all(0).all())
    law = flow(dist.Normal(torch.zeros(7, features).double(), 1.0).to_event(1), given)
    gradients = torch.autograd.grad(law.log_prob(noise).square().sum(), (given, *flow.parameters()))
    assert all(bool(each.any()) for each in gradients)
    assert {key.split(".")[0] for key in flow.state_dict()} >= {"networks", "order_0", "order_1"}


def test_what_is_given_is_checked() -> None:
    """Catches a context left away or of another size, which would be broadcast or fail in a product."""
    base = dist.Normal(torch.zeros(5, 4), 1.0).to_event(1)
    with pytest.raises(ValueError, match=r"given must have shape \(\.\.\., 3\).*None"):
        nn.CouplingFlow(4, (3,), given=3)(base)
    with pytest.raises(ValueError, match="given must be None"):
        nn.CouplingFlow(4, (3,))(base, torch.zeros(5, 2))
    with pytest.raises(ValueError, match="given=6"):
        nn.FlowConditional(4, (6,), nn.CouplingFlow(4, (3,), given=3))
    with pytest.raises(ValueError, match="at least 2"):
        nn.CouplingFlow(1)
    with pytest.raises(ValueError, match="transform"):
        nn.CouplingFlow(3, transform="cubic")
