"""Contract of causal networks: what each entry sees, steps against the forward pass, the law against enumeration."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from ppgen.causal import CausalNetwork
from ppgen.distributions import Autoregressive, OutputLaw
from ppgen.testing.statistics import check_close, check_frequencies, check_mean, fail
from ppgen.undisturbed import forked

_DRAWS = 20_000
_TRIES = 8  # inputs at one of which an entry must be felt
_MOST_STATES = 2**12


def check_causal(
    network: CausalNetwork,
    output: OutputLaw,
    *,
    given: Tensor | None = None,
    field: Tensor | None = None,
    seed: int = 0,
) -> None:
    """Raise unless a network is causal, its steps agree with its forward pass, and their law is exact.

    All of it in float64 at random weights, of a copy: the parameters of position i have a derivative in entry j that is
    exactly 0 for j >= i, and not 0 for j < i in the field; steps along given values give the parameters of the forward
    pass; if values are finitely many and the vector is short, the probabilities sum to 1, the law given its first
    entries is that of enumeration, and so are draws, each in several orders. Of numbers, the scores of draws have the
    mean 0.

    Args:
        network: A network in the number of outputs that the law of an entry has; best with at most 6 positions.
        output: Law of an entry.
        given: What vectors are conditioned on, one row for each of a few vectors, (vectors, numbers).
        field: Whether the parameters of position i see entry j, (positions, positions); by default all earlier ones.
            What is not in the field must not be seen.
        seed: Seed of weights and draws.

    Raises:
        AssertionError: Says what is wrong, and at which positions.

    Example:
        >>> from ppgen import nn
        >>> from ppgen.distributions import BernoulliOutput
        >>> from ppgen.testing import check_causal
        >>> check_causal(nn.CausalLinear(4), BernoulliOutput())
    """
    with forked(torch.device("cpu") if given is None else given.device, seed):
        network = _random_weights(network)
        given = None if given is None else given.double()
        check_field(network, output, given=given, field=field)
        _check_steps(network, output, given)
        given = None if given is None else given[:2]
        backwards, shuffled = torch.arange(network.positions).flip(0), torch.randperm(network.positions)
        if output.values is None:
            _check_scores(Autoregressive(network, output, shuffled, given))
        elif len(output.values) ** network.positions <= _MOST_STATES:
            for order in (None, backwards, shuffled):
                _check_enumerated(Autoregressive(network, output, order, given), output.values.double())


def check_field(
    network: CausalNetwork, output: OutputLaw, *, given: Tensor | None = None, field: Tensor | None = None
) -> None:
    """Raise unless the parameters at each position have derivatives in the entries of a field before it, and no other.

    Args:
        network: A network in float64, at the weights to be looked at.
        output: Law of an entry.
        given: What vectors are conditioned on, (vectors, numbers).
        field: Whether the parameters of position i see entry j, (positions, positions); by default all earlier ones.

    Raises:
        AssertionError: Names the first positions.
    """
    positions = network.positions
    every = torch.ones(positions, positions, dtype=torch.bool).tril(-1)
    wanted = every if field is None else field.cpu().bool()
    seen = seen_entries(network, given)
    name = type(network).__name__
    if (wrong := seen & ~every).any():
        position, entry = wrong.nonzero()[0].tolist()
        what = "itself" if position == entry else "a later entry"
        fail(f"{name}: position {position} sees entry {entry}, {what}: its log_prob is that of no law.")
    if (wrong := seen & ~wanted).any():
        position, entry = wrong.nonzero()[0].tolist()
        fail(f"{name}: position {position} sees entry {entry}, which is not in its field.")
    if (wrong := wanted & ~seen).any():
        position, entry = wrong.nonzero()[0].tolist()
        fail(f"{name}: position {position} is blind to entry {entry}, which is in its field ({int(wrong.sum())} such).")


def seen_entries(network: CausalNetwork, given: Tensor | None = None) -> Tensor:
    """Whether the parameters at position i have a derivative in entry j that is not 0, at some of a few random inputs.

    Args:
        network: A network in float64.
        given: What vectors are conditioned on, (vectors, numbers).

    Returns:
        (positions, positions), True at [i, j] where i sees j: the picture of a receptive field.

    Example:
        >>> from ppgen import nn
        >>> seen_entries(_random_weights(nn.CausalLinear(3))).int().tolist()
        [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
    """
    like = _like(network)
    vectors = _TRIES if given is None else len(given)
    tries = max(1, -(-_TRIES // vectors))
    seen = torch.zeros(network.positions, network.positions, dtype=torch.bool)
    for _ in range(tries):
        x = torch.randn(vectors, network.positions, dtype=like.dtype, device=like.device).requires_grad_()
        parameters = network(x, given)
        weights = torch.randn_like(parameters)  # at which derivatives of several parameters do not cancel
        for position in range(network.positions):
            score = (parameters[:, position] * weights[:, position]).sum()
            if not score.requires_grad:
                continue
            (slope,) = torch.autograd.grad(score, x, retain_graph=True, allow_unused=True)
            if slope is not None:
                seen[position] |= (slope != 0).any(0).cpu()
    return seen


def _like(network: Any) -> Tensor:
    found: Tensor = next(network.parameters())
    return found


def _random_weights(network: Any) -> Any:
    """A copy in float64 and in evaluation mode, with weights of about the size that keeps activations at 1."""
    found = copy.deepcopy(network).double().eval()
    with torch.no_grad():
        for value in found.parameters():
            value.normal_(0, 0.5 if value.dim() < 2 else 1 / math.sqrt(max(value[0].numel(), 1)))
    return found


def _check_steps(network: CausalNetwork, output: OutputLaw, given: Tensor | None) -> None:
    """One step after another along given values, for vectors in one and in two dimensions of a batch."""
    like = _like(network)
    for batch in ((3,), (2, 3)):
        rows = None if given is None else given[torch.arange(math.prod(batch)) % len(given)].unflatten(0, batch)
        x = torch.randn(*batch, network.positions, dtype=like.dtype, device=like.device)
        expected = network(x, rows)
        if expected.shape != (*batch, network.positions, output.num_parameters):
            fail(
                f"{type(network).__name__}: parameters of vectors {tuple(x.shape)} have shape {tuple(expected.shape)}."
            )
        state = network.start(torch.Size(batch), rows)
        shapes = {name: tensor.shape for name, tensor in state.items()}
        previous = torch.zeros(batch, dtype=like.dtype, device=like.device)
        for position in range(network.positions):
            if "position" not in state or int(state["position"]) != position:
                fail(f"{type(network).__name__}: the state's position must count the steps.")
            parameters, state = network.step(state, previous)
            what = f"step {position} of {type(network).__name__} against its forward pass"
            check_close(parameters, expected[..., position, :], what)
            if {name: tensor.shape for name, tensor in state.items()} != shapes:
                fail(f"{type(network).__name__}: step {position} changes the names or the shapes of the state.")
            previous = x[..., position]


def _check_enumerated(law: Autoregressive, values: Tensor) -> None:
    """Sum, conditional laws and draws against all vectors."""
    like, size = _like(law.network), law.event_shape[0]
    name = f"{type(law.network).__name__} with {type(law.output).__name__}"
    index = torch.cartesian_prod(*[torch.arange(len(values))] * size).reshape(-1, size).to(like.device)
    states = values.to(like.device)[index]
    batch = law.batch_shape
    log_probs = law.log_prob(states.reshape(len(states), *(1 for _ in batch), size)).detach()
    total = log_probs.logsumexp(0)
    check_close(total, torch.zeros_like(total), f"{name}: sum of the probabilities", atol=1e-12)
    drawn = law.sample((_DRAWS,))
    radix = len(values) ** torch.arange(size - 1, -1, -1, device=like.device)
    where = (drawn.unsqueeze(-1) == values.to(like.device)).long().argmax(-1) @ radix
    _check_conditioned(law, states, log_probs, name)
    log_probs, where = log_probs.reshape(len(states), -1), where.reshape(_DRAWS, -1)
    for row in range(log_probs.shape[1]):
        check_frequencies(where[:, row], log_probs[:, row].exp(), f"{name}: draws")


def _check_conditioned(law: Autoregressive, states: Tensor, log_probs: Tensor, name: str) -> None:
    """The law given the first half of the entries, of one state, against the law of all."""
    size, batch = law.event_shape[0], law.batch_shape
    first = torch.arange(size // 2, device=states.device) if law.order is None else law.order[: size // 2]
    value = torch.full_like(states[0], torch.nan)
    value[first] = states[len(states) // 3][first]
    conditioned = law.condition(value)
    agree = (states[:, first] == value[first]).all(-1).reshape(len(states), *(1 for _ in batch))
    among = torch.where(agree, log_probs, -torch.inf)
    found = conditioned.log_prob(states.reshape(len(states), *(1 for _ in batch), size)).detach()
    what = f"{name}: law given the first entries"
    check_close(found.exp(), (among - among.logsumexp(0)).exp(), what)
    drawn = conditioned.sample((100,))
    if not bool((drawn[..., first] == value[first]).all()):
        fail(f"{what}: draws change known entries.")
    placed, probability = states.reshape(len(states), *(1 for _ in batch), size), found.exp().unsqueeze(-1)
    mean, square = (probability * placed).sum(0), (probability * placed.square()).sum(0)
    # In the law's own standard deviations, as draws of a rare value may all be the other one.
    deviation = (drawn - mean) / (square - mean.square()).clamp(min=1e-12).sqrt()
    check_close(deviation.mean(0) / 40, torch.zeros_like(mean), what, atol=0.01)


def _check_scores(law: Autoregressive) -> None:
    """The mean of the derivative of log p in its parameters is 0 at draws of it, and only there."""
    drawn = law.sample((_DRAWS,)).reshape(_DRAWS, -1, law.event_shape[0])[:, 0]
    given = None if law.given is None else law.given[:1]
    alone = Autoregressive(law.network, law.output, law.order, given)
    parameters = alone.parameters(drawn.detach()).detach().requires_grad_()
    each = law.output.log_prob(parameters, drawn if law.order is None else drawn[..., law.order])
    (scores,) = torch.autograd.grad(each.sum(), parameters)
    what = f"{type(law.network).__name__} with {type(law.output).__name__}: scores of draws"
    check_mean(scores, torch.zeros_like(scores[0]), what)
