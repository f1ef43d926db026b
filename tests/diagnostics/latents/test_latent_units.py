"""Activity, divergences and the decomposition of latent units, against closed forms, quadrature and enumeration."""

import dataclasses
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import datasets, diagnostics, inference, models
from ppgen.testing.examples import bit_vectors


def surplus_vae(used=2, latent=5):
    """A VAE of float64 whose guide is the prior, exactly, beyond the first `used` units; and data for it."""
    vae = models.VAE(features=4, latent=latent, hidden=()).double()
    with torch.no_grad():
        for head in (vae.encoder.loc, vae.encoder.log_scale):
            for tensor in head.parameters():
                tensor.normal_(0, 0.7)
                tensor[used:] = 0
    return vae, torch.rand(60, 4, dtype=torch.float64).lt(0.4).double()


def normal_divergence(law):
    return 0.5 * (law.mean.square() + law.variance - 1 - law.variance.log())


def test_surplus_units_are_inactive_and_others_have_their_closed_form() -> None:
    """Catches an activity with Monte Carlo noise in it, over the draws instead of the data, or with n in place of
    n - 1; a divergence summed over units; and units in another order."""
    vae, x = surplus_vae()
    found = diagnostics.latent_units(vae, x, num_samples=3, chunk=21)  # blocks of 7 rows
    law, units = vae.encoder(x).base_dist, found.of("z")
    np.testing.assert_allclose(units.activity, law.mean.var(0).detach(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(units.kl, normal_divergence(law).mean(0).detach(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(units["mean"], law.mean.mean(0).detach(), rtol=1e-10, atol=1e-15)
    assert units.active.values.tolist() == [True, True, False, False, False]
    assert (units.activity[2:] == 0).all() and (units.kl[2:] == 0).all() and (units.kl_se == 0).all()
    assert found.num_inactive == 3 and found.share_inactive == 0.6 and found.collapsed_sites == ()
    text = repr(found)
    assert "2 of 5 units active" in text and "3 inactive (60%)" in text and "in closed form" in text
    assert found.warning is None and "a smaller latent layer would do" in found.advice


def test_a_vae_that_tells_nothing_has_collapsed() -> None:
    """Catches a collapse that is not told, and a mutual information that is noise where there is none."""
    vae, x = surplus_vae(used=0)
    found = diagnostics.latent_units(vae, x, num_samples=5)
    assert found.collapsed_sites == ("z",) and "Warning: posterior collapse" in repr(found)
    assert abs(float(found.dataset.mutual_information)) < 1e-12
    assert abs(float(found.dataset.marginal_divergence)) < 1e-12


def test_units_that_cost_without_use_are_told() -> None:
    """Catches an inactive unit taken for the prior: here the posterior is narrow and the same for all data."""
    vae, x = surplus_vae(used=3)
    with torch.no_grad():
        vae.encoder.log_scale.output.bias[3] = -1.0
    assert "1 unit cost more than 0.01 nats" in diagnostics.latent_units(vae, x).advice


def test_a_trained_vae_uses_few_of_its_units() -> None:
    """Catches numbers that hold for made-up weights alone: under twice the divergence most units of a VAE on digits
    come to nothing, and the others carry all of it."""
    torch.manual_seed(0)
    vae, data = models.VAE(features=64, latent=12, hidden=(32,)), datasets.load("digits", binarize="threshold")
    how = inference.Inference(inference.ELBO(kl_weight=2.0), inference.AnalyticKL())
    run = ppgen.fit(vae, data, how, epochs=30, batch_size=100, lr=2e-2, seed=0, progress=False, compile=False)
    found = diagnostics.latent_units(run, data.test)
    units = found.of("z")
    assert found.num_inactive >= 3 and int((units.activity > 0.2).sum()) >= 2
    assert float(units.kl[~units.active].max()) < 0.03
    assert float(units.kl[units.active].sum()) > 0.95 * float(found.dataset.divergence)
    np.testing.assert_allclose(units.kl.sum(), found.dataset.divergence, rtol=1e-6)


SLOPE, SCALE, PRIOR = 0.8, 0.5, 1.3


def line_model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), PRIOR))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def line_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(SLOPE * x + 0.3, SCALE))


