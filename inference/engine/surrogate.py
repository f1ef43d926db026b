"""The scalar whose gradient is that of an objective as its estimators have it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppgen.inference.baselines.moving_average import State
from ppgen.inference.estimators.analytic_kl import AnalyticKL, with_exact_kl
from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.score_function import LeaveOneOut, ScoreFunction
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.particles.log_weights import LogWeights
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
        objective: What is climbed.
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
    climbed = weights
    exact = [name for name, estimator in plan.items() if isinstance(estimator, AnalyticKL)]
    if exact:
        climbed = with_exact_kl(climbed, exact, layout)
    if isinstance(objective, ELBO):
        climbed, after = _weighted(objective, climbed, scored, list(plan), state)
    total = _pathwise(objective, plan, climbed, num_data)
    for name in scored:
        estimator: Any = plan[name]
        if estimator.paired:
            log_weights = _columns(objective, climbed, name, layout, num_data)
            term = estimator.term(climbed.guide_traces[0].nodes[name], log_weights, layout, Pairing.of(plan))
            total = total + term - term.detach()
            continue
        total = total + _score(objective, name, estimator, climbed, layout, num_data, rows, state, after)
    return total, after


def _weighted(
    objective: ELBO, weights: LogWeights, scored: list[str], latent: list[str], state: Mapping[str, State]
) -> tuple[LogWeights, dict[str, State]]:
    """Log-weights as an ELBO is trained on them: weighted terms, and no gradient that is zero in expectation."""
    after: dict[str, State] = {}
    local, outside = weights.local, weights.outside
    if objective.weighted:
        change, moved = objective.reweighted(
            weights, latent, state.get(OBJECTIVE) or objective.init(local.detach()[0, 0])
        )
        local = local + change[True]
        outside = None if outside is None else outside + _column(change[False])
        if moved:
            after[OBJECTIVE] = moved
    for name in scored:  # E[grad log q] = 0: under a mean of log-weights it is noise alone
        density = weights.guide_terms[name]
        if name in weights.inside:
            local = local + density - density.detach()
        elif outside is not None:
            outside = outside + _column(density - density.detach())
    return replace(weights, local=local, outside=outside), after


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
            objective.value(replace(weights, local=local, outside=outside), num_data), parts, allow_unused=True
        )
    for name, runs in weights.leaves.items():
        estimator: Any = plan[name]
        factors = [None if slope is None else estimator.factor(slope, local.shape[1]) for slope in slopes]
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


def _score(
    objective: Objective,
    name: str,
    estimator: Any,
    weights: LogWeights,
    layout: Layout,
    num_data: int,
    rows: Callable[[], Tensor],
    state: Mapping[str, State],
    after: dict[str, State],
) -> Tensor:
    """Score term of a site: 0 in value."""
    density = weights.scores[name] if name in weights.scores else weights.guide_terms[name]
    columns = _columns(objective, weights, name, layout, num_data).detach()
    signal = objective.signal(columns)
    if isinstance(estimator, LeaveOneOut):
        signal = signal - objective.control(columns)
    elif isinstance(estimator, ScoreFunction) and estimator.baseline is not None:
        part = f"{BASELINE}.{name}"
        table = rows()
        known = state.get(part) or estimator.baseline.init(table)
        signal, after[part] = estimator.baseline.centred(signal, table, known)
    if signal.shape[1] == 1 and density.shape[1] != 1:
        density = density.sum(1, keepdim=True)
    term = (density * signal.detach()).sum(0)
    scale = objective.share(len(columns))
    if weights.shared and columns.shape[1] == 1 and not isinstance(objective, ELBO):
        total = scale * term.sum() / weights.local.shape[1]
    else:
        total = scale * term.mean()
    return total - total.detach()


def _columns(objective: Objective, weights: LogWeights, name: str, layout: Layout, num_data: int) -> Tensor:
    """Log-weights that a draw at a site changes: those of its row; of all rows where rows are joined."""
    if not isinstance(objective, ELBO):
        return objective.datum_weights(weights)  # type: ignore[attr-defined]
    local, outside = weights.counted()
    if name in weights.inside and not layout.joining:
        return local
    whole = local.mean(1, keepdim=True)
    return whole if outside is None else whole + outside.unsqueeze(1) / num_data


def _column(term: Any) -> Any:
    return term.squeeze(1) if isinstance(term, Tensor) else term
