"""Autoregressive bits against the product of their conditionals, written bit by bit."""

import pyro
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen import testing
from ppgen.distributions import AutoregressiveBernoulli
from ppgen.distributions.densities.autoregressive import autoregressive_bits
from ppgen.testing.examples import state_index


def all_bits(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Every vector of `size` bits in binary order: (2^size, size)."""
    index = torch.arange(2**size, device=device).unsqueeze(-1)
    return ((index >> torch.arange(size - 1, -1, -1, device=device)) & 1).double()


def parameters(batch: tuple[int, ...], size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    logits = torch.randn(*batch, size, dtype=torch.float64).to(device)
    return logits, 2 * torch.randn(size, size, dtype=torch.float64).to(device)


def test_log_prob_is_the_product_of_sequential_conditionals(device: torch.device) -> None:
    """Catches a weight transposed, a diagonal or upper triangle that counts, and a law that does not sum to 1."""
    logits, weight = parameters((2,), 4, device)
    states = all_bits(4, device)
    found = AutoregressiveBernoulli(logits, weight).log_prob(states.unsqueeze(1))
    expected = torch.zeros_like(found)
    for state in range(16):
        for row in range(2):
            for bit in range(4):
                logit = logits[row, bit]
                for earlier in range(bit):
                    logit = logit + weight[bit, earlier] * states[state, earlier]
                on = torch.sigmoid(logit)
                expected[state, row] += torch.log(on if states[state, bit] else 1 - on)
    testing.check_close(found, expected, "log-density of autoregressive bits")
    testing.check_close(found.exp().sum(0), torch.ones_like(found[0]), "sum of the law")


def test_draws_follow_the_law(device: torch.device) -> None:
    """Catches a draw whose later bits do not see the earlier ones, or see them in another order."""
    logits, weight = parameters((3,), 4, device)
    law = AutoregressiveBernoulli(logits, weight)
    drawn = law.sample((20_000,))
    assert drawn.shape == (20_000, 3, 4) and drawn.dtype == torch.float64 and drawn.device.type == device.type
    probabilities = law.log_prob(all_bits(4, device).unsqueeze(1)).exp()
    for row in range(3):
        testing.check_frequencies(state_index(drawn[:, row]), probabilities[:, row], "autoregressive bits")


@pytest.mark.parametrize("size", [1, 16, 37])
def test_long_vectors_are_drawn_bit_by_bit(size: int, device: torch.device) -> None:
    """Catches a bit that does not see those of an earlier block of bits, or sees them twice."""
    logits, weight = parameters((2, 3), size, device)
    uniforms = torch.rand(2, 3, size, dtype=torch.float64).to(device)
    found = autoregressive_bits(logits, weight / size**0.5, uniforms)
    expected = torch.zeros_like(found)
    for bit in range(size):
        logit = logits[..., bit] + expected[..., :bit] @ weight[bit, :bit] / size**0.5
        expected[..., bit] = (uniforms[..., bit] < logit.sigmoid()).double()
    assert found.shape == (2, 3, size) and torch.equal(found, expected)
    law = AutoregressiveBernoulli(logits, weight / size**0.5)
    testing.check_close(
        law.conditional_logits(found)[..., -1], logits[..., -1] + found[..., :-1] @ weight[-1, :-1] / size**0.5, "logit"
    )


def test_a_traced_draw_is_one_operator() -> None:
    """Catches a traced step that grows with the number of bits, or is not the program."""
    logits, weight = parameters((4,), 9, torch.device("cpu"))
    uniforms = torch.rand(4, 9, dtype=torch.float64)
    graph = make_fx(autoregressive_bits, tracing_mode="fake")(logits, weight, uniforms)
    assert len([node for node in graph.graph.nodes if node.op == "call_function"]) == 1
    assert torch.equal(graph(logits, weight, uniforms), autoregressive_bits(logits, weight, uniforms))
    torch.library.opcheck(autoregressive_bits, (logits, weight, uniforms))


def test_batches_and_plates() -> None:
    """Catches a batch that is expanded by copies of one draw, and an event dimension taken for a plate."""
    logits, weight = parameters((), 5, torch.device("cpu"))
    law = AutoregressiveBernoulli(logits, weight)
    assert law.batch_shape == () and law.event_shape == (5,) and not law.has_rsample
    wide = law.expand((7, 6))
    drawn = wide.sample((2,))
    assert wide.batch_shape == (7, 6) and drawn.shape == (2, 7, 6, 5)
    assert len(drawn.reshape(-1, 5).unique(dim=0)) > 2
    testing.check_close(wide.log_prob(drawn), law.log_prob(drawn), "log-density of an expanded law")
    with pyro.plate("outer", 4, dim=-2), pyro.plate("data", 3):
        assert pyro.sample("z", law).shape == (4, 3, 5)


def test_gradients_reach_only_the_lower_triangle() -> None:
    """Catches a sampled value through which a gradient flows, and weights that should not count."""
    logits, weight = (tensor.requires_grad_() for tensor in parameters((3,), 4, torch.device("cpu")))
    law = AutoregressiveBernoulli(logits, weight)
    drawn = law.sample()
    assert not drawn.requires_grad
    law.log_prob(torch.ones(3, 4, dtype=torch.float64)).sum().backward()
    assert weight.grad is not None and logits.grad is not None
    assert bool((weight.grad.triu() == 0).all()) and bool((weight.grad.tril(-1) != 0).sum() == 6)


@pytest.mark.parametrize("shape", [(3, 4), (4,), (3, 3, 3)])
def test_shapes_that_do_not_fit_are_named(shape: tuple[int, ...]) -> None:
    """Catches a weight of another layer."""
    with pytest.raises(ValueError, match=r"weight must have shape \(bits, bits\)"):
        AutoregressiveBernoulli(torch.zeros(2, 3), torch.zeros(shape))


def test_grey_values_are_refused() -> None:
    """Catches a value between 0 and 1 that gets a log-density."""
    law = AutoregressiveBernoulli(torch.zeros(3), torch.zeros(3, 3), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        law.log_prob(torch.tensor([0.0, 0.5, 1.0]))
