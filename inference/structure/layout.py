"""What one run of a pair tells about its sites: plates, latent and observed sites, what each needs."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro import poutine

from ppgen.batch import split_batch
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.program_errors import OwnSubsampling, explained
from ppgen.distributions import UndirectedDistribution
from ppgen.inference.structure.plates import plate_rows
from ppgen.inference.structure.points import point_sites
from ppgen.inference.structure.site_checks import (
    check_agreement,
    check_marginalised,
    check_marks,
    check_shapes,
    check_sites,
)
from ppgen.inference.structure.traces import (
    Structure,
    data_factor,
    data_frame,
    enumerable,
    foreign_scale,
    hand_scale,
    sites,
    structure_of,
    undirected_law,
    unmasked,
)
from ppgen.pair import Pair, keeping_buffers
from ppgen.undisturbed import device_of, forked

REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR, UNDIRECTED, RECOGNISED = (
    "reparameterised",
    "not reparameterised",
    "mean field",
    "exact posterior",
    "undirected",
    "undirected, recognised",
)


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
        num_rows: Rows of the data plate.
        plate_sizes: Sizes that the data plate was given in the two programs, which may be those of the data set.
        structure: Sites of the run that it was read from, in their order.
        by_hand: Of those, the scales that no plate makes (`poutine.scale`), where they are one number.
        model_laws: Distribution at each latent site of the model, in the order in which they are drawn.
        guide_laws: Distribution at each latent site of the guide, in the order in which they are drawn.
        observed_laws: Distribution at each observed site of the model.
        masked: Sites of the guide under a mask.
        mismatched: Latent sites with another scale or mask in the model than in the guide.
        marked: Discrete sites of the guide marked `infer={"enumerate": "parallel"}`.
        marginalised: Sites of the model so marked that the guide does not draw: they are summed out.
        coupled: Sites outside the data plate that depend on latents inside of it, found by `with_coupled`.
        points: Continuous latents at which the guide has a point and no law, so that a log-weight is no bound.
    """

    plate: str
    data_dim: int
    particle_dim: int
    latent: dict[str, str]
    laws: dict[str, UndirectedDistribution]
    global_latents: tuple[str, ...]
    scaled: tuple[str, ...]
    num_rows: int = 0
    plate_sizes: tuple[int, ...] = ()
    structure: Structure = ()
    by_hand: dict[str, float] = field(default_factory=dict)
    model_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    guide_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    observed_laws: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    masked: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    marginalised: tuple[str, ...] = ()
    coupled: tuple[str, ...] = ()
    points: tuple[str, ...] = ()

    @property
    def undirected(self) -> tuple[str, ...]:
        """Names of the sites of the model whose log Z is unknown."""
        return tuple(self.laws)

    @property
    def recognised(self) -> tuple[str, ...]:
        """Names of the undirected sites of the model that the guide draws from a law of its own."""
        return tuple(name for name in self.laws if self.latent.get(name) in (REPARAMETERISED, DISCRETE))

    @property
    def exact_posterior(self) -> bool:
        """Whether the guide is the exact posterior at every latent site, so that a log-weight is log p(x)."""
        return all(kind == EXACT_POSTERIOR for kind in self.latent.values())


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
    pair.check_batch(batch)
    check_has_likelihood(pair, "Log-weights, and all that is made of them,")
    args, kwargs = split_batch(batch)
    watch = OwnSubsampling(pair.plate)
    device = device_of(pair, args, kwargs)
    with (
        forked(device),
        torch.no_grad(),
        pair.running(),
        watch,
        keeping_buffers(pair),
        explained(pair.plate) as seen,
    ):
        guide_trace = poutine.trace(pair.guide).get_trace(*args, **kwargs)
        seen.guide = guide_trace
        model_trace = poutine.trace(poutine.replay(pair.model, trace=guide_trace)).get_trace(*args, **kwargs)
        points = point_sites(pair.guide, args, kwargs, sites(model_trace), sites(guide_trace), device)
    if watch.subsamples and not allow_subsampling:
        raise ValueError(watch.told)
    return replace(read_layout(pair, sites(model_trace), sites(guide_trace)), points=points)


