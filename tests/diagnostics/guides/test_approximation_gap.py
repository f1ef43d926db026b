"""Amortisation gap and family gap against a linear-Gaussian pair of which both are known."""

import math

import hierarchies
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics, distributions, inference, models
from ppgen.diagnostics.guides import approximation_gap

WEIGHT = torch.tensor([[1.5, 1.2], [-0.5, 0.3], [0.8, 0.9]], dtype=torch.float64)  # (features, latent)
NOISE = 0.8
PRECISION = torch.eye(2, dtype=torch.float64) + WEIGHT.T @ WEIGHT / NOISE**2  # of the posterior, which is correlated
SCALE = PRECISION.diagonal().rsqrt()  # of the best independent Normals
SHRINK, WIDTH = 0.8, 1.3  # what is wrong with the amortised guide: means too small, standard deviations too large


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z @ WEIGHT.T, NOISE).to_event(1), obs=x)


def posterior_mean(x):
    return x @ WEIGHT / NOISE**2 @ PRECISION.inverse()


def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(SHRINK * posterior_mean(x), WIDTH * SCALE).to_event(1))


def data(rows=6):
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return z @ WEIGHT.T + NOISE * torch.randn(rows, 3, generator=generator, dtype=torch.float64)


def divergence(shift, scale):
    """KL of independent Normals from the posterior, whose mean they miss by a shift (rows, 2)."""
    quadratic = torch.einsum("ni,ij,nj->n", shift, PRECISION, shift)
    trace = (PRECISION.diagonal() * scale.square()).sum()
    return 0.5 * (trace - 2 + quadratic - PRECISION.logdet()) - scale.log().sum()


FAMILY = divergence(torch.zeros(1, 2, dtype=torch.float64), SCALE).item()  # 0.43 nats


def amortisation(x):
    return divergence((SHRINK - 1) * posterior_mean(x), WIDTH * SCALE) - FAMILY


@pytest.mark.parametrize("method", ["ais", "importance"])
def test_both_gaps_against_the_closed_form(method) -> None:
    """Catches the two gaps in each other's place, a gap with the wrong sign, errors that miss a part, and rows mixed
    up: family gap = KL(best independent Normals || posterior), the same for all; amortisation gap = the rest."""
    x = data()
    found = diagnostics.approximation_gap(
        ppgen.Pair(model, guide),
        x,
        method=method,
        betas=100,
        num_particles=20_000,
        num_samples=4000,
        steps=300,
        seed=2,
    )
    told = found.dataset
    evidence = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
    ).log_prob(x)
    assert 0.2 < FAMILY < 0.8 and 0.02 < amortisation(x).min() < amortisation(x).max() < 2
    slack = 1e-3  # nats that the fit may have left
    for name, truth in (
        ("log_likelihood", evidence),
        ("elbo", evidence - FAMILY - amortisation(x)),
        ("refined_elbo", evidence - FAMILY),
        ("amortisation_gap", amortisation(x)),
        ("family_gap", torch.full((6,), FAMILY)),
        ("gap", FAMILY + amortisation(x)),
    ):
        error = told[f"{name}_se"].values
        assert (abs(told[name].values - truth.numpy()) < 4 * error + slack).all(), name
        assert (0 < error).all() and (error < 0.1).all(), name
        value, mean_error = found.mean(name)
        assert abs(value - float(truth.mean())) < 4 * mean_error + slack and mean_error < 0.04
    np.testing.assert_allclose(told.gap, told.amortisation_gap + told.family_gap)
    np.testing.assert_allclose(told.family_gap_se, np.hypot(told.log_likelihood_se, told.refined_elbo_se))
    np.testing.assert_allclose(told.amortisation_gap_se, np.hypot(told.refined_elbo_se, told.elbo_se))
    assert found.warning is None and "The family is the larger part" in repr(found)
    assert found.amortisation_share == pytest.approx(
        float((amortisation(x) / (amortisation(x) + FAMILY)).mean()), abs=0.1
    )


def test_a_family_that_holds_the_posterior_leaves_amortisation_alone() -> None:
    """Catches a family that has no effect, and advice that does not follow the numbers."""
    found = diagnostics.approximation_gap(
        ppgen.Pair(model, guide), data(), family="full-rank", method="importance", num_particles=10_000, steps=300
    )
    value, error = found.mean("family_gap")
    assert abs(value) < 4 * error + 1e-3
    assert found.amortisation_share > 0.9 and "Amortisation is the larger part" in repr(found)
    assert found.family == "full-rank"


def test_an_exact_guide_has_no_gap() -> None:
    """Catches a share of a gap that is nothing but noise, and a guide richer than the fit that goes without a word."""

    def exact(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(posterior_mean(x), precision_matrix=PRECISION))

    pair = ppgen.Pair(model, exact)
    how = {"method": "importance", "num_particles": 500, "steps": 200}
    found = diagnostics.approximation_gap(pair, data(), family="full-rank", **how)
    assert np.isnan(found.amortisation_share) and "no gap to close" in repr(found)
    poor = diagnostics.approximation_gap(pair, data(), **how)
    assert "the amortisation gap is negative" in poor.warning and "family='full-rank'" in poor.warning
    assert poor.mean("amortisation_gap")[0] == pytest.approx(-FAMILY, abs=0.05)


