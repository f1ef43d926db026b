"""A Normal law that remembers what its mean is made of."""

import pyro.distributions as dist
import pytest
import torch

from ppgen.distributions import LinearNormal
from ppgen.testing import check_mean

MATRIX = torch.tensor([[1.0, -0.5], [0.3, 2.0], [0.0, 0.7]], dtype=torch.float64)
SCALE = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
OFFSET = torch.tensor([0.1, -0.4, 0.0], dtype=torch.float64)


def test_it_is_the_normal_law_of_its_mean():
    """Catches a mean with the matrix the wrong way round, and a law that plates or events change."""
    inputs, x = torch.randn(4, 2).double(), torch.randn(4, 3).double()
    for offset in (None, OFFSET):
        law = LinearNormal(inputs, MATRIX, SCALE, offset)
        mean = inputs @ MATRIX.T + (0 if offset is None else offset)
        expected = dist.Normal(mean, SCALE)
        torch.testing.assert_close(law.log_prob(x), expected.log_prob(x))
        wide = law.to_event(1).expand([7, 4])
        assert wide.batch_shape == (7, 4) and wide.base_dist.inputs is inputs
        torch.testing.assert_close(wide.log_prob(x), expected.log_prob(x).sum(-1).expand(7, 4))


def test_the_expectation_is_that_of_draws():
    """Catches a variance in the place of a standard deviation, and an offset that the expectation forgets."""
    torch.manual_seed(0)
    mean, variance = torch.tensor([0.7, -1.2]).double(), torch.tensor([0.3, 2.0]).double()
    x = torch.tensor([0.5, 1.0, -2.0]).double()
    draws = mean + variance.sqrt() * torch.randn(100_000, 2).double()
    law = LinearNormal(draws, MATRIX, SCALE, OFFSET)
    check_mean(law.log_prob(x), law.expected_log_prob(x, mean, variance), "log p(x | a)")


def test_shapes_that_do_not_fit_are_refused():
    """Catches a matrix the wrong way round, which broadcasts into another law where it is square."""
    with pytest.raises(ValueError, match=r"matrix must have shape \(features, latents\).*\(3, 2\) and \(4, 3\)"):
        LinearNormal(torch.zeros(4, 3), MATRIX.float(), 1.0)
