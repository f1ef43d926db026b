"""What one run of a pair tells about its sites: plates, latent and observed sites, what each needs."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import ImproperUniform

from ppgen.batch import split_batch
from ppgen.checks.likelihood import check_has_likelihood
from ppgen.checks.program_errors import OwnSubsampling, explained
from ppgen.distributions import UndirectedDistribution
from ppgen.inference.structure.data_plate import data_plate
from ppgen.inference.structure.plates import Frame, frames_of, plate_rows
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
    element_law,
    enumerable,
    foreign_scale,
    hand_scale,
    samples_asked,
    sites,
    structure_of,
    undirected_law,
    unmasked,
)
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

REPARAMETERISED, DISCRETE, MEAN_FIELD, EXACT_POSTERIOR, UNDIRECTED, RECOGNISED = (
    "reparameterised",
    "not reparameterised",
    "mean field",
    "exact posterior",
    "undirected",
    "undirected, recognised",
)

_ROUNDING = 1e-6  # relative; scales so close are the same


@dataclass(frozen=True)
class Site:
    """What one site is, in the model and in the guide.

    Attributes:
        name: Its name.
        stated: Whether the model has it.
        kind: Kind of a site that the guide draws; None of others.
        observed: Whether the model observes it.
        model_law: Distribution in the model; None where it has none, or a later batch brought the site.
        guide_law: Distribution in the guide; None likewise.
        frames: Vectorised plates around it: in the model, or in the guide of a site that is the guide's alone.
        undirected: The model's law there if its log Z is unknown.
        masked: Whether it stands under a mask in the guide.
        mismatched: Whether its scale or mask is another in the model than in the guide.
        scaled: Whether it has a scale beside that of the data plate.
        by_hand: Of that, what no plate makes (`poutine.scale`), where it is one number and not 1.
        marked: Whether the guide marks it `infer={"enumerate": "parallel"}`, and its values are finitely many.
        samples: How often the guide's mark asks to draw it at once (`num_samples`); 0 where it asks for no draws.
        marginalised: Whether the model so marks it and the guide does not draw it: it is summed out.
        point: Whether the guide has a point and no law at this continuous latent, so that a log-weight is no bound.
    """

    name: str
    stated: bool = True
    kind: str | None = None
    observed: bool = False
    model_law: Any = field(default=None, repr=False, compare=False)
    guide_law: Any = field(default=None, repr=False, compare=False)
    frames: tuple[Frame, ...] = ()
    undirected: UndirectedDistribution | None = None
    masked: bool = False
    mismatched: bool = False
    scaled: bool = False
    by_hand: float | None = None
    marked: bool = False
    samples: int = 0
    marginalised: bool = False
    point: bool = False

    @property
    def plates(self) -> tuple[str, ...]:
        """Names of the vectorised plates around it."""
        return tuple(frame.name for frame in self.frames)


@dataclass(frozen=True)
class Layout:
    """Structure of a pair, found by one run.

    Attributes:
        plate: Name of the data plate; None if there is none, and all data are one datum.
        data_dim: Dimension of the data plate, counted from the right (negative); None if there is none.
        particle_dim: Dimension free for particles, left of the deepest plate (negative).
        sites: Record of each site by name: those of the model in the order in which they are drawn, then those of the
            guide alone.
        guide_order: Names of the sites of the guide, in the order in which they are drawn.
        num_rows: Rows of the data plate; 1 if there is none.
        plate_sizes: Sizes that the data plate was given in the two programs, which may be those of the data set.
        structure: Sites of the run that it was read from, in their order.
        coupled: Sites outside the data plate that depend on latents inside of it, found by `with_coupled`.
    """

    plate: str | None
    data_dim: int | None
    particle_dim: int
    sites: dict[str, Site] = field(default_factory=dict)
    guide_order: tuple[str, ...] = ()
    num_rows: int = 0
    plate_sizes: tuple[int, ...] = ()
    structure: Structure = ()
    coupled: tuple[str, ...] = ()

    @property
    def row_dim(self) -> int:
        """Dimension of the data plate, where something is asked of each datum.

        Raises:
            ValueError: If there is no data plate.
        """
        if self.data_dim is None:
            raise ValueError(
                "This is asked of each datum, and the program has no data plate: all its arguments are one datum, with "
                "one joint weight. Of all data together: evaluation.log_evidence. Or name the plate that goes over the "
                "rows: ppgen.Pair(model, guide, plate=...)."
            )
        return self.data_dim

    @property
    def row_plate(self) -> str:
        """Name of the data plate, where something is asked of each datum.

        Raises:
            ValueError: If there is no data plate.
        """
        _ = self.row_dim
        return str(self.plate)

    @property
    def latent(self) -> dict[str, str]:
        """Kind of each site that the guide draws, in the order in which it does."""
        return {name: self.sites[name].kind or "" for name in self.guide_order}

    @property
    def laws(self) -> dict[str, UndirectedDistribution]:
        """Distributions at the sites of the model whose log Z is unknown."""
        return {name: site.undirected for name, site in self.sites.items() if site.undirected is not None}

    @property
    def global_latents(self) -> tuple[str, ...]:
        """Sites of the guide outside the data plate."""
        return tuple(name for name in self.guide_order if not self.inside(name))

    @property
    def scaled(self) -> tuple[str, ...]:
        """Sites with a scale beside the data plate's own."""
        return self._names("scaled")

    @property
    def by_hand(self) -> dict[str, float]:
        """Scales that no plate makes (`poutine.scale`), where they are one number."""
        return {name: site.by_hand for name, site in self.sites.items() if site.by_hand is not None}

    @property
    def model_laws(self) -> dict[str, Any]:
        """Distribution at each latent site of the model, in the order in which they are drawn."""
        return {name: site.model_law for name, site in self.sites.items() if site.stated and not site.observed}

    @property
    def guide_laws(self) -> dict[str, Any]:
        """Distribution at each latent site of the guide, in the order in which they are drawn."""
        return {name: self.sites[name].guide_law for name in self.guide_order}

    @property
    def observed_laws(self) -> dict[str, Any]:
        """Distribution at each observed site of the model."""
        return {name: site.model_law for name, site in self.sites.items() if site.observed}

    @property
    def masked(self) -> tuple[str, ...]:
        """Sites of the guide under a mask."""
        return self._names("masked")

    @property
    def mismatched(self) -> tuple[str, ...]:
        """Latent sites with another scale or mask in the model than in the guide."""
        return self._names("mismatched")

    @property
    def marked(self) -> tuple[str, ...]:
        """Discrete sites of the guide that it marks to be enumerated, all values at once."""
        return self._names("marked")

    @property
    def sampled(self) -> tuple[str, ...]:
        """Sites of the guide that it marks to be drawn several times, each draw beside all of the others."""
        return self._names("samples")

    @cached_property
    def marginalised(self) -> tuple[str, ...]:
        """Sites of the model so marked that the guide does not draw, which are summed out."""
        return self._names("marginalised")

    @property
    def points(self) -> tuple[str, ...]:
        """Continuous latents at which the guide has a point and no law, so that a log-weight is no bound."""
        return tuple(name for name in self.guide_order if self.sites[name].point)

    @property
    def improper(self) -> tuple[str, ...]:
        """Latents whose prior is flat over all that it allows, so that it has no mass of one."""
        return tuple(name for name, law in self.model_laws.items() if isinstance(element_law(law), ImproperUniform))

    @property
    def undirected(self) -> tuple[str, ...]:
        """Names of the sites of the model whose log Z is unknown."""
        return tuple(self.laws)

    @property
    def recognised(self) -> tuple[str, ...]:
        """Names of the undirected sites of the model that the guide draws from a law of its own."""
        return tuple(name for name in self.laws if self.sites[name].kind in (REPARAMETERISED, DISCRETE))

    @property
    def exact_posterior(self) -> bool:
        """Whether the guide is the exact posterior at every latent site, so that a log-weight is log p(x)."""
        return all(kind == EXACT_POSTERIOR for kind in self.latent.values())

    def inside(self, name: str) -> bool:
        """Whether a site lies in the data plate; any site does where there is none."""
        return self.plate is None or self.plate in self.sites[name].plates

    def _names(self, attribute: str) -> tuple[str, ...]:
        return tuple(name for name, site in self.sites.items() if getattr(site, attribute))


