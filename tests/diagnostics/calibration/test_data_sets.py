"""Calibration on whole data sets, where latents are common to all data."""

import hierarchies
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics
from ppgen.diagnostics.calibration.data_sets import JointSites
from ppgen.diagnostics.calibration.refit import refitted
from ppgen.evaluation.evidence.all_data import all_data

X = hierarchies.DATA


def calibrate(pair, **arguments):
    """At a level at which an exact posterior fails once in 10,000 seeds."""
    return diagnostics.simulation_based_calibration(pair, x=X, **{"level": 1e-4, "num_simulations": 200, **arguments})


def test_the_posterior_is_calibrated():
    """Catches truth and draws of different data sets, draws of other rows, densities that lack the common latent."""
    found = calibrate(hierarchies.pair())
    assert found.calibrated and found.sites == ("mean", "z")
    assert dict(found.pit.sizes) == {"simulation": 200, "data": 4}
    assert found.x.shape == (200, 4)


def test_a_narrow_guide_is_told():
    """Catches ranks of the common latent that are no ranks of its own."""
    found = calibrate(hierarchies.pair(width=0.5))
    assert not found.calibrated
    assert "narrow" in found.directions("mean") and len(found.directions("z")["narrow"]) == 4
    assert "better" in found.directions("log_joint")


def test_log_joint_sees_a_guide_that_is_the_prior():
    """Catches log p(x | z) of another data set: ranks of the latents alone do not see a guide that ignores the data."""

    def prior(x):
        mean = pyro.sample("mean", dist.Normal(0.0, hierarchies.PRIOR_SCALE))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(mean, hierarchies.SPREAD))

    found = calibrate(ppgen.Pair(hierarchies.model, prior))
    assert not found.fails["mean"].any() and not found.fails["z"].any()
    assert "worse" in found.directions("log_likelihood")


def refit(pair, x):
    """The guide's own parameters at the posterior of x: its independent Normals, which are too narrow."""
    loc, _ = hierarchies.posterior_of_mean(x)
    with torch.no_grad():
        for name, value in pair.named_parameters():
            if name.endswith("loc"):
                value.copy_(torch.cat([loc[None], loc + 0.8 * (x - loc)]))
            else:
                value.copy_(torch.tensor([0.3] + [0.43] * len(x)).log())


def test_a_guide_that_reads_no_data_is_fitted_to_each_data_set():
    """Catches draws of the guide of another data set, parameters left as the last fit made them, and a guide that was
    fitted once taken for the posterior of all data sets."""
    pair = ppgen.Pair(hierarchies.model, hierarchies.fitted_guide)
    pair.prepare(X)
    before = {name: value.clone() for name, value in pair.state_dict().items()}
    with pytest.raises(ValueError, match='give refit="svi"'):
        calibrate(pair)
    found = calibrate(pair, refit=refit)
    assert "fitted to each simulated data set" in found.method
    # The mean of each Normal is right, the width of the common one 0.56 times that of the posterior.
    assert abs(float(found.shift["mean"])) < 4 * float(found.spread["mean"]) / 200**0.5
    assert "narrow" in found.directions("mean")
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())


def test_a_fit_by_svi_is_that_of_all_rows(monkeypatch):
    """Catches a fit of the guide that takes the data set for one datum, so that the prior counts once for each row."""
    monkeypatch.setattr("ppgen.diagnostics.calibration.refit.STEPS", 60)
    monkeypatch.setattr("ppgen.diagnostics.calibration.refit.LR", 0.2)
    pair, x = ppgen.Pair(hierarchies.model, hierarchies.fitted_guide), X + 3
    pair.prepare(x)
    (loc,) = (value for name, value in pair.named_parameters() if name.endswith("loc"))
    for _ in refitted(pair, [x], "svi", num_data=len(x)):
        assert loc[0].item() == pytest.approx(float(hierarchies.posterior_of_mean(x)[0]), abs=0.25)
    assert not loc.any()


@pytest.mark.parametrize("vectorize", [True, False])
def test_densities_are_those_of_the_model(vectorize):
    """Catches plates left out or counted twice in log p(z) and log p(x | z), with and without broadcasting."""
    pair = hierarchies.pair()
    sites = JointSites(pair, all_data(pair, X), vectorize)
    draws = {"mean": torch.tensor([0.1, 0.7, -1.0]), "z": torch.randn(3, 4)}
    prior, likelihood = sites.densities(X, draws)
    expected = dist.Normal(0.0, 2.0).log_prob(draws["mean"])
    expected = expected + dist.Normal(draws["mean"][:, None], 1.0).log_prob(draws["z"]).sum(1)
    torch.testing.assert_close(prior.float(), expected)
    torch.testing.assert_close(likelihood.float(), dist.Normal(draws["z"], 0.5).log_prob(X).sum(1))


def flat(x):
    mean = pyro.sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def computed(x):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=2 * x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (flat, "calibration is not defined: site 'mean' has an improper prior"),
        (computed, "cannot be simulated at site 'x': it does not observe one argument as it is"),
    ],
)
def test_models_that_cannot_be_simulated_are_refused(model, message):
    """Catches calibration on data that are not those of the model."""
    with pytest.raises(ValueError, match=message):
        calibrate(ppgen.Pair(model, lambda x: pyro.sample("mean", dist.Normal(x.mean(), 0.5))))
