"""Lower bounds of log p(x): the mean log-weight, and the closed form with the guide's means."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyro
import torch

from ppgen import inference
from ppgen.evaluation.per_datum import PerDatum
from ppgen.inference.engine.plan import planned
from ppgen.inference.estimators.guide_draws import GuideDraws
from ppgen.inference.structure.layout import Layout
from ppgen.pair import AnyPair


@torch.no_grad()
def bounds(
    pair: AnyPair,
    rows: Callable[[int, int], Any],
    num_data: int,
    *,
    layout: Layout,
    num_particles: int,
    chunk: int,
    log_partition: Mapping[str, float],
    closed: bool,
    advance: Callable[[int], None] | None = None,
) -> PerDatum:
    r"""Evidence lower bound of every datum.

    .. math:: E_q[\log p(x, z) - \log q(z \mid x)] \approx \frac{1}{K} \sum_k \log w_k, \quad\text{or}\quad
              \log p(x, \mu) + H(q)

    Args:
        pair: Model and guide.
        rows: Batch of the data from a first up to a last index.
        num_data: Number of data.
        layout: Structure of the pair, without latents outside its data plate.
        num_particles: Draws K of the guide a datum; one, if the form is closed.
        chunk: Log-weights evaluated at once.
        log_partition: log Z by undirected site.
        closed: Whether the guide's means stand in the place of draws (`inference.MeanField`).
        advance: Called with the number of data done.

    Raises:
        ValueError: If the means give no bound for the pair: the message names the site.
    """
    objective = inference.ELBO()
    found = np.full((3, num_data), np.nan)
    block = max(1, min(chunk // num_particles, num_data))
    with inference.attach(log_partition=log_partition), pyro.validation_enabled(False):
        plan = {}
        if closed:
            plan = planned(inference.Inference(objective, inference.MeanField()), pair, rows(0, 1), layout)
        for start in range(0, num_data, block):
            stop = min(start + block, num_data)
            parts = []
            for first in range(0, num_particles, chunk):
                count = min(chunk, num_particles - first)
                with GuideDraws(plan):
                    parts.append(inference.log_weights(pair, rows(start, stop), count, layout=layout).local.double())
            weights = torch.cat(parts)
            found[0, start:stop] = weights.mean(0).cpu().numpy()
            if closed:
                found[1, start:stop] = 0.0
            elif num_particles > 1:
                found[1, start:stop] = (weights.std(0) / num_particles**0.5).cpu().numpy()
            found[2, start:stop] = 1 if closed else num_particles
            if advance is not None:
                advance(stop)
    return PerDatum(found[0], found[1], found[2], None)
