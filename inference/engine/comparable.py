"""Which models draws can be compared of: those whose every draw has a path to the parameters."""

from typing import Any

import torch
from pyro.distributions import Unit

from ppgen.batch import all_tensors_of
from ppgen.inference.objectives.draw_objective import NOT_DRAWN, WITHOUT_GUIDE, DrawObjective, flat
from ppgen.inference.particles.model_alone import ModelRun
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import element_law, foreign_scale, of_data, undirected_law, unmasked


def check_parts(inference: Any, run: ModelRun) -> None:
    """Raise where an inference has a part that such an objective has no use for.

    Args:
        inference: The whole inference.
        run: A run of the model.

    Raises:
        ValueError: Names the part, and a latent site.
    """
    name = type(inference.objective).__name__
    latent = next((site for site in run.sites if site != run.data["name"]), run.data["name"])
    parts = {
        "estimator": None if inference.estimator == "auto" else inference.estimator,
        "negative_phase": inference.negative_phase,
        "label_weight": inference.label_weight or None,
    }
    for part, given in parts.items():
        if given is not None:
            raise ValueError(f"{part}={given!r} is not sound under {name} at site {latent!r}. {WITHOUT_GUIDE}")


def check_comparable(objective: DrawObjective, run: ModelRun, layout: Layout, batch: Any) -> None:
    """Raise unless draws of a model are what its rows are, and have a gradient.

    Args:
        objective: The objective.
        run: A run of its model.
        layout: Structure of the model.
        batch: A batch of data.

    Raises:
        ValueError: Names the site and says what to use instead.
    """
    name, data = type(objective).__name__, run.data["name"]
    if layout.plate is None or not of_data(run.data, layout.plate):
        raise ValueError(
            f"Site {data!r} stands for the data and lies in no plate over them, so that {name} has no rows to "
            f"compare. Draw each datum inside pyro.plate({layout.plate or 'data'!r}, len(x))."
        )
    for site in run.sites.values():
        _check_site(site, name, layout.plate, is_data=site["name"] == data, compared=objective.compared)
    if objective.compared == "mean" and not run.data["infer"].get("_deterministic"):
        try:
            _ = run.data["fn"].mean
        except (NotImplementedError, AttributeError):
            law = type(unmasked(run.data["fn"])).__name__
            raise ValueError(f"compared='mean', and the law of site {data!r} ({law}) has no mean.") from None
    rows = flat(all_tensors_of(batch)[0])
    drawn = run.drawn(objective.compared)
    if drawn.numel() != rows.numel():
        raise ValueError(
            f"Site {data!r} draws {tuple(drawn.shape)} values for {len(rows)} rows of {rows.shape[1]} features: draws "
            "must have the shape of the data."
        )
    if not bool(torch.isfinite(rows).all()):
        raise ValueError(f"data must be finite, all of them: {name} compares whole rows, and a missing value has none.")


def _check_site(site: Any, name: str, plate: str, *, is_data: bool, compared: str) -> None:
    """Raise unless a site may stand on the way from the parameters to a draw of the data."""
    label, law = f"Site {site['name']!r}", unmasked(site["fn"])
    kind = type(element_law(law)).__name__
    if undirected_law(site["fn"]) is not None:
        raise ValueError(
            f"{label} is undirected: draws of a Boltzmann machine are those of chains, without a gradient for {name} "
            f"to follow. {NOT_DRAWN}"
        )
    if isinstance(law, Unit):
        raise ValueError(f"{label} is a factor, which weighs what the model draws: {name} does not see it. {NOT_DRAWN}")
    if not of_data(site, plate):
        raise ValueError(
            f"{label} lies outside of plate {plate!r}, so that all draws of a step have one value of it and are not "
            f"independent, as {name} takes them to be. Draw it inside the plate, or make it a parameter."
        )
    if foreign_scale(site, plate):
        raise ValueError(f"{label} carries a scale of its own, which {name} does not see. Take it away. {NOT_DRAWN}")
    if site["mask"] is not None or law is not site["fn"]:
        raise ValueError(f"{label} stands under a mask, which {name} does not see. Take it away. {NOT_DRAWN}")
    if law.has_rsample or (is_data and compared == "mean"):
        return
    remedy = (
        'Give compared="mean", under which the mean of the law is compared, such as the grey pixels of bits; or a '
        "relaxed law, such as pyro.distributions.RelaxedBernoulliStraightThrough"
        if is_data
        else "Draw it from a reparameterised law, such as a relaxed one"
    )
    why = f"{label} is not reparameterised ({kind}): its draws have no gradient for {name} to follow"
    raise ValueError(f"{why}. {remedy}. {NOT_DRAWN}")
