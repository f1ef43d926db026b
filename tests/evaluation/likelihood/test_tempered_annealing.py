"""Annealing of sparse codes by Gibbs sampling of tempered posteriors, against quadrature, in both directions."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation, inference, models
from ppgen.evaluation.likelihood import latent_annealing
from ppgen.undisturbed import evaluating

BETAS = [0.0, 0.05, 0.2, 0.6, 1.0]  # short and uneven, so that weights are far from constant
CHAINS = 4000
DICTIONARY = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.7, -0.3], [0.0, 0.3, 0.6], [0.0, 0.2, 0.7]], dtype=torch.float64)
SCALE, NOISE = 0.4, 0.5
X = torch.tensor([[0.6, 0.3, -0.4, 0.2], [-0.2, 0.1, 0.5, 0.7]], dtype=torch.float64)


def coder(positive=False, dictionary=DICTIONARY, noise=NOISE):
    """Sparse coding under a guide of points."""
    scale = torch.full(dictionary.shape[1:], SCALE, dtype=dictionary.dtype)

    def model(x):
        prior = dist.Exponential(1 / scale) if positive else dist.Laplace(0 * scale, scale)
        with pyro.plate("data", len(x)):
            codes = pyro.sample("codes", prior.to_event(1))
            pyro.sample("x", dist.Normal(codes @ dictionary.mT, noise).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("codes", dist.Delta(x.new_zeros(len(x), len(scale)), event_dim=1))

    return ppgen.Pair(model, guide)


def quadrature(x, positive=False, points=120, reach=5.0):
    """log p(x), and the grid of codes with its posterior probabilities, by the rule of midpoints."""
    low = 0.0 if positive else -reach
    axis = low + (torch.arange(points, dtype=x.dtype) + 0.5) * (reach - low) / points
    codes = torch.cartesian_prod(axis, axis, axis)
    prior = torch.distributions.Exponential(1 / torch.tensor(SCALE).double())
    log_prior = prior.log_prob(codes.abs()).sum(-1) - (0.0 if positive else 3 * torch.tensor(2.0).log())
    log_joint = torch.distributions.Normal(x.unsqueeze(1), NOISE).log_prob(codes @ DICTIONARY.mT).sum(-1) + log_prior
    return log_joint.logsumexp(-1) + 3 * torch.tensor((reach - low) / points).double().log(), codes, log_joint


def path_and_steps(positive):
    generator = torch.Generator().manual_seed(0)
    pair = coder(positive)
    path, steps = latent_annealing.prepared(
        pair,
        X,
        BETAS,
        generator,
        num_chains=CHAINS,
        start="prior",
        kernel=inference.SparseGibbs(),
        layout=inference.find_layout(pair, X),
    )
    return path, steps, generator


def assert_mean_one(weights):
    """Each datum's weights over its evidence have mean one, within four errors; and they vary."""
    error = weights.std(0) / len(weights) ** 0.5
    assert ((weights.mean(0) - 1).abs() < 4 * error).all(), (weights.mean(0), error)
    assert (error < 0.1).all() and (weights.std(0) > 0.05).all()


@pytest.mark.parametrize("positive", [False, True])
def test_forward_weights_have_mean_p_of_x(positive):
    """Catches sweeps that do not leave the tempered posterior as it is: E[w] = p(x) holds for any ladder."""
    truth, _, _ = quadrature(X, positive)
    with evaluating(coder(positive), seed=1):
        path, steps, generator = path_and_steps(positive)
        log_weights = latent_annealing.forward(path, BETAS, steps, generator)
    assert_mean_one((log_weights - truth).exp())


@pytest.mark.parametrize("positive", [False, True])
def test_reverse_weights_have_mean_one_over_p_of_x(positive):
    """Catches sweeps of one code after another that go the same way backwards, and levels of the way back that are not
    those of the way there: E[1 / w] = 1 / p(x) for any ladder."""
    truth, codes, log_joint = quadrature(X, positive)
    with evaluating(coder(positive), seed=1):
        path, steps, generator = path_and_steps(positive)
        drawn = torch.distributions.Categorical(logits=log_joint).sample((CHAINS,))
        exact = path.density.position({"codes": codes[drawn]})
        log_weights = latent_annealing.reverse(path, BETAS, steps, exact, generator)
    assert_mean_one((truth - log_weights).exp())


@pytest.mark.parametrize("positive", [False, True])
def test_a_tempered_state_is_that_of_more_noise(positive):
    """Catches a temperature that the Gram matrix, the image of the data or the height of the density does not have."""
    kernel, beta = inference.SparseGibbs(), 0.3
    density = inference.LatentDensity(coder(positive), X, 50)
    position = density.draw("prior")
    state = kernel.init(density, position)
    tempered = kernel.tempered(state, position, beta)
    terms = density.terms(position)
    torch.testing.assert_close(tempered.log_density, terms.prior + beta * terms.likelihood + terms.log_det)
    noisy = inference.LatentDensity(coder(positive, noise=NOISE / beta**0.5), X, 50)
    steps = [
        kernel.step(noisy, each, torch.Generator().manual_seed(0))[0].position
        for each in (tempered, kernel.init(noisy, position))
    ]
    torch.testing.assert_close(*steps)
    torch.testing.assert_close(state.image, kernel.init(density, position).image)  # the state given is left alone
    wide = coder(dictionary=torch.eye(20, dtype=torch.float64)[:1].repeat(1, 3))
    flat = inference.LatentDensity(wide, X[:, :1], 2)
    start = kernel.init(flat, flat.draw("prior"))
    assert start.gram is None and kernel.tempered(start, start.position, beta).gram is None


