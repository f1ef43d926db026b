"""Potentials of the sites of a model in which marked ones take all their values; alike sites are computed at once."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from pyro.distributions import Categorical
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions.utils import probs_to_logits

from ppgen.checks.shapes import broadcast_shapes
from ppgen.inference.elimination.enumerated import Enumerated, out_of_reach
from ppgen.inference.elimination.potentials import Potential, plates_around
from ppgen.inference.structure.missing import filled
from ppgen.inference.structure.traces import unmasked


def site_potentials(found: Mapping[str, Any], enumerated: Enumerated, kept: Collection[str]) -> dict[str, Potential]:
    """Potentials of the sites that depend on variables, by name.

    Sites of one law, which the steps of a homogeneous chain have, are rows of one log-density.

    Args:
        found: Sites of the model, run under the handler.
        enumerated: The handler.
        kept: Plates in whose entries the variables are eliminated one by one.

    Raises:
        ValueError: If a site depends on a variable that is out of its reach, or in a plate that it does not lie in.
    """
    variables = {variable.name for variable in enumerated.variables.values() if variable.size > 1}
    around = {name: {frame.name for frame in plates_around(found[name])} for name in enumerated.variables}
    groups: dict[Any, list[str]] = {}
    for name, site in found.items():
        reach = enumerated.dims.get(name, {})
        if not site["infer"].get("_deterministic") and not variables.isdisjoint(reach.values()):
            groups.setdefault(_kind(site, enumerated), []).append(name)
    potentials: dict[str, Potential] = {}
    for names in groups.values():
        alike = [found[name] for name in names]
        if names[0] in enumerated.variables:
            dim = enumerated.variables[names[0]].dim
            drawn = enumerated.variables[names[0]].drawn
            rows = (_log_prob(alike[0]) if drawn else _own_log_prob(alike[0], dim, kept)).unsqueeze(0)
        elif all(site["value"] is alike[0]["value"] and site["mask"] is alike[0]["mask"] for site in alike):
            rows = _log_prob(alike[0]).unsqueeze(0)
        else:
            rows = _stacked_log_prob(alike)
        shared: Tensor | None = None
        each_row: tuple[Tensor, ...] = ()
        for place, name in enumerate(names):
            reach = {dim: other for dim, other in enumerated.dims[name].items() if other in variables}
            dims, shape = _names(found[name], rows.shape[1:], reach)
            if shared is None:
                shared = rows.reshape(len(rows), *shape)
                each_row = shared.unbind() if len(rows) > 1 else (shared[0],)
            row = place if len(rows) > 1 else 0
            potential = Potential(
                each_row[row], dims, frozenset(frame.name for frame in plates_around(found[name])), shared, row
            )
            depends = variables.intersection(dims)
            for other in depends:
                if outside := around[other] - potential.plates:
                    raise ValueError(
                        f"Site {name!r} lies outside plate {sorted(outside)[0]!r} and depends on site {other!r} inside "
                        f"of it, which is marked to be enumerated: its sum would join all rows of the plate. Draw "
                        f"{other!r} in the guide, or put {name!r} into the plate."
                    )
            if depends:
                potentials[name] = potential
    return {name: potentials[name] for name in found if name in potentials}


def _names(site: Any, shape: Collection[int], reach: Mapping[int, str]) -> tuple[tuple[str, ...], list[int]]:
    """Names of the dimensions of a log-density of more than one entry, and their sizes."""
    names = {**reach, **{frame.dim: frame.name for frame in plates_around(site)}}
    dims, sizes = [], []
    for dim, size in zip(range(-len(shape), 0), shape, strict=True):
        if size > 1:
            if dim not in names:
                raise ValueError(out_of_reach(site["name"], tuple(shape)))
            dims.append(names[dim])
            sizes.append(size)
    return tuple(dims), sizes


def _log_prob(site: Any) -> Tensor:
    """Log-density of a site under its mask, without its scale."""
    value = filled(site) if site["is_observed"] else site["value"]
    looked_up = _looked_up(site["fn"], value) if site["is_observed"] else None
    log_prob = site["fn"].log_prob(value, *site["args"], **site["kwargs"]) if looked_up is None else looked_up
    masked: Tensor = scale_and_mask(log_prob, 1.0, site["mask"])
    return masked


def _looked_up(fn: Any, value: Tensor) -> Tensor | None:
    """Log-density of categories, looked up in a table of which a plate has made copies, where that is possible.

    The law itself looks into the copies: words of documents each have the whole vocabulary of all topics.
    """
    if type(fn) is not Categorical:
        return None
    given = fn._param
    copied = [dim for dim in range(given.dim() - 1) if given.stride(dim) == 0 and given.shape[dim] > 1]
    if not copied:
        return None
    table = given
    for dim in copied:
        table = table.narrow(dim, 0, 1)
    ndim = max(table.dim() - 1, value.dim())
    sizes = [1] * (ndim + 1 - table.dim()) + list(table.shape[:-1])
    places = [1] * (ndim - value.dim()) + list(value.shape)
    if any(size > 1 and place > 1 for size, place in zip(sizes, places, strict=True)):
        return None
    if fn._validate_args:
        fn._validate_sample(value)
    logits = table if given is fn.__dict__.get("logits") else probs_to_logits(table)
    found = logits.index_select(-1, value.long().reshape(-1)).reshape(*sizes, *places)
    found = found.permute([at for dim in range(ndim) for at in (dim, ndim + dim)])
    found = found.reshape([size * place for size, place in zip(sizes, places, strict=True)])
    return found.expand(broadcast_shapes(fn.batch_shape, value.shape))


def _own_log_prob(site: Any, dim: int, kept: Collection[str]) -> Tensor:
    """Log-density of a variable at all of its values; a mask leaves out a site's term, but not what is summed over."""
    fn = unmasked(site["fn"])
    if type(fn) is not Categorical:
        log_prob: Tensor = fn.log_prob(site["value"], *site["args"], **site["kwargs"])
        return log_prob
    # Its logits are its log-density. A plate has copied them for each row, which is undone.
    has_logits = "logits" in fn.__dict__
    given = fn.logits if has_logits else fn.probs
    for frame in plates_around(site):
        if frame.name in kept and given.dim() > -frame.dim and given.stride(frame.dim - 1) == 0:
            given = given.narrow(frame.dim - 1, 0, 1)
    logits = given if has_logits else probs_to_logits(given)
    logits = logits.reshape(*(1,) * (-dim - logits.dim() + 1), *logits.shape)
    return logits.transpose(-1, dim - 1).squeeze(-1)


