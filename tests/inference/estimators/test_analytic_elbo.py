"""The ELBO in closed form: its gradient against the formula, no variance, and what is refused."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, pyro_method
from torch import nn

import ppgen
from ppgen import inference
from ppgen.distributions import LinearNormal

X = torch.tensor([[0.5, -1.0, 0.3, 2.0], [1.5, 0.2, -0.7, 0.1], [0.0, 0.4, 0.9, -1.1]], dtype=torch.float64)


class Coder(PyroModule):
    """Three codes, four features, a guide that is linear in x; one thing otherwise where a test says so."""

    def __init__(self, **changes):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in {"matrix": (4, 3), "encoder": (4, 3)}.items():
            setattr(self, name, nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)))
        for name, start in {
            "log_noise": -0.5,
            "log_scale": [0.1, -0.3, 0.2],
            "log_deviation": [-0.7, 0.1, -1.0],
        }.items():
            setattr(self, name, nn.Parameter(torch.tensor(start, dtype=torch.float64)))
        self.changes = {"law": LinearNormal, "inputs": lambda codes: codes, "prior": dist.Laplace} | changes

    @pyro_method
    def model(self, x):
        with pyro.plate("data", self.changes.get("size", len(x)), subsample=x if "size" in self.changes else None):
            scale = self.log_scale.exp()
            codes = pyro.sample("codes", self.changes["prior"](0 * scale, scale).to_event(1))
            if "later" in self.changes:
                pyro.sample("later", dist.Normal(codes.sum(-1), 1.0))
            inputs = self.changes["inputs"](codes)
            noise = self.changes.get("noise", lambda noise, codes: noise)(self.log_noise.exp().expand(4), codes)
            args = (inputs, self.matrix) if self.changes["law"] is LinearNormal else (inputs @ self.matrix.mT,)
            law = self.changes["law"](*args, noise)
            law = law.mask(x > -5) if "mask" in self.changes else law
            pyro.sample("x", law.to_event(1), obs=x)

    @pyro_method
    def guide(self, x):
        with pyro.plate("data", self.changes.get("size", len(x)), subsample=x if "size" in self.changes else None):
            mean, deviation = x @ self.encoder, self.log_deviation.exp()
            law = dist.Normal(mean, deviation).to_event(1)
            if "correlated" in self.changes:
                law = dist.MultivariateNormal(mean, torch.eye(3).double())
            pyro.sample("codes", law)
            if "later" in self.changes:
                pyro.sample("later", dist.Normal(x.sum(-1), 1.0))

    def elbo(self, x):
        mean, variance, noise = x @ self.encoder, (2 * self.log_deviation).exp(), (2 * self.log_noise).exp()
        error = (x - mean @ self.matrix.T).square().sum(-1) + (variance * self.matrix.square().sum(0)).sum()
        likelihood = -error / (2 * noise) - 2 * (2 * self.log_noise + math.log(2 * math.pi))
        deviation = variance.sqrt()
        magnitude = deviation * math.sqrt(2 / math.pi) * (-mean.square() / (2 * variance)).exp()
        magnitude = magnitude + mean * torch.erf(mean / (deviation * math.sqrt(2)))
        prior = (-magnitude / self.log_scale.exp() - self.log_scale - math.log(2)).sum(-1)
        return likelihood + prior + (self.log_deviation + (1 + math.log(2 * math.pi)) / 2).sum()


def pair_of(**changes):
    module = Coder(**changes)
    return ppgen.Pair(module.model, module.guide), module


@pytest.mark.parametrize(
    ("objective", "size"),
    [(inference.ELBO(), None), (inference.ELBO(3), 30), (inference.ELBO(2, vectorize_particles=False), None)],
)
def test_the_gradient_is_that_of_the_formula(objective, size):
    """Catches a term that is left out, counted twice or scaled by the plate, and any noise at all."""
    pair, module = pair_of(**({} if size is None else {"size": size}))
    bound = inference.Inference(objective, inference.AnalyticELBO()).bind(pair, X, num_data=size or 3)
    first, second = bound.step(X).gradients, bound.step(X).gradients
    named = dict(pair.named_parameters())
    expected = torch.autograd.grad(-module.elbo(X).mean(), list(named.values()))
    for name, gradient in zip(named, expected, strict=True):
        torch.testing.assert_close(first[name], gradient, msg=name)
        torch.testing.assert_close(first[name], second[name], rtol=1e-12, atol=1e-12)


def test_values_have_the_elbo_as_their_mean():
    """Catches training that reports the log-density at the means, which is no bound."""
    pair, module = pair_of()
    torch.manual_seed(0)
    many = X.repeat(3000, 1)
    value = (
        inference.Inference(inference.ELBO(), inference.AnalyticELBO()).bind(pair, many, num_data=9000).step(many).value
    )
    weights = inference.log_weights(pair, many).local.detach().squeeze(0)
    assert abs(float(value - module.elbo(X).mean().detach())) < 4 * float(weights.std()) / 9000**0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"law": dist.Normal}, "'x' is Normal, and its expectation is known of a distributions.LinearNormal"),
        ({"mask": True}, "the observed site 'x' has a mask"),
        ({"correlated": True}, "independent Normal variables in the guide, got MultivariateNormal"),
        ({"later": True}, "the model draws the latent 'later' after it"),
        ({"prior": lambda loc, scale: dist.Cauchy(loc, scale)}, "no closed form is known between Normal and Cauchy"),
    ],
)
def test_other_programs_are_refused(changes, message):
    """Catches a closed form that stands for other laws than those at hand: a wrong gradient without a word."""
    pair, _ = pair_of(**changes)
    with pytest.raises(ValueError, match=message):
        inference.Inference(inference.ELBO(), {"codes": inference.AnalyticELBO()}).bind(pair, X, num_data=3)


def test_inputs_that_are_not_the_draw_are_refused():
    """Catches the expectation of D a for a law of D f(a)."""
    pair, _ = pair_of(inputs=torch.tanh)
    with pytest.raises(ValueError, match="inputs of the LinearNormal at site 'x' are not the value that was drawn"):
        inference.Inference(inference.ELBO(), inference.AnalyticELBO()).bind(pair, X, num_data=3).step(X)


def test_noise_that_moves_with_the_codes_is_refused():
    """Catches the expected likelihood at one draw's noise: a gradient that is wrong without a word."""
    pair, _ = pair_of(noise=lambda noise, codes: noise * (1 + codes.square().sum(-1, keepdim=True)))
    with pytest.raises(ValueError, match="the scale of the LinearNormal at site 'x' depends on what is drawn"):
        inference.Inference(inference.ELBO(), inference.AnalyticELBO()).bind(pair, X, num_data=3)


