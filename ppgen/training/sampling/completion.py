"""Conditional simulation: what is missing from rows of data, drawn by Gibbs chains of the machine given the rest."""

import math
from typing import Any, Literal

import torch
from pyro import poutine
from torch import Tensor

from ppgen.checks.arrays import as_tensor
from ppgen.distributions import BoltzmannMachine, Categorical
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.samplers import dispersed_draw
from ppgen.inference.kernels.gibbs_chains import gibbs_chains
from ppgen.inference.structure.machine_sites import CollectSites, visible_layer
from ppgen.inference.structure.traces import data_frame, sites
from ppgen.pair import AnyPair
from ppgen.progress import progress_bar
from ppgen.rhat import UnitMoments, split_rhat, worst_rhat


def as_rows(given: Any, pair: AnyPair) -> Tensor:
    """Rows of data with NaN at what is to be simulated, on the device and in the dtype of the pair.

    Raises:
        TypeError: If it is no tensor, array or data frame of numbers.
        ValueError: If it is no table, or nothing in it is missing.
    """
    given = as_tensor(given, "given")
    if given.dim() != 2 or not len(given):
        raise ValueError(f"given must be rows of data, (rows, features), got shape {tuple(given.shape)}.")
    if not given.is_floating_point() or not given.isnan().any():
        raise ValueError("given has nothing to simulate: put NaN where a value is to be drawn.")
    like = next((tensor for tensor in pair.parameters() if tensor.is_floating_point()), given)
    return given.to(like.device, like.dtype)


def conditioned(pair: AnyPair, given: Tensor, filled: Tensor | None = None) -> tuple[BoltzmannMachine, int]:
    """Machine of a model, conditioned on rows of its data, and the index of the layer where the data stand.

    Args:
        pair: A pair, in the state in which it is run.
        given: Rows of data, (rows, features), NaN at what is free.
        filled: Rows with numbers in the place of NaN, with which the model is run; zeros by default.

    Raises:
        ValueError: If the model is anything but a Boltzmann machine with data at one layer, or rows do not fit.
    """
    filled = given.nan_to_num(0.0) if filled is None else filled
    collect = CollectSites()
    try:
        with collect:
            trace = poutine.trace(pair.model).get_trace(filled)
    except (RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"The model cannot run on given of shape {tuple(given.shape)}. It raised: {reason}") from error
    drawn = sites(trace)
    data = [name for name, site in drawn.items() if site["value"] is filled]
    found = visible_layer(drawn[data[0]]["fn"]) if len(data) == 1 else None
    if found is None:
        raise ValueError(
            "given is for Boltzmann machines, whose data are one of their layers (models.RBM, models.DBM), and for "
            "autoregressive models without latents (models.FullyVisibleBeliefNet); "
            f"{type(pair).__name__} is directed where it draws its data. Where its latents are continuous, "
            "draw them from p(z | observed part) by inference.sample_posterior, with the missing entries masked "
            "(pyro.poutine.mask), and the rest from them. Where they are bits (models.DBN, models.SigmoidBeliefNet), "
            "train a models.RBM or a models.DBM of the same sizes on the same data instead."
        )
    energy, layer = found
    priors = {name for name, site in drawn.items() if site["is_observed"] and data_frame(site, pair.plate) is None}
    if len(collect.energies) > 1 or set(drawn) - set(collect.energies) - set(data) - priors:
        raise ValueError(f"given is for models that are one Boltzmann machine; this one has the sites {list(drawn)}.")
    units = energy.units[layer]
    if given.shape[1] != units.size:
        raise ValueError(f"given must have {units.size} features, as the data have, got {given.shape[1]}.")
    if isinstance(units, Categorical):
        asked = given.isnan().unflatten(-1, units.bias.shape)
        if (asked.any(-1) & ~asked.all(-1)).any():
            raise ValueError(
                f"given has groups of which a part is NaN; put NaN at all {units.bias.shape[1]} values of a group that "
                "is to be simulated."
            )
        if units.present is not None and (asked.all(-1) & ~units.present).any():
            # Zeros say that a group is missing. Where one is to be drawn it is there, with whatever value.
            first = torch.zeros_like(asked)
            first[..., 0] = asked.all(-1)
            return conditioned(pair, given, filled.masked_fill(first.flatten(-2), 1.0))
    return BoltzmannMachine(energy.layers, energy.couplings).condition({energy.names[layer]: given}), layer


def complete(
    pair: AnyPair,
    given: Tensor,
    num_samples: int,
    *,
    num_chains: int,
    sweeps: int,
    warmup_steps: int,
    chunk: int | None,
    compile: bool | Literal["auto"],
    progress: bool,
) -> tuple[Tensor, Tensor, float]:
    """Draws of rows given a part of them, their means given the rest of the machine, and R-hat.

    Returns:
        Two tensors of shape (num_samples, rows, features), and the largest split R-hat of the chains' free energies
        and units among the rows that miss something.
    """
    machine, layer = conditioned(pair, given)
    energy = machine.base_energy
    start = dispersed_draw(energy, (num_chains, len(given)))
    draws = -(-num_samples // num_chains)
    moments = UnitMoments(draws * sweeps)
    with progress_bar("Gibbs sweeps given data", warmup_steps + draws * sweeps, progress) as bar:
        kept, energies = gibbs_chains(
            energy,
            start,
            warmup_steps=warmup_steps,
            draws=draws,
            sweeps=sweeps,
            chunk=chunk,
            compile=compile,
            advance=bar,
            moments=moments,
        )
    values = kept.flatten(0, 1)[:num_samples]
    # From the even side to the odd one, and back if the data stand on the even side: draws and their means belong
    # together.
    for side in (EVEN, ODD) if layer % 2 == 0 else (EVEN,):
        means = energy.split(energy.mean_opposite(values, side), 1 - side)
        values = energy.sample_opposite(values, side)
    units = moments.rhat()
    rhats = [
        worst_rhat(split_rhat(energies[:, row]), units[row] if len(units) else units)
        for row in given.isnan().any(-1).nonzero().flatten().tolist()
    ]
    # All energies of a row are equal, and R-hat is NaN, where its missing units are as good as certain.
    told = [value for value in rhats if not math.isnan(value)]
    return energy.split(values, layer % 2)[layer], means[layer], max(told, default=math.nan)
