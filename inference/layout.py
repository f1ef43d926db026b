"""What one run of a pair tells about its sites: plates, latent and observed sites, what each needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Independent, MaskedDistribution
from pyro.poutine.messenger import Messenger
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_subsample
from pyro.util import check_site_shape

from ppgen.distributions import UndirectedDistribution
from ppgen.inference.points import point_sites
from ppgen.pair import Pair, fitting_plates, keeping_buffers, split_batch
from ppgen.undisturbed import device_of, forked

REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR, UNDIRECTED, RECOGNISED = (
    "reparameterised",
    "not reparameterised",
    "mean field",
    "exact posterior",
    "undirected",
    "undirected, recognised",
)


_ANY_DEPTH = 100  # plates; more than tensors have dimensions


@dataclass(frozen=True)
class Layout:
    """Structure of a pair, found by one run.

    Attributes:
        plate: Name of the data plate.
        data_dim: Dimension of the data plate, counted from the right (negative).
        particle_dim: Dimension free for particles, left of the deepest plate (negative).
        latent: Kind of each site that the guide draws.
        laws: Distributions at the sites of the model whose log Z is unknown.
        global_latents: Latent sites outside the data plate.
        scaled: Sites with a scale beside the data plate's own.
        model_laws: Distribution at each latent site of the model, in the order in which they are drawn.
        guide_laws: The same of the guide.
        observed_laws: Distribution at each observed site of the model.
        masked: Sites of the guide under a mask.
        uneven: Latent sites with another scale or mask in the model than in the guide.
        marked: Discrete sites of the guide marked `infer={"enumerate": "parallel"}`.
        marginalised: Sites of the model so marked that the guide does not draw: they are summed out.
        joining: Sites outside the data plate that depend on latents inside of it, where `joined` has looked for them.
        points: Continuous latents at which the guide has a point and no law, so that a log-weight is no bound.
    """

    plate: str
    data_dim: int
    particle_dim: int
    latent: dict[str, str]
    laws: dict[str, UndirectedDistribution]
    global_latents: tuple[str, ...]
    scaled: tuple[str, ...]
    model_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    guide_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    observed_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    masked: tuple[str, ...] = ()
    uneven: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    marginalised: tuple[str, ...] = ()
    joining: tuple[str, ...] = ()
    points: tuple[str, ...] = ()

    @property
    def undirected(self) -> tuple[str, ...]:
        """Names of the sites of the model whose log Z is unknown."""
        return tuple(self.laws)

    @property
    def recognised(self) -> tuple[str, ...]:
        """Names of those of them that the guide draws from a law of its own."""
        return tuple(name for name in self.laws if self.latent.get(name) in (REPARAMETERISED, DISCRETE))

    @property
    def exact_posterior(self) -> bool:
        """Whether the guide is the exact posterior at every latent site, so that a log-weight is log p(x)."""
        return all(kind == EXACT_POSTERIOR for kind in self.latent.values())


def undirected_law(fn: Any) -> UndirectedDistribution | None:
    """The undirected distribution at a site, under a mask or not; None if the site holds another."""
    fn = base_law(fn)
    return fn if isinstance(fn, UndirectedDistribution) else None


def base_law(fn: Any) -> Any:
    """The law of single variables at a site, under event dimensions and masks."""
    while isinstance(fn, (MaskedDistribution, Independent)):
        fn = fn.base_dist
    return fn


def unmasked(fn: Any) -> Any:
    """A distribution without its mask; the same object where there is none."""
    if isinstance(fn, MaskedDistribution):
        return unmasked(fn.base_dist)
    if isinstance(fn, Independent) and (base := unmasked(fn.base_dist)) is not fn.base_dist:
        return base.to_event(fn.reinterpreted_batch_ndims)
    return fn


def element_law(fn: Any) -> Any:
    """The law of a single variable: a distribution without its mask and its independent copies."""
    fn = unmasked(fn)
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def sites(trace: poutine.Trace) -> dict[str, Any]:
    """Sample sites of a trace by name, without the plates' own subsampling sites."""
    return {
        name: site for name, site in trace.nodes.items() if site["type"] == "sample" and not site_is_subsample(site)
    }


