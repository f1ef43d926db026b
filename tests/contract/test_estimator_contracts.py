"""Estimators have the gradient of their objective as their mean."""

from typing import Any

import pytest
import torch
from batches import reals
from examples import instances
from examples.estimators import BIASED, ELSEWHERE, ESTIMATORS
from repetitions import repeated

from ppgen import inference, testing


@pytest.mark.parametrize(("name", "estimator"), instances("estimator", ESTIMATORS))
@pytest.mark.parametrize("objective", [inference.ELBO(3), inference.IWELBO(3)], ids=["ELBO", "IWELBO"])
def test_estimators(name: str, estimator: Any, objective: Any, device: torch.device) -> None:
    """Catches an estimator whose mean gradient is not that of the objective, and one refused without a reason."""
    assert type(estimator).__name__ == name
    x = reals(4).to(device)
    key = (type(objective).__name__, name, "reparameterised")
    legal = {(rule.objective, rule.part, rule.site): rule.legal for rule in inference.legality()}[key]
    if not legal or name in ELSEWHERE:
        with pytest.raises(ValueError, match=name):
            inference.Inference(objective, estimator).bind(testing.conjugate_pair(device=device), x, num_data=4)
        return
    if isinstance(estimator, inference.Pathwise):  # no score term: the derivative of the value, draw by draw
        bound = inference.Inference(objective, estimator).bind(testing.conjugate_pair(device=device), x, num_data=4)
        testing.check_gradient(bound, x)
    draws, count = [], repeated(device, 80, 20)
    for each in (inference.Pathwise(), estimator):
        chosen = inference.Inference(objective, each)
        torch.manual_seed(2)
        bound = chosen.bind(testing.conjugate_pair(device=device), x.repeat(200), num_data=800)
        steps = [bound.step(x.repeat(200)).gradients for _ in range(count)]
        draws.append({name: torch.stack([step[name] for step in steps]) for name in steps[0]})
    for parameter_name, expected in draws[0].items():
        found = draws[1][parameter_name]
        error = ((expected.var(0) + found.var(0)) / count).sqrt()
        score = (found.mean(0) - expected.mean(0)).abs() / (error + 1e-12)
        assert float(score.max()) < 4.5, parameter_name


@pytest.mark.parametrize(("name", "estimator"), instances("estimator", ESTIMATORS))
def test_estimators_at_enumerated_sites(name: str, estimator: Any, device: torch.device) -> None:
    """Catches a gradient that is wrong where every value of the latents can be summed, or is no frozen value."""
    if name in ELSEWHERE:
        with pytest.raises((ValueError, AssertionError), match=name):
            testing.check_estimator(estimator, device=device)
        return
    testing.check_estimator(estimator, unbiased=name not in BIASED, device=device, num_draws=repeated(device, 40, 10))
