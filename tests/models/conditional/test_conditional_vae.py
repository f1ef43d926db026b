"""Conditional variational autoencoders: p(y | x) by quadrature over their latent, and gradients of their objectives."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, evaluation, inference, models, testing
from ppgen.models.parts.programs import joined
from ppgen.testing.examples import bit_vectors, state_index

GRID = torch.linspace(-25, 25, 2001, dtype=torch.float64)


def asymmetric(**options: Any) -> models.ConditionalVAE:
    """A model of one latent whose every weight is drawn, in double precision."""
    generator = torch.Generator().manual_seed(3)
    net = models.ConditionalVAE(covariates=2, features=3, latent=1, hidden=(3,), **options).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator))
        if net.encoder is not None:  # wider than the posterior: weights of heavy tails hide their own error
            net.encoder.log_scale.output.bias += 1.2
    return net


def batch(rows: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return x, torch.rand(rows, 3, generator=generator).lt(0.5).double()


def affine(net: models.ConditionalVAE, name: str, given: Tensor) -> Tensor:
    parameters = dict(net.named_parameters())
    return given @ parameters[f"{name}.0.weight"].T + parameters[f"{name}.0.bias"]


def terms(net: models.ConditionalVAE, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p(z | x), log p(y | x, z) and log q(z | x, y) on the grid, from the matrices alone: (points, rows)."""

    def normal(name: str, given: Tensor) -> Tensor:
        hidden = torch.tanh(affine(net, f"{name}.body", given))
        loc, scale = affine(net, f"{name}.loc", hidden), affine(net, f"{name}.log_scale", hidden).exp()
        return torch.distributions.Normal(loc.squeeze(-1), scale.squeeze(-1)).log_prob(GRID.unsqueeze(1))

    z = GRID.reshape(-1, 1, 1)
    hidden = torch.tanh(affine(net, "decoder.body", joined([x, z])))
    logits = affine(net, "decoder.logits", hidden)
    likelihood = torch.where(y == 1, logits, -logits).sigmoid().log().sum(-1)
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(GRID).unsqueeze(1).expand(-1, len(x))
    prior = standard if net.prior is None else normal("prior", x)
    return prior, likelihood, prior if net.encoder is None else normal("encoder", torch.cat([x, y], -1))


def integral(values: Tensor) -> Tensor:
    return torch.trapezoid(values, GRID, dim=0)


KINDS = {"network": {}, "standard": {"prior": "standard"}, "GSNN": {"recognition": "prior"}}


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_and_bounds_are_those_of_quadrature(kind: str) -> None:
    """Catches a decoder that does not see x, a recognition network blind to y, and a prior that is not the model's."""
    net, (x, y) = asymmetric(**KINDS[kind]), batch()
    prior, likelihood, posterior = terms(net, x, y)
    testing.check_close(integral(prior.exp()), torch.ones(3).double(), "integral of p(z | x)", atol=1e-6)
    exact = integral((prior + likelihood).exp()).log().detach()
    bound = integral(posterior.exp() * (prior + likelihood - posterior)).detach()
    found = evaluation.log_likelihood(net, (x, y), method="importance", num_particles=4000, compile=False)
    error = 4 * found.per_datum["se"] + 1e-9
    assert (abs(found.per_datum["log_likelihood"] - exact.numpy()) <= error).all()
    weights = inference.log_weights(net, (x, y), 4000).local
    testing.check_mean(weights, bound, "ELBO of each row")
    if kind == "GSNN":
        testing.check_close(bound, integral(prior.exp() * likelihood).detach(), "ELBO of the prior as guide")


def test_annealing_finds_the_same_likelihood() -> None:
    """Catches annealing from N(0, I) where the model's prior depends on the covariates."""
    net, (x, y) = asymmetric(), batch()
    prior, likelihood, _ = terms(net, x, y)
    exact = integral((prior + likelihood).exp()).log().detach().numpy()
    found = evaluation.log_likelihood(net, (x, y), method="ais", num_chains=20, betas=3, compile=False)
    assert (abs(found.per_datum["log_likelihood"] - exact) <= 4 * found.per_datum["se"] + 1e-9).all()


@pytest.mark.parametrize(
    ("kind", "prior_weight", "vectorize"), [("GSNN", 0.0, True), ("network", 0.3, True), ("network", 0.6, False)]
)
def test_gradients_are_those_of_gsnn_and_hybrid(kind: str, prior_weight: float, vectorize: bool) -> None:
    """Catches a GSNN whose prior is not trained through its draws, and a hybrid with its two parts exchanged."""
    net, (x, y) = asymmetric(**KINDS[kind]), batch()
    prior, likelihood, posterior = terms(net, x, y)
    bound = integral(posterior.exp() * (prior + likelihood - posterior)).mean()
    mixed = (1 - prior_weight) * bound + prior_weight * integral(prior.exp() * likelihood).mean()
    names = [name for name, _ in net.named_parameters()]
    exact = dict(zip(names, torch.autograd.grad(mixed, list(net.parameters())), strict=True))
    objective = inference.ELBO(400 if vectorize else 4, prior_weight=prior_weight, vectorize_particles=vectorize)
    bound_inference = inference.Inference(objective).bind(net, (x, y), num_data=3)
    torch.manual_seed(1)
    steps = [bound_inference.step((x, y)) for _ in range(30)]
    for name in names:
        draws = torch.stack([-step.gradients[name] for step in steps])  # of the loss
        testing.check_mean(draws, exact[name], f"gradient of {name}")
    testing.check_mean(torch.stack([step.value for step in steps]), bound.detach(), "value, the ELBO")


