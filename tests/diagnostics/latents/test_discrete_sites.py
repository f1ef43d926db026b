"""Posterior of sites that are summed out, as datasets and in the tree of a guide's draws."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from chains import LOC, MARK, enumerated, hidden_markov, rows
from structures import Mixture, X
from torch import Tensor

import ppgen
from ppgen import diagnostics, evaluation

SIGMAS = 4
NAMES = {f"z{t}": 3 for t in range(6)}


def hmm() -> ppgen.Pair:
    return ppgen.Pair(hidden_markov, lambda y: None)


def test_a_hidden_markov_model_without_a_guide() -> None:
    """Catches sites in another order, plates without their names, and a likelihood that is no exact one."""
    y = rows(6)
    joint, places = enumerated(hidden_markov, y, NAMES)
    posterior, best = joint.softmax(0), places[joint.argmax(0)]
    shares = diagnostics.discrete_sites(hmm(), y)
    path = diagnostics.discrete_sites(hmm(), y, method="most probable")
    drawn = diagnostics.discrete_sites(hmm(), y, method="draws", num_samples=2000)
    again = diagnostics.discrete_sites(hmm(), y, method="draws", num_samples=2000)
    assert drawn.equals(again)
    for at, name in enumerate(NAMES):
        assert shares[name].dims == (f"{name}_value", "data")
        assert path[name].dims == ("data",)
        assert drawn[name].dims == ("draw", "data")
        assert path[name].values.tolist() == best[:, at].tolist()
        for value in range(3):
            exact = posterior[places[:, at] == value].sum(0)
            torch.testing.assert_close(torch.as_tensor(shares[name].sel({f"{name}_value": value}).values), exact)
            error = (exact * (1 - exact) / 2000).sqrt()
            seen = torch.as_tensor((drawn[name].values == value).mean(0))
            assert bool(((seen - exact).abs() < SIGMAS * error + 1e-3).all())
    likelihood = evaluation.log_likelihood(hmm(), y, method="exact")
    assert likelihood.kind == "exact"
    torch.testing.assert_close(torch.as_tensor(likelihood.pointwise.values).double(), joint.logsumexp(0))


@pytest.mark.parametrize("vectorize", [True, False])
def test_a_mixture_beside_a_latent_of_the_guide(vectorize: bool) -> None:
    """Catches draws of a site that do not belong to the guide's draw, and densities with the drawn site in them."""
    pair = Mixture(drawn="z")
    count = 300 if vectorize else 60
    tree = diagnostics.from_pyro_svi(pair, X, num_samples=count, prior=False, vectorize_particles=vectorize)
    z = torch.as_tensor(tree.posterior.z.values[0]).double()
    law = dist.Normal(pair.means + z[..., None, None], 1.0).to_event(1)
    logits = pair.prior + z.unsqueeze(-1) * pair.tilt
    each = (logits.log_softmax(-1) + law.log_prob(X.unsqueeze(1))).detach()
    prior = dist.Normal(0.2, 1.0).log_prob(z)
    stats = tree.sample_stats
    torch.testing.assert_close(torch.as_tensor(tree.log_likelihood.x.values[0]), each.logsumexp(-1))
    torch.testing.assert_close(torch.as_tensor(stats.log_p.values[0]), each.logsumexp(-1) + prior)
    torch.testing.assert_close(
        torch.as_tensor((stats.log_p - stats.log_q).values), torch.as_tensor(stats.log_weight.values)
    )
    shares = each.softmax(-1)
    for value in range(3):
        surplus = torch.as_tensor(tree.posterior.c.values[0] == value).double() - shares[..., value]
        error = (shares[..., value] * (1 - shares[..., value])).sum(0).sqrt()
        assert bool((surplus.sum(0).abs() < SIGMAS * error + 1e-6).all())
    found = diagnostics.discrete_sites(pair, X, num_samples=count, vectorize_particles=vectorize)
    assert found.c.sizes == {"c_value": 3, "data": 4}
    assert abs(float(found.c.sum("c_value").mean()) - 1) < 1e-6
    assert diagnostics.discrete_sites(pair, X, method="most probable", num_samples=3).c.dims == ("draw", "data")


def test_sites_in_inner_plates_and_with_events_keep_their_names() -> None:
    """Catches plates in another order than the tree's, and one value of a site for a whole inner plate."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            with pyro.plate("column", x.shape[1], dim=-2):
                c = pyro.sample("c", dist.OneHotCategorical(torch.tensor([0.2, 0.5, 0.3]).double()), infer=MARK)
                pyro.sample("x", dist.Normal(c @ LOC, 1.0), obs=x.T)

    x = rows(3)
    each = dist.Normal(LOC, 1.0).log_prob(x.T.unsqueeze(-1)) + torch.tensor([0.2, 0.5, 0.3]).double().log()
    shares = diagnostics.discrete_sites(ppgen.Pair(model, lambda x: None), x).c
    assert shares.dims == ("c_value", "column", "data")
    torch.testing.assert_close(torch.as_tensor(shares.values), each.softmax(-1).movedim(-1, 0))
    path = diagnostics.discrete_sites(ppgen.Pair(model, lambda x: None), x, method="most probable").c
    assert path.dims == ("column", "data", "c_dim_0")
    assert path.values.argmax(-1).tolist() == each.argmax(-1).tolist()
    tree = diagnostics.from_pyro_svi(ppgen.Pair(model, lambda x: None), x, num_samples=400, prior=False)
    assert tree.posterior.c.dims == ("chain", "draw", "column", "data", "c_dim_0")
    seen = torch.as_tensor(tree.posterior.c.values[0]).double().mean(0)
    error = (each.softmax(-1) * (1 - each.softmax(-1)) / 400).sqrt()
    assert bool(((seen - each.softmax(-1)).abs() < SIGMAS * error + 1e-6).all())
    exact = each.logsumexp(-1).sum(0)
    assert math.isclose(float(tree.log_likelihood.x.values[0, 0, 0]), float(exact[0]), abs_tol=1e-6)


def test_a_model_without_such_sites_is_told_so() -> None:
    """Catches an empty dataset where the guide draws all sites."""
    with pytest.raises(ValueError, match="no discrete site that is summed out"):
        diagnostics.discrete_sites(Mixture(drawn="c"), X)
