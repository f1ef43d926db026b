"""The scalar whose gradient is that of an objective as its estimators have it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.baselines.moving_average import State
from ppgen.inference.estimators.estimator import Estimator, ScoreInputs
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.signal_plates import frames_of_signal
from ppgen.inference.structure.layout import Layout

# Parts of the state; a baseline's is followed by its site.
OBJECTIVE, BASELINE, TEMPERATURE = "objective", "baseline", "temperature"


def surrogate(
    objective: Objective,
    plan: Mapping[str, Estimator | None],
    weights: LogWeights,
    layout: Layout,
    num_data: int,
    rows: Callable[[], Tensor],
    state: Mapping[str, State],
) -> tuple[Tensor, dict[str, State]]:
    r"""A scalar per datum whose gradient is the estimators' own, and the state after the step.

    .. math:: \hat{\mathcal{L}} + \sum_s \sum_k \log q_s(z_k) \, \mathrm{stop}(\text{signal}_k - \text{control}_k)

    The first term has the pathwise gradient; the second one that of sites whose values carry none.

    Args:
        objective: What is followed.
        plan: Estimator by site.
        weights: Log-weights with the terms of each site.
        layout: Structure of the pair.
        num_data: Rows of the whole data set.
        rows: Gives the batch as (B, F), for baselines.
        state: Parts of the state by name, as the last step left them.
    """
    scored = [
        name
        for name, estimator in plan.items()
        if estimator is not None and estimator.scores and name in weights.guide_terms  # drawn at this call
    ]
    after: dict[str, State] = {}
    followed = weights
    for name, estimator in plan.items():
        if estimator is not None:
            followed = estimator.log_weights(name, followed, layout)
    followed, moved = objective.in_training(followed, scored, list(plan), state.get(OBJECTIVE))
    if moved:
        after[OBJECTIVE] = moved
    total = _pathwise(objective, plan, followed, num_data)
    for name in scored:
        part, chosen = f"{BASELINE}.{name}", plan[name]
        columns = objective.columns(followed, name, layout, num_data).detach()
        frames = frames_of_signal(columns, followed, name)
        inputs = ScoreInputs(objective, followed, columns, layout, plan, rows, state.get(part), frames)
        term, left = chosen.term(name, inputs)  # type: ignore[union-attr]
        if left is not None:
            after[part] = left
        total = total + (term - term.detach())
    return total, after


def _pathwise(objective: Objective, plan: Mapping[str, Estimator | None], weights: LogWeights, num_data: int) -> Tensor:
    """The objective's value, its gradient with respect to leaves carried on to what the values were drawn from."""
    value = objective.value(weights, num_data)
    if not weights.leaves:
        return value
    local = weights.local.detach().requires_grad_()
    outside = None if weights.outside is None else weights.outside.detach().requires_grad_()
    parts, ends = [local], [weights.local]
    if outside is not None and weights.outside is not None:
        parts, ends = [local, outside], [weights.local, weights.outside]
    with torch.enable_grad():
        slopes = torch.autograd.grad(
            objective.value(replace(weights.with_values(local, outside), row_weights=None), num_data),
            parts,
            allow_unused=True,
        )
    for name, runs in weights.leaves.items():
        estimator: Any = plan[name]
        factors = [None if slope is None else estimator.factor(slope, local.shape[1]) for slope in slopes]
        if weights.row_weights is not None and factors[0] is not None:  # outside of what is made of the slope
            factors[0] = weights.row_weights * factors[0]
        pairs = [(end, factor) for end, factor in zip(ends, factors, strict=True) if factor is not None]
        gradients = torch.autograd.grad(
            [end for end, _ in pairs],
            [leaf for _, leaf in runs],
            [factor for _, factor in pairs],
            retain_graph=True,
            allow_unused=True,
        )
        for (attached, _), gradient in zip(runs, gradients, strict=True):
            if gradient is not None:
                path = (attached * gradient.detach()).sum()
                value = value + path - path.detach()
    return value
