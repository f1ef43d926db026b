"""Log-weights of particles: log p(x, z) - log q(z | x) for each particle and datum."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.nn.utils.stateless import _reparametrize_module

from ppgen.inference.collapse import collapsed
from ppgen.inference.layout import Layout, data_factor, data_frame, find_layout, sites
from ppgen.pair import split_batch

PARTICLES = "_particles"  # name of the plate that holds them


@dataclass(frozen=True)
class LogWeights:
    r"""Log-weights of one batch.

    .. math:: \log w_{kb} = \log p(x_b, z_{kb}) - \log q(z_{kb} \mid x_b)

    Attributes:
        local: Terms inside the data plate, in nats: (particles, rows).
        outside: Terms outside of it, in nats: (particles,); None if there are none.
        shared: Whether latents outside the data plate are among them, so that a particle is one draw for all rows.
        num_data: Size given to the data plate: rows at hand for `len(x)`, else the size of the data set.
        model_traces: Trace of the model; one for each particle if they were run one after another.
        guide_traces: The same of the guide.
        model_terms: Log-density of each site of the model, (particles or 1, rows) inside the data plate and
            (particles or 1, 1) outside of it; one for each particle below another if they were run one by one.
        guide_terms: The same of each site of the guide.
        inside: Names of the sites inside the data plate.
        leaves: Values at sites whose path is followed by itself: as they were drawn, and as the leaf that the
            log-densities were computed from.
        scores: Terms of the guide at values as drawn and parameters that want a gradient, where there are leaves.
    """

    local: Tensor
    outside: Tensor | None
    num_data: int
    shared: bool = False
    model_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    guide_traces: list[poutine.Trace] = field(default_factory=list, repr=False)
    model_terms: dict[str, Tensor] = field(default_factory=dict, repr=False)
    guide_terms: dict[str, Tensor] = field(default_factory=dict, repr=False)
    inside: frozenset[str] = frozenset()
    leaves: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)
    scores: dict[str, Tensor] = field(default_factory=dict, repr=False)


def log_weights(
    pair: Any,
    batch: Any,
    num_particles: int = 1,
    *,
    vectorize: bool = True,
    layout: Layout | None = None,
    leaves: Sequence[str] = (),
) -> LogWeights:
    """Run the guide and the model against it, and add up the log-densities of each particle and datum.

    A user's own scales and masks are kept; the factor by which the data plate scales its sites is divided out. At
    undirected sites log Z must be attached, or a handler around the call must supply it.

    Args:
        pair: A pair.
        batch: A batch of data: a tensor, a tuple or a mapping.
        num_particles: Draws of the guide for each datum.
        vectorize: Whether all particles are drawn at once, in a plate left of the deepest one; else one by one.
        layout: Structure of the pair, if it is known.
        leaves: Sites whose values become leaves, and the parameters of the guide constants of its log-densities.

    Raises:
        ValueError: If there is no particle, or the program cannot broadcast over particles.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> vae = models.VAE(features=4, latent=2, hidden=(3,))
        >>> inference.log_weights(vae, torch.ones(5, 4), num_particles=7).local.shape
        torch.Size([7, 5])
    """
    if num_particles < 1:
        raise ValueError(f"num_particles must be at least 1, got {num_particles}.")
    layout = layout if layout is not None else find_layout(pair, batch)
    if vectorize or num_particles == 1:
        return _run(pair, batch, num_particles, layout, leaves)
    runs = [_run(pair, batch, 1, layout, leaves) for _ in range(num_particles)]
    outside = [run.outside for run in runs if run.outside is not None]
    return LogWeights(
        torch.cat([run.local for run in runs]),
        torch.cat(outside) if outside else None,
        runs[0].num_data,
        runs[0].shared,
        [trace for run in runs for trace in run.model_traces],
        [trace for run in runs for trace in run.guide_traces],
        {name: torch.cat([run.model_terms[name] for run in runs]) for name in runs[0].model_terms},
        {name: torch.cat([run.guide_terms[name] for run in runs]) for name in runs[0].guide_terms},
        runs[0].inside,
    )


def _run(pair: Any, batch: Any, num_particles: int, layout: Layout, leaves: Sequence[str] = ()) -> LogWeights:
    args, kwargs = split_batch(batch)
    model, guide = pair.model, pair.guide
    last = _LastSite()
    try:
        with pair.running(), last if num_particles > 1 else contextlib.nullcontext():
            drawn = guide_trace = _particle_trace(guide, num_particles, layout, args, kwargs)
            cut: dict[str, tuple[Any, Any]] = {}
            if leaves:
                cut = {name: (drawn.nodes[name]["value"], _leaf(drawn.nodes[name]["value"])) for name in leaves}
                values = drawn.copy()
                for name, (_, leaf) in cut.items():
                    values.nodes[name] = {**values.nodes[name], "value": leaf}
                with constant_parameters(pair):
                    again = poutine.replay(guide, trace=values)
                    guide_trace = _particle_trace(again, num_particles, layout, args, kwargs)
            replayed = poutine.replay(model, trace=guide_trace)
            model_trace = _particle_trace(replayed, num_particles, layout, args, kwargs)
            weights = _add_up(model_trace, guide_trace, num_particles, layout, last)
            if not leaves:
                return weights
            frames = {name: (site, data_frame(site, layout.plate)) for name, site in sites(drawn).items()}
            scores = {name: summed_log_prob(site, frame, layout) for name, (site, frame) in frames.items()}
            return replace(weights, leaves=cut, scores=scores, guide_traces=[drawn])
    except (RuntimeError, ValueError, IndexError) as error:
        if num_particles == 1 or not _runs_alone(pair, batch, layout):
            raise
        raise ValueError(
            f"The program could not run {num_particles} particles at once: at or after site {last.name!r}: {error}. "
            f"Particles are a dimension to the left of every plate (dim={layout.particle_dim}); index the data from "
            "the right (x[..., i]), or pass vectorize_particles=False to the objective to run them one by one."
        ) from error


def _particle_trace(function: Any, num_particles: int, layout: Layout, args: Any, kwargs: Any) -> poutine.Trace:
    if num_particles == 1:
        return poutine.trace(function).get_trace(*args, **kwargs)
    with pyro.plate(PARTICLES, num_particles, dim=layout.particle_dim):
        return poutine.trace(function).get_trace(*args, **kwargs)


def _leaf(value: Any) -> Any:
    return value.detach().requires_grad_()


@contextlib.contextmanager
def constant_parameters(pair: Any) -> Iterator[None]:
    """Context in which the parameters of a pair are constants."""
    with _reparametrize_module(pair, {name: value.detach() for name, value in pair.named_parameters()}):
        yield


def _add_up(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, num_particles: int, layout: Layout, last: "_LastSite"
) -> LogWeights:
    inside: Tensor | None = None
    outside: Tensor | None = None
    num_data, num_rows = 0, 0
    within: set[str] = set()
    model_sites, guide_sites = sites(model_trace), sites(guide_trace)
    summed_out = collapsed(model_sites, guide_sites)
    left_out = {partner for _, partners in summed_out.values() for partner in partners}
    terms: dict[int, dict[str, Tensor]] = {1: {}, -1: {}}
    for sign, found in ((1, model_sites), (-1, guide_sites)):
        for name, site in found.items():
            last.name = name
            if site["infer"].get("_deterministic") or name in left_out or (sign < 0 and name in summed_out):
                continue
            frame = data_frame(site, layout.plate)
            density = summed_log_prob(site, frame, layout, summed_out[name][0] if name in summed_out else None)
            terms[sign][name] = density
            term = sign * density
            if frame is None:
                outside = term.squeeze(1) if outside is None else outside + term.squeeze(1)
            else:
                within.add(name)
                num_data, num_rows = int(frame.full_size), int(frame.size)
                inside = term if inside is None else inside + term
    if inside is None:
        raise ValueError(f"No site was drawn inside plate {layout.plate!r}.")
    return LogWeights(
        inside.expand(num_particles, num_rows),
        None if outside is None else outside.expand(num_particles),
        num_data,
        bool(layout.global_latents),
        [model_trace],
        [guide_trace],
        terms[1],
        terms[-1],
        frozenset(within),
    )


def summed_log_prob(site: Any, frame: Any | None, layout: Layout, log_prob: Tensor | None = None) -> Tensor:
    """Scaled and masked log-density of a site, summed over all but particles and data: (K or 1, B or 1)."""
    if log_prob is None:
        log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
    factor = data_factor(frame)
    scale = site["scale"] if factor == 1 else site["scale"] / factor
    log_prob = scale_and_mask(log_prob, scale, site["mask"])
    ndim = -layout.particle_dim
    if log_prob.dim() > ndim:
        raise ValueError(
            f"log_prob at site {site['name']!r} has shape {tuple(log_prob.shape)}, more dimensions than its plates; "
            "declare event dimensions with .to_event()."
        )
    log_prob = log_prob.reshape((1,) * (ndim - log_prob.dim()) + log_prob.shape)
    kept = (0, ndim + layout.data_dim) if frame is not None else (0,)
    summed = [dim for dim in range(ndim) if dim not in kept]
    log_prob = log_prob.sum(summed) if summed else log_prob
    return log_prob if frame is not None else log_prob.unsqueeze(1)


def _runs_alone(pair: Any, batch: Any, layout: Layout) -> bool:
    """Whether the program runs with one particle, so that an error came from running several at once."""
    try:
        with torch.no_grad():
            _run(pair, batch, 1, layout)
    except (RuntimeError, ValueError, IndexError):
        return False
    return True


class _LastSite(Messenger):
    """Remembers the last sample statement, to name it when a program fails."""

    def __init__(self) -> None:
        super().__init__()
        self.name = ""

    def _pyro_sample(self, msg: Any) -> None:
        self.name = msg["name"]
