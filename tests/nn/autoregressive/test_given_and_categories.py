"""Causal networks with an offset of what is given, and of categories."""

import pytest
import torch

from ppgen.distributions import Autoregressive, BernoulliOutput
from ppgen.models.parts.codebook_law import CodeOutput
from ppgen.nn import CategoricalNADE, CausalLinear, OffsetCausal
from ppgen.testing import check_close
from ppgen.testing.causal import check_causal


@pytest.mark.parametrize("seen", [0, 2])
def test_offset_keeps_the_contract_of_causal_networks(seen: int) -> None:
    """Catches an offset of another position in a step, and one that is read from entries."""
    network = OffsetCausal(CausalLinear(4, given=seen), given=2, hidden=(3,))
    check_causal(network, BernoulliOutput(), given=torch.randn(3, 2))
    with pytest.raises(ValueError, match="given"):
        network(torch.zeros(4))
    with pytest.raises(ValueError, match="given"):
        OffsetCausal(CausalLinear(4, given=3), given=2)


@pytest.mark.parametrize("given", [0, 2])
def test_categories_are_seen_by_later_positions_alone_and_sum_to_one(given: int) -> None:
    """Catches an entry that sees itself, a table of another position, steps that differ from the whole pass."""
    network = CategoricalNADE(4, levels=3, hidden=5, given=given).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    values = torch.cartesian_prod(*[torch.arange(3.0).double()] * 4)
    known = torch.randn(given).double() if given else None
    whole = network(values, None if known is None else known.expand(len(values), given))
    law = Autoregressive(network, CodeOutput(3), given=known)
    check_close(law.log_prob(values).logsumexp(0), torch.zeros(()).double(), "log of the sum", atol=1e-12)
    state = network.start((len(values),), known)
    previous = torch.zeros(len(values)).double()
    for position in range(4):
        parameters, state = network.step(state, previous)
        check_close(parameters, whole[:, position], f"step {position}")
        previous = values[:, position]
    for entry in range(4):
        moved = values.clone()
        moved[:, entry] = (moved[:, entry] + 1) % 3
        other = network(moved, None if known is None else known.expand(len(values), given))
        same = (other == whole).flatten(2).all(-1).all(0)
        assert bool(same[: entry + 1].all())
        assert not bool(same[entry + 1 :].any())
