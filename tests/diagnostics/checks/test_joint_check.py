"""The report on fits whose latents are common to all data: figures of the joint weights, and what is not defined."""

import hierarchies
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics, evaluation

X = hierarchies.DATA
NAMES = ["log-evidence", "gap of the guide", "Pareto k", "effective particles", "single data", "calibration"]


def test_a_good_guide_has_no_warning():
    """Catches a refusal of fits with latents common to all data, and a divergence with the wrong sign or scale."""
    found = diagnostics.check(hierarchies.pair(width=1.2), X)
    assert [finding.name for finding in found.findings] == NAMES and found.ok
    # E_q[log q - log p] of five independent Normals that are 1.2 times too wide.
    divergence = 5 * (0.5 * (1.2**2 - 1) - torch.tensor(1.2).log().item())
    gap = found["gap of the guide"].values
    assert abs(gap["gap"] - divergence) < 4 * gap["se"]
    assert abs(found.log_likelihood.value - hierarchies.log_evidence(X)) < 4 * found.log_likelihood.se
    assert "4 rows, which share 'mean'" in found.subject
    assert "loo_approximate_posterior" in found["single data"].text
    assert "simulates whole data sets" in found["calibration"].text


def test_a_fit_says_so_itself():
    """Catches `Run.check` that knows no fit with latents common to all data, and a guide that does not read them."""
    pair = ppgen.Pair(hierarchies.model, hierarchies.fitted_guide)
    run = ppgen.fit(pair, X, "elbo", steps=2, batch_size=len(X), progress=False, seed=0)
    found = run.check(X, num_particles=200)
    assert 'refit="svi"' in found["calibration"].text


def test_a_narrow_guide_is_told():
    """Catches weights of a narrow guide told as sound, and advice that does not fit them."""
    found = diagnostics.check(hierarchies.pair(width=0.4, shift=0.3), X)
    warned = {finding.name for finding in found.warnings}
    assert {"gap of the guide", "Pareto k"} <= warned
    assert found["Pareto k"].values["pareto_k"] > 0.7 and "better" not in found["single data"].text
    assert "nats from the posterior of all latents together" in found["gap of the guide"].warning


def flat(x):
    mean = pyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def test_what_is_not_defined_is_said():
    """Catches evidence and calibration under an improper prior, and weights refused that need no evidence."""
    found = diagnostics.check(ppgen.Pair(flat, lambda x: pyro.sample("mean", dist.Normal(x.mean(), 0.6))), X)
    assert found.log_likelihood is None and found.ok
    for name in ("log-evidence", "calibration"):
        assert "not defined: site 'mean' has an improper prior" in found[name].text
    # The posterior is N(mean, 1 / 2): the divergence is that of a Normal 1.2 times too wide.
    gap = found["gap of the guide"].values
    assert abs(gap["gap"] - (0.5 * (1.2**2 - 1) - torch.tensor(1.2).log().item())) < 4 * gap["se"]


def test_points_have_no_weights():
    """Catches the log joint at a point told as evidence."""

    def point(x):
        pyro.sample("mean", dist.Delta(pyro.param("point", torch.tensor(0.0))))

    found = diagnostics.check(ppgen.Pair(flat, point), X)
    assert [finding.name for finding in found.findings] == ["guide", "single data", "calibration"]


@pytest.mark.parametrize("name", ["train", "log_likelihood", "partitions"])
def test_arguments_of_single_data_are_refused(name):
    """Catches an argument that is left unread."""
    value = evaluation.Estimate(-1.0, 0.0, "exact", "exact") if name == "log_likelihood" else X
    with pytest.raises(ValueError, match=f"{name} is of data that have likelihoods of their own"):
        diagnostics.check(hierarchies.pair(), X, **{name: value})
