"""Importance sampling of log p(x), in memory that grows neither with the data nor with the particles."""

import math
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from ppgen import inference
from ppgen.devices import keep_freed_memory
from ppgen.evaluation.effective import CONSTANT_RANGE
from ppgen.evaluation.likelihood.compiled_weights import compiled_log_weights, worth_compiling_weights
from ppgen.evaluation.likelihood.method import Advance, LikelihoodMethod, Sampling, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program
from ppgen.inference.annealing.effective_runs import LONE

MIN_PARTICLES_FOR_PARETO = 25  # a tail of at least five draws


def summarise(log_weights: Tensor, *, pareto: bool = True) -> PerDatum:
    r"""Estimates from log-weights of shape (particles, rows).

    .. math:: \log \bar w, \quad
        \mathrm{se}^2 = \frac{1}{K - 1} \Big( \frac{\overline{w^2}}{\bar w^2} - 1 \Big), \quad
        \mathrm{ess} = \frac{(\sum_k w_k)^2}{\sum_k w_k^2}

    Where ess is below 2 one weight outweighs all others together. The formula then says a nat or less however far off
    the value is, which `evaluation.log_likelihood` does not pass on, and k is NaN, as the tail has no draws. Weights
    that are all alike have an error of about 0, and k = 0.

    References:
        Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, arXiv:1507.02646.

    Example:
        >>> summarise(torch.tensor([[0.0], [0.0]]), pareto=False).ess
        array([2.])
    """
    log_weights = log_weights.double()
    num_particles = len(log_weights)
    top = log_weights.amax(0).clamp(min=torch.finfo(torch.float64).min)
    weights = (log_weights - top).exp_()
    total = weights.sum(0)
    ess = total.square() / weights.square().sum(0)
    log_mean = top + (total / num_particles).log()
    degrees = num_particles - 1 if num_particles > 1 else math.nan
    spread = ((num_particles / ess - 1).clamp(min=0) / degrees).sqrt()
    alike = log_weights.amax(0) - log_weights.amin(0) <= CONSTANT_RANGE
    unknown = ~(ess >= LONE) & ~alike
    tail = None
    if pareto and num_particles >= MIN_PARTICLES_FOR_PARETO:
        tail = pareto_shapes(log_weights, ~unknown.cpu().numpy())
    return PerDatum(log_mean.cpu().numpy(), spread.cpu().numpy(), ess.cpu().numpy(), tail)


def pareto_shapes(log_weights: Tensor, known: np.ndarray | None = None) -> np.ndarray:
    """Pareto k of each column of (particles, rows) by ArviZ; 0 where the weights are all but constant.

    Args:
        log_weights: Log-weights, (particles, rows), nats.
        known: Which columns have a tail to fit; the others get NaN. None for all.
    """
    from arviz_stats.base import array_stats

    columns = log_weights.T.double().cpu().numpy()
    shapes = np.zeros(len(columns))
    for row, column in enumerate(columns):
        if known is not None and not known[row]:
            shapes[row] = np.nan
            continue
        if not np.isfinite(column).all():
            column = column[np.isfinite(column)]  # weights of exactly zero are no part of the tail
        if len(column) < MIN_PARTICLES_FOR_PARETO:
            shapes[row] = np.inf
        elif np.ptp(column) > CONSTANT_RANGE:
            shapes[row] = _fit(array_stats, column)
    return shapes


def _fit(array_stats: Any, log_weights: np.ndarray) -> float:
    try:
        with np.errstate(all="ignore"):
            _, shape = array_stats.psislw(-log_weights)  # it takes log-likelihoods: minus the log-weights
    except ValueError:  # all values of the tail are one and the same: nothing beyond the cutoff
        return 0.0
    return float(shape)


@torch.no_grad()
def importance(subject: Subject, sampling: Sampling, *, pareto: bool = True, advance: Advance = None) -> PerDatum:
    """Importance estimates of every datum, the guide as the proposal.

    At most `sampling.chunk` log-weights are evaluated at once: all particles of a few rows, or a part of the
    particles of one row; beside that, eight bytes a particle of the current rows are kept.

    Args:
        subject: Pair, data and log Z; no latent lies outside the data plate.
        sampling: How particles are drawn.
        pareto: Whether to fit the tail of the weights; it is unknown, NaN, for fewer than 25 particles.
        advance: Called with the number of data done.

    Raises:
        ValueError: If the data plate is not over the rows of a batch.
    """
    pair, rows, layout = subject.pair, subject.rows, subject.program.layout
    num_data, num_particles, chunk = len(rows), sampling.num_particles, sampling.chunk
    block = max(1, min(chunk // num_particles, num_data))
    parts = [min(chunk, num_particles - first) for first in range(0, num_particles, chunk)]
    even, machine_code = 0, None
    # Written into arrays made once: small results kept among the large ones that come and go would cut the freed
    # memory into pieces that fit no more, a MiB for each row.
    found = np.full((4, num_data), np.nan)
    keep_freed_memory(pair.device)
    # The data were held against their support before; checking each particle's law again costs a tenth of
    # the time.
    with inference.attach(log_partition=subject.log_partitions), pyro.validation_enabled(False):
        worth = sampling.compile == "auto" and worth_compiling_weights(pair, num_data, num_particles)
        if sampling.compile is True or worth:
            # Parts of one size, so that one shape is compiled; the few draws too many are dropped.
            even = -(-num_particles // len(parts)) if sampling.vectorize else 1
            machine_code = compiled_log_weights(pair, rows(0, block), even, layout)
        for start in range(0, num_data, block):
            stop = min(start + block, num_data)
            batch = rows(start, stop)
            if machine_code is not None and stop - start == block:
                local = [machine_code(batch) for _ in range(-(-num_particles // even))]
            else:
                local = [
                    inference.log_weights(pair, batch, count, vectorize=sampling.vectorize, layout=layout).local
                    for count in parts
                ]
            if local[0].shape[1] != stop - start:
                raise ValueError(
                    f"The data plate has {local[0].shape[1]} entries for {stop - start} rows of x: write "
                    "it over the rows of the first argument, pyro.plate(name, len(x))."
                )
            weights = local[0] if len(local) == 1 else torch.cat(local)[:num_particles]
            summary = summarise(weights, pareto=pareto)
            for row, values in enumerate(summary):
                if values is not None:
                    found[row, start:stop] = values
            del summary
            if advance is not None:
                advance(stop)
    return PerDatum(found[0], found[1], found[2], found[3] if pareto else None)


class ImportanceSampling(LikelihoodMethod):
    """The logarithm of the mean weight of K particles of the guide."""

    name = "importance"
    doubt = (
        "the guide is too narrow or too far off for its weights, and the value errs low by "
        "more than the error bar says; use a better guide, as more particles help little"
    )

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where it is asked for, or the guide is not the exact posterior."""
        return asked == cls.name or (asked == "auto" and bool(program.inexact_sites))

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """The estimates, with the tails of their weights."""
        return importance(subject, self.sampling, advance=advance)

    def describe(self) -> str:
        """Particles of a datum."""
        return f"importance (K={self.sampling.num_particles})"