def test_the_hybrid_is_followed_where_steps_are_traced_and_is_written_down() -> None:
    """Catches a trace without the second run of the model, and a weight that a run folder forgets."""
    net, (x, y) = asymmetric(), batch()
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    run = ppgen.fit(net, (x, y), inference.ELBO(2, prior_weight=0.5), steps=2, progress=False, seed=0)
    assert all(not torch.equal(before[name], value) for name, value in net.named_parameters()) and run.pair is net
    written = inference.to_config(inference.Inference(inference.ELBO(prior_weight=0.5)))
    assert inference.from_config(json.loads(json.dumps(written))).objective.prior_weight == 0.5
    assert "prior_weight" not in inference.to_config(inference.Inference(inference.ELBO()))["objective"]


@pytest.mark.parametrize("weight", [1.0, -0.1, True, "half", float("nan")])
def test_weights_outside_of_the_unit_interval_are_refused(weight: Any) -> None:
    """Catches a weight of 1, under which the recognition network stands still."""
    with pytest.raises(ValueError, match=r"prior_weight must lie in \[0, 1\)"):
        inference.ELBO(prior_weight=weight)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (lambda: models.SigmoidBeliefNet((4, 3)), "law at site .* is not reparameterised"),
        (lambda: models.RBM(4, 2), "is a Boltzmann machine"),
    ],
)
def test_priors_without_a_path_are_refused_by_name(pair: Any, message: str) -> None:
    """Catches discrete latents whose prior would silently get no gradient of the second term."""
    rows = torch.rand(6, 4).lt(0.5).float()
    objective = inference.ELBO(prior_weight=0.5)
    phase = inference.ExactPartition() if "machine" in message else None
    with pytest.raises(ValueError, match=message):
        inference.Inference(objective, negative_phase=phase).bind(pair(), rows, num_data=6)


def test_draws_follow_the_mixture_over_the_latent() -> None:
    """Catches draws of y that ignore x or z."""
    net, (x, _) = asymmetric(), batch()
    drawn = ppgen.sample(net, 10_000, covariates=x, seed=2)
    assert drawn.shape == (10_000, 3, 3)
    for row in range(3):
        prior, likelihood, _ = terms(net, x[row].expand(8, 2), bit_vectors(3))
        law = integral((prior + likelihood).exp()).detach()
        testing.check_frequencies(state_index(drawn.samples[:, row]), law, f"y of row {row}")


def test_a_sleep_phase_trains_the_recognition_network_and_refuses_the_prior_as_guide() -> None:
    """Catches fantasies of y whose covariates are lost, and a guide that does not read y and so learns nothing."""
    net, (x, y) = asymmetric(), batch()
    objective = inference.WakeSleep()
    step = inference.Inference(objective).bind(net, (x, y), num_data=3).step((x, y))
    assert set(step.gradients) == {name for name, _ in net.named_parameters()}
    with pytest.raises(ValueError, match="without reading its data"):
        inference.Inference(objective).bind(asymmetric(recognition="prior"), (x, y), num_data=3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.ConditionalVAE(0, 3), ValueError, "covariates must be at least 1, got 0"),
        (lambda: models.ConditionalVAE(2, 1.5), TypeError, "features must be a whole number"),
        (lambda: models.ConditionalVAE(2, 3, hidden=(4, 0)), ValueError, "each number in hidden must be at least 1"),
        (lambda: models.ConditionalVAE(2, 3, prior="flat"), ValueError, 'prior must be "network" or "standard"'),
        (lambda: models.ConditionalVAE(2, 3, recognition="x"), ValueError, 'recognition must be "network" or "prior"'),
        (lambda: models.ConditionalVAE(2, 3, likelihood="poisson"), ValueError, "likelihood must be"),
        (lambda: models.ClassConditionalVAE(3, classes=0), ValueError, "classes must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(make: Any, error: Any, message: str) -> None:
    """Catches arguments that are named as those of another class, or taken silently."""
    with pytest.raises(error, match=message):
        make()


def test_batches_of_another_width_are_named_by_the_arguments_of_the_model() -> None:
    """Catches covariates of another width, told by words that the constructor does not know."""
    net, (x, y) = asymmetric(), batch()
    with pytest.raises(ValueError, match=r"x must have shape \(rows, covariates=2\), got \(3, 1\)"):
        net.prepare((x[:, :1], y))
    with pytest.raises(ValueError, match=r"y must have shape \(rows, features=3\), got \(3, 2\)"):
        net.prepare((x, y[:, :2]))
    halves = datasets.load("digits", binarize="threshold").split_features(30)
    with pytest.raises(ValueError, match=r"covariates=32.* got \(1, 30\)"):
        ppgen.fit(models.ConditionalVAE(32, 32, 2, (4,)), halves, epochs=1, progress=False)


def test_images_given_their_class_are_trained_and_drawn() -> None:
    """Catches classes that are taken for features, and a prior that differs from class to class."""
    pairs = datasets.load("digits", binarize="threshold").given_labels()
    vae = models.ClassConditionalVAE(features=64, latent=2, hidden=(8,))
    ppgen.fit(vae, pairs, steps=2, progress=False, compile=False)
    assert vae.config()["classes"] == 10 and vae.prior is None
    assert ppgen.sample(vae, 2, covariates=torch.eye(10)).shape == (2, 10, 64)