def _stacked_log_prob(alike: list[Any]) -> Tensor:
    """Log-densities of sites of one law, below each other."""
    first = alike[0]
    event_dim = first["fn"].event_dim
    batch = broadcast_shapes(first["fn"].batch_shape, first["value"].shape[: first["value"].dim() - event_dim])
    values = torch.stack([site["value"] for site in alike])
    masks = None if first["mask"] is None else torch.stack([site["mask"] for site in alike])
    return _log_prob(
        {
            **first,
            "value": _widened(values, len(batch) + event_dim),
            "mask": masks if masks is None else _widened(masks, len(batch)),
        }
    )


def _widened(rows: Tensor, ndim: int) -> Tensor:
    return rows.reshape(len(rows), *(1,) * (ndim + 1 - rows.dim()), *rows.shape[1:])


def _kind(site: Any, enumerated: Enumerated) -> Any:
    """What sites must share to be computed at once; the name of a site that is computed by itself."""
    name, fn, value, mask = site["name"], site["fn"], site["value"], site["mask"]
    law = _law_key(fn)
    if law is None or site["args"] or site["kwargs"]:
        return name
    plates = tuple((frame.name, frame.dim, frame.size) for frame in plates_around(site))
    if name in enumerated.variables:
        variable = enumerated.variables[name]
        return name if variable.drawn else (law, plates, variable.dim)
    if not isinstance(value, Tensor) or not (mask is None or isinstance(mask, Tensor)):
        return name
    return law, plates, value.shape, value.dtype, None if mask is None else mask.shape, site["is_observed"]


def _law_key(fn: Any) -> Any | None:
    """What makes two laws one: kind, and the very tensors that they were made of; None if that is not known."""
    if not type(fn).__module__.startswith(("torch.distributions", "pyro.distributions")):
        return None
    parts: list[Any] = []
    for name, value in sorted(fn.__dict__.items()):
        if isinstance(value, Tensor):
            parts.append((name, Tensor, id(value)))
        elif isinstance(value, torch.distributions.Distribution):
            inner = _law_key(value)
            if inner is None:
                return None
            parts.append((name, None, inner))
        elif isinstance(value, (int, float, str, bool, tuple, type(None))):
            parts.append((name, type(value), value))
        else:
            return None
    return type(fn), tuple(parts)
