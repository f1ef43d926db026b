"""Centring: the gradient of the centred parameters of a Boltzmann machine, by a linear map of the plain one."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ppgen.distributions import Convolutional, Dense, Ordinal, Replicated
from ppgen.distributions.machines.layered_energy import EVEN, ODD, LayeredEnergy

State = dict[str, Tensor]


@torch.no_grad()
def updated_offsets(even: Tensor, odd: Tensor, state: State, rate: float) -> State:
    """Offsets moved towards the means of both sides in the positive phase; at them, if there were none.

    Args:
        even: Values of the even side, or their means: (..., rows, even units).
        odd: Means of the odd side in the positive phase: (..., rows, odd units).
        state: State with the last offsets, if any.
        rate: Weight of the new means.

    Returns:
        `even_offset`, shape (even units,), and `odd_offset`, shape (odd units,).
    """
    means = {"even_offset": even.flatten(0, -2).mean(0), "odd_offset": odd.flatten(0, -2).mean(0)}
    return {name: torch.lerp(state[name], mean, rate) if name in state else mean for name, mean in means.items()}


@torch.no_grad()
def centred_gradients(energy: LayeredEnergy, state: State, gradients: Mapping[int, Tensor]) -> dict[int, Tensor]:
    r"""Gradient with respect to centred parameters, carried back to the plain ones.

    .. math:: g_W' = g_W - g_b \lambda^\top - \mu \, g_c^\top, \quad g_b' = g_b - g_W' \lambda, \quad
              g_c' = g_c - g_W'^\top \mu

    for offsets mu below and lambda above each coupling, layer by layer in a deep machine. It is the map J J' of a
    change of parameters, so it turns the gradient of anything into a descent direction of the same thing. Feature maps
    have one offset each, at which every unit stands that hears or is heard by a whole filter.

    References:
        | Deep Boltzmann Machines and the Centering Trick (Montavon and Mueller, 2012)
        | How to Center Deep Boltzmann Machines (Melchior, Fischer and Wiskott, 2016), https://arxiv.org/abs/1311.1354

    Args:
        energy: Energy of the machine.
        state: Offsets, as `updated_offsets` makes them.
        gradients: Plain gradient by `id` of the parameter; every weight and bias must have one.

    Returns:
        Centred gradients under the same keys; empty if a coupling has no centred form or a gradient is missing.
    """
    if len(energy.couplings) == 1 and isinstance(energy.couplings[0], Ordinal):
        return _centred_scores(energy, energy.couplings[0], state, gradients)
    if not all(isinstance(coupling, (Convolutional, Dense, Replicated)) for coupling in energy.couplings):
        return {}
    offsets = {**energy.split(state["even_offset"], EVEN), **energy.split(state["odd_offset"], ODD)}
    biases = [units.parameters()[0] for units in energy.units]
    weights = [coupling.parameters()[0] for coupling in energy.couplings]
    pairs: list[tuple[Tensor, Tensor]] = []
    for layer, coupling in enumerate(energy.couplings):
        below, above = offsets[layer], offsets[layer + 1]
        if isinstance(coupling, Replicated):
            # The bias above counts once for each word, so that words are centred one by one, at their frequencies.
            biases[layer + 1] = coupling.bias
            below = below / below.sum()
        elif isinstance(coupling, Convolutional):
            below, above = _map_offsets(coupling, below, above)
        pairs.append((below, above))
    fits = all(
        (biases[layer].numel(), biases[layer + 1].numel()) == (len(below), len(above))
        for layer, (below, above) in enumerate(pairs)
    )
    if not fits or any(id(parameter) not in gradients for parameter in (*biases, *weights)):
        return {}
    centred: dict[int, Tensor] = {}
    flat = [gradients[id(bias)].flatten() for bias in biases]
    shifts = [torch.zeros_like(gradient) for gradient in flat]
    for layer, (weight, (below, above)) in enumerate(zip(weights, pairs, strict=True)):
        # Filters as one matrix (channels, maps) for each of their places.
        gradient = gradients[id(weight)].permute(2, 3, 1, 0) if weight.dim() == 4 else gradients[id(weight)]
        gradient = gradient - torch.outer(flat[layer], above) - torch.outer(below, flat[layer + 1])
        shifts[layer] += (gradient @ above).reshape(-1, len(below)).sum(0)
        shifts[layer + 1] += (gradient.mT @ below).reshape(-1, len(above)).sum(0)
        centred[id(weight)] = gradient.permute(3, 2, 0, 1) if weight.dim() == 4 else gradient
    for bias, gradient, shift in zip(biases, flat, shifts, strict=True):
        centred[id(bias)] = (gradient - shift).reshape(bias.shape)
    return centred


def _centred_scores(
    energy: LayeredEnergy, coupling: Ordinal, state: State, gradients: Mapping[int, Tensor]
) -> dict[int, Tensor]:
    """Centred gradients of an `Ordinal` coupling, whose K weights of a group are made of two parameters each."""
    scores, parts = coupling.scores, coupling.parameters()
    below, above = state["even_offset"].reshape(scores.shape), state["odd_offset"]
    biases = [units.parameters()[0] for units in energy.units]
    if any(id(parameter) not in gradients for parameter in (*biases, *parts)):
        return {}
    lower, upper = (gradients[id(bias)] for bias in biases)
    centred, shift = {}, torch.zeros_like(lower)
    total = torch.zeros_like(upper)
    for part, factor in zip(parts, (scores, torch.ones_like(scores)), strict=True):
        mean = (factor * below).sum(1)
        gradient = gradients[id(part)] - torch.outer((factor * lower).sum(1), above) - torch.outer(mean, upper)
        shift, total = shift + factor * (gradient @ above).unsqueeze(-1), total + mean @ gradient
        centred[id(part)] = gradient
    return {**centred, id(biases[0]): lower - shift, id(biases[1]): upper - total}


def _map_offsets(coupling: Convolutional, below: Tensor, above: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the positions of what each channel sends, (channels,), and of each map's units, (maps,)."""
    channels, maps = coupling.image_shape[0], coupling.map_shape[0]
    return below.reshape(channels, -1).mean(1) * coupling.pool_below**2, above.reshape(maps, -1).mean(1)