def test_the_decomposition_against_quadrature_and_the_closed_form() -> None:
    """Catches a q(z) without the row itself or without 1/N, a prior in its place, parts that do not add up, and errors
    that are too small: of the rows by quadrature; and of the law they come from, a Normal, by its variances."""
    pair = ppgen.Pair(line_model, line_guide)
    x = 1.5 * torch.randn(800, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = torch.linspace(-12, 12, 8001, dtype=torch.float64)
    density = torch.distributions.Normal(SLOPE * x[:, None] + 0.3, SCALE).log_prob(grid).exp().mean(0)
    prior = torch.distributions.Normal(0.0, PRIOR).log_prob(grid)
    marginal = float((density * (density.log() - prior)).nan_to_num().sum() * (grid[1] - grid[0]))
    told = diagnostics.latent_units(pair, x, num_samples=10, num_aggregate=4000, seed=3).dataset
    mean = SLOPE * x + 0.3
    divergence = (mean.square() + SCALE**2) / (2 * PRIOR**2) - 0.5 + math.log(PRIOR / SCALE)
    assert float(told.divergence) == pytest.approx(float(divergence.mean()), abs=1e-10)
    assert float(told.divergence_se) == 0
    assert float(told.mutual_information + told.marginal_divergence) == pytest.approx(float(told.divergence))
    for name, truth in (("marginal_divergence", marginal), ("mutual_information", float(divergence.mean()) - marginal)):
        error = float(told[f"{name}_se"])
        assert abs(float(told[name]) - truth) < 4 * error and 0 < error < 0.02, name
    population = 0.5 * math.log(1 + (SLOPE * 1.5 / SCALE) ** 2)
    assert float(told.mutual_information) == pytest.approx(population, abs=0.07)


def test_errors_of_the_decomposition() -> None:
    """Catches errors far from what another seed changes, of all rows and of some of them by chance, with divergences
    in closed form and by draws."""

    def shifted(x):  # Normal, but by a name for which no closed form is known
        with pyro.plate("data", len(x)):
            law = dist.Normal(SLOPE * x + 0.3, SCALE)
            pyro.sample("z", dist.TransformedDistribution(law, [dist.transforms.AffineTransform(0.0, 1.0)]))

    x = 1.5 * torch.randn(100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for guide, number in ((line_guide, 300), (line_guide, 40), (shifted, 300), (shifted, 40)):
        pair = ppgen.Pair(line_model, guide)
        runs = [
            diagnostics.latent_units(pair, x, num_samples=6, num_aggregate=number, seed=seed).dataset
            for seed in range(40)
        ]
        active = np.array([float(run.z_activity) for run in runs])
        slack = 4 * active.std(ddof=1) / 40**0.5 + 1e-12  # without the noise taken off it is SCALE^2 / 6 too large
        assert abs(active.mean() - float((SLOPE * x).var())) < slack and slack < SCALE**2 / 6
        assert bool(runs[0].closed_form) == (guide is line_guide)
        for name in ("mutual_information", "marginal_divergence", "divergence"):
            values = np.array([float(run[name]) for run in runs])
            error = np.sqrt(np.mean([float(run[f"{name}_se"]) ** 2 for run in runs]))
            if error == 0:
                assert np.ptp(values) < 1e-12
            else:
                assert 0.6 < values.std(ddof=1) / error < 1.5, (guide.__name__, number, name)


def test_two_layers_of_bits_against_enumeration() -> None:
    """Catches a divergence of the lower layer taken against a prior that the guide had not drawn yet, one of the upper
    layer that is not averaged over the lower, and a decomposition of one layer alone."""
    sbn = models.SigmoidBeliefNet(sizes=(4, 3, 2)).double()
    with torch.no_grad():
        for tensor in sbn.parameters():
            tensor.normal_(0, 1.0)
    x = torch.rand(12, 4, dtype=torch.float64).lt(0.4).double()
    lower, upper = bit_vectors(3), bit_vectors(2)
    with torch.no_grad():
        first = sbn.encoders[0](x)  # q(z1 | x)
        log_q1 = first.log_prob(lower[:, None])  # (8, rows)
        second = sbn.encoders[1](lower)  # q(z2 | z1)
        log_q2 = second.log_prob(upper[:, None])  # (4, 8)
        prior = sbn.prior()
        below = sbn.decoders[1](upper)  # p(z1 | z2)
        log_p = prior.log_prob(upper)[:, None] + below.log_prob(lower[:, None]).T  # (4, 8)
        log_q = log_q1 + log_q2[:, :, None]  # (4, 8, rows)
        mass = log_q.exp()
        divergence = (mass * (log_q - log_p[:, :, None])).sum((0, 1)).mean()
        aggregate = mass.mean(-1)
        information = (mass * (log_q - aggregate.log()[:, :, None])).sum((0, 1)).mean()
        q1 = torch.distributions.Bernoulli(first.mean)  # of units
        units1 = torch.distributions.Bernoulli(below.mean)
        terms = q1.log_prob(lower[:, None])[None] - units1.log_prob(lower[:, None, :]).transpose(0, 1)[:, :, None]
        kl1 = (mass[..., None] * terms).sum((0, 1)).mean(0)
        each = torch.distributions.kl_divergence(
            torch.distributions.Bernoulli(second.mean), torch.distributions.Bernoulli(prior.mean.expand(8, 2))
        )
        kl2 = (log_q1.exp()[..., None] * each[:, None]).sum(0).mean(0)
        mean2 = (log_q1.exp()[..., None] * second.mean[:, None]).sum(0)  # (rows, 2)
    found = diagnostics.latent_units(sbn, x, num_samples=4000, num_aggregate=6000, seed=2)
    told = found.dataset
    assert found.sites == ("z1", "z2") and found.binary_sites == ("z1", "z2")
    assert told.closed_form.values.tolist() == [False, True]
    for values, errors, truth in (
        (told.z1_kl, told.z1_kl_se, kl1),
        (told.z2_kl, told.z2_kl_se, kl2),
        (told.divergence, told.divergence_se, divergence),
        (told.mutual_information, told.mutual_information_se, information),
        (told.marginal_divergence, told.marginal_divergence_se, divergence - information),
    ):
        assert (abs(values - truth.numpy()) < 4 * errors).all(), values.name
        assert (0 < errors).all() and (errors < 0.03).all(), values.name
    np.testing.assert_allclose(told.z1_activity, first.mean.detach().var(0), rtol=1e-9)
    np.testing.assert_allclose(told.z2_activity, mean2.var(0), rtol=0.1, atol=1e-4)
    np.testing.assert_allclose(told.kl_of_site.sum(), told.divergence)


def test_hidden_units_of_a_machine() -> None:
    """Catches dead and saturated units that are not told, and a divergence from a prior whose log Z is not known."""
    weight = torch.randn(6, 4, dtype=torch.float64)
    weight[:, 2:] = 0
    rbm = models.RBM.from_arrays(weight.numpy(), np.zeros(6), np.array([0.2, -0.1, -20.0, 20.0])).double()
    x = torch.rand(30, 6, dtype=torch.float64).lt(0.4).double()
    found = diagnostics.latent_units(rbm, x)
    assert found.dataset.hidden_active.values.tolist() == [True, True, False, False]
    assert "1 never on, 1 always on" in repr(found) and "hidden_kl" not in found.dataset
    hidden = bit_vectors(4)
    with torch.no_grad():
        machine = rbm.machine()
        log_q = machine.conditional("hidden", given=x).log_prob(hidden[:, None])  # (16, rows)
        log_p = machine.marginal("hidden").unnormalised(hidden)
        log_p = log_p - log_p.logsumexp(0)
        divergence = (log_q.exp() * (log_q - log_p[:, None])).sum(0).mean()
        marginal = log_q.exp().mean(1)
        marginal = (marginal * (marginal.log() - log_p)).sum()
    told = found.dataset
    assert abs(float(told.divergence) - float(divergence)) < 4 * float(told.divergence_se)
    assert abs(float(told.marginal_divergence) - float(marginal)) < 4 * float(told.marginal_divergence_se)
    large = diagnostics.latent_units(models.RBM(visible=30, hidden=25), torch.rand(9, 30).lt(0.4).float())
    assert np.isnan(large.dataset.divergence) and np.isfinite(large.dataset.mutual_information)
    assert "log Z of the prior is not known" in repr(large)
    exact = ppgen.evaluation.log_partition(rbm, method="exact")
    uncertain = dataclasses.replace(exact, value=exact.value + 1.0, se=0.2, kind="estimate")
    given = diagnostics.latent_units(rbm, x, log_partition={"hidden": uncertain}).dataset
    assert float(given.divergence) == pytest.approx(float(told.divergence) + 1.0)
    assert float(given.mutual_information) == pytest.approx(float(told.mutual_information))
    for name in ("divergence_se", "marginal_divergence_se", "kl_of_site_se"):
        np.testing.assert_allclose(given[name], np.hypot(told[name], 0.2))


def groups_pair():
    """Bits in a plate of two, a one-hot vector, a category, and a Normal of full covariance, all of one datum."""

    def model(x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("code", dist.OneHotCategorical(x.new_ones(3) / 3).expand([1]))
            pyro.sample("kind", dist.Categorical(x.new_ones(4) / 4).expand([1]))
            z = pyro.sample("z", dist.MultivariateNormal(x.new_zeros(2), torch.eye(2, dtype=x.dtype)).expand([1]))
            with pyro.plate("pair", 2, dim=-1):
                pyro.sample("bits", dist.Bernoulli(x.new_tensor(0.3)))
            pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("code", dist.OneHotCategorical(logits=torch.stack([x, 0 * x, -x], -1)))
            pyro.sample("kind", dist.Categorical(logits=torch.stack([x, x, -x, x], -1)))
            tril = torch.tensor([[0.5, 0.0], [0.3, 0.7]], dtype=x.dtype)
            pyro.sample("z", dist.MultivariateNormal(torch.stack([x, 0.1 + 0 * x], -1), scale_tril=tril))
            with pyro.plate("pair", 2, dim=-1):
                pyro.sample("bits", dist.Bernoulli(logits=x * x.new_tensor([1.0, 0.0])))

    return ppgen.Pair(model, guide), torch.linspace(-2, 2, 15, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("vectorize", [True, False])
def test_groups_plates_and_full_covariances(vectorize) -> None:
    """Catches the codes of categories taken for numbers, a group counted as its categories, a plate of units that is
    averaged over or mistaken for the rows, and units invented where a law does not factorise."""
    pair, x = groups_pair()
    found = diagnostics.latent_units(
        pair, x, num_samples=20, num_aggregate=30, vectorize_particles=vectorize, dims={"z": ["unit"]}
    )
    told = found.dataset
    assert told.code_activity.dims == () and told.kind_activity.dims == ()
    assert told.bits_activity.dims == ("pair",) and told.z_activity.dims == ("unit",)
    probs = torch.stack([x, 0 * x, -x], -1).softmax(-1)[:, 0]
    assert float(told.code_activity) == pytest.approx(float(probs.var(0).sum()))
    assert float(told.code_kl) == pytest.approx(float((probs * (3 * probs).log()).sum(-1).mean()))
    probs = torch.stack([x, x, -x, x], -1).softmax(-1)[:, 0]
    assert float(told.kind_activity) == pytest.approx(float(probs.var(0).sum()))
    np.testing.assert_allclose(told.bits_activity, [float(x.sigmoid().var()), 0.0], atol=1e-12)
    np.testing.assert_allclose(told.z_activity, [float(x.var()), 0.0], atol=1e-12)
    assert "z_kl" not in told and told.closed_form.values.all()
    scale = torch.tensor([[0.5, 0.0], [0.3, 0.7]], dtype=torch.float64)
    expected = 0.5 * (scale.square().sum() + x.square().mean() + 0.01 - 2) - math.log(0.35)
    assert float(told.kl_of_site.sel(site="z")) == pytest.approx(float(expected))
    assert float(told.mutual_information + told.marginal_divergence) == pytest.approx(float(told.divergence))
    assert float(told.mutual_information) <= math.log(15)
    assert told.num_units.values.tolist() == [1, 1, 2, 2] and found.num_units == 6


def test_bad_arguments() -> None:
    """Catches work that starts before arguments are checked, and numbers for what has no posterior of each datum."""
    vae, x = models.VAE(features=4, latent=2, hidden=(3,)), torch.ones(5, 4)
    for arguments, message in (
        ({"num_samples": 1}, "num_samples must be an integer of at least 2"),
        ({"num_aggregate": 0}, "num_aggregate must be"),
        ({"threshold": 0.0}, "threshold must be positive"),
        ({"log_partition": 1.0}, "log_partition was given"),
        ({"dims": {"z": ["a", "b", "c"]}}, "must name its 1 event dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnostics.latent_units(vae, x, **arguments)
    with pytest.raises(ValueError, match="at least two rows"):
        diagnostics.latent_units(vae, x[:1])
    with pytest.raises(ValueError, match="must be one of the latent sites"):
        diagnostics.latent_units(vae, x, num_samples=2).of("y")

    def bare(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def point(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x))

    def auxiliary(x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Normal(x, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a, 1.0))

    for model, guide, message in (
        (bare, lambda x: None, "has no latent site"),
        (line_model, point, "a point and no law"),
        (line_model, auxiliary, "auxiliary site 'a'"),
    ):
        with pytest.raises(ValueError, match=message):
            diagnostics.latent_units(ppgen.Pair(model, guide), x[:, 0])


def test_the_caller_is_left_alone() -> None:
    """Catches draws from the caller's random state, a training flag that is not put back, and a seed without effect."""
    vae, x = surplus_vae()
    state = torch.get_rng_state()
    first, same, other = (diagnostics.latent_units(vae, x, num_samples=4, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(state, torch.get_rng_state()) and vae.training
    assert first.dataset.identical(same.dataset)
    assert float(first.dataset.mutual_information) != float(other.dataset.mutual_information)