@pytest.mark.parametrize(
    "objective", [inference.ELBO(), inference.ELBO(2), inference.ELBO(2, vectorize_particles=False)]
)
@pytest.mark.parametrize("noisy", [False, True])
def test_a_site_that_is_met_late_is_held_against_its_closed_form_too(objective, noisy):
    """Catches a program that is looked at before the first step alone, though its sites change with the steps."""
    module, late = Coder(), []

    def model(x):
        with pyro.plate("data", len(x)):
            codes = x[:, :3]
            if late:
                codes = pyro.sample("codes", dist.Normal(0 * codes, 1.0).to_event(1))
            noise = torch.full_like(x, 0.5) * (1 + codes.square().sum(-1, keepdim=True) * (noisy and bool(late)))
            pyro.sample("x", LinearNormal(codes, module.matrix, noise).to_event(1), obs=x)

    def guide(x):
        weight = pyro.param("weight", module.encoder.detach().clone())
        with pyro.plate("data", len(x)):
            if late:
                pyro.sample("codes", dist.Normal(x @ weight, 1.0).to_event(1))

    pair = ppgen.Pair(model, guide)
    bound = inference.Inference(objective, inference.AnalyticELBO()).bind(pair, X, num_data=3)
    late.append(True)
    if not noisy:
        assert bound.step(X).gradients
        return
    with pytest.raises(ValueError, match="the scale of the LinearNormal at site 'x' depends on what is drawn"):
        bound.step(X)
    with pytest.raises(ValueError, match="the scale of the LinearNormal at site 'x' depends on what is drawn"):
        bound.learn_sites(X)


def test_a_site_that_is_drawn_by_chance_is_held_against_its_closed_form():
    """Catches a check whose own run does not draw the site that it is about."""
    module = Coder()

    def model(x):
        coin = pyro.sample("coin", dist.Bernoulli(0.5))
        with pyro.plate("data", len(x)):
            codes = x[:, :3]
            if coin == 1:
                codes = pyro.sample("codes", dist.Normal(0 * codes, 1.0).to_event(1))
            noise = torch.full_like(x, 0.5) * (1 + coin * codes.square().sum(-1, keepdim=True))
            pyro.sample("x", LinearNormal(codes, module.matrix, noise).to_event(1), obs=x)

    def guide(x):
        weight = pyro.param("weight", module.encoder.detach().clone())
        coin = pyro.sample("coin", dist.Bernoulli(0.2))
        with pyro.plate("data", len(x)):
            if coin == 1:
                pyro.sample("codes", dist.Normal(x @ weight, 1.0).to_event(1))

    estimators = {"coin": inference.ScoreFunction(), "codes": inference.AnalyticELBO()}
    for seed in range(20):
        torch.manual_seed(seed)
        bound = inference.Inference(inference.ELBO(), {"coin": inference.ScoreFunction()}).bind(
            ppgen.Pair(model, guide), X, num_data=3
        )
        if "codes" not in bound.plan:
            break
    bound.inference = inference.Inference(inference.ELBO(), estimators)
    bound.structures.inference = bound.inference
    with pytest.raises(ValueError, match="the scale of the LinearNormal at site 'x' depends on what is drawn"):
        for _ in range(40):
            bound.step(X)


def test_other_objectives_are_refused():
    """Catches an expectation of log-weights under a bound that is none."""
    with pytest.raises(ValueError, match="AnalyticELBO"):
        inference.Inference(inference.IWELBO(3), inference.AnalyticELBO()).bind(pair_of()[0], X, num_data=3)
