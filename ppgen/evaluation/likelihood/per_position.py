"""log p of each entry of a datum given those before it, where a likelihood is a sum of such terms."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Independent

from ppgen.batch import split_batch
from ppgen.distributions import OrderMixture
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.program import Program
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.traces import data_frame, sites
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating


def check_per_position(pair: AnyPair, rows: CheckedRows, program: Program, method: str) -> None:
    """Raise unless the likelihood of a datum is a sum of terms of its entries.

    Args:
        pair: A pair.
        rows: Data.
        program: What one run of the pair tells.
        method: The method that was chosen.

    Raises:
        ValueError: Says why it is none.
    """
    name = type(pair).__name__
    if program.layout.latent or program.energies:
        raise ValueError(
            f"per_position needs a likelihood that is a product over the entries of a datum; {name} has latents "
            f"({', '.join(map(repr, program.layout.latent))}), under which entries have none of their own. It is for "
            "autoregressive models, such as models.FullyVisibleBeliefNet."
        )
    if method != "exact":
        raise ValueError(f"per_position needs method='exact', got a likelihood by {method!r}.")
    with evaluating(pair):
        _terms(pair, rows(0, 1))


def with_positions(estimate: Estimate, pair: AnyPair, rows: CheckedRows, chunk: int) -> Estimate:
    """An estimate, with log p of each entry given those before it among its arrays.

    Args:
        estimate: Exact likelihood of the rows.
        pair: A pair in evaluation mode.
        rows: Data.
        chunk: Rows at once.

    Raises:
        ValueError: If the terms do not sum to the likelihood.
    """
    blocks = [_terms(pair, rows(start, min(start + chunk, len(rows)))) for start in range(0, len(rows), chunk)]
    each = torch.cat(blocks).double().cpu().numpy()
    known = dict(estimate.per_datum or {})
    whole = known["log_likelihood"]
    if not np.allclose(each.sum(-1), whole, rtol=1e-4, atol=1e-3):
        raise ValueError(
            "per_position: the terms of the entries do not sum to log p(x), as the programs state more than the law of "
            f"the data (a factor?): {each.sum(-1)[0]:.6g} for row 0, whose log p is {whole[0]:.6g}."
        )
    return replace(estimate, per_datum={**known, "per_position": each})


@torch.no_grad()
def _terms(pair: AnyPair, batch: Any) -> Tensor:
    """log p of each entry of each row given those before it: (rows, features)."""
    args, kwargs = split_batch(batch)
    with pair.running():
        trace = poutine.trace(pair.model).get_trace(*args, **kwargs)
    observed = [site for site in sites(trace).values() if data_frame(site, pair.plate) is not None]
    if len(observed) != 1:
        raise ValueError(
            f"per_position needs one observed site in plate {pair.plate!r}, got {[site['name'] for site in observed]}."
        )
    law, value = observed[0]["fn"], observed[0]["value"]
    if hasattr(law, "conditional_log_prob") and len(law.event_shape) == 1:
        found: Tensor = law.conditional_log_prob(value)
        return found
    if isinstance(law, Independent) and law.reinterpreted_batch_ndims == 1 and not law.base_dist.event_shape:
        return law.base_dist.log_prob(value)
    way_out = " Train it with orders=1 for terms of each entry." if isinstance(law, OrderMixture) else ""
    raise ValueError(
        f"per_position needs a law that is a product over the entries of a datum, such as distributions.Autoregressive "
        f"or one with .to_event(1); site {observed[0]['name']!r} has {type(law).__name__}, whose log p is no sum over "
        f"entries.{way_out}"
    )
