"""Mixtures of autoregressive laws in several orders."""

import math

import pyro
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen import nn, testing
from ppgen.distributions import Autoregressive, BernoulliOutput, OrderMixture
from ppgen.testing.causal import _random_weights
from ppgen.testing.examples import bit_vectors, state_index

ORDERS = (torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 3, 2]), torch.tensor([0, 1, 3, 2]))


def mixture() -> OrderMixture:
    return OrderMixture(
        [Autoregressive(_random_weights(nn.CausalLinear(4)), BernoulliOutput(), order) for order in ORDERS]
    )


def test_probabilities_are_averaged() -> None:
    """Catches a mean of logarithms, and draws of one law alone."""
    torch.manual_seed(0)
    law, states = mixture(), bit_vectors(4)
    each = torch.stack([part.log_prob(states) for part in law.laws]).detach()
    found = law.log_prob(states).detach()
    testing.check_close(found.exp(), each.exp().mean(0), "probabilities")
    testing.check_close(found.logsumexp(0), torch.tensor(0.0).double(), "sum", atol=1e-12)
    testing.check_frequencies(state_index(law.sample((20_000,))), found.exp(), "draws")


def test_conditions_weigh_the_laws_by_what_is_known() -> None:
    """Catches laws that keep their equal weights whatever is known."""
    torch.manual_seed(0)
    law, states = mixture(), bit_vectors(4)
    value = torch.tensor([[1.0, 0.0, math.nan, math.nan], [0.0, 1.0, math.nan, math.nan]]).double()
    conditioned = law.condition(value)
    found, every = conditioned.log_prob(states.unsqueeze(1)).exp().detach(), law.log_prob(states).exp().detach()
    drawn = conditioned.sample((20_000,))
    for row in range(2):
        weight = torch.where((states[:, :2] == value[row, :2]).all(-1), every, 0.0)
        testing.check_close(found[:, row], weight / weight.sum(), "law of the rest")
        testing.check_frequencies(state_index(drawn[:, row]), weight / weight.sum(), "draws of the rest")
    wide = conditioned.expand((3, 2))
    assert wide.sample().shape == (3, 2, 4)
    testing.check_close(wide.log_prob(drawn[:3]), conditioned.log_prob(drawn[:3]), "expanded")


def test_what_does_not_precede_in_every_order_is_refused() -> None:
    """Catches a condition that is exact under some of the orders only."""
    with pytest.raises(ValueError, match=r"law 1 \(1 of 3 such\).*weighted_completion"):
        mixture().condition(torch.tensor([1.0, math.nan, math.nan, math.nan]).double())
    with pytest.raises(ValueError, match="one batch and event shape"):
        OrderMixture([Autoregressive(nn.CausalLinear(size), BernoulliOutput()) for size in (3, 4)])


def test_plates() -> None:
    """Catches a mixture that one plate draws once for all of its rows."""
    with pyro.plate("particles", 5, dim=-2), pyro.plate("data", 3):
        drawn = pyro.sample("x", mixture())
    assert drawn.shape == (5, 3, 4) and len(drawn.reshape(-1, 4).unique(dim=0)) > 1


def test_laws_of_rows_are_drawn_from_what_each_is_given() -> None:
    """Catches a law that is drawn for some rows with what is given to others."""
    given = torch.tensor([[30.0], [-30.0], [30.0]])
    networks = [nn.CausalLinear(2, given=1) for _ in range(2)]
    with torch.no_grad():
        for network in networks:
            network.given_weight.fill_(1.0)
    law = OrderMixture([Autoregressive(network, BernoulliOutput(), given=given) for network in networks])
    expected = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]).expand(40, 3, 2)
    assert torch.equal(law.sample((40,)), expected)


def test_a_traced_draw_is_of_the_mixture() -> None:
    """Catches draws whose shapes follow from other draws, which no graph can hold."""
    law = mixture()
    graph = make_fx(lambda: law.sample((7,)), tracing_mode="fake", _allow_non_fake_inputs=True)()
    assert graph().shape == (7, 4) and set(graph().unique().tolist()) <= {0.0, 1.0}
