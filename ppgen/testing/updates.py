"""Contract of an update in closed form, and of a pair that it trains."""

import copy
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen import registry
from ppgen.batch import Batch, all_tensors_of, split_batch, with_tensors
from ppgen.closed_form import Draw
from ppgen.inference import ELBO, BoundInference, Inference, from_config, to_config
from ppgen.inference.structure.traces import sites
from ppgen.inference.updates.update import ParameterUpdate
from ppgen.testing.mixtures import mixture_pair, two_clusters
from ppgen.testing.pairs import seeded
from ppgen.testing.statistics import check_close, fail


def check_update(
    update: ParameterUpdate,
    pair: Any = None,
    data: Batch | None = None,
    *,
    num_steps: int = 8,
    atol: float = 1e-9,
    device: torch.device | str = "cpu",
) -> None:
    """Raise unless an update trains a pair as its state says, and the pair's statistics are sums over rows.

    Steps over the whole data set do not lower the objective. Statistics of two parts of the data add up to those of
    all. A step returns the next state and writes into none; from a loaded state steps go on bit for bit, on batches
    that are a part of the data too. `maximise` writes nothing, and gives the same again. Step sizes lie in (0, 1].

    Args:
        update: An update, such as `inference.ClosedForm()`.
        pair: A pair of the protocol `ppgen.closed_form.ClosedFormPair`, which is left as it is; by default a mixture
            of two Normal laws. Best in float64.
        data: All its data, of five rows or more.
        num_steps: Steps over the whole data set.
        atol: By how much the objective may fall in a step, in nats per datum: for latents that are found up to that.
        device: Where to run.

    Example:
        >>> from ppgen import inference, testing
        >>> testing.check_update(inference.ClosedForm())
    """
    device = torch.device(device)
    pair = mixture_pair() if pair is None else pair
    data = two_clusters() if data is None else data
    pair = copy.deepcopy(pair).to(device)
    data = with_tensors(data, [tensor.to(device) for tensor in all_tensors_of(data)])
    num_data = len(all_tensors_of(data)[0])
    part = with_tensors(data, [tensor[: num_data // 2] for tensor in all_tensors_of(data)])
    with seeded(device):
        pair.prepare(data)
        _check_step_sizes(update)
        inference = Inference(ELBO(), update=update)
        _check_sums(pair, data)
        _check_maximum(pair, inference.bind(pair, data, num_data), data)
        for batch in (data, part):
            _check_going_on(pair, inference, batch, num_data)
        _check_rise(copy.deepcopy(pair), inference, data, num_data, num_steps, atol)
    if copy.deepcopy(update) != update or hash(copy.deepcopy(update)) != hash(update):
        fail(f"{type(update).__name__} must equal its copy, with the same hash: a frozen value.")
    if registry.name_of("update", type(update)) is not None and from_config(to_config(inference)) != inference:
        fail(f"{type(update).__name__} is not the same after to_config and from_config.")


def _check_step_sizes(update: ParameterUpdate) -> None:
    for step in (2.0, 3.0, 1e6):
        size = update.step_size(torch.tensor(step))
        if size.dim() != 0 or not 0 < float(size) <= 1:
            fail(f"{type(update).__name__}: the step size of batch {step:g} must be a scalar in (0, 1], got {size}.")


@torch.no_grad()
def _check_sums(pair: Any, data: Any) -> None:
    """Statistics of parts add up: at the same draws of each row."""
    tensors = all_tensors_of(data)
    with pair.running():
        trace = poutine.trace(pair.guide).get_trace(*split_batch(data)[0], **split_batch(data)[1])
    cut = len(tensors[0]) // 3
    whole = _statistics(pair, data, _held(trace, slice(None)))
    parts = []
    for rows in (slice(0, cut), slice(cut, None)):
        batch = with_tensors(data, [tensor[rows] for tensor in tensors])
        parts.append(_statistics(pair, batch, _held(trace, rows)))
    for name, value in whole.items():
        total = parts[0][name] + parts[1][name]
        scale = float(value.abs().max())
        tolerance = 1e-9 if value.dtype == torch.float64 else 1e-4
        what = f"{type(pair).__name__}: statistic {name!r} of two parts of the data, added up"
        check_close(total, value, what, atol=tolerance * scale, rtol=tolerance)


def _held(trace: Any, rows: slice) -> Any:
    """The draws of some rows of a run."""
    held = poutine.Trace()
    for name, site in sites(trace).items():
        dim = site["value"].dim() - site["fn"].event_dim - 1  # the data plate is the innermost of the draws
        value = site["value"][(slice(None),) * dim + (rows,)]
        held.add_node(name, name=name, type="sample", is_observed=False, value=value, infer=site["infer"])
    return held


def _statistics(pair: Any, batch: Any, held: Any) -> dict[str, Tensor]:
    args, kwargs = split_batch(batch)
    guide = pair.guide if held is None else poutine.replay(pair.guide, trace=held)
    with pair.running():
        trace = poutine.trace(guide).get_trace(*args, **kwargs)
        draws = {name: Draw(site["fn"], site["value"]) for name, site in sites(trace).items()}
        return dict(pair.sufficient_statistics(draws, *args, **kwargs))


@torch.no_grad()
def _check_maximum(pair: Any, bound: BoundInference, data: Any) -> None:
    """The parameters are returned and not written, and follow from statistics and present values alone."""
    before = {name: value.clone() for name, value in pair.named_parameters()}
    statistics = _statistics(pair, data, None)
    with pair.running():
        first, second = (pair.maximise(statistics) for _ in range(2))
    for name, value in pair.named_parameters():
        if not torch.equal(value, before[name]):
            fail(f"{type(pair).__name__}.maximise must return {name!r}, and not write it.")
    for name, value in first.items():
        check_close(value, second[name], f"{type(pair).__name__}.maximise, called twice: {name!r}", atol=0, rtol=0)
    assert bound.update is not None  # noqa: S101 - narrows the type only
    if set(first) != set(bound.update.sets) and not hasattr(pair, "reseed"):
        fail(f"{type(pair).__name__}.maximise must always set the same parameters.")


def _check_going_on(pair: Any, inference: Inference, batch: Any, num_data: int) -> None:
    """From weights and a state, another process goes on as this one does."""
    pairs = [copy.deepcopy(pair) for _ in range(2)]
    first, second = (inference.bind(each, batch, num_data) for each in pairs)
    for _ in range(2):
        first.step(batch)
        first.maximise()
    kept = {name: value.clone() for name, value in first.state.items()}
    given = first.state
    pairs[1].load_state_dict(pairs[0].state_dict())
    second.load_state({name: value.clone() for name, value in kept.items()})
    for bound in (first, second):
        with seeded(next(iter(kept.values())).device):
            bound.step(batch)
            bound.maximise()
    what = type(inference.update).__name__
    for name, value in kept.items():
        check_close(given[name], value, f"{what}: state {name!r}, which a step must not write into", atol=0, rtol=0)
        check_close(second.state[name], first.state[name], f"{what}: state {name!r} after load_state", atol=0, rtol=0)
    for (name, one), (_, other) in zip(pairs[0].named_parameters(), pairs[1].named_parameters(), strict=True):
        check_close(other.detach(), one.detach(), f"{what}: parameter {name!r} after load_state", atol=0, rtol=0)


def _check_rise(pair: Any, inference: Inference, data: Any, num_data: int, num_steps: int, atol: float) -> None:
    bound, values = inference.bind(pair, data, num_data), []
    if bound.followed_parameters():
        return  # what moves along a gradient moves by a step size, which may be too long
    for _ in range(num_steps):
        with seeded(all_tensors_of(data)[0].device):
            values.append(float(bound.step(data).value))
        bound.maximise()
    for step, (before, after) in enumerate(zip(values, values[1:], strict=False)):
        if not after >= before - atol:
            fail(
                f"{type(pair).__name__}: step {step + 1} over the whole data set lowers the objective from "
                f"{before:.10g} to {after:.10g}."
            )
