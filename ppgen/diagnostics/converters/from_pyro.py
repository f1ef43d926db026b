"""Draws of Pyro's Markov chains as an ArviZ tree."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from ppgen.checks.switches import check_switches
from ppgen.diagnostics.converters.collector import JOINT
from ppgen.diagnostics.converters.dimensions import arrange, name_dimensions, plates
from ppgen.inference.kernels.draws_of_chains import batch_dims
from ppgen.inference.kernels.pyro_kernel import PyroKernel
from ppgen.inference.structure.given_latents import GivenValues
from ppgen.inference.structure.traces import sites
from ppgen.trees import Group, check_labels, make_tree, to_array
from ppgen.undisturbed import device_of, forked


def from_pyro(
    mcmc: Any,
    *,
    prior: Mapping[str, Tensor] | None = None,
    posterior_predictive: Mapping[str, Tensor] | None = None,
    log_likelihood: bool = True,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """Return the draws of a `pyro.infer.MCMC` run, with any kernel, as an `xarray.DataTree` for ArviZ.

    Groups: `posterior`, with what the model computes from the draws (`pyro.deterministic`); `sample_stats` with
    `diverging` where the kernel tells it, and `lp`, log p(x, z) in nats; `log_likelihood` of the observed sites (with
    several also their sum `joint`, to leave out a datum) and `observed_data`; and `prior`, `prior_predictive` and
    `posterior_predictive` from draws of `pyro.infer.Predictive`, if given. Dimensions are chain, draw, the plates by
    name, then `<site>_dim_0`, ... for event dimensions, or the names in the site's `infer={"event_dims": ...}`. The
    acceptance rate, which Pyro keeps for whole chains, is in `attrs["acceptance_rate"]`.

    Chains that a kernel of `ppgen.inference` moves together (`kernel.to_pyro(num_chains=...)`) are chains here too,
    and `sample_stats` holds what that kernel tells of each step.

    Args:
        mcmc: A run of `pyro.infer.MCMC` with the model as a program; of one with a bare potential function
            only the draws are exported.
        prior: Draws of the model without data, by site: (draws, ...).
        posterior_predictive: Draws of the observed sites, chain after chain: (chains x draws, ...).
        log_likelihood: Whether to run the model once a draw for `log_likelihood`, `lp` and deterministic values.
        coords: Coordinates by dimension.
        dims: By site, names of its event dimensions, or of plates and event dimensions together.

    Raises:
        TypeError: If `mcmc` is no MCMC run.
        ValueError: If it has not run, or other draws do not fit.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> from pyro.infer import MCMC, RandomWalkKernel
        >>> from ppgen import diagnostics
        >>> def model(x):
        ...     loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("data", len(x)):
        ...         pyro.sample("x", dist.Normal(loc, 1.0), obs=x)
        >>> mcmc = MCMC(RandomWalkKernel(model), num_samples=5, warmup_steps=5, disable_progbar=True)
        >>> mcmc.run(torch.ones(3))
        >>> dict(diagnostics.from_pyro(mcmc).log_likelihood.sizes)
        {'chain': 1, 'draw': 5, 'data': 3}
    """
    check_switches(log_likelihood=log_likelihood)
    if not hasattr(mcmc, "get_samples") or not hasattr(mcmc, "kernel"):
        raise TypeError(
            f"mcmc must be a run of pyro.infer.MCMC, got {type(mcmc).__name__}; for a trained guide use from_pyro_svi."
        )
    if getattr(mcmc, "_samples", None) is None:
        raise ValueError("mcmc has no draws yet; call mcmc.run(...) first.")
    check_labels(prior=prior, posterior_predictive=posterior_predictive, coords=coords, dims=dims)
    samples = mcmc.get_samples(group_by_chain=True)
    machine = mcmc.kernel if isinstance(mcmc.kernel, PyroKernel) else None
    if machine is not None and machine.num_chains > 1:  # for Pyro an event dimension: (runs, draws, chains, ...)
        samples = {name: value.movedim(2, 1).flatten(0, 1) for name, value in samples.items()}
    num_chains, num_draws = next(iter(samples.values())).shape[:2]
    flat = {name: value.flatten(0, 1) for name, value in samples.items()}
    model = getattr(mcmc.kernel, "model", None)
    args, kwargs = mcmc._args or (), mcmc._kwargs or {}
    known: dict[str, Any] = {}
    if model is not None:
        with _quiet(mcmc), forked(device_of(args, kwargs, flat)):
            first = {name: value[0] for name, value in flat.items()}
            known = _sites(_conditioned(model, first, args, kwargs))
    groups: dict[str, Group] = {}
    if machine is not None:
        _add_machine(groups, mcmc, machine, flat, dims)
    else:
        _add_draws(groups, "posterior", flat, known, dims)
    _add_diverging(groups, mcmc, num_chains, num_draws)
    left_out = None
    marginalised = [name for name, site in known.items() if not site["is_observed"] and name not in samples]
    if marginalised:
        left_out = f"log_likelihood and lp, as the draws hold no values of {', '.join(marginalised)}"
    elif known and log_likelihood:
        with _quiet(mcmc):
            _add_log_likelihood(groups, model, flat, args, kwargs, dims)
    for name, site in known.items():
        if site["is_observed"] and site["value"].numel():
            _add_value(groups, "observed_data", name, site["value"][None], site, dims)
    for group, draws in (("posterior_predictive", posterior_predictive), ("prior", prior)):
        for name, value in (draws or {}).items():
            predictive = name in known and known[name]["is_observed"]
            target = "prior_predictive" if group == "prior" and predictive else group
            _check_draws(group, name, value, num_chains * num_draws)
            _add_draws(groups, target, {name: value}, known, dims)
    kernel = mcmc.kernel if machine is None else machine.kernel
    attrs: dict[str, Any] = {"inference": "mcmc", "kernel": type(kernel).__name__}
    rates = [float(found["acceptance rate"]) for found in _told(mcmc) if "acceptance rate" in found]
    if rates:
        attrs["acceptance_rate"] = rates
    if left_out:
        attrs["left_out"] = left_out
    coords = {**(machine.coords() if machine is not None else {}), **(coords or {})}
    return make_tree(groups, sample_dims=["chain", "draw"], coords=coords, attrs=attrs, num_chains=num_chains)


def _conditioned(model: Any, values: Mapping[str, Tensor], args: Any, kwargs: Any) -> poutine.Trace:
    with torch.no_grad():
        return poutine.trace(GivenValues(values)(model)).get_trace(*args, **kwargs)


def _sites(trace: poutine.Trace) -> dict[str, Any]:
    return {name: site for name, site in sites(trace).items() if not site["infer"].get("_deterministic")}


def _quiet(mcmc: Any) -> Any:
    return pyro.validation_enabled(not getattr(mcmc, "disable_validation", True))


def _add_value(
    groups: dict[str, Group],
    group: str,
    name: str,
    value: Tensor,
    site: Any,
    dims: Mapping[str, Sequence[str]] | None,
) -> None:
    """A variable of shape (draws, plates..., event...)."""
    frames = plates(site) if site is not None else {}
    event_dim = site["fn"].event_dim if site is not None else value.dim() - 1
    deterministic = site is not None and site["infer"].get("_deterministic")
    if deterministic and event_dim >= value.dim() - 1:  # it takes all dimensions for events if it is not told
        event_dim = max(value.dim() - 1 - max((-dim for dim in frames), default=0), 0)
    draw_dim = -(value.dim() - event_dim)
    draw_dim = min([draw_dim, *(dim - 1 for dim in frames)])
    batch = value.shape[1 : value.dim() - event_dim]
    value = value.reshape(len(value), *(1,) * (-draw_dim - 1 - len(batch)), *value.shape[1:])
    value, found = arrange(value, event_dim, frames, len(value), draw_dim)
    named = name_dimensions(name, found, dims, site["infer"] if site is not None else {})
    support = site["fn"].support if site is not None else None
    groups.setdefault(group, Group()).add(name, to_array(value, support), named)


def _add_draws(
    groups: dict[str, Group],
    group: str,
    draws: Mapping[str, Tensor],
    known: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]] | None,
) -> None:
    for name, value in draws.items():
        _add_value(groups, group, name, torch.as_tensor(value), known.get(name), dims)


def _told(mcmc: Any) -> list[dict[str, Any]]:
    """What the kernel told at the end of each chain."""
    return [found or {} for found in getattr(mcmc, "_diagnostics", [])]


def _add_machine(
    groups: dict[str, Group],
    mcmc: Any,
    machine: PyroKernel,
    flat: Mapping[str, Tensor],
    dims: Mapping[str, Sequence[str]] | None,
) -> None:
    """Layers of a machine, (draws, batch..., units), and what its kernel told of each draw."""
    energy = machine.kernel.energy
    rows = batch_dims(len(energy.batch_shape))
    posterior, stats = groups.setdefault("posterior", Group()), groups.setdefault("sample_stats", Group())
    for name, value in flat.items():
        own = name_dimensions(name, [*rows, None], dims, {})
        posterior.add(name, to_array(value, energy.layers[name].support), own)
    told = _told(mcmc)
    for name in told[0] if told else ():
        value = torch.cat([found[name].movedim(1, 0) for found in told])  # (chains, draws, batch..., ...)
        stats.add(name, to_array(value.flatten(0, 1)), [*rows, *machine.kernel.dims().get(name, [])])


def _add_diverging(groups: dict[str, Group], mcmc: Any, num_chains: int, num_draws: int) -> None:
    """Which draws ended a divergent trajectory, for kernels whose diagnostics tell it (HMC and NUTS)."""
    diagnostics = _told(mcmc)
    if not diagnostics or any("divergences" not in found for found in diagnostics):
        return
    diverging = torch.zeros(num_chains, num_draws, dtype=torch.bool)
    for chain, found in enumerate(diagnostics):
        diverging[chain, torch.as_tensor(list(found["divergences"]), dtype=torch.long)] = True
    groups.setdefault("sample_stats", Group()).add("diverging", diverging.flatten().numpy(), [])


def _add_log_likelihood(
    groups: dict[str, Group],
    model: Any,
    flat: Mapping[str, Tensor],
    args: Any,
    kwargs: Any,
    dims: Mapping[str, Sequence[str]] | None,
) -> None:
    num_draws = len(next(iter(flat.values())))
    found, computed = dict[str, list[Tensor]](), dict[str, list[Tensor]]()
    lp, example = [], dict[str, Any]()
    for draw in range(num_draws):  # one by one: not every program broadcasts over draws
        trace = _conditioned(model, {name: value[draw] for name, value in flat.items()}, args, kwargs)
        trace.compute_log_prob()
        lp.append(sum(site["log_prob_sum"].double() for site in sites(trace).values()))
        example = {name: site for name, site in _sites(trace).items() if site["is_observed"] and site["value"].numel()}
        for name, site in example.items():
            found.setdefault(name, []).append(scale_and_mask(site["unscaled_log_prob"], mask=site["mask"]))
        functions = {name: site for name, site in sites(trace).items() if site["infer"].get("_deterministic")}
        for name, site in functions.items():
            computed.setdefault(name, []).append(site["value"])
    for name, values in computed.items():
        _add_value(groups, "posterior", name, torch.stack(values), functions[name], dims)
    groups.setdefault("sample_stats", Group()).add("lp", to_array(torch.stack(lp)), [])
    group = groups.setdefault("log_likelihood", Group())
    for name, values in found.items():
        frames = plates(example[name])
        value = torch.stack(values)
        draw_dim = min([-value.dim(), *(dim - 1 for dim in frames)])
        value = value.reshape(num_draws, *(1,) * (-draw_dim - value.dim()), *value.shape[1:])
        value, inferred = arrange(value, 0, frames, num_draws, draw_dim)
        named = name_dimensions(name, inferred, None, {})
        group.add(name, to_array(value.double()), named)
    _add_joint(group)


def _add_joint(group: Group) -> None:
    """Add the sum over the observed sites, if there are several, of the dimensions that all of them have."""
    names = list(group.dims)
    common = [dim for dim in group.dims[names[0]] if all(dim in group.dims[name] for name in names)] if names else []
    if len(names) < 2 or not common or JOINT in names:
        return
    total: Any = 0.0
    for name in names:
        (array,), dims = group.arrays[name], group.dims[name]
        others = tuple(axis for axis, dim in enumerate(dims, start=1) if dim not in common)
        left = [dim for dim in dims if dim in common]
        order = [0, *(1 + left.index(dim) for dim in common)]
        total = total + array.sum(others).transpose(order)
    group.add(JOINT, total, common)


def _check_draws(group: str, name: str, value: Any, expected: int) -> None:
    if group == "posterior_predictive" and len(value) != expected:
        raise ValueError(
            f"posterior_predictive[{name!r}] must hold {expected} draws, chains x draws of mcmc; got {len(value)}."
        )