class _Unconditioned(UnconditionMessenger):
    """Pyro's handler, except that values computed from others (`pyro.deterministic`) stay what they are.

    Their law is not expanded by the plates around it, so that a draw of it would have those dimensions twice.
    """

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["infer"].get("_deterministic"):
            super()._pyro_sample(msg)


def unconditioned(program: Callable[..., Any]) -> Callable[..., Any]:
    """A program that draws what it observes."""
    return _Unconditioned()(program)


def data_frame(site: Any, plate: str) -> Any | None:
    """Frame of the data plate around a site, or None outside of it."""
    return next((frame for frame in site["cond_indep_stack"] if frame.name == plate), None)


def data_factor(frame: Any | None) -> float:
    """Factor by which the data plate has scaled a site: its size over the rows at hand."""
    return 1.0 if frame is None else frame.full_size / frame.size


def find_layout(pair: Any, batch: Any, *, allow_subsampling: bool = True) -> Layout:
    """Run model and guide once and read their structure; the random state is restored.

    Args:
        pair: A pair.
        batch: A batch of data: a tensor, a tuple or a mapping.
        allow_subsampling: Whether the data plate may draw a random subsample by itself.

    Raises:
        ValueError: If there is no data plate, if it subsamples by itself though batches are given, if the guide
            misses a latent site that is not marked to be enumerated, or if it has one that the model has not; if the
            two have different shapes or one stands in the data plate alone; if a marked one lies outside the data
            plate or under a scale.
    """
    args, kwargs = split_batch(batch)
    watch = _OwnSubsampling(pair.plate)
    device = device_of(pair, args, kwargs)
    with (
        forked(device),
        torch.no_grad(),
        pair.running(),
        watch,
        keeping_buffers(pair),
        fitting_plates(),
    ):
        guide_trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        model_trace = poutine.trace(poutine.replay(pair.model, trace=guide_trace)).get_trace(*args, **kwargs)
        points = point_sites(pair.guide, args, kwargs, sites(model_trace), sites(guide_trace), device)
    if watch.subsamples and not allow_subsampling:
        raise ValueError(
            f"Plate {pair.plate!r} draws a subsample by itself (subsample_size), though the data come in batches "
            "already: two subsamplings. Write pyro.plate(name, size, subsample=x) or pyro.plate(name, len(x))."
        )
    model_sites, guide_sites = sites(model_trace), sites(guide_trace)
    guide_sites = {name: site for name, site in guide_sites.items() if not site["infer"].get("_deterministic")}
    every = [*model_sites.values(), *guide_sites.values()]
    frames = [frame for frame in (data_frame(site, pair.plate) for site in every) if frame is not None]
    if not frames or frames[0].dim is None:
        named = sorted({frame.name for site in every for frame in site["cond_indep_stack"]})
        raise ValueError(
            f"{_name(pair.model)} has no vectorised plate {pair.plate!r} over the data (plates: {named or 'none'}). "
            f"Draw each datum inside pyro.plate({pair.plate!r}, len(x)), or name your plate: Pair(..., plate=...)."
        )
    marginalised = tuple(name for name, site in model_sites.items() if name not in guide_sites and _enumerable(site))
    _check_sites(model_sites, guide_sites, marginalised)
    _check_shapes(model_sites, guide_sites, pair.plate)
    _check_agreement(model_sites, guide_sites, pair.plate)
    _check_marginalised(marginalised, model_sites, pair.plate)
    deepest = min(frame.dim for site in every for frame in site["cond_indep_stack"] if frame.vectorized)
    return Layout(
        plate=pair.plate,
        data_dim=frames[0].dim,
        particle_dim=deepest - 1,
        latent={name: _kind(site) for name, site in guide_sites.items()},
        laws={name: law for name, site in model_sites.items() if (law := _unnormalised_law(site)) is not None},
        global_latents=tuple(name for name, site in guide_sites.items() if data_frame(site, pair.plate) is None),
        scaled=tuple(
            name
            for traced in (model_sites, guide_sites)
            for name, site in traced.items()
            if _foreign_scale(site, pair.plate)
        ),
        model_laws={name: site["fn"] for name, site in model_sites.items() if not site["is_observed"]},
        guide_laws={name: site["fn"] for name, site in guide_sites.items()},
        masked=tuple(
            name
            for name, site in guide_sites.items()
            if site["mask"] is not None or unmasked(site["fn"]) is not site["fn"]
        ),
        uneven=tuple(
            name
            for name, site in guide_sites.items()
            if name in model_sites and _uneven(model_sites[name], site, pair.plate)
        ),
        marked=tuple(name for name, site in guide_sites.items() if _enumerable(site)),
        marginalised=marginalised,
        observed_laws={name: site["fn"] for name, site in model_sites.items() if site["is_observed"]},
        points=points,
    )