def test_auto_takes_gibbs_where_it_reads_the_program():
    """Catches hours of Hamiltonian trajectories for sparse codes, numbers that are not log p(x), and another kernel
    than Hamiltonian Monte Carlo for programs that are no sparse coding."""
    truth, _, _ = quadrature(X)
    found = evaluation.log_likelihood(coder(), X)
    assert "auto: AIS from the prior by SparseGibbs (16 chains x 200 betas)" in str(found)
    asked = evaluation.log_likelihood(coder(), X, method="ais", kernel=inference.SparseGibbs())
    assert (asked.per_datum["log_likelihood"] == found.per_datum["log_likelihood"]).all()
    error = torch.from_numpy(found.per_datum["log_likelihood"]) - truth
    assert (error.abs() < 4 * torch.from_numpy(found.per_datum["se"])).all()
    assert (torch.from_numpy(found.per_datum["se"]) < 0.1).all()
    by_hmc = evaluation.log_likelihood(coder(), X, method="ais", num_chains=20, betas=3)
    assert "AIS from the prior (20 chains x 3 betas)" in str(by_hmc)

    def bent(x):
        with pyro.plate("data", len(x)):
            codes = pyro.sample("codes", dist.Laplace(0 * DICTIONARY[0], SCALE).to_event(1))
            pyro.sample("x", dist.Normal((codes @ DICTIONARY.mT).tanh(), NOISE).to_event(1), obs=x)

    pair = ppgen.Pair(bent, coder().guide)
    assert "auto: AIS from the prior (20 chains" in str(evaluation.log_likelihood(pair, X, num_chains=20, betas=3))


def test_evidence_of_sparse_codes_has_the_budget_of_their_kernel(monkeypatch):
    """Catches Gibbs sweeps by the number of Hamiltonian trajectories, 100 chains and 1000 levels."""
    monkeypatch.setattr(latent_annealing, "TEMPERED_BUDGET", (4, 6))
    each, found = evaluation.log_likelihood(coder(), X), evaluation.log_evidence(coder(), X)
    assert "by SparseGibbs (4 chains x 6 betas)" in str(found)
    assert found.value == pytest.approx(len(X) * each.value)

    def lasso(x):
        weights = pyro.sample("weights", dist.Laplace(0 * DICTIONARY[0], SCALE).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(weights @ DICTIONARY.mT, NOISE).to_event(1), obs=x)

    def point(x):
        pyro.sample("weights", dist.Delta(pyro.param("at", 0 * DICTIONARY[0]), event_dim=1))

    joint, short = ppgen.Pair(lasso, point), {"betas": 3, "num_chains": 4}
    assert "(4 chains x 6 betas)" in str(evaluation.log_evidence(joint, X, kernel=inference.SparseGibbs()))
    assert "(4 chains x 3 betas)" in str(evaluation.log_evidence(joint, X, kernel=inference.SparseGibbs(), **short))
    assert "(4 chains x 3 betas)" in str(evaluation.log_evidence(coder(), X, **short))


def test_the_sandwich_of_a_model_of_the_zoo():
    """Catches a reverse bound that a kernel cannot have, and a kernel that the method does not name."""
    model = models.SparseCoding(4, 3, penalty=2 * NOISE**2 / SCALE)
    found = evaluation.bdmc(model, num_data=100, num_chains=4, betas=30, kernel=inference.SparseGibbs())
    assert -4 * found.gap_se < found.gap < 0.2 and "by SparseGibbs (4 chains x 30 betas)" in str(found)


def test_what_cannot_be_annealed_by_gibbs_is_told():
    """Catches a class in the place of a kernel, a path from a guide that the kernel knows nothing of, a kernel of
    posteriors that cannot be tempered, and latents that are no sparse codes."""
    for kernel, error, words in (
        (inference.SparseGibbs, TypeError, "the class SparseGibbs: call it"),
        ("gibbs", TypeError, "inference.TemperableKernel"),
    ):
        with pytest.raises(error, match=words):
            evaluation.log_likelihood(coder(), X, method="ais", kernel=kernel)
    with pytest.raises(ValueError, match="start must be 'prior' with SparseGibbs"):
        evaluation.bdmc(coder(), like=X, start="guide", kernel=inference.SparseGibbs())
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    with pytest.raises(ValueError, match=r"its prior is Normal.*inference.HMC"):
        evaluation.log_likelihood(vae, torch.ones(2, 4), method="ais", kernel=inference.SparseGibbs())