def read_layout(pair: Any, model_sites: dict[str, Any], guide_sites: dict[str, Any]) -> Layout:
    """Structure of a pair as the sites of a run tell it.

    Args:
        pair: A pair.
        model_sites: Sites of the model, run with the guide's values.
        guide_sites: Sites of the guide.

    Raises:
        ValueError: As `find_layout`.
    """
    guide_sites = {name: site for name, site in guide_sites.items() if not site["infer"].get("_deterministic")}
    every = [*model_sites.values(), *guide_sites.values()]
    stated = {name: site for name, site in model_sites.items() if not site["infer"].get("_deterministic")}
    framed = [
        {name: frame for name, site in found.items() if (frame := data_frame(site, pair.plate)) is not None}
        for found in (stated, guide_sites)
    ]
    frames = [frame for found in framed for frame in found.values()]
    if not frames or frames[0].dim is None:
        named = sorted({frame.name for site in every for frame in site["cond_indep_stack"]})
        raise ValueError(
            f"{_name(pair.model)} has no vectorised plate {pair.plate!r} over the data (plates: {named or 'none'}). "
            f"Draw each datum inside pyro.plate({pair.plate!r}, len(x)), or name your plate: Pair(..., plate=...)."
        )
    marginalised = tuple(name for name, site in model_sites.items() if name not in guide_sites and enumerable(site))
    check_marks(model_sites, guide_sites)
    check_sites(model_sites, guide_sites, marginalised)
    check_shapes(model_sites, guide_sites, pair.plate)
    num_rows = plate_rows(framed, pair.plate)
    check_agreement(model_sites, guide_sites, pair.plate)
    check_marginalised(marginalised, model_sites, pair.plate)
    deepest = min(frame.dim for site in every for frame in site["cond_indep_stack"] if frame.vectorized)
    return Layout(
        plate=pair.plate,
        data_dim=frames[0].dim,
        particle_dim=deepest - 1,
        latent={name: kind_of(site) for name, site in guide_sites.items()},
        laws={name: law for name, site in model_sites.items() if (law := _unnormalised_law(site)) is not None},
        global_latents=tuple(name for name, site in guide_sites.items() if data_frame(site, pair.plate) is None),
        scaled=tuple(
            name
            for traced in (model_sites, guide_sites)
            for name, site in traced.items()
            if foreign_scale(site, pair.plate)
        ),
        num_rows=num_rows,
        structure=structure_of(model_sites, guide_sites, pair.plate),
        plate_sizes=tuple(sorted({int(frame.full_size) for frame in frames})),
        by_hand={
            name: scale
            for traced in (model_sites, guide_sites)
            for name, site in traced.items()
            if (scale := hand_scale(site)) is not None and abs(scale - 1) > 1e-6
        },
        model_laws={name: site["fn"] for name, site in model_sites.items() if not site["is_observed"]},
        guide_laws={name: site["fn"] for name, site in guide_sites.items()},
        masked=tuple(
            name
            for name, site in guide_sites.items()
            if site["mask"] is not None or unmasked(site["fn"]) is not site["fn"]
        ),
        mismatched=tuple(
            name
            for name, site in guide_sites.items()
            if name in model_sites and _mismatched(model_sites[name], site, pair.plate)
        ),
        marked=tuple(name for name, site in guide_sites.items() if enumerable(site)),
        marginalised=marginalised,
        observed_laws={name: site["fn"] for name, site in model_sites.items() if site["is_observed"]},
    )


def kind_of(site: Any) -> str:
    """Kind of a latent site of the guide."""
    if site["infer"].get("posterior") == "exact":
        return EXACT_POSTERIOR
    if site["infer"].get("posterior") == MEAN_FIELD:
        return MEAN_FIELD
    return REPARAMETERISED if site["fn"].has_rsample else DISCRETE


def _unnormalised_law(site: Any) -> UndirectedDistribution | None:
    law = undirected_law(site["fn"])
    return law if law is not None and law.attached is None else None


def _mismatched(stated: Any, drawn: Any, plate: str) -> bool:
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
