"""The posterior of all data together, held against the prior and against that of each datum."""

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from ppgen.batch import split_batch
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.particles.factors import drawn_log_prob
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import sites
from ppgen.pair import AnyPair

AT_ONCE = 20_000  # draws x rows whose log-densities are evaluated at once: with 200 latents 32 MiB in double precision
SMALLEST = 1e-16  # squared nats; a variance below it is that of rounding


@dataclass
class GuideSamples:
    """Draws of the aggregated posterior: of some rows, or some of each row.

    Args:
        layout: Structure of the pair.
        rows: Rows to draw from.
        each: Draws of each of them.
    """

    layout: Layout
    rows: Tensor
    each: int
    values: dict[str, list[Tensor]] = field(default_factory=dict)
    log_q: list[Tensor] = field(default_factory=list)
    log_p: list[Tensor] = field(default_factory=list)

    def add(self, weights: LogWeights, start: int, stop: int) -> None:
        """Keep draws of the rows from `start` up to `stop`, whose runs these are."""
        chosen = self.rows[(self.rows >= start) & (self.rows < stop)] - start
        if not len(chosen):
            return
        count = len(weights.local) // len(weights.guide_traces)
        log_q, log_p = [], []
        parts: dict[str, list[Tensor]] = {}
        for guide, model in zip(weights.guide_traces, weights.model_traces, strict=True):
            drawn = {name: sites(guide)[name] for name in self.layout.latent}
            log_q.append(self._total(drawn, count, stop - start))
            log_p.append(self._total({name: sites(model)[name] for name in drawn}, count, stop - start))
            for name, site in drawn.items():
                parts.setdefault(name, []).append(self._rows_second(site))
        for name, found in parts.items():
            self.values.setdefault(name, []).append(torch.cat(found)[: self.each, chosen].flatten(0, 1))
        for kept, terms in ((self.log_q, log_q), (self.log_p, log_p)):
            kept.append(torch.cat(terms)[: self.each, chosen].flatten().double())

    def _total(self, found: Mapping[str, Any], count: int, num_rows: int) -> Tensor:
        terms = [drawn_log_prob(site, self.layout) for site in found.values()]
        return sum(terms[1:], terms[0]).expand(count, num_rows)

    def _rows_second(self, site: Any) -> Tensor:
        """(draws, rows, inner plates..., event...) of the value at a site, every plate a dimension."""
        value, event_dim = site["value"], site["fn"].event_dim
        batch = value.shape[: value.dim() - event_dim]
        batch = (1,) * (-self.layout.particle_dim - len(batch)) + tuple(batch)
        value = value.reshape(*batch, *value.shape[value.dim() - event_dim :])
        return value.movedim(len(batch) + self.layout.row_dim, 1)


@dataclass(frozen=True)
class Decomposition:
    """Mutual information of data and latents, and divergence of the aggregated posterior from the prior, in nats."""

    mutual_information: float
    mutual_information_se: float
    marginal: float
    marginal_se: float


def decompose(
    pair: AnyPair,
    rows: CheckedRows,
    draws: GuideSamples,
    divergence: float,
    divergence_se: float,
    *,
    vectorize: bool = True,
) -> Decomposition:
    r"""Split the mean divergence of the posterior of each datum.

    .. math:: \frac{1}{N} \sum_n \mathrm{KL}(q(z \mid x_n) \,\|\, p(z)) = I_q(n; z) + \mathrm{KL}(q(z) \,\|\, p(z)),
              \qquad q(z) = \frac{1}{N} \sum_n q(z \mid x_n)

    The mutual information is the mean of log q(z | x) - log q(z) over the draws. A control variate is the mean of
    log q(z | x) - log p(z), whose expectation, the left-hand side, is known better. What the mutual information leaves
    of that is the last term, so that the two add up.

    Args:
        pair: Model and guide, in the mode in which they were run.
        rows: All data.
        draws: Draws of the guide.
        divergence: The left-hand side; NaN if log Z of the prior is not known.
        divergence_se: Its standard error.
        vectorize: False for programs that cannot broadcast over draws.

    References:
        Hoffman and Johnson (2016), ELBO surgery: yet another way to carve up the variational evidence lower bound, NIPS
        workshop.
    """
    log_q, log_p = (torch.cat(terms).cpu() for terms in (draws.log_q, draws.log_p))
    values = {name: torch.cat(parts) for name, parts in draws.values.items()}
    aggregate = log_aggregate(pair, rows, draws.layout, values, vectorize=vectorize)
    information = log_q - aggregate
    own = _variance(information)
    if not math.isfinite(divergence):
        return Decomposition(float(information.mean()), math.sqrt(own), math.nan, math.nan)
    together, both = _variance(log_q - log_p), _covariance(information, log_q - log_p)
    share = both / together if together > SMALLEST else 0.0
    # The divergence may come from draws of which these are a part; so much of their noise the two have in common.
    common = min(divergence_se**2 / together, 1.0) if together > SMALLEST else 0.0
    value = float(information.mean()) - share * (float((log_q - log_p).mean()) - divergence)
    error = max(own - share * both * (1 - common), 0.0)
    rest = max(divergence_se**2 + error - 2 * common * both, 0.0)
    return Decomposition(value, math.sqrt(error), divergence - value, math.sqrt(rest))


def _variance(values: Tensor) -> float:
    """Of the mean."""
    return float(values.var()) / len(values)


def _covariance(first: Tensor, second: Tensor) -> float:
    """Of the two means."""
    return float(torch.stack([first, second]).cov()[0, 1]) / len(first)


def log_aggregate(
    pair: AnyPair, rows: CheckedRows, layout: Layout, values: Mapping[str, Tensor], *, vectorize: bool = True
) -> Tensor:
    """log q(z) of draws by site, (draws, inner plates..., event...), the mean being over all rows: (draws,), nats."""
    number = len(next(iter(values.values())))
    block = min(len(rows), AT_ONCE)
    count = max(1, AT_ONCE // block) if vectorize else 1
    total = torch.full((number,), -torch.inf, dtype=torch.float64)
    for start in range(0, len(rows), block):
        stop = min(start + block, len(rows))
        batch = rows(start, stop)
        for first in range(0, number, count):
            piece = {name: value[first : first + count] for name, value in values.items()}
            found = _log_guide(pair, batch, stop - start, piece, layout).logsumexp(1).double().cpu()
            total[first : first + count] = torch.logaddexp(total[first : first + count], found)
    return total - math.log(len(rows))


def _log_guide(pair: AnyPair, batch: Any, num_rows: int, values: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """log q(z | x) of each draw given each row: (draws, rows)."""
    count = len(next(iter(values.values())))
    placed = {}
    for name, value in values.items():
        at = layout.row_dim - layout.particle_dim  # of the rows, among draws and plates
        value = value.unsqueeze(1).expand(count, num_rows, *value.shape[1:]).movedim(1, at)
        placed[name] = value.squeeze(0) if count == 1 else value
    args, kwargs = split_batch(batch)
    plate: Any = pyro.plate(PARTICLES, count, dim=layout.particle_dim) if count > 1 else nullcontext()
    with pyro.validation_enabled(False), pair.running(), GivenValues(placed), plate:
        trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
    found = [drawn_log_prob(sites(trace)[name], layout) for name in values]
    return sum(found[1:], found[0]).expand(count, num_rows)
