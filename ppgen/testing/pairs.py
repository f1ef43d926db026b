"""Contract of a model/guide pair."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from torch import Tensor

from ppgen import inference
from ppgen.batch import all_tensors_of, changed
from ppgen.conditional import ConditionalModel
from ppgen.inference.structure.layout import DISCRETE, MEAN_FIELD, Layout
from ppgen.inference.structure.support import check_support
from ppgen.pair import GenerativeModel, as_pair
from ppgen.testing.conditional_models import check_conditional
from ppgen.testing.draw_objectives import check_implicit
from ppgen.testing.examples import log_weights_at
from ppgen.testing.statistics import check_close, fail
from ppgen.undisturbed import forked


@contextmanager
def seeded(device: torch.device, seed: int = 0) -> Iterator[None]:
    """Run from a seed; the random state is restored."""
    with forked(device, seed):
        yield


def check_pair(pair: Any, batch: Any, *, num_particles: int = 3) -> None:
    """Raise unless a pair can be trained, evaluated and saved by everything in this package.

    The parameters are found and kept out of Pyro's store; every one of them gets a gradient, which is the
    derivative of the value (with latents that cannot be reparameterised: for draws that are held; of no parameter that
    the pair's `surrogate_gradients` name); the rows of a
    batch do not feel each other; the random state is left alone; a saved state gives the same model again. Sites of
    unknown log Z must be small enough to enumerate. A `ppgen.ConditionalModel` must pass `check_conditional`,
    and an implicit model, which has no likelihood, `check_implicit`.

    Args:
        pair: A model of the zoo or a `ppgen.Pair`; best in float64, where derivatives are compared most
            sharply.
        batch: A batch of at least two rows: a tensor, a tuple or a mapping.
        num_particles: Particles of each log-weight.

    Raises:
        ValueError: If the pair is not legal; the message names the site.

    Example:
        >>> import torch
        >>> from ppgen import testing
        >>> testing.check_pair(testing.conjugate_pair(), torch.tensor([0.4, -1.0, 2.0], dtype=torch.float64))
    """
    pair = as_pair(pair)
    if not pair.has_likelihood:
        check_implicit(pair, batch)
        return
    stored, random_state = set(pyro.get_param_store().keys()), torch.get_rng_state()
    pair.prepare(batch)
    layout = inference.find_layout(pair, batch)
    check_support(pair, batch)
    if not torch.equal(random_state, torch.get_rng_state()):
        fail("Preparing the pair changed the random state.")
    _check_rows(pair, batch, num_particles)
    if isinstance(pair, ConditionalModel):
        check_conditional(pair, batch)
    if {DISCRETE, MEAN_FIELD} & set(layout.latent.values()):
        _check_fixed_draws(pair, batch, max(num_particles, 2), layout)
    else:
        _check_objective(pair, batch, num_particles, layout)
    left = set(pyro.get_param_store().keys()) - stored
    if left:
        fail(f"Pyro's global parameter store was left holding {sorted(left)}.")


def _check_objective(pair: Any, batch: Any, num_particles: int, layout: Layout) -> None:
    """The gradient of the ELBO is the derivative of its value."""
    phase: inference.NegativePhase | None = inference.ExactPartition() if layout.undirected else None
    energies = [law.base_energy for law in layout.laws.values()]
    if any(math.isinf(energy.num_states(energy.smaller_side)) for energy in energies):
        phase = inference.PseudoLikelihood()  # no side can be enumerated
    chosen = inference.Inference(inference.ELBO(num_particles), negative_phase=phase)
    bound = chosen.bind(pair, batch, num_data=100)
    check_gradient(bound, batch)
    _check_state(pair, lambda other: _value(chosen.bind(other, batch, num_data=100), batch))


def _check_fixed_draws(pair: Any, batch: Any, num_particles: int, layout: Layout) -> None:
    """Raise unless gradients are the derivatives of log-weights of held draws, which have no derivative themselves."""
    with inference.attach(log_partition=0.0), seeded(pair.device), torch.no_grad():
        trace = inference.log_weights(pair, batch, num_particles, layout=layout).guide_traces[0]
    latents: dict[str, Any] = {name: trace.nodes[name]["value"] for name in layout.latent}

    def value(other: Any) -> Tensor:
        with inference.attach(log_partition=0.0):
            found = log_weights_at(other, batch, latents)
        # A mean-field guide follows the model's weights, but is not learned: its own density is left out.
        local = found.local + sum(found.guide_terms[name] for name, kind in layout.latent.items() if kind == MEAN_FIELD)
        return local.mean() if found.outside is None else local.mean() + found.outside.mean()

    named = {name: tensor for name, tensor in pair.named_parameters() if tensor.requires_grad}
    gradients = torch.autograd.grad(value(pair), list(named.values()), allow_unused=True)
    found = {name: each for name, each in zip(named, gradients, strict=True) if each is not None}

    def plain_value() -> Tensor:
        with torch.no_grad():
            return value(pair)

    _compare_with_differences(named, found, plain_value, pair.surrogate_gradients)
    _check_state(pair, lambda other: value(other).detach())


def _check_rows(pair: Any, batch: Any, num_particles: int) -> None:
    """A log-weight is that of its own row: it must not feel the others."""
    tensors = all_tensors_of(batch)
    with inference.attach(log_partition=0.0), seeded(pair.device), torch.no_grad():
        weights = inference.log_weights(pair, batch, num_particles).local
    rows = weights.shape[1]
    if len(weights) != num_particles or not bool(weights.isfinite().all()):
        fail(f"log_weights must be finite, of shape ({num_particles}, rows); got {tuple(weights.shape)}.")
    if rows < 2 or any(len(tensor) != rows for tensor in tensors):
        return  # rows that are not the first dimension cannot be exchanged without knowing the program

    def first_changed(value: Any) -> Any:
        return torch.cat([value[1:2], value[1:]]) if isinstance(value, Tensor) else value

    with inference.attach(log_partition=0.0), seeded(pair.device), torch.no_grad():
        others = inference.log_weights(pair, changed(batch, first_changed), num_particles).local
    tolerance = 100 * torch.finfo(weights.dtype).eps
    check_close(
        others[:, 1:],
        weights[:, 1:],
        "log-weights of rows, when another row changed",
        atol=tolerance,
        rtol=tolerance,
    )


def _value(bound: Any, batch: Any) -> Tensor:
    with seeded(bound.pair.device):
        return bound.value(batch)


def check_gradient(bound: Any, batch: Any) -> None:
    """Raise unless a step's gradients are, from one random state, the derivative of its value.

    For estimators without a score term (pathwise, exact posterior) and objectives that are normalised.

    Args:
        bound: A `BoundInference`.
        batch: A batch of data.
    """
    named = {name: tensor for name, tensor in bound.pair.named_parameters() if tensor.requires_grad}
    with seeded(bound.pair.device):
        result = bound.step(batch)
    check_close(result.value, _value(bound, batch), "value of a step against value()", rtol=1e-5)
    sign = 1 if bound.inference.objective.descended else -1
    ascent = {name: sign * gradient for name, gradient in result.gradients.items()}
    _compare_with_differences(named, ascent, lambda: _value(bound, batch), bound.pair.surrogate_gradients)


def _compare_with_differences(
    named: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    value: Callable[[], Tensor],
    surrogates: tuple[str, ...] = (),
) -> None:
    """Every parameter has a gradient, which but of surrogates is the derivative of the value in a random direction."""
    missing = sorted(set(named) - set(gradients))
    still = sorted(name for name, gradient in gradients.items() if not bool((gradient != 0).any()))
    if missing or still:
        fail(f"Parameters without a gradient: {missing + still}.")
    generator = torch.Generator().manual_seed(0)
    for name, parameter in named.items():
        double = parameter.dtype == torch.float64
        step, tolerance = (1e-5, 1e-5) if double else (1e-2, 3e-2)
        direction = torch.randn(parameter.shape, generator=generator).to(parameter)
        if name.startswith(surrogates):
            continue
        kept, values = parameter.detach().clone(), []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.copy_(kept + sign * step * direction)
            values.append(value())
        with torch.no_grad():
            parameter.copy_(kept)
        slope = (values[0] - values[1]) / (2 * step)
        expected = (gradients[name] * direction).sum()
        check_close(expected, slope.to(expected), f"gradient in {name!r}", atol=tolerance, rtol=tolerance)


def _check_state(pair: Any, value: Callable[[Any], Tensor]) -> None:
    before = value(pair)
    state = {name: tensor.detach().clone() for name, tensor in pair.state_dict().items()}
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.1)
    if torch.equal(value(pair), before):
        fail("The value does not depend on the parameters.")
    pair.load_state_dict(state)
    check_close(value(pair), before, "value after load_state_dict", atol=0, rtol=0)
    if isinstance(pair, GenerativeModel):
        config = json.loads(json.dumps(pair.config()))
        like = next(pair.parameters())
        again = type(pair)(**config).to(like.device, like.dtype)
        again.load_state_dict(state)
        check_close(value(again), before, "value of the model built again from config() and its state", atol=0, rtol=0)
