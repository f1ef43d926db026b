"""Contracts of objectives that compare draws with data, and of implicit models."""

import copy
from typing import Any

import pyro
import torch
from torch import Tensor

from ppgen import inference
from ppgen.inference.objectives.draw_objective import DrawObjective
from ppgen.inference.particles.model_alone import prepare_pair, run_model
from ppgen.testing.examples import conjugate_pair
from ppgen.testing.statistics import check_close, fail
from ppgen.undisturbed import evaluating, forked

_STEPS, _RATE, _ROWS = 75, 0.03, 64
_FAR, _NEARER = 3.0, 0.7  # of the distance that the mean has to go


def check_draw_objective(objective: DrawObjective, *, device: torch.device | str = "cpu") -> None:
    """Raise unless an objective of draws is one: its steps bring a model nearer to data, from its state alone.

    Steps are the same from the same state and seed, and change nothing of the state that they were given; every tensor
    of the state has a role; the guide has no gradient; values leave the state as it is.

    Args:
        objective: An objective that compares draws of the model with data.
        device: Where to run.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_draw_objective(inference.MaximumMeanDiscrepancy())
    """
    device, name = torch.device(device), type(objective).__name__
    pair = conjugate_pair(device=device)
    module: Any = pair.model_module
    generator = torch.Generator().manual_seed(0)
    x = (_FAR + torch.randn(_ROWS, generator=generator, dtype=torch.float64)).to(device)
    bound = inference.Inference(objective).bind(pair, x, num_data=len(x))
    optimizer = torch.optim.Adam([module.loc], lr=_RATE, betas=(0.5, 0.999))
    far = abs(float(module.loc.detach() - x.mean()))
    with forked(device, 0):
        for _ in range(_STEPS):
            gradients = bound.step(x).gradients
            module.loc.grad = next(each for key, each in gradients.items() if key.endswith("loc"))
            optimizer.step()
    near = abs(float(module.loc.detach() - x.mean()))
    if not near < _NEARER * far:
        fail(f"{_STEPS} steps of {name} took the mean of draws from {far:.3g} to {near:.3g} away from that of data.")
    outside = sorted(set(gradients) - {key for key, _ in pair.named_parameters() if not key.endswith((".a", ".b"))})
    if outside:
        fail(f"{name} has a gradient for {outside}, which no draw of the model depends on.")
    before = {key: value.clone() for key, value in bound.state.items()}
    bound.roles(before)
    results = []
    for _ in range(2):
        with forked(device, 1), bound.undisturbed():
            results.append((bound.step(x), bound.state))
    for key, value in bound.state.items():
        if not torch.equal(value, before[key]):
            fail(f"A step of {name} wrote to {key!r} of the state that it was given.")
    check_close(results[0][0].value, results[1][0].value, f"{name} again from the same state and seed")
    for key, value in results[0][1].items():
        check_close(value, results[1][1][key], f"state {key!r} of {name} again")
    with forked(device, 2):
        if not bool(torch.isfinite(bound.value(x))):
            fail(f"{name} is not finite.")
    if set(bound.state) != set(before) or any(not torch.equal(bound.state[key], before[key]) for key in before):
        fail(f"A value of {name} moved its state.")
    again = copy.copy(objective)
    if again != objective or hash(again) != hash(objective):
        fail(f"{name} must equal its copy, with the same hash: a frozen value.")


def check_implicit(pair: Any, batch: Tensor) -> None:
    """Raise unless an implicit model is drawn, has a gradient for every parameter, and can be saved.

    Args:
        pair: A model of the zoo that says `has_likelihood = False`.
        batch: A batch of its data.

    Example:
        >>> from ppgen import models, testing
        >>> testing.check_implicit(*models.Generator.example())
    """
    stored, random_state, name = set(pyro.get_param_store().keys()), torch.get_rng_state(), type(pair).__name__
    prepare_pair(pair, batch)
    bound = inference.Inference(inference.MaximumMeanDiscrepancy(bandwidths=(1.0, 10.0))).bind(pair, batch, len(batch))
    if not torch.equal(random_state, torch.get_rng_state()):
        fail("Preparing the pair changed the random state.")
    with forked(pair.device, 0):
        gradients = bound.step(batch).gradients
    wanted = {each for each, tensor in pair.named_parameters() if tensor.requires_grad}
    silent = sorted(wanted - {each for each, gradient in gradients.items() if bool(gradient.abs().max() > 0)})
    if silent:
        fail(f"{name} has no gradient for {silent[0]!r}: no draw depends on it.")
    drawn = _drawn(pair, 5)
    if drawn.shape != (5, *batch.shape[1:]):
        fail(f"{name} draws {tuple(drawn.shape)} for 5 rows of {tuple(batch.shape[1:])}.")
    other = copy.deepcopy(pair)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(pair.state_dict())
    check_close(_drawn(other, 5), drawn, f"draws of {name} after saving and loading")
    if left := set(pyro.get_param_store().keys()) - stored:
        fail(f"Pyro's global parameter store was left holding {sorted(left)}.")


def _drawn(pair: Any, count: int) -> Tensor:
    with evaluating(pair, 0), pair.running():
        return run_model(pair, None, count).drawn("sample")
