"""What model and guide must agree on, site by site, before anything is computed from their traces."""

from typing import Any

import pyro
from pyro.util import check_site_shape

from ppgen.inference.structure.traces import data_frame, of_data, undirected_law

_ANY_DEPTH = 100  # plates; more than tensors have dimensions


def check_marginalised(marginalised: tuple[str, ...], model_sites: dict[str, Any], plate: str | None) -> None:
    """Raise where sites of the model that are summed out would not give a marginal of each datum."""
    for name in marginalised:
        if not of_data(model_sites[name], plate):
            raise ValueError(
                f"Site {name!r} of the model, marked to be enumerated, lies outside plate {plate!r}: its sum joins all "
                "rows, so that no datum has a term of its own. Leave the plate to be found and give all rows at once "
                "(no plate=, no batch_size, no subsample): the program then has one joint weight. Or draw the site in "
                "the guide."
            )


def check_marks(model_sites: dict[str, Any], guide_sites: dict[str, Any]) -> None:
    """Raise where a mark asks for draws of a site that the guide does not draw, or for a number that is none."""
    for name, site in {**model_sites, **guide_sites}.items():
        count = site["infer"].get("num_samples")
        if count is None or site["is_observed"] or site["infer"].get("enumerate") is None:
            continue
        if name not in guide_sites:
            raise ValueError(
                f"Site {name!r} of the model is marked to be drawn num_samples={count} times, and the guide does not "
                "draw it: a sum over some draws of the model is no sum over its values. Leave num_samples out to sum "
                "over all values of the site, or draw it in the guide, where the mark asks for local draws."
            )
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise ValueError(
                f"Site {name!r} is marked to be drawn num_samples={count!r} times: a number of local draws is an "
                "integer of at least 2. Take the mark away for a single draw."
            )


def check_sites(model_sites: dict[str, Any], guide_sites: dict[str, Any], marginalised: tuple[str, ...]) -> None:
    """Raise unless the guide draws the latent sites of the model, but those that are summed out, and no others."""
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


def check_shapes(model_sites: dict[str, Any], guide_sites: dict[str, Any], plate: str | None) -> None:
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


def check_agreement(model_sites: dict[str, Any], guide_sites: dict[str, Any], plate: str | None) -> None:
    """Raise where a latent site is another variable in the model than in the guide, though its values broadcast."""
    for name in model_sites.keys() & guide_sites.keys():
        both = model_sites[name], guide_sites[name]
        inside = [of_data(site, plate) for site in both]
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
        events = [site["fn"].event_dim for site in both]
        if events[0] != events[1]:
            raise ValueError(
                f"Site {name!r} has {events[0]} event dimensions in the model and {events[1]} in the guide: what is a "
                "plate in one is part of the variable in the other. Write .to_event(n), or the plate, in both."
            )
