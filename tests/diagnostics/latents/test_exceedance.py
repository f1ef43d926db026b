"""Probabilities that latents are large, from draws."""

import numpy as np
import pytest
import torch

from ppgen import diagnostics, inference
from ppgen.testing.posterior_kernels import sparse_pair


def samples(draws):
    info = inference.SparseGibbsInfo(torch.ones(draws.shape[:3]))
    return inference.PosteriorSamples({"codes": draws}, torch.zeros(draws.shape[:3]), info, None, {}, "SparseGibbs")


def test_probabilities_and_their_errors():
    """Catches a probability of the value where its size is meant, chains and rows mixed up, and errors that do not
    cover: of independent draws |estimate - truth| stays within four of them."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([[0.5, 1.0, 2.0], [1.0, 3.0, 0.5]])
    draws = scale * torch.randn(4, 400, 2, 3, generator=generator) - 0.3
    normal = torch.distributions.Normal(torch.tensor(-0.3), scale)
    for signed, expected in (
        (False, normal.cdf(torch.tensor(-0.4)) + 1 - normal.cdf(torch.tensor(0.4))),
        (True, 1 - normal.cdf(torch.tensor(0.4))),
    ):
        found = diagnostics.exceedance(samples(draws), 0.4, signed=signed)
        assert found.codes.dims == ("data", "codes_dim_0") and found.attrs["threshold"] == 0.4
        assert (np.abs(found.codes - expected.numpy()) <= 4 * found.codes_mcse + 1e-3).all()
        spread = (expected * (1 - expected) / 1600).sqrt().numpy()
        assert (np.abs(found.codes_mcse / spread - 1) < 0.6).all()


def test_errors_of_slow_chains_are_larger_and_unknown_ones_are_nan():
    """Catches errors of independent draws for chains that stay long where they are, and 0 where all draws agree."""
    generator = torch.Generator().manual_seed(0)
    slow = torch.randn(4, 20, 1, 1, generator=generator).repeat_interleave(20, 1)
    quick = torch.randn(4, 400, 1, 1, generator=generator)
    errors = [diagnostics.exceedance(samples(draws), 0.5).codes_mcse.item() for draws in (slow, quick)]
    assert errors[0] > 3 * errors[1]
    agreeing = diagnostics.exceedance(samples(torch.ones(2, 10, 1, 1)), 0.5)
    assert agreeing.codes.item() == 1 and np.isnan(agreeing.codes_mcse).all()


def test_trees_are_draws_too():
    """Catches a function that takes chains of one kind alone, and names of dimensions that are lost."""
    pair, x = sparse_pair()
    chains = inference.sample_posterior(pair, x, num_samples=30, warmup_steps=5, kernel=inference.SparseGibbs())
    tree = diagnostics.from_chains(chains, pair, x)
    whole = diagnostics.exceedance(chains, 0.2)
    named = diagnostics.from_chains(chains, dims={"codes": ["atom"]}, coords={"atom": ["first", "second"]})
    assert list(diagnostics.exceedance(named, 0.2).codes.coords["atom"].values) == ["first", "second"]
    np.testing.assert_array_equal(diagnostics.exceedance(tree, 0.2).codes, whole.codes)
    guide = diagnostics.from_pyro_svi(pair, x, num_samples=40)
    assert diagnostics.exceedance(guide, 0.2).codes.shape == (2, 2)


def test_wrong_arguments_are_refused():
    """Catches |z| held against a negative number, of which every answer is 1."""
    chains = samples(torch.zeros(1, 2, 1, 1))
    with pytest.raises(ValueError, match="threshold must be at least 0 .*signed=True"):
        diagnostics.exceedance(chains, -1.0)
    assert diagnostics.exceedance(chains, -1.0, signed=True).codes.item() == 1
    with pytest.raises(TypeError, match="chains must be what inference.sample_posterior"):
        diagnostics.exceedance(torch.zeros(3), 1.0)
    with pytest.raises(TypeError, match="chains must be what inference.sample_posterior"):
        diagnostics.exceedance(torch.nn.Linear(2, 2), 1.0)  # which has a method of a tree's name
