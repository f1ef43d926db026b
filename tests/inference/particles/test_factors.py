"""Factors of a log-weight: each site with its plates, and the views that sum them."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import inference
from ppgen.inference.particles.factors import Factor, joined_factor
from ppgen.inference.structure.layout import DISCRETE, REPARAMETERISED
from ppgen.inference.structure.plates import Frame

X = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def model(x):
    top = pyro.sample("top", dist.Normal(x.new_zeros(()), 1.0))
    columns = pyro.plate("columns", 3, dim=-2)
    with columns:
        shift = pyro.sample("shift", dist.Normal(top, 1.0))
    with pyro.plate("data", len(x), dim=-1):
        on = pyro.sample("on", dist.Bernoulli(x.new_tensor(0.3)))
        with columns, pyro.poutine.mask(mask=x.T > -1):
            z = pyro.sample("z", dist.Normal(shift + on, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)


def guide(x):
    a = pyro.param("a", torch.tensor(0.3, dtype=x.dtype))
    pyro.sample("extra", dist.Normal(a, 1.0), infer={"is_auxiliary": True})
    pyro.sample("top", dist.Normal(a, 1.0))
    columns = pyro.plate("columns", 3, dim=-2)
    with columns:
        pyro.sample("shift", dist.Normal(a, 1.0))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("on", dist.Bernoulli(a))
        with columns, pyro.poutine.mask(mask=x.T > -1):
            pyro.sample("z", dist.Normal(a * x.T, 1.0))


def prepared():
    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    return pair


@pytest.mark.parametrize("vectorize", [True, False])
def test_factors_keep_their_plates_and_add_up_to_the_log_weights(vectorize):
    """Catches a factor summed over an inner plate, out of order, or with the wrong plates or sign."""
    weights = inference.log_weights(prepared(), X, 4, vectorize=vectorize)
    found = {(factor.sign, factor.name): factor for factor in weights.factors}
    assert [name for sign, name in found if sign < 0] == ["extra", "top", "shift", "on", "z"]
    plates = {"extra": set(), "top": set(), "shift": {"columns"}, "on": {"data"}}
    for (_, name), factor in found.items():
        expected = plates.get(name, {"columns", "data"})
        assert factor.plates == expected and factor.inside == ("data" in expected)
        assert factor.value.shape[1:] == (3 if "columns" in expected else 1, 5 if "data" in expected else 1)
        assert factor.value.shape[0] in (1, 4)
        assert factor.over(["columns"]).shape[1:] == (factor.value.shape[1], 1)
        torch.testing.assert_close(factor.over([]).flatten(), factor.value.sum((1, 2)), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(factor.columns.sum(1), factor.value.sum((1, 2)), rtol=1e-12, atol=1e-12)
    total = sum(sign * factor.value.sum((1, 2)) for (sign, _), factor in found.items())
    torch.testing.assert_close(weights.joint, total, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weights.local.sum(1) + weights.outside, weights.joint, rtol=0, atol=0)
    assert set(weights.drawn) == {"z"}  # the mask leaves its law alone
    z = weights.guide_traces[-1].nodes["z"]
    law = z["fn"].base_dist if hasattr(z["fn"], "_mask") else z["fn"]
    last = law.log_prob(z["value"]).reshape(-1, 3, 5)[-1]
    torch.testing.assert_close(weights.drawn["z"].value[-1], last, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match=r"lies outside plate 'data'.*weights\.joint"):
        weights.per_datum  # noqa: B018


def test_what_training_adds_is_among_the_views():
    """Catches a divergence or a weighted term that is missing in the views or in the terms of its site."""
    weights = inference.log_weights(prepared(), X, 4)
    exact = torch.full((4, 1), 0.5, dtype=torch.float64)
    closed = weights.with_divergence("top", exact)
    change = -0.5 - weights.model_terms["top"].squeeze(1) + weights.guide_terms["top"].squeeze(1)
    torch.testing.assert_close(closed.outside, weights.outside + change, rtol=1e-12, atol=1e-12)
    assert torch.equal(closed.model_terms["top"], -exact) and not closed.guide_terms["top"].any()
    more = Factor.of_columns("z", -1, torch.ones(4, 5, dtype=torch.float64), "data", inside=True)
    torch.testing.assert_close(closed.with_added([more]).local, weights.local - 1, rtol=1e-12, atol=1e-12)
    assert closed.of_data().outside is None and torch.equal(closed.of_data().local, weights.local)
    other = weights.with_values(torch.zeros(2, 5), torch.ones(2))
    assert other.joint.tolist() == [1.0, 1.0] and other.local.shape == (2, 5)


def test_runs_of_other_sizes_are_joined_by_their_sums():
    """Catches runs of one particle whose inner plates differ in size, and a run without the site."""
    frames = (Frame("data", -1, 2, 2),)
    long = Factor("x", 1, torch.ones(1, 3, 2), (Frame("inner", -2, 3, 3), *frames), "data")
    short = Factor("x", 1, torch.ones(1, 1, 2), (Frame("inner", -2, 1, 1), *frames), "data")
    both = joined_factor([long, None, short])
    assert both.columns.tolist() == [[3, 3], [0, 0], [1, 1]] and both.plates == {"data"}
    assert joined_factor([long, long]).value.shape == (2, 3, 2)


def test_one_record_a_site():
    """Catches a record that mixes up model and guide, or a view of the layout that leaves a site out."""
    layout = inference.find_layout(prepared(), X)
    z, extra, x = layout.sites["z"], layout.sites["extra"], layout.sites["x"]
    assert list(layout.sites) == ["top", "shift", "on", "z", "x", "extra"]
    assert layout.guide_order == ("extra", "top", "shift", "on", "z")
    assert z.frames == (Frame("columns", -2, 3, 3), Frame("data", -1, 5, 5)) and z.masked and not z.mismatched
    assert (z.kind, layout.sites["on"].kind, x.kind) == (REPARAMETERISED, DISCRETE, None)
    assert x.observed and not extra.stated and extra.model_law is None and x.guide_law is None
    assert layout.global_latents == ("extra", "top", "shift") and layout.particle_dim == -3
    assert list(layout.model_laws) == ["top", "shift", "on", "z"] and list(layout.observed_laws) == ["x"]
    assert math.prod(layout.sites["shift"].guide_law.batch_shape) == 3
