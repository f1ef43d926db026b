"""What a pair, its data and an inference are held against each other for when they are bound."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from ppgen.batch import split_batch, table_of
from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.particles.broadcasting import vectorized
from ppgen.inference.particles.log_weights import one_by_one
from ppgen.inference.particles.row_order import rows_by_place
from ppgen.inference.state_roles import check_roles
from ppgen.inference.structure.layout import Layout
from ppgen.pair import Pair, autoguide_rows
from ppgen.undisturbed import device_of, forked


def check_counts(pair: Any, objective: Any, num_rows: int, num_data: int) -> None:
    """Raise where a batch of so many of all rows is not what the pair's plate, or its guide, can do with.

    Args:
        pair: A pair, whose data plate is settled.
        objective: What is followed.
        num_rows: Rows of a batch.
        num_data: Rows of the whole data set.

    Raises:
        ValueError: If the objective names another plate than the pair; if several data are asked of a program without a
            data plate; if an AutoGuide with latents in the data plate meets a part of the data.
    """
    if objective.plate not in (None, pair.plate):
        raise ValueError(
            f"{type(objective).__name__}(plate={objective.plate!r}) is a loss of pyro.infer.SVI, where no pair says "
            f"which plate goes over the data; this pair says {pair.plate!r}. Name it there: "
            f"ppgen.Pair(model, guide, plate={objective.plate!r})."
        )
    if pair.plate is None and num_data != 1:
        raise ValueError(
            f"num_data must be 1: the program has no data plate, so that all its arguments are one datum; got "
            f"{num_data}. Name the plate that goes over the rows: {pair.plate_argument}."
        )
    rows = autoguide_rows(pair) if isinstance(pair, nn.Module) else None
    if rows is not None and num_rows != num_data:
        raise ValueError(
            f"{rows.told}; the data have {num_data} rows. Make them one batch, batch_size={num_data}; or write a guide "
            "that computes them from the data (amortised), or keep AutoGuides for sites outside that plate."
        )


def particles_at_once(
    pair: Any, batch: Any, layout: Layout, objective: Any, plan: Mapping[str, Any], joint: Any | None
) -> bool:
    """Whether particles are run at once: as the objective says, if the program does not mix them up.

    Args:
        pair: A pair.
        batch: A batch of its data.
        layout: Its structure.
        objective: What is followed.
        plan: Estimator by site.
        joint: Joint states that are summed over, if there are any.

    Raises:
        ValueError: If draws in antithetic pairs would be mixed up.
    """
    pairing = Pairing.of(plan)
    if objective.num_particles == 1 and joint is None and pairing is None:
        return bool(objective.vectorize_particles)
    at_once = vectorized(pair, batch, layout, objective.vectorize_particles)
    at_once = at_once and not one_by_one(pair, batch, layout)
    if pairing is not None and objective.vectorize_particles and not at_once:
        raise ValueError(
            f"Site {pairing.sites[0]!r} is drawn in antithetic pairs, all at once, and the program takes particles "
            "together. Index and sum from the right in it (x[..., i], x.sum(-1)), or use inference.LeaveOneOut() with "
            "two particles or more, or inference.ScoreFunction()."
        )
    return at_once


def keeps_order(pair: Any, batch: Any, layout: Layout, num_data: int | None) -> bool:
    """Whether all rows are one batch and told apart by their places, so that another order would be other data."""
    if num_data is None or layout.num_rows != num_data or not isinstance(pair, Pair):
        return False
    return autoguide_rows(pair) is not None or rows_by_place(pair, batch, layout)


def check_baselines(plan: Mapping[str, Any], baselines: Mapping[str, Any], batch: Any, layout: Layout) -> None:
    """Raise unless estimators and baselines can look at a batch like this one.

    Args:
        plan: Estimator by site.
        baselines: Baseline by site, where there is one.
        batch: The batch.
        layout: Structure of the pair.
    """
    own = [law for name, law in layout.guide_laws.items() if name not in layout.global_latents]
    dim = layout.data_dim
    size = own[0].batch_shape[dim] if own and dim is not None else layout.num_rows
    rows = partial(table_of, batch, torch.empty(0, size), dim is None)
    for site, estimator in plan.items():
        if estimator is not None:
            estimator.check_rows(site, rows)
    for baseline in baselines.values():
        with forked(device_of(*split_batch(batch))):  # what a user's own draws
            check_roles(baseline, baseline.init(rows()), baseline.roles)
