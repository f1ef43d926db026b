"""Exact sums over discrete sites of the guide, against formulas, brute force and quadrature."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from structures import MARK, ROWS, Mixture, Structure, X, assert_exact, check, expected, measured
from torch import Tensor

import ppgen
from ppgen import inference
from ppgen.inference.particles.joint_states import JointStates
from ppgen.training.steps.traced_step import TracedStep


@pytest.mark.parametrize("vectorize", [True, False], ids=["at once", "one by one"])
@pytest.mark.parametrize("law", ["categorical", "one-hot"])
def test_categorical_sites_are_summed_exactly(law: str, vectorize: bool) -> None:
    """Catches states that are drawn, weighted by 1/n, or weighted by a probability without a gradient."""
    pair = Mixture(law)
    log_q = (X @ pair.up + pair.bias).log_softmax(-1)
    joint = pair.log_joint(X)
    bound = inference.Inference(inference.ELBO(1, vectorize_particles=vectorize), inference.Enumerate()).bind(
        pair, X, num_data=len(X)
    )
    assert_exact(pair, bound.step(X), (log_q.exp() * (joint - log_q)).sum(-1).mean())
    torch.testing.assert_close(bound.value(X), (log_q.exp() * (joint - log_q)).sum(-1).mean().detach())
    likelihood = inference.MaximumLikelihood(vectorize_particles=vectorize)
    bound = inference.Inference(likelihood, inference.Enumerate()).bind(pair, X, num_data=len(X))
    assert_exact(pair, bound.step(X), joint.logsumexp(-1).mean())


@pytest.mark.parametrize("structure", ["plain", "inner", "global", "mask", "law_mask", "scale"])
@pytest.mark.parametrize(
    "objective", [inference.ELBO(1), inference.ELBO(3), inference.ELBO(2, vectorize_particles=False)], ids=str
)
def test_bernoulli_sites_of_every_structure_are_summed_exactly(structure: str, objective: inference.ELBO) -> None:
    """Catches states of an inner plate or of a global latent that are counted wrongly, and a mask on a probability."""
    pair = Structure(structure, False)
    bound = inference.Inference(objective, inference.Enumerate()).bind(pair, ROWS, num_data=5)
    value, exact = expected(pair, objective, num_data=5)
    result = bound.step(ROWS)
    torch.testing.assert_close(result.value, value, rtol=1e-9, atol=1e-10)
    for name, gradient in exact.items():
        torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("normal", [False, True], ids=["discrete first", "continuous first"])
@pytest.mark.parametrize(
    "low",
    [
        inference.Pathwise(),
        inference.AnalyticKL(),
        inference.StickTheLanding(),
        inference.ScoreFunction(),
        inference.LeaveOneOut(),
    ],
    ids=str,
)
def test_a_sum_beside_draws(normal: bool, low: inference.Estimator) -> None:
    """Catches a sum whose other site is scored without the probability of its state, or loses its path."""
    if normal and isinstance(low, inference.AnalyticKL):
        low = inference.Pathwise()  # the prior of `low` hangs on `high`, which is drawn after it
    pair = Structure("mixed", normal)
    what = inference.Inference(inference.ELBO(2), {"low": low, "high": inference.Enumerate()})
    check(measured(pair, what, ROWS.repeat(150, 1), 24), expected(pair, what.objective))


def test_a_drawn_site_below_a_sum() -> None:
    """Catches a site under an inner plate whose score is that of one state, or that is forced with the state."""
    pair = Structure("inner", False)
    what = inference.Inference(inference.ELBO(2), {"top": inference.Enumerate(), "low": inference.LeaveOneOut()})
    check(measured(pair, what, ROWS.repeat(150, 1), 24), expected(pair, what.objective))


def test_states_share_the_draws_of_sites_before() -> None:
    """Catches draws made anew for each state, so that the states' probabilities no longer sum to one."""

    def latents() -> None:
        z = pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.3)), 1.0))
        pyro.sample("c", dist.Bernoulli(logits=z + pyro.param("b", torch.tensor(0.1))))

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            latents()

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            latents()
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    pair, x = ppgen.Pair(model, guide), torch.tensor([0.5, -1.0])
    pair.prepare(x)
    what = inference.Inference(inference.ELBO(3), {"c": inference.Enumerate()})
    value = what.bind(pair, x, num_data=2).value(x)
    torch.testing.assert_close(value, dist.Normal(0.0, 1.0).log_prob(x).mean())


def test_marks_in_the_guide_are_read() -> None:
    """Catches Pyro's mark in a guide that is passed over, or that makes a bound illegal."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=pyro.param("p", torch.tensor(0.3))))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("q", torch.tensor(-0.4)) * x), infer=MARK)

    pair, x = ppgen.Pair(model, guide), torch.tensor([0.5, -1.0])
    pair.prepare(x)
    kinds = {
        inference.ELBO(): inference.Enumerate,
        inference.MaximumLikelihood(): inference.Enumerate,
        inference.IWELBO(3): inference.LeaveOneOut,
    }
    for objective, kind in kinds.items():
        assert isinstance(inference.Inference(objective).bind(pair, x, num_data=2).plan["z"], kind)


@pytest.mark.parametrize(
    "what",
    [
        inference.Inference(inference.ELBO(2), {"low": inference.Pathwise(), "high": inference.Enumerate(4)}),
        inference.Inference(inference.ELBO(2), {"low": inference.LeaveOneOut(), "high": inference.Enumerate()}),
    ],
    ids=str,
)
def test_traced_described_and_written(what: inference.Inference) -> None:
    """Catches a sum that a graph does otherwise, and a mapping by site that no line of `fit` and no file can hold."""
    assert inference.from_config(inference.to_config(what)) == what
    assert "'high': Enumerate(" in inference.describe(what)
    pair = Structure("mixed", True)
    bound = what.bind(pair, ROWS, num_data=3)
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(ROWS) is None
    torch.manual_seed(5)
    eager = bound.step(ROWS)
    torch.manual_seed(5)
    result = traced(ROWS)
    torch.testing.assert_close(result.value, eager.value)
    for name, gradient in eager.gradients.items():
        torch.testing.assert_close(result.gradients[name], gradient)


def test_numbers_of_joint_states() -> None:
    """Catches two numbers with the same states."""
    states = JointStates({"b": (2, 3), "c": (3, 1)})
    number = torch.arange(states.count)
    table = torch.cat([states.indices("b", number), states.indices("c", number)], -1)
    assert states.count == 24 and len(torch.unique(table, dim=0)) == 24
    assert JointStates({"b": (2, 5000)}).told == "about 10^1505"
