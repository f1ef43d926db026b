"""What one run of a pair tells: undirected sites, exact posteriors, and which data are legal."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppgen.devices import check_float64
from ppgen.distributions import LayerConditional
from ppgen.distributions.layered_energy import LayeredEnergy
from ppgen.evaluation.data import Rows
from ppgen.evaluation.state import evaluating
from ppgen.inference.joining import joined
from ppgen.inference.layout import EXACT_POSTERIOR, Layout, base_law, data_frame, find_layout
from ppgen.inference.machines import CollectSites
from ppgen.inference.support import outside
from ppgen.pair import AnyPair, split_batch


@dataclass(frozen=True)
class VisibleLayer:
    """Where the data of a Boltzmann machine stand.

    Attributes:
        site: The machine's site.
        layer: Index of the observed layer.
        argument: Place of the data among the arguments of the model.
    """

    site: str
    layer: int
    argument: int


@dataclass(frozen=True)
class Program:
    """Structure of a pair.

    Attributes:
        layout: Its plates and latent sites.
        energies: Energies of the undirected sites of the model.
        machine: The observed layer, where the model is a Boltzmann machine and nothing else.
    """

    layout: Layout
    energies: dict[str, LayeredEnergy]
    machine: VisibleLayer | None = None

    @property
    def inexact_sites(self) -> list[str]:
        """Latent sites whose guide is an approximation."""
        return [site for site, kind in self.layout.latent.items() if kind != EXACT_POSTERIOR]


def examine(pair: AnyPair, rows: Rows) -> Program:
    """Run guide and model on the first row, and hold all rows against the support of the observed sites.

    Raises:
        ValueError: If the device has no float64; if the programs cannot run on such a row, rows lie outside the
            support, or a latent site lies outside the data plate or a site there depends on one inside, so that a
            single datum has no likelihood.
    """
    check_float64(pair.device, "Log-likelihoods")
    batch = rows(0, 1)
    args, kwargs = split_batch(batch)
    collect = CollectSites()
    try:
        with evaluating(pair):  # before anything runs: in training, batch normalisation refuses a single row
            pair.prepare(batch)
            layout = joined(pair, batch, find_layout(pair, batch))
        with evaluating(pair), pair.running():
            guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)
            with collect:
                replayed = poutine.replay(pair.model, trace=guide)
                model = poutine.trace(replayed).get_trace(*args, **kwargs)
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(part.shape[1:])) for part in rows.tensors())
        raise ValueError(
            f"x does not fit the model: model and guide cannot run on a row of shape {shapes}. They raised: "
            + str(error).partition("\n")[0]
        ) from error
    if layout.global_latents:
        raise ValueError(
            f"The latent sites {list(layout.global_latents)} lie outside plate {pair.plate!r} and are "
            "common to all data, so a single datum has no likelihood of its own. Put them inside the plate, "
            "or condition the model on values for them (pyro.condition) and evaluate that with a guide "
            "without them."
        )
    if layout.joining:
        raise ValueError(
            f"Site {layout.joining[0]!r} lies outside plate {pair.plate!r} and depends on latents inside of it, so a "
            "single datum has no likelihood of its own. Draw the site inside the plate, or leave it out."
        )
    given = {id(value): index for index, value in enumerate((*args, *kwargs.values()))}
    for name in model.observation_nodes:
        node: Any = model.nodes[name]
        if id(node["value"]) in given:
            _check_support(name, node["fn"].support, rows.tensors()[given[id(node["value"])]], rows.device)
    # What is observed outside of the plate, as a prior of parameters, says nothing of a datum.
    data = [name for name in model.observation_nodes if data_frame(model.nodes[name], pair.plate) is not None]
    return Program(layout, collect.energies, _visible_layer(layout, collect.energies, model, data, given))


def _visible_layer(
    layout: Layout, energies: dict[str, LayeredEnergy], model: Any, observed: list[str], given: dict[int, int]
) -> VisibleLayer | None:
    """The observed layer, if the model is a machine whose one observed site holds an argument as it was given."""
    if len(energies) != 1 or list(layout.latent) != list(energies) or len(observed) != 1:
        return None
    (site, energy), node = *energies.items(), model.nodes[observed[0]]
    law = base_law(node["fn"])
    if not isinstance(law, LayerConditional) or law.machine_energy is not energy or id(node["value"]) not in given:
        return None
    return VisibleLayer(site, law.layer, given[id(node["value"])])


def _check_support(site: str, support: Any, values: Tensor, device: torch.device) -> None:
    inside = support.check(values.to(device))
    if not inside.all():
        raise ValueError(f"x at site {site!r} {outside(support, inside, values)}")
