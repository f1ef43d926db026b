"""What one run of a pair tells: which sites are undirected, whose posterior is exact, which data are legal."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppgen.distributions.layered_energy import LayeredEnergy
from ppgen.distributions.undirected import UndirectedDistribution
from ppgen.evaluation.data import Rows
from ppgen.evaluation.state import evaluating
from ppgen.pair import AnyPair, split_batch


class _Collect(Messenger):
    """Notes the energy of each undirected site and puts zeros there, so that no sampler is needed."""

    def __init__(self) -> None:
        super().__init__()
        self.energies: dict[str, LayeredEnergy] = {}

    def _pyro_sample(self, msg: Any) -> None:
        law = msg["fn"]
        while not isinstance(law, UndirectedDistribution) and hasattr(law, "base_dist"):
            law = law.base_dist
        if isinstance(law, UndirectedDistribution):
            self.energies[msg["name"]] = law.base_energy
            if msg["value"] is None:
                weight = law.base_energy.parameters()[0]
                msg["value"] = torch.zeros(msg["fn"].shape(), dtype=weight.dtype, device=weight.device)
                msg["done"] = True


@dataclass(frozen=True)
class Program:
    """Structure of a pair.

    Attributes:
        energies: Energies of the undirected sites of the model.
        posteriors: Whether the guide is the exact posterior, by latent site.
    """

    energies: dict[str, LayeredEnergy]
    posteriors: dict[str, bool]

    @property
    def inexact_sites(self) -> list[str]:
        """Latent sites whose guide is an approximation."""
        return [site for site, exact in self.posteriors.items() if not exact]


def undirected_sites(pair: AnyPair, batch: Any = None) -> dict[str, LayeredEnergy]:
    """Energies of the undirected sites of the model, by site.

    Args:
        pair: Model and guide; only the model runs.
        batch: Data to run it with; without, it is called without arguments.

    Raises:
        ValueError: If there is no batch and the model needs one.

    Example:
        >>> from ppgen import models
        >>> list(undirected_sites(models.RBM(visible=4, hidden=3)))
        ['hidden']
    """
    collect = _Collect()
    args, kwargs = ((), {}) if batch is None else split_batch(batch)
    with evaluating(pair), pair.running(), collect:
        try:
            pair.model(*args, **kwargs)  # type: ignore[operator]
        except (TypeError, AttributeError) as error:
            if batch is not None:
                raise
            raise ValueError(
                "The model cannot run without data, which is needed to find its Boltzmann machine: give a few rows "
                f"as x=. It raised: {error}"
            ) from error
    return collect.energies


def choose_site(energies: dict[str, LayeredEnergy], site: str | None) -> str:
    """The undirected site meant: the one named, or the only one.

    Raises:
        ValueError: If there is none, if the name is not among them, or if there are several and none is named.
    """
    if not energies:
        raise ValueError("The model has no undirected site (no BoltzmannMachine), so there is no log Z to estimate.")
    if site is None and len(energies) == 1:
        return next(iter(energies))
    if site not in energies:
        given = "none was named" if site is None else f"got {site!r}"
        raise ValueError(f"site must be one of the undirected sites {sorted(energies)}; {given}.")
    return site


def examine(pair: AnyPair, rows: Rows) -> Program:
    """Run guide and model on the first row, and hold all rows against the support of the observed sites.

    Raises:
        ValueError: If the programs cannot run on such a row, or rows lie outside the support.
    """
    batch = rows(0, 1)
    args, kwargs = split_batch(batch)
    collect = _Collect()
    try:
        pair.prepare(batch)
        with evaluating(pair), pair.running():
            guide = poutine.trace(pair.guide).get_trace(*args, **kwargs)  # type: ignore[arg-type]
            with collect:
                model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(*args, **kwargs)  # type: ignore[arg-type]
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(part.shape[1:])) for part in rows.tensors())
        raise ValueError(
            f"x does not fit the model: model and guide cannot run on a row of shape {shapes}. They raised: {error}"
        ) from error
    given = {id(value): index for index, value in enumerate((*args, *kwargs.values()))}
    for name in model.observation_nodes:
        node = model.nodes[name]
        if id(node["value"]) in given:
            _check_support(name, node["fn"].support, rows.tensors()[given[id(node["value"])]], rows.device)
    posteriors = {
        name: node["infer"].get("posterior") == "exact"
        for name, node in guide.nodes.items()
        if node["type"] == "sample" and not node["is_observed"] and not _is_plate(node)
    }
    return Program(collect.energies, posteriors)


def _is_plate(node: Any) -> bool:
    return type(node["fn"]).__name__ == "_Subsample"


def _check_support(site: str, support: Any, values: Tensor, device: torch.device) -> None:
    inside = support.check(values.to(device))
    bad = (~inside).reshape(len(values), -1).any(-1).nonzero()
    if len(bad):
        row = int(bad[0])
        low, high = values.min().item(), values.max().item()
        raise ValueError(
            f"x must lie in the support of site {site!r} ({support}): {len(bad)} of {len(values)} rows do not, the "
            f"first is row {row}; values range from {low:g} to {high:g}. Grey values for a law of bits need a "
            'binarisation: datasets.load(name, binarize="threshold").'
        )