def test_a_flow_closes_the_gap_of_the_family() -> None:
    """Catches a flow's guide that is scored or fitted as if its draws were those of its base: of a Normal posterior one
    coupling step makes the exact guide, so that of the gap before, the family's, nothing is left."""
    factor = torch.linalg.cholesky(PRECISION.inverse())
    network = torch.nn.Linear(2, 2, dtype=torch.float64)  # shift and log-scale of z_2, from z_1 and the mean of z_1
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]) * factor[1, 0] / factor[0, 0])
        network.bias.zero_()

    def moved(x):
        mean = posterior_mean(x)
        with pyro.plate("data", len(x)):
            base = dist.Normal(mean, factor.diagonal()).to_event(1)
            pyro.sample("z", distributions.AffineCoupling(base, network, given=mean[:, :1]))

    def diagonal(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(posterior_mean(x), SCALE).to_event(1))

    how = {"method": "importance", "num_particles": 1000, "steps": 150}
    before = diagnostics.approximation_gap(ppgen.Pair(model, diagonal), data(), **how)
    after = diagnostics.approximation_gap(ppgen.Pair(model, moved), data(), family="full-rank", **how)
    assert before.mean("family_gap")[0] == pytest.approx(FAMILY, abs=0.1)
    for name in ("gap", "amortisation_gap", "family_gap"):
        assert after.mean(name)[0] == pytest.approx(0, abs=0.01)


def test_bad_arguments() -> None:
    """Catches work that starts before arguments and sites are checked, and errors that do not say what to use."""
    vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.ones(5, 4)
    for arguments, message in (
        ({"method": "exact"}, "method must be one of 'ais', 'importance'"),
        ({"family": "flow"}, "family must be one of"),
        ({"steps": 0}, "steps must be an integer"),
        ({"num_samples": 1}, "num_samples must be"),
        ({"num_chains": 1}, "num_chains"),
        ({"start": "data"}, "start"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnostics.approximation_gap(vae, x, **arguments)
    bits = torch.ones(5, 4)
    with pytest.raises(ValueError, match=r"site 'z1' is discrete \(\w*Bernoulli\).*diagnostics\.importance_weights"):
        diagnostics.approximation_gap(models.SigmoidBeliefNet((4, 3)), bits)
    with pytest.raises(ValueError, match="exact posterior.*no gap"):
        diagnostics.approximation_gap(models.RBM(visible=4, hidden=3), bits)
    with pytest.raises(ValueError, match="under a Boltzmann machine"):
        diagnostics.approximation_gap(models.DBM(visible=4, hidden=(3, 2)), bits)
    with pytest.raises(ValueError, match="must be one of 'log_likelihood'"):
        diagnostics.approximation_gap(vae, x, method="importance", num_particles=5, steps=1).mean("loss")

    def bare(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0).expand([4]).to_event(1), obs=x)

    with pytest.raises(ValueError, match="has no latent site"):
        diagnostics.approximation_gap(ppgen.Pair(bare, lambda x: None), x)


def test_the_caller_is_left_alone() -> None:
    """Catches draws from the caller's random state, parameters that move, and a plate renamed to the default."""

    def line(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.3)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def near(x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.7))

    pair, x = ppgen.Pair(line, near, plate="rows"), torch.linspace(-1, 1, 4)
    state = torch.get_rng_state()
    first, second = (
        diagnostics.approximation_gap(pair, x, betas=10, num_chains=5, steps=5, num_samples=20) for _ in range(2)
    )
    assert torch.equal(state, torch.get_rng_state()) and pair.training
    assert first.dataset.identical(second.dataset) and first.dataset.gap.dims == ("rows",)
    assert [float(tensor.detach()) for tensor in pair.parameters()] == [pytest.approx(0.3)]


def test_gap_of_latents_common_to_all_data():
    """Catches a bound of each row where there is one of all, and a guide that reads no data told as amortised.

    Independent Normals lose half the logarithm of the product of the posterior's precisions over their determinant.
    """
    family = 0.5 * math.log(4.25 / 3.45)
    pair = hierarchies.pair(width=1.2)
    found = diagnostics.approximation_gap(pair, hierarchies.DATA, method="importance", steps=300, lr=0.02)
    assert found.dataset.gap.dims == () and found.amortised
    value, error = found.mean("family_gap")
    assert abs(value - family) < 4 * error + 0.03
    divergence = 5 * (0.5 * (1.2**2 - 1) - math.log(1.2))
    value, error = found.mean("gap")
    assert abs(value - divergence) < 4 * error
    assert "all data together, nats" in repr(found) and "Amortisation" in repr(found)
    pair = ppgen.Pair(hierarchies.model, hierarchies.fitted_guide)
    found = diagnostics.approximation_gap(pair, hierarchies.DATA, method="importance", steps=5)
    assert not found.amortised and "Training of the guide" in repr(found)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (100, 500)),
        ({"kernel": inference.HMC(num_steps=3)}, (100, 500)),
        ({"kernel": inference.SparseGibbs()}, (None, None)),
        ({"kernel": inference.SparseGibbs(), "betas": 30}, (None, 30)),
    ],
)
def test_a_kernel_has_its_own_budget(monkeypatch, options, expected) -> None:
    """Catches the runs and levels of Hamiltonian chains for a kernel of another kind, and one's own overruled."""

    class Asked(Exception):
        pass

    def watched(pair, x, **how):
        raise Asked(how["num_chains"], how["betas"])

    monkeypatch.setattr(approximation_gap, "log_likelihood", watched)
    with pytest.raises(Asked) as asked:
        diagnostics.approximation_gap(ppgen.Pair(model, guide), data(), **options)
    assert asked.value.args == expected
