"""What gradients are held against: the objective's own, by enumeration where there are few states."""

import itertools
import math
from dataclasses import replace
from typing import Any

import torch
from pyro.distributions import Bernoulli, Independent
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ppgen.inference import ELBO, IWELBO, ExactPartition, Inference, ReweightedWakeSleep, WakeSleep, log_weights
from ppgen.inference.objectives.objective import MultiSampleObjective
from ppgen.inference.structure.layout import DISCRETE, Layout

PARTICLES = 10  # of the reference under an ELBO, whose expected gradient does not depend on their number
MAX_STATES = 2**12


def reference_for(inference: Inference, objective: Any = None) -> Inference:
    """An inference whose gradient is unbiased for the objective of another.

    That of wake-sleep is the ELBO, that of reweighted wake-sleep the importance-weighted bound: their values.

    Args:
        inference: The inference to be examined.
        objective: An objective to hold it against instead of its own.

    Raises:
        ValueError: If the objective is not known to have an unbiased estimator.

    Example:
        >>> from ppgen import inference
        >>> reference_for(inference.RWS(num_particles=5)).objective
        IWELBO(num_particles=5, vectorize_particles=True)
    """
    given = inference.objective if objective is None else objective
    if isinstance(given, WakeSleep):
        given = ELBO(given.num_particles, vectorize_particles=given.vectorize_particles)
    elif isinstance(given, ReweightedWakeSleep):
        given = IWELBO(given.num_particles, vectorize_particles=given.vectorize_particles)
    elif given.own_gradient:
        raise ValueError(
            f"{type(given).__name__} has no unbiased estimator to compare with: name an objective by objective=, such "
            "as inference.ELBO()."
        )
    if isinstance(given, IWELBO) and given.num_particles == 1:
        given = ELBO(1, vectorize_particles=given.vectorize_particles)
    if isinstance(given, ELBO) and not given.weighted:
        given = replace(given, num_particles=max(given.num_particles, PARTICLES))
    return Inference(given, "auto", None if inference.negative_phase is None else ExactPartition())


class _Forced(Messenger):
    """Gives the latent sites of the guide their values in every state, one state a particle."""

    def __init__(self, states: dict[str, Tensor], dims: int) -> None:
        super().__init__()
        self.states, self.dims = states, dims

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.states or msg["is_observed"] or msg["value"] is not None:
            return
        states = self.states[msg["name"]]
        value = states.reshape((len(states),) + (1,) * (self.dims - 1) + states.shape[1:])
        msg["value"] = value.expand(msg["fn"].shape())
        msg["done"] = True


def exact_gradient(pair: Any, batch: Any, objective: Any, layout: Layout, num_data: int) -> dict[str, Tensor] | None:
    r"""Gradient of minus the objective per datum by a sum over all states of the latents; None where that cannot be.

    Of an upper bound it is that of the objective, which is descended.

    .. math:: \nabla \sum_{z_1, \dots, z_K} \prod_k q(z_k \mid x) \; \hat{\mathcal{L}}(z_1, \dots, z_K)

    It can where all latents are Bernoulli variables of single data, with at most 4096 states of all particles, and if
    nothing else is random or shared between particles (dropout, batch normalisation).

    Args:
        pair: A pair, prepared.
        batch: A batch.
        objective: An ELBO without weights, or an objective that averages particles inside a logarithm.
        layout: Structure of the pair.
        num_data: Rows of the whole data set.
    """
    laws = {name: layout.guide_laws[name] for name in layout.latent}
    bits = [math.prod(law.event_shape) for law in laws.values()]
    plain = isinstance(objective, ELBO) and not objective.weighted
    num_particles = 1 if plain else objective.num_particles
    coupled = any(isinstance(module, (_BatchNorm, _DropoutNd)) for module in pair.modules())
    if coupled or not (plain or isinstance(objective, MultiSampleObjective)) or not _enumerable(layout):
        return None
    if sum(bits) * num_particles > math.log2(MAX_STATES):
        return None
    named = {name: tensor for name, tensor in pair.named_parameters() if tensor.requires_grad}
    like = next(iter(named.values()))
    table = torch.tensor(list(itertools.product((0.0, 1.0), repeat=sum(bits))), dtype=like.dtype, device=like.device)
    columns = table.split(bits, 1)
    states = {
        name: column.reshape(-1, *law.event_shape) for (name, law), column in zip(laws.items(), columns, strict=True)
    }
    with torch.enable_grad():
        with _Forced(states, -layout.particle_dim):
            weights = log_weights(pair, batch, len(table), layout=layout)
        log_mass = torch.zeros_like(weights.local)
        for name in laws:
            log_mass = log_mass + weights.guide_terms[name]
        bound, mass = weights.local, log_mass.exp()
        if not plain:
            index = torch.tensor(list(itertools.product(range(len(table)), repeat=num_particles))).T
            bound = objective.average(torch.stack([weights.local[each] for each in index]))
            mass = torch.stack([log_mass[each] for each in index]).sum(0).exp()
        value = (mass * bound).sum(0).mean()
        if weights.outside is not None:
            value = value + weights.outside.mean() / num_data
        loss = value if objective.descended else -value
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(named.items(), gradients, strict=True)
    }


def _enumerable(layout: Layout) -> bool:
    if layout.undirected or layout.global_latents or layout.scaled or not layout.latent:
        return False
    return all(kind == DISCRETE for kind in layout.latent.values()) and all(
        _bernoulli(layout.guide_laws[name]) and _only_data(layout.guide_laws[name], layout) for name in layout.latent
    )


def _bernoulli(law: Any) -> bool:
    while isinstance(law, Independent):
        law = law.base_dist
    return isinstance(law, Bernoulli)


def _only_data(law: Any, layout: Layout) -> bool:
    """Whether a site lies in the data plate and in no other."""
    shape = law.batch_shape
    return all(size == 1 or dim - len(shape) == layout.row_dim for dim, size in enumerate(shape))
