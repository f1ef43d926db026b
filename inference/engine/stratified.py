"""Batches that hold more rows of one kind than the data: which inferences may be given them."""

from typing import Any

from ppgen.inference.objectives.own_gradient import OwnGradient
from ppgen.inference.particles.row_weights import Strata


def stratify(bound: Any, strata: Strata | None, processes: int = 1) -> None:
    """Let means over rows be weighted in the training steps of a bound inference, if batches are stratified.

    Args:
        bound: An inference bound to a pair.
        strata: What a batch is made of; None weighs all rows alike.
        processes: Processes that share a batch.

    Raises:
        ValueError: If the weights cannot stand outside of all that is made of a row.
    """
    bound.strata = strata
    if strata is None:
        return
    objective, layout = bound.inference.objective, bound.layout
    name, told = type(objective).__name__, "stratified batches weigh rows, each outside of all that is made of it"
    uniform = "Train on pairs without stratified(...)."
    if isinstance(objective, OwnGradient):
        raise ValueError(f"{told}, and {name} has a gradient of its own. Use ELBO, IWELBO or Renyi. {uniform}")
    if getattr(objective, "sparsity_target", None) is not None:
        raise ValueError(f"{told}, and sparsity_target is for means over the batch. {uniform}")
    if layout.global_latents or layout.coupled:
        site = [*layout.global_latents, *layout.coupled][0]
        raise ValueError(f"{told}, and site {site!r} outside of plate {layout.plate!r} joins the rows. {uniform}")
    if bound.update is not None:
        raise ValueError(f"{told}, and {type(bound.update.update).__name__} averages over the batch. {uniform}")
    if bound.keeps_order:
        raise ValueError(f"{told}, and the guide has parameters for rows in their order. {uniform}")
    if processes > 1:
        raise ValueError(f"{told}, by its place in the batch, which {processes} processes share. {uniform}")
