"""The best Normal law of sparse codes: that it is the best, and that its ELBO is one."""

import math

import pytest
import torch

from ppgen.nn import NormalCodes
from ppgen.nn.normal_codes import expected_magnitude
from ppgen.testing import check_mean


def problem(features=6, atoms=9, rows=5, dtype=torch.float64, scale=0.3, noise=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    dictionary = torch.randn(features, atoms, generator=generator, dtype=torch.float64)
    x = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    dictionary = dictionary / dictionary.norm(dim=0)
    return NormalCodes(x.to(dtype), dictionary.to(dtype), scale, noise)


@pytest.mark.parametrize(
    ("scale", "noise"), [(0.3, 0.5), (2.0, 0.1), (0.05, 1.0), (torch.tensor(0.3), torch.tensor(0.5))]
)
def test_the_bound_has_no_slope_at_the_law(scale, noise):
    """Catches a wrong gradient, a step that is too long, and deviations that do not belong to the means."""
    found = problem(scale=scale, noise=noise)
    mean, deviation = found.solve(3000)
    mean, log_deviation = mean.requires_grad_(), deviation.log().requires_grad_()
    slopes = torch.autograd.grad(found.elbo(mean, log_deviation.exp()).sum(), (mean, log_deviation))
    assert all(float(slope.abs().max()) < 1e-6 for slope in slopes)


def test_few_sweeps_are_close():
    """Catches momentum that is lost: without it 50 sweeps are far from the best."""
    found = problem(16, 24)
    best, soon = (found.elbo(*found.solve(sweeps)) for sweeps in (1000, 50))
    assert float((best - soon).max()) < 1e-4 and bool((best >= soon - 1e-9).all())


def test_the_bound_is_the_expectation_of_log_weights():
    """Catches a constant or a term left out of the closed form."""
    torch.manual_seed(0)
    found = problem(rows=2)
    mean, deviation = found.solve(20)
    draws = mean + deviation * torch.randn(50_000, *mean.shape).double()
    prior = torch.distributions.Laplace(torch.zeros(()).double(), 0.3).log_prob(draws).sum(-1)
    likelihood = torch.distributions.Normal(draws @ found.dictionary.T, 0.5).log_prob(found.x).sum(-1)
    law = torch.distributions.Normal(mean, deviation).log_prob(draws).sum(-1)
    check_mean(prior + likelihood - law, found.elbo(mean, deviation), "log p(x, a) - log q(a | x)")


def test_magnitudes_are_known_at_both_ends():
    """Catches 0/0 and overflow where a mean is zero or many deviations away."""
    mean, deviation = torch.tensor([0.0, 5.0, -1e6, 1e-3]), torch.tensor([2.0, 1e-3, 1.0, 1e-12])
    expected = torch.tensor([2 * math.sqrt(2 / math.pi), 5.0, 1e6, 1e-3])
    torch.testing.assert_close(expected_magnitude(mean, deviation), expected)


def test_float32_agrees_and_rows_stand_alone():
    """Catches rows that restart together, and a law that single precision moves."""
    exact, single = problem(), problem(dtype=torch.float32)
    for first, second in zip(exact.solve(), single.solve(), strict=True):
        torch.testing.assert_close(second, first.float(), atol=1e-4, rtol=1e-3)
    one = NormalCodes(exact.x[2], exact.dictionary, 0.3, 0.5).solve()
    torch.testing.assert_close(one, tuple(each[2] for each in exact.solve()))


def test_shapes_that_do_not_fit_are_refused():
    """Catches a dictionary with atoms as rows."""
    with pytest.raises(ValueError, match=r"dictionary must have shape \(features, atoms\)"):
        NormalCodes(torch.zeros(3, 4), torch.zeros(5, 4), 1.0, 1.0)
