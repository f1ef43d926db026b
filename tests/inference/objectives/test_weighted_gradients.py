"""ELBOs with weighted latent terms and free nats: gradients under every estimator, and the value that is reported."""

import pytest
import torch
from structures import NODES, ROWS, Structure, check, measured
from torch import Tensor

from ppgen import inference
from ppgen.testing.enumeration import enumerated

COPIES, STEPS = 700, 24
ESTIMATORS = {
    "discrete": [
        inference.ScoreFunction(None),
        inference.ScoreFunction(),
        inference.LeaveOneOut(),
        inference.DisARM(),
        inference.Enumerate(),
    ],
    "continuous": [
        inference.Pathwise(),
        inference.AnalyticKL(),
        inference.StickTheLanding(),
        inference.ScoreFunction(),
        inference.LeaveOneOut(),
    ],
    "mixed": [
        "auto",
        {"low": inference.StickTheLanding(), "high": inference.LeaveOneOut()},
        {"low": inference.AnalyticKL(), "high": inference.Enumerate()},
        {"low": inference.ScoreFunction(), "high": inference.DisARM()},
    ],
}


def make(kind: str) -> Structure:
    return Structure("mixed" if kind == "mixed" else "plain", kind == "continuous")


def expected(pair: Structure, weight: float, free: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The exact ELBO, and the gradient of minus what is raised: terms by their weight, none within its free nats."""
    weights, mass = enumerated(pair, ROWS, nodes=NODES)
    probability = mass.exp()
    value = (probability * weights.local).sum(0).mean()
    climbed = value
    spent = []
    for name, drawn in weights.guide_terms.items():
        cost = (probability * (drawn - weights.model_terms[name])).sum(0).mean()
        spent.append(float(cost.detach()))
        climbed = climbed + (1 - weight * (spent[-1] > free)) * cost
    assert all(abs(cost - free) > 0.1 for cost in spent), "the noise of a batch must not decide which side it is on"
    named = dict(pair.named_parameters())
    gradients = torch.autograd.grad(-climbed, list(named.values()), allow_unused=True)
    return value.detach(), {name: g for name, g in zip(named, gradients, strict=True) if g is not None}


@pytest.mark.parametrize(("weight", "free"), [(0.3, 0.0), (2.0, 0.0), (0.7, 0.35)])
@pytest.mark.parametrize(
    ("kind", "estimator"), [(kind, each) for kind, known in ESTIMATORS.items() for each in known], ids=str
)
def test_what_is_climbed_and_what_is_reported(kind: str, estimator, weight: float, free: float) -> None:
    """Catches a signal without the weight, a score or a sum that keeps weight 1, nats that are free for each datum by
    itself, and a weighted number reported as the bound."""
    pair = make(kind)
    what = inference.Inference(inference.ELBO(2, kl_weight=weight, free_bits=free), estimator)
    check(measured(pair, what, ROWS.repeat(COPIES, 1), STEPS), expected(pair, weight, free))


def test_a_schedule_is_the_weight_of_its_step() -> None:
    """Catches a weight that starts at the second step, stands still or goes past its end; here no draw is noisy."""
    pair = make("discrete")
    schedule = inference.ELBO(kl_weight=inference.Linear(steps=4, start=0.2, end=1.0))
    bound = inference.Inference(schedule, inference.Enumerate()).bind(pair, ROWS, num_data=3)
    value, _ = expected(pair, 1.0, 0.0)
    for weight in (0.2, 0.4, 0.6, 0.8, 1.0, 1.0):
        result = bound.step(ROWS)
        torch.testing.assert_close(result.value, value)
        for name, gradient in expected(pair, weight, 0.0)[1].items():
            torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-6, atol=1e-8)
