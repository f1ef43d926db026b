"""The trivial model of data, in which no feature knows of another: what every fit should beat."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from ppgen import inference
from ppgen.batch import split_batch
from ppgen.diagnostics.checks.report import Finding
from ppgen.distributions import LayerConditional
from ppgen.evaluation.estimate import Estimate, with_error
from ppgen.inference.engine.label_term import method_of
from ppgen.inference.structure.traces import data_frame, element_law, sites, unmasked
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating

LEAST = 1.0  # nats by which a fit must be behind
_Z = 4.0  # standard errors from which a difference is none of chance
_NORMAL = (dist.Normal, dist.MultivariateNormal, dist.LowRankMultivariateNormal)


@dataclass(frozen=True)
class IndependentFeatures:
    """log p(x) of rows under independent features, fitted to these rows by maximum likelihood.

    Attributes:
        log_likelihood: Of each row, nats.
        law: What each feature is, in the plural.
        num_parameters: Parameters that were fitted.
    """

    log_likelihood: np.ndarray
    law: str
    num_parameters: int

    @property
    def optimism(self) -> float:
        """Nats per datum by which the rows that it was fitted to flatter it beside new ones."""
        return self.num_parameters / len(self.log_likelihood)


def independent_features(pair: AnyPair, batch: Any, num_data: int, log_partitions: Any) -> IndependentFeatures | None:
    """The trivial model of the rows that the one observed site of a pair holds.

    None where there are several, where the site's law is no Bernoulli, normal or categorical one, or where labels are
    part of what the likelihood is of.

    Args:
        pair: Model and guide.
        batch: The rows.
        num_data: Their number.
        log_partitions: Undirected sites.
    """
    args, kwargs = split_batch(batch)
    if (said := method_of(pair, "label_log_prob")) is not None and bool(said(*args, **kwargs)[1].any()):
        return None
    # log Z is a constant, of which no observed value depends.
    with evaluating(pair, 0), pair.running(), inference.attach(log_partition=dict.fromkeys(log_partitions, 0.0)):
        guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(*args, **kwargs)
    observed = [each for each in sites(model).values() if each["is_observed"] and data_frame(each, pair.plate)]
    if len(observed) != 1 or observed[0]["mask"] is not None or unmasked(observed[0]["fn"]) is not observed[0]["fn"]:
        return None
    law, value = element_law(observed[0]["fn"]), observed[0]["value"]
    law = element_law(law.law) if isinstance(law, LayerConditional) else law
    if value.dim() < 1 or len(value) != num_data or not torch.isfinite(value.double()).all():
        return None
    return _fitted(law, value.detach().double().cpu())


def _fitted(law: Any, value: Tensor) -> IndependentFeatures | None:
    rows = value.reshape(len(value), -1)
    if isinstance(law, dist.Bernoulli):
        rate = rows.mean(0)
        terms = torch.xlogy(rows, rate) + torch.xlogy(1 - rows, 1 - rate)
        return IndependentFeatures(terms.sum(-1).numpy(), "bits", rows.shape[1])
    if isinstance(law, _NORMAL):
        variance = rows.var(0, unbiased=False)
        # A feature that never changes would have an infinite density.
        variance = variance.clamp(min=float(variance.mean()) / 100)
        if not (variance > 0).all():
            return None
        terms = -(rows - rows.mean(0)).square() / (2 * variance) - (2 * math.pi * variance).log() / 2
        return IndependentFeatures(terms.sum(-1).numpy(), "normals", 2 * rows.shape[1])
    if isinstance(law, dist.OneHotCategorical):
        categories = value.shape[-1]
        rows = value.argmax(-1).reshape(len(value), -1)
    elif isinstance(law, dist.Categorical):
        categories = law.probs.shape[-1]
    else:
        return None
    counts = torch.nn.functional.one_hot(rows.long(), categories).double()
    terms = torch.xlogy(counts, counts.mean(0))
    parameters = rows.shape[1] * (categories - 1)
    return IndependentFeatures(terms.sum((-2, -1)).numpy(), "categories", parameters)


def trivial_finding(estimate: Estimate, values: np.ndarray | None, trivial: IndependentFeatures) -> Finding:
    """Where a model stands beside independent features.

    Args:
        estimate: Its log-likelihood.
        values: Log-likelihood of each of the rows under the model, in nats, if it is known.
        trivial: The trivial model.
    """
    ahead = estimate.value - float(trivial.log_likelihood.mean())
    spread = estimate.data_se or 0.0
    if values is not None and len(values) == len(trivial.log_likelihood):
        each = values - trivial.log_likelihood
        ahead, spread = float(each.mean()), float(each.std(ddof=1)) / math.sqrt(len(each)) if len(each) > 1 else 0.0
    error = math.hypot(spread, estimate.se if math.isfinite(estimate.se) else 0.0)
    behind = -ahead - trivial.optimism > max(LEAST, _Z * error)
    where = "above" if ahead >= 0 else "below"
    return Finding(
        "independent features",
        f"{float(trivial.log_likelihood.mean()):.2f} nats per datum by independent {trivial.law} fitted to these rows; "
        f"the model is {with_error(abs(ahead), error)} {where}",
        f"independent {trivial.law}, each feature by itself, explain the data {-ahead:.1f} nats per datum better than "
        "the model does: it is not trained, its training failed, its data had another scale, or the estimate is wrong"
        if behind
        else None,
        "Look at the loss (run.metrics), and take a smaller learning rate where it rose; standardise real data, or let "
        "the model learn variances; of a machine look at log Z (evaluation.log_partition(pair, method='sandwich'))."
        if behind
        else None,
        {"ahead": ahead, "error": error},
    )
