"""Draws of y from a model of y given x."""

from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.checks.arrays import as_tensor, in_dtype, parameter_dtype
from ppgen.checks.room import check_room
from ppgen.conditional import ConditionalModel
from ppgen.inference.structure.traces import data_frame
from ppgen.inference.structure.traces import sites as sites_of
from ppgen.training.sampling.observed_site import mean_of, returned_site

ROWS_AT_ONCE = 20_000  # an activation of 784 units takes 60 MiB


def check_use(pair: Any, covariates: Any, like: Any, given: Any) -> None:
    """Raise unless covariates are given where there must be some, and nowhere else.

    Raises:
        ValueError: Says what to give instead.
    """
    name, conditional = type(pair).__name__, isinstance(pair, ConditionalModel)
    if covariates is None:
        if conditional and given is not None:
            raise ValueError(
                f"given is for Boltzmann machines of one kind of rows, and {name} is a model of y given x: x is "
                "covariates=x, and all of y is drawn."
            )
        if conditional and like is None:
            raise ValueError(
                f"covariates are needed to sample a {name}, a model of y given x: give covariates=x, "
                f"{_shape(pair)}, of which each row is given its own draws of y."
            )
        return
    if not conditional:
        raise ValueError(
            f"covariates are for a ppgen.ConditionalModel, a model of y given x; {name} is none. A batch of all "
            "arguments of a ppgen.Pair is like=batch; rows with NaN where values are to be drawn are given=rows."
        )
    for other, value in (("like", like), ("given", given)):
        if value is not None:
            raise ValueError(f"Give either covariates or {other}: covariates are the rows of x, and all of y is drawn.")


def as_covariates(pair: ConditionalModel, covariates: Any) -> Tensor:
    """Covariates on the device and in the type of the pair.

    Raises:
        TypeError: If they are no tensor, array or data frame of numbers.
        ValueError: If there is no row, they have another shape than the model, or hold NaN.
    """
    x = in_dtype(as_tensor(covariates, "covariates").to(pair.device), parameter_dtype(pair))
    if tuple(x.shape[1:]) != pair.covariate_shape or not x.dim() or not len(x):
        raise ValueError(f"covariates must have shape {_shape(pair)} with a row or more, got {tuple(x.shape)}.")
    if x.is_floating_point() and not x.isfinite().all():
        row = int((~x.isfinite()).reshape(len(x), -1).any(-1).nonzero()[0])
        raise ValueError(f"covariates must be finite: nothing of x is drawn, and row {row} holds NaN or infinity.")
    return x


def draw_given(pair: ConditionalModel, x: Tensor, num_samples: int) -> tuple[Tensor, Tensor | None]:
    """Draws of y, and their means given the latents, both (num_samples, rows, outputs); means are None without any.

    Many draws of many rows are rows of one batch, some at a time; where a latent is common to a batch each draw is one.

    Raises:
        ValueError: If the model does not return the value of the site where it observes y.
    """
    check_room("num_samples", num_samples, values=2 * len(x) * pair.num_features)
    at_once = min(num_samples, max(1, ROWS_AT_ONCE // len(x)))
    first, site = _draw(pair, x, at_once)
    _check_observes(pair, x, at_once, first, site)
    if at_once > 1 and _common_latents(pair, first):
        at_once = 1
        first, site = _draw(pair, x, 1)
    values, means = [], []
    for start in range(0, num_samples, at_once):
        if start:
            _, site = _draw(pair, x, min(at_once, num_samples - start))
        mean = mean_of(site["fn"])
        values.append(site["value"].detach().unflatten(0, (-1, len(x))))
        if mean is not None and mean.shape == site["value"].shape:
            means.append(mean.unflatten(0, (-1, len(x))))
    return torch.cat(values), torch.cat(means) if len(means) == len(values) else None


def _repeated(x: Tensor, count: int) -> Tensor:
    return x.repeat(count, *(1 for _ in x.shape[1:]))


def _draw(pair: ConditionalModel, x: Tensor, count: int) -> tuple[poutine.Trace, Any]:
    """One run of the model on `count` copies of the rows, and its site of y."""
    trace = poutine.trace(pair.model).get_trace(_repeated(x, count))
    site = returned_site(trace)
    if site is None or len(site["value"]) != count * len(x):
        raise _not_returned(pair)
    return trace, site


def _check_observes(pair: ConditionalModel, x: Tensor, count: int, trace: poutine.Trace, site: Any) -> None:
    """Raise unless the site that was drawn is the one that observes y; the latents are those of the draw."""
    replayed = poutine.replay(pair.model, trace=trace)
    again = poutine.trace(replayed).get_trace(_repeated(x, count), site["value"])
    if not again.nodes[site["name"]]["is_observed"]:
        raise _not_returned(pair)


def _not_returned(pair: ConditionalModel) -> ValueError:
    y = pair.argument_names()[1]
    return ValueError(
        f"The model of a ConditionalModel returns the value of the site where {y} is observed, one for each row, and "
        f"draws it if {y} is None; that of {type(pair).__name__} does not. End it with "
        f"return pyro.sample(name, law, obs={y})."
    )


def _common_latents(pair: ConditionalModel, trace: poutine.Trace) -> bool:
    return any(
        data_frame(site, pair.plate) is None and not site["is_observed"] and not site["infer"].get("_deterministic")
        for site in sites_of(trace).values()
    )


def _shape(pair: ConditionalModel) -> str:
    shape = pair.covariate_shape
    return f"(rows, {', '.join(map(str, shape))})" if shape else "(rows,)"
