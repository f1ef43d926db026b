"""Bits per dimension, and log p of each entry of a datum."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation, models, nn
from ppgen.distributions import Autoregressive, BernoulliOutput, OrderMixture
from ppgen.evaluation import Estimate

BITS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])


def test_bits_are_nats_by_dimensions_and_the_scale() -> None:
    """Catches the sign, nats taken for bits, a scale that is subtracted, and a bound that keeps its side."""
    found = Estimate(-80.0 * math.log(2), 0.8, "lower bound", "importance", data_se=4.0, bias=-0.1)
    bits = evaluation.bits_per_dimension(found, 40)
    assert bits.value == pytest.approx(2.0) and bits.kind == "upper bound" and bits.unit == "bits per dimension"
    assert bits.se == pytest.approx(0.8 / (40 * math.log(2))) and bits.data_se == pytest.approx(5 * bits.se)
    assert bits.bias == pytest.approx(0.1 / (40 * math.log(2)))
    # The uniform density on [0, 1) of levels 0, ..., 255 with noise, divided by 256: log p = 0, and 8 bits.
    uniform = Estimate(0.0, 0.0, "exact", "exact")
    assert float(evaluation.bits_per_dimension(uniform, 784, scale=256)) == pytest.approx(8)
    with pytest.raises(ValueError, match="nats per datum"):
        evaluation.bits_per_dimension(bits, 40)


def test_terms_of_the_entries_sum_to_log_p() -> None:
    """Catches terms in another order than the features, and rows that are left out of a block."""
    model = models.FullyVisibleBeliefNet(4)
    with torch.no_grad():
        model.network.weight.normal_()
    whole = evaluation.log_likelihood(model, BITS, method="exact")
    found = evaluation.log_likelihood(model, BITS, method="exact", per_position=True, chunk=2)
    assert found.pointwise.dims == ("data", "feature") and found.pointwise.shape == (3, 4)
    torch.testing.assert_close(
        torch.as_tensor(found.pointwise.sum("feature").values).float(), torch.as_tensor(whole.pointwise.values).float()
    )
    assert float(found.pointwise[0, 0]) == pytest.approx(math.log(0.5), rel=1e-6)
    assert float(found) == pytest.approx(float(whole)) and whole.pointwise.dims == ("data",)


def pair_of(law) -> ppgen.Pair:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", law, obs=x)

    return ppgen.Pair(model, lambda x: None)


def test_independent_entries_have_terms_too() -> None:
    """Catches a law with `to_event` that is refused, or summed twice."""
    probs = torch.tensor([0.1, 0.2, 0.3, 0.4])
    found = evaluation.log_likelihood(pair_of(dist.Bernoulli(probs).to_event(1)), BITS, per_position=True)
    expected = torch.where(BITS == 1, probs, 1 - probs).log()
    torch.testing.assert_close(torch.as_tensor(found.pointwise.values).float(), expected)


def test_what_has_no_terms_is_refused() -> None:
    """Catches terms of a model with latents, or of a mixture, whose log p is no sum over entries."""
    with pytest.raises(ValueError, match="latents"):
        evaluation.log_likelihood(models.VAE(4, 2, (3,)), BITS, method="importance", per_position=True)
    law = Autoregressive(nn.CausalLinear(4), BernoulliOutput())
    with pytest.raises(ValueError, match="OrderMixture, whose log p is no sum over entries. Train it with orders=1"):
        evaluation.log_likelihood(pair_of(OrderMixture([law, law])), BITS, method="exact", per_position=True)
    with pytest.raises(TypeError, match="per_position"):
        evaluation.log_likelihood(models.FullyVisibleBeliefNet(4), BITS, per_position="yes")
