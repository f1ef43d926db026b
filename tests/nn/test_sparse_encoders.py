"""Encoders of sparse codes: their formulas, and that learned shrinkage starts as shrinkage."""

import pytest
import torch

from ppgen.nn import LearnedISTA, SaturatingEncoder
from ppgen.nn.fista import eigenvalue_bound


@pytest.mark.parametrize(("layers", "positive"), [(1, False), (3, False), (3, True)])
def test_learned_shrinkage_starts_as_proximal_gradient_steps(layers: int, positive: bool) -> None:
    """Catches a threshold of lambda / L, a transposed recurrent matrix, and a layer that forgets the data."""
    dictionary, x, penalty = torch.randn(4, 6).double(), torch.randn(7, 4).double(), 0.8
    encoder = LearnedISTA(4, 6, layers, positive).double()
    encoder.start_from(dictionary, penalty)
    step, codes = 1 / eigenvalue_bound(dictionary.T @ dictionary), torch.zeros(7, 6).double()
    for _ in range(layers):
        moved = codes + step * (x - codes @ dictionary.T) @ dictionary
        shrunk = (moved.abs() - step * penalty / 2).clamp(min=0) * moved.sign()
        codes = shrunk.clamp(min=0) if positive else shrunk
    assert (codes == 0).any() and (codes != 0).any()
    torch.testing.assert_close(encoder(x), codes)


def test_saturating_encoders_are_their_formulas() -> None:
    """Catches a gain inside of the non-linearity, and a sigmoid with parameters that it should not have."""
    encoder = SaturatingEncoder(3, 2)
    with torch.no_grad():
        encoder.gain.copy_(torch.tensor([2.0, -3.0]))
        encoder.bias.copy_(torch.tensor([0.5, -0.1]))
    x = torch.randn(4, 3)
    expected = torch.tensor([2.0, -3.0]) * torch.tanh(x @ encoder.weight + torch.tensor([0.5, -0.1]))
    torch.testing.assert_close(encoder(x), expected)
    bare = SaturatingEncoder(3, 2, "sigmoid", free=False)
    assert [name for name, _ in bare.named_parameters()] == ["weight"]
    torch.testing.assert_close(bare(x), torch.sigmoid(x @ bare.weight))


def test_gradients_of_thresholds_reach_every_layer() -> None:
    """Catches a shrinkage whose threshold has no gradient, or becomes negative."""
    encoder = LearnedISTA(4, 6, layers=2)
    encoder.start_from(torch.randn(4, 6), 0.3)
    encoder(torch.randn(20, 4)).square().sum().backward()
    assert all(bool((each.grad != 0).any()) for each in encoder.parameters())


def test_what_is_no_encoder_is_refused() -> None:
    """Catches an unknown activation or no layer at all, found in the first call."""
    with pytest.raises(ValueError, match="'tanh' or 'sigmoid', got 'relu'"):
        SaturatingEncoder(3, 2, "relu")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        LearnedISTA(3, 2, layers=0)