def _enumerable(site: Any) -> bool:
    """Whether a site is latent, of finite support, and marked as Pyro marks sites to be enumerated."""
    marked = site["infer"].get("enumerate") in ("parallel", "sequential")
    return marked and not site["is_observed"] and getattr(element_law(site["fn"]), "has_enumerate_support", False)


def _check_marginalised(marginalised: tuple[str, ...], model_sites: dict[str, Any], plate: str) -> None:
    """Raise where sites of the model that are summed out would not give a marginal of each datum."""
    for name in marginalised:
        if data_frame(model_sites[name], plate) is None:
            raise ValueError(
                f"Site {name!r} of the model, marked to be enumerated, lies outside plate {plate!r}: its sum would "
                "join all rows. Draw it in the guide."
            )
    scaled = [name for name, site in model_sites.items() if _foreign_scale(site, plate)]
    if marginalised and scaled:
        raise ValueError(
            f"Site {scaled[0]!r} carries a scale of its own, and {marginalised[0]!r} is marked to be enumerated: under "
            f"a scale the sum gives no marginal. Take the scale away, or draw {marginalised[0]!r} in the guide."
        )


def _check_sites(model_sites: dict[str, Any], guide_sites: dict[str, Any], marginalised: tuple[str, ...]) -> None:
    latent = {name for name, site in model_sites.items() if not site["is_observed"]}
    missing = sorted(latent - set(guide_sites) - set(marginalised))
    if missing:
        raise ValueError(f"The guide misses the latent sites {missing} of the model; draw them there, or observe them.")
    extra = sorted(
        name
        for name, site in guide_sites.items()
        if name not in latent and not site["infer"].get("is_auxiliary", False)
    )
    if extra:
        raise ValueError(
            f"The guide draws the sites {extra}, which are no latent sites of the model (its latent sites: "
            f'{sorted(latent)}). Rename them, or mark them infer={{"is_auxiliary": True}}.'
        )


def _check_shapes(model_sites: dict[str, Any], guide_sites: dict[str, Any], plate: str) -> None:
    """Raise unless the data plate is at one dimension and every log-density has the shape of its plates."""
    dims: dict[int, str] = {}
    for name, site in [*model_sites.items(), *guide_sites.items()]:
        frame = data_frame(site, plate)
        if frame is not None:
            dims.setdefault(frame.dim, name)
    if len(dims) > 1:
        (first, at), (second, other) = list(dims.items())[:2]
        raise ValueError(
            f"Plate {plate!r} is at dim={first} around site {at!r} and at dim={second} around site {other!r}. "
            "Give it the same dim in model and guide: pyro.plate(name, size, dim=...)."
        )
    for whose, found in (("model", model_sites), ("guide", guide_sites)):
        for name, site in found.items():
            if undirected_law(site["fn"]) is not None or site["infer"].get("_deterministic"):
                continue
            if site["is_observed"] and not site["fn"].support.check(site["value"]).all():
                continue  # bad data, which `check_support` explains
            try:
                with pyro.validation_enabled(False):
                    log_prob = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])
                check_site_shape({**site, "log_prob": log_prob}, max_plate_nesting=_ANY_DEPTH)
            except (RuntimeError, ValueError) as error:
                raise ValueError(
                    f"Site {name!r} of the {whose} does not fit its plates: {' '.join(f'{error}'.split())}"
                ) from error