def find_layout(pair: Any, batch: Any, *, allow_subsampling: bool = True) -> Layout:
    """Run model and guide once and read their structure; the random state is restored.

    Args:
        pair: A pair.
        batch: A batch of data: a tensor, a tuple or a mapping.
        allow_subsampling: Whether the data plate may draw a random subsample by itself.

    Raises:
        ValueError: If there is no data plate of the name that was given, if it subsamples by itself though batches are
            given, if the guide misses a latent site that is not marked to be enumerated, or if it has one that the
            model has not; if the two have different shapes or one stands in the data plate alone; if a marked one lies
            outside the data plate that was named.
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
    if not pair.plate_settled:
        pair.settle_plate(data_plate(pair, sites(model_trace), sites(guide_trace), batch))
    with forked(device):  # log-densities may draw too, where they are estimates
        layout = read_layout(pair, sites(model_trace), sites(guide_trace))
    found = {name: replace(site, point=name in points) for name, site in layout.sites.items()}
    return replace(layout, sites=found) if points else layout


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
    plate = data_plate(pair, model_sites, guide_sites, None)
    stated = {name: site for name, site in model_sites.items() if not site["infer"].get("_deterministic")}
    framed = [
        {name: frame for name, site in found.items() if (frame := data_frame(site, plate)) is not None}
        for found in (stated, guide_sites)
    ]
    frames = [frame for found in framed for frame in found.values()]
    marginalised = tuple(name for name, site in stated.items() if name not in guide_sites and enumerable(site))
    check_marks(model_sites, guide_sites)
    check_sites(model_sites, guide_sites, marginalised)
    check_shapes(model_sites, guide_sites, plate)
    num_rows = 1 if plate is None else plate_rows(framed, plate)
    check_agreement(model_sites, guide_sites, plate)
    check_marginalised(marginalised, model_sites, plate)
    dims = [frame.dim for site in every for frame in site["cond_indep_stack"] if frame.vectorized]
    return Layout(
        plate=plate,
        data_dim=None if plate is None else frames[0].dim,
        particle_dim=min(dims, default=0) - 1,
        sites={
            name: site_record(name, stated.get(name), guide_sites.get(name), plate)
            for name in dict.fromkeys((*stated, *guide_sites))
        },
        guide_order=tuple(guide_sites),
        num_rows=num_rows,
        plate_sizes=tuple(sorted({int(frame.full_size) for frame in frames})),
        structure=structure_of(model_sites, guide_sites, plate),
    )


def site_record(name: str, stated: Any | None, drawn: Any | None, plate: str | None) -> Site:
    """The record of a site of the model, of the guide, or of both."""
    found = [site for site in (stated, drawn) if site is not None]
    scales = [scale for site in found if (scale := hand_scale(site)) is not None and abs(scale - 1) > _ROUNDING]
    record = Site(
        name,
        stated=stated is not None,
        frames=frames_of(found[0]),
        scaled=any(foreign_scale(site, plate) for site in found),
        by_hand=scales[-1] if scales else None,
    )
    if stated is not None:
        record = replace(
            record,
            observed=stated["is_observed"],
            model_law=stated["fn"],
            undirected=_unnormalised_law(stated),
            marginalised=drawn is None and enumerable(stated),
        )
    if drawn is not None:
        record = replace(
            record,
            kind=kind_of(drawn),
            guide_law=drawn["fn"],
            masked=drawn["mask"] is not None or unmasked(drawn["fn"]) is not drawn["fn"],
            mismatched=stated is not None and _mismatched(stated, drawn, plate),
            marked=enumerable(drawn),
            samples=samples_asked(drawn),
        )
    return record


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


def _mismatched(stated: Any, drawn: Any, plate: str | None) -> bool:
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
