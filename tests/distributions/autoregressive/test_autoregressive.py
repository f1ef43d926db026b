"""Autoregressive laws: traced draws, conditions, orders, and what they refuse."""

import pyro
import pytest
import torch
from examples.causal import OUTPUTS
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen import nn, testing
from ppgen.distributions import Autoregressive, BernoulliOutput, CategoricalOutput
from ppgen.testing.causal import _random_weights
from ppgen.testing.examples import bit_vectors

NAN = float("nan")


def law_of(positions: int = 4, given: Tensor | None = None, order: Tensor | None = None, output: str = "bits"):
    entry = OUTPUTS[output]
    network = nn.CausalLinear(positions, entry.num_parameters, 0 if given is None else given.shape[-1])
    return Autoregressive(_random_weights(network), entry, order, given)


def test_a_traced_draw_is_one_operator_with_the_weights_of_now() -> None:
    """Catches a traced step that grows with the positions, and one that draws from the weights at tracing."""
    given, order = torch.randn(3, 2).double(), torch.tensor([2, 0, 3, 1])
    law = law_of(given=given, order=order)
    network, uniforms = law.network, torch.rand(3, 4, 1).double()
    names = list(dict(network.named_parameters()))

    def program(values: list[Tensor], given: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(network, dict(zip(names, values, strict=True))):
            return Autoregressive(network, BernoulliOutput(), order, given).draw(uniforms)

    values = list(network.parameters())
    graph = make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(values, given)
    calls = [node for node in graph.graph.nodes if "autoregressive_draws" in str(node.target)]
    assert len(calls) == 1 and len(graph.graph.nodes) < 20
    assert torch.equal(graph(values, given), law.draw(uniforms))
    others = [5 * torch.randn_like(value) for value in values]
    with torch.no_grad():
        for mine, value in zip(network.parameters(), others, strict=True):
            mine.copy_(value)
    assert torch.equal(graph(others, given), law.draw(uniforms))


def test_draws_in_plates_with_particles() -> None:
    """Catches a batch that is expanded by copies of one draw, and what is given to another row."""
    law = law_of(given=100 * torch.eye(3).double())
    wide = law.expand((5, 3))
    assert wide.sample((2,)).shape == (2, 5, 3, 4) and wide.batch_shape == (5, 3)
    value = wide.sample()
    testing.check_close(wide.log_prob(value), law.log_prob(value), "log-density of an expanded law")
    with pyro.plate("particles", 5, dim=-2), pyro.plate("data", 3):
        drawn = pyro.sample("x", law)
        common = pyro.sample("y", law_of())
    assert drawn.shape == (5, 3, 4) and len(common.reshape(-1, 4).unique(dim=0)) > 1
    assert law_of().expand((3,)).log_prob(torch.zeros(4).double()).shape == (3,)


@pytest.mark.parametrize("order", [None, torch.tensor([2, 0, 3, 1])])
def test_rows_may_be_known_in_parts_of_several_lengths(order: Tensor | None) -> None:
    """Catches a condition that takes one row's known part for another's, and entries placed in the order."""
    law = law_of(order=order)
    sequence = torch.arange(4) if order is None else order
    value = torch.full((5, 4), NAN).double()
    for row in range(5):
        value[row, sequence[:row]] = torch.tensor([1.0, 0.0, 1.0, 1.0]).double()[:row]
    conditioned = law.condition(value)
    states = bit_vectors(4)
    found = conditioned.log_prob(states.unsqueeze(1)).exp().detach()
    every = law.log_prob(states).exp().detach()
    for row in range(5):
        known = ~value[row].isnan()
        weight = torch.where((states[:, known] == value[row, known]).all(-1), every, 0.0)
        testing.check_close(found[:, row], weight / weight.sum(), "law of the rest")
    masked = law.condition(value.nan_to_num(0.0), mask=~value.isnan())
    testing.check_close(masked.log_prob(states.unsqueeze(1)).exp().detach(), found, "by a mask")
    drawn = conditioned.sample((50,))
    assert bool(((drawn == value) | value.isnan()).all())
    assert torch.equal(drawn[:, 4], value[4].expand(50, 4))
    each = conditioned.conditional_log_prob(drawn)
    testing.check_close(each.sum(-1), conditioned.log_prob(drawn), "sum over the entries")


def test_what_does_not_precede_is_refused_and_estimated() -> None:
    """Catches entries that are silently held while others are drawn, and weights of the wrong entries."""
    law = law_of(order=torch.tensor([2, 0, 3, 1]))
    value = torch.tensor([NAN, 1.0, NAN, 0.0]).double()
    with pytest.raises(ValueError, match=r"entry 3 is known and entry 2, .*orderless.*weighted_completion.*Gibbs"):
        law.condition(value)
    torch.manual_seed(0)
    completion = law.weighted_completion(value, num_samples=20_000)
    states = bit_vectors(4)
    agree = (states[:, 1] == 1) & (states[:, 3] == 0)
    weights = torch.where(agree, law.log_prob(states).detach().exp(), 0.0)
    testing.check_mean(completion.log_weights.exp(), weights.sum(), "p(known)")
    exact = (weights / weights.sum()) @ states
    error = 4 * (exact * (1 - exact) / completion.ess).sqrt() + 1e-9
    assert bool(((completion.mean - exact).abs() <= error).all())
    assert 1 < float(completion.ess) < 20_000 and "20000 draws" in repr(completion)


def test_means_are_those_given_what_was_drawn_before() -> None:
    """Catches means in the order of positions and not in that of the entries."""
    law = law_of(order=torch.tensor([2, 0, 3, 1]))
    drawn, log_prob = law.sample_and_log_prob((6,))
    mean = law.conditional_mean(drawn)
    each = torch.where(drawn == 1, mean, 1 - mean).log()
    testing.check_close(each, law.conditional_log_prob(drawn), "log-probability by the means")
    testing.check_close(each.sum(-1), log_prob, "log-probability of draws")
    assert log_prob.requires_grad and not drawn.requires_grad


@pytest.mark.parametrize(
    ("order", "match"),
    [
        (torch.tensor([0, 1, 1, 3]), "lacks 2"),
        (torch.tensor([0, 1, 2, 4]), "lacks 3"),
        (torch.tensor([0, 1, 2]), r"shape \(4,\)"),
        (torch.arange(4.0), "whole numbers"),
    ],
)
def test_orders_that_are_no_permutation_are_refused(order: Tensor, match: str) -> None:
    """Catches an order under which an entry counts twice, and a check that is skipped the second time."""
    for _ in range(2):
        with pytest.raises(ValueError, match=f"order must be a permutation.*{match}"):
            law_of(order=order)
    fine = torch.arange(4)
    law_of(order=fine)
    fine[0] = 1
    with pytest.raises(ValueError, match="lacks 0"):
        law_of(order=fine)


def test_bad_values_are_named() -> None:
    """Catches rows of another width, and levels outside of the range, that get a log-density."""
    law = Autoregressive(nn.CausalLinear(3, 4), CategoricalOutput(4), validate_args=True)
    with pytest.raises(ValueError, match="vectors of 3 entries"):
        law.log_prob(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="whole numbers from 0 to 3.* got 4"):
        law.log_prob(torch.tensor([0.0, 4.0, 1.0]))
    with pytest.raises(ValueError, match="where it is known, got 4"):
        law.condition(torch.tensor([4.0, NAN, NAN]))
    with pytest.raises(ValueError, match="must have 4 outputs a position"):
        Autoregressive(nn.CausalLinear(3, 2), CategoricalOutput(4))
    with pytest.raises(ValueError, match=r"given must have shape \(..., 2\)"):
        Autoregressive(nn.CausalLinear(3, 4, given=2), CategoricalOutput(4), given=torch.zeros(5, 3))


def test_orders_may_be_made_in_inference_mode() -> None:
    """Catches an order whose look-up asks for a version that such tensors do not count."""
    with torch.inference_mode():
        order = torch.randperm(4)
    x = bit_vectors(4)
    testing.check_close(law_of(order=order).log_prob(x).logsumexp(0), torch.zeros(()).double(), "sum", atol=1e-12)
    with torch.inference_mode():
        order.zero_()
    with pytest.raises(ValueError, match="must be a permutation"):
        law_of(order=order)


def test_whole_numbers_under_logistic_laws_have_the_precision_of_the_weights() -> None:
    """Catches the edges of a bin in single precision, which whole numbers become, under weights in double precision."""
    law = law_of(output="logistics")
    levels = torch.randint(3, (20, 4))
    testing.check_close(law.log_prob(levels), law.log_prob(levels.double()), "log-probability", atol=1e-13, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels_may_be_whole_numbers(dtype: torch.dtype) -> None:
    """Catches levels of a data set of integers that meet weights of another type, and draws in another than theirs."""
    law = law_of(output="levels")
    law.network.to(dtype)
    drawn = law.sample((5,))
    assert drawn.dtype == dtype
    testing.check_close(law.log_prob(drawn.long()), law.log_prob(drawn), "log-probability of whole numbers")


def test_masks_and_scales_of_programs_hold() -> None:
    """Catches a row that a mask leaves out, or a factor, that an autoregressive site does not heed."""
    law = law_of()
    x = bit_vectors(4)[:3]
    mask = torch.tensor([True, False, True])

    def program() -> None:
        with pyro.plate("data", 3), pyro.poutine.mask(mask=mask), pyro.poutine.scale(scale=2.0):
            pyro.sample("x", law, obs=x)

    found = pyro.poutine.trace(program).get_trace().log_prob_sum()
    testing.check_close(found, 2 * law.log_prob(x)[mask].sum(), "masked and scaled")


def test_laws_move_with_their_networks(device: torch.device) -> None:
    """Catches state, uniform numbers or orders that are left on another device."""
    law = law_of(order=torch.tensor([2, 0, 3, 1]))
    moved = Autoregressive(law.network.to(device), law.output, law.order.to(device))
    drawn = moved.sample((3,))
    assert drawn.device.type == device.type and moved.log_prob(drawn).device.type == device.type
    value = drawn.clone()
    value[:, [3, 1]] = NAN
    rest = moved.condition(value)
    assert rest.sample((2,)).device.type == device.type and rest.log_prob(drawn).shape == (3,)
    assert moved.weighted_completion(value.flip(0), num_samples=4).ess.shape == (3,)