def _check_agreement(model_sites: dict[str, Any], guide_sites: dict[str, Any], plate: str) -> None:
    """Raise where a latent site is another variable in the model than in the guide, though its values broadcast."""
    for name in model_sites.keys() & guide_sites.keys():
        both = model_sites[name], guide_sites[name]
        inside = [data_frame(site, plate) is not None for site in both]
        if inside[0] != inside[1]:
            raise ValueError(
                f"Site {name!r} lies inside plate {plate!r} in the {'model' if inside[0] else 'guide'} and outside of "
                f"it in the {'guide' if inside[0] else 'model'}. Draw it inside the plate in both, or in neither."
            )
        shapes = [tuple(site["fn"].shape()) for site in both]
        long = max(map(len, shapes))
        if len({(1,) * (long - len(shape)) + shape for shape in shapes}) > 1:
            raise ValueError(
                f"Site {name!r} has shape {shapes[0]} in the model and {shapes[1]} in the guide: one value of the "
                "guide would stand for several. Draw it in the same shape, plates and event dimensions together."
            )


def _kind(site: Any) -> str:
    if site["infer"].get("posterior") == "exact":
        return EXACT_POSTERIOR
    if site["infer"].get("posterior") == MEAN_FIELD:
        return MEAN_FIELD
    return REPARAMETERISED if site["fn"].has_rsample else DISCRETE


def _unnormalised_law(site: Any) -> UndirectedDistribution | None:
    law = undirected_law(site["fn"])
    return law if law is not None and law.attached is None else None


def _foreign_scale(site: Any, plate: str) -> bool:
    scale = site["scale"] / data_factor(data_frame(site, plate))
    deviation = (scale - 1).abs().max() if isinstance(scale, torch.Tensor) else abs(scale - 1)
    return bool(deviation > 1e-6)


def _uneven(stated: Any, drawn: Any, plate: str) -> bool:
    """Whether a latent site is scaled or masked otherwise in the model than in the guide."""
    scales = [site["scale"] / data_factor(data_frame(site, plate)) for site in (stated, drawn)]
    deviation = scales[0] - scales[1]
    if bool(deviation.abs().max() > 1e-6 if isinstance(deviation, torch.Tensor) else abs(deviation) > 1e-6):
        return True
    masks = [site["mask"] for site in (stated, drawn)]
    if all(isinstance(mask, torch.Tensor) for mask in masks):
        return masks[0].shape != masks[1].shape or not torch.equal(*masks)
    bare = [unmasked(site["fn"]) is site["fn"] for site in (stated, drawn)]
    return masks[0] is not masks[1] or bare[0] != bare[1]


def _name(function: Any) -> str:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, Pair):
        return _name(owner.programs[0])
    return type(owner).__name__ if owner is not None else getattr(function, "__name__", repr(function))


class _OwnSubsampling(Messenger):
    """Notes whether the data plate draws a random subsample of its own."""

    def __init__(self, plate: str) -> None:
        super().__init__()
        self.plate = plate
        self.subsamples = False

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] == self.plate and site_is_subsample(msg) and msg["value"] is None:
            size = msg["fn"].subsample_size
            self.subsamples |= size is not None and size < msg["fn"].size
