"""Laws of an entry: they sum to 1, far from all locations too, and their draws follow them."""

import math

import pytest
import torch
from examples.causal import OUTPUTS

from ppgen import testing
from ppgen.distributions import (
    CategoricalOutput,
    LaplaceMixtureOutput,
    LogisticMixtureOutput,
    NormalMixtureOutput,
)

DISCRETE = [name for name, law in OUTPUTS.items() if law.values is not None]
CONTINUOUS = [name for name, law in OUTPUTS.items() if law.values is None]


@pytest.mark.parametrize("size", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_sum_to_one(name: str, size: float) -> None:
    """Catches edge bins that end, and a difference of two cumulative probabilities that cancels."""
    law = OUTPUTS[name]
    values = law.values.double()
    parameters = size * torch.randn(50, 1, law.num_parameters, dtype=torch.float64)
    log_probs = law.log_prob(parameters, values)
    assert bool(log_probs.isfinite().all())
    testing.check_close(log_probs.logsumexp(-1), torch.zeros(50).double(), "sum of the law", atol=1e-12)
    testing.check_close(law.mean(parameters[:, 0]), log_probs.exp() @ values, "mean")


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_integrate_to_one(name: str) -> None:
    """Catches a scale that stands in the exponent and not in the factor."""
    law = OUTPUTS[name]
    parameters = 0.7 * torch.randn(5, 1, law.num_parameters, dtype=torch.float64)
    points = torch.linspace(-60, 60, 400_001, dtype=torch.float64)
    density = law.log_prob(parameters, points).exp()
    one = torch.ones(5).double()
    testing.check_close(torch.trapezoid(density, points), one, "integral", atol=1e-6)
    testing.check_close(torch.trapezoid(density * points, points), law.mean(parameters[:, 0]), "mean", atol=1e-5)


@pytest.mark.parametrize("raw", [-60.0, -7.0, 0.0, 80.0])
@pytest.mark.parametrize("location", [-50.0, 0.0, 50.0])
def test_logistics_have_gradients_everywhere(raw: float, location: float) -> None:
    """Catches -inf, NaN or a dead gradient of values far from a narrow component, in single precision."""
    law = LogisticMixtureOutput(1, levels=256)
    parameters = torch.tensor([0.0, location, raw]).expand(256, 3).clone().requires_grad_()
    log_probs = law.log_prob(parameters, law.values)
    log_probs.sum().backward()
    assert bool(log_probs.isfinite().all()) and bool(parameters.grad.isfinite().all())
    if location and raw < 60:  # all values lie to one side of the location, and pull it
        assert bool((parameters.grad[1:-1, 1] * location < 0).all())
    testing.check_close(log_probs.logsumexp(0).detach(), torch.tensor(0.0), "sum", atol=1e-4)


def test_means_of_many_levels_are_in_the_precision_of_the_parameters() -> None:
    """Catches edges of bins that are computed in single precision, whose errors add up over 256 levels."""
    law = LogisticMixtureOutput(3, levels=256)
    parameters, values = 3 * torch.randn(50, 9, dtype=torch.float64), law.values.double()
    exact = law.log_prob(parameters[:, None], values).exp() @ values
    testing.check_close(law.mean(parameters), exact, "mean", atol=1e-8, rtol=0)


def test_logistic_probabilities_are_differences_of_cumulative_ones() -> None:
    """Catches a bin of another width, and levels that are coded on another scale."""
    law = LogisticMixtureOutput(1, levels=5)
    location, scale = 0.2, 0.3
    raw = math.log(scale - math.exp(-7))
    found = law.log_prob(torch.tensor([0.0, location, raw], dtype=torch.float64), law.values.double()).exp()
    edges = torch.tensor([-math.inf, -0.75, -0.25, 0.25, 0.75, math.inf]).double()
    testing.check_close(found, torch.sigmoid((edges - location) / scale).diff(), "probabilities of five levels")


@pytest.mark.parametrize("name", OUTPUTS)
def test_draws_at_the_ends_of_the_uniform_numbers_are_finite(name: str) -> None:
    """Catches a quantile of 0, which `torch.rand` gives in one of 2^24 draws."""
    law = OUTPUTS[name]
    parameters = torch.randn(3, law.num_parameters)
    for uniform in (0.0, 1 - 2**-24):
        drawn = law.draw(parameters, torch.full((3, law.num_uniforms), uniform))
        assert bool(drawn.isfinite().all()) and bool(law.support.check(drawn).all())


def test_a_value_of_probability_zero_is_not_drawn() -> None:
    """Catches an inverse cumulative distribution that counts a level whose probability is 0."""
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    drawn = CategoricalOutput(5).draw(logits.expand(1000, 5), torch.linspace(0, 1 - 2**-24, 1000).unsqueeze(-1))
    assert set(drawn.tolist()) == {1.0, 3.0}


@pytest.mark.parametrize("name", OUTPUTS)
def test_starts_fit_data_better_than_zeros(name: str) -> None:
    """Catches parameters of a start in another order or on another scale than those of the law."""
    law = OUTPUTS[name]
    values = torch.randn(200, 3) * 3 + 5 if law.values is None else law.values[-1] * (torch.rand(200, 3) < 0.9).float()
    started = law.start(values)
    assert started.shape == (3, law.num_parameters)
    zeros = law.log_prob(torch.zeros_like(started), values).mean()
    assert float(law.log_prob(started, values).mean()) > float(zeros) + 0.05


@pytest.mark.parametrize("law", [NormalMixtureOutput, LaplaceMixtureOutput])
def test_repeated_values_have_a_bounded_density(law: type) -> None:
    """Catches a density that goes to infinity on data with repeated values, and scales without a gradient there."""
    parameters = torch.tensor([0.0, 1.0, -40.0]).requires_grad_()
    found = law(1, minimum_scale=0.01).log_prob(parameters, torch.tensor(1.0))
    found.backward()
    assert float(found.detach()) < math.log(100) and bool(parameters.grad.isfinite().all())


def test_scaled_gradient_is_that_of_rnade() -> None:
    """Catches a factor on the wrong parameter, and one that changes the value."""
    parameters = torch.tensor([0.0, 0.3, -1.0], dtype=torch.float64).requires_grad_()
    value = torch.tensor(1.0).double()
    plain, scaled = (NormalMixtureOutput(1, scaled_gradient=flag).log_prob(parameters, value) for flag in (False, True))
    testing.check_close(scaled, plain, "log-density")
    (first,), (second,) = (torch.autograd.grad(each, parameters) for each in (plain, scaled))
    scale = math.exp(-1) + 1e-3
    testing.check_close(second, first * torch.tensor([1.0, scale, 1.0], dtype=torch.float64), "gradient")
