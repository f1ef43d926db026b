"""What one run of a pair tells: undirected sites, exact posteriors, and which data are legal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyro import poutine

from ppgen.batch import parts_of, split_batch
from ppgen.checks.program_errors import OwnSubsampling
from ppgen.devices import check_float64
from ppgen.distributions.machines.layered_energy import LayeredEnergy
from ppgen.evaluation.lone_rows import check_lone_rows
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.particles.sum_checks import check_sums
from ppgen.inference.structure.layout import EXACT_POSTERIOR, Layout, find_layout
from ppgen.inference.structure.machine_sites import CollectSites, visible_layer
from ppgen.inference.structure.plates import check_rows
from ppgen.inference.structure.row_dependence import with_coupled
from ppgen.inference.structure.support import check_support, explaining_missing
from ppgen.inference.structure.traces import data_frame
from ppgen.pair import AnyPair
from ppgen.undisturbed import evaluating

ROWS_AT_ONCE = 1000  # rows that are held against their support together


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
        discrete: Whether all data are discrete, so that a likelihood is a probability.
    """

    layout: Layout
    energies: dict[str, LayeredEnergy]
    machine: VisibleLayer | None = None
    discrete: bool = False

    @property
    def inexact_sites(self) -> list[str]:
        """Latent sites whose guide is an approximation."""
        return [site for site, kind in self.layout.latent.items() if kind != EXACT_POSTERIOR]


def examine(pair: AnyPair, rows: CheckedRows, at_once: int | None = None) -> Program:
    """Run guide and model, hold all rows against the law that observes them, and a few rows in a batch against alone.

    Args:
        pair: A pair, prepared by this.
        rows: The data.
        at_once: Rows that may run together, at most; None for as many as is quick.

    Raises:
        ValueError: If the device has no float64; if the programs cannot run on such rows, rows lie outside the support,
            the model observes nothing, a latent site lies outside the data plate or a site there depends on one inside,
            so that a single datum has no likelihood, or if a row's log-density depends on other rows.
    """
    check_float64(pair.device, "Log-likelihoods")
    batch = rows(0, 1)
    args, kwargs = split_batch(batch)
    collect = CollectSites()
    try:
        with evaluating(pair), _explaining(rows):  # in training, batch normalisation refuses a single row
            pair.prepare(batch)
            batch = rows(0, 1)  # parameters made just now decide the type
            args, kwargs = split_batch(batch)
            layout = with_coupled(pair, batch, find_layout(pair, batch))
            _ = layout.row_dim  # raises without a data plate
            check_rows(batch, layout.num_rows, pair.plate)
            check_sums(pair, batch, layout)
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
            "common to all data, so a single datum has no likelihood of its own. evaluation.log_evidence(pair, x) "
            "gives log p of all data together. Else put them inside the plate, or condition the model on values for "
            "them (pyro.condition) and evaluate that with a guide without them."
        )
    if layout.scaled:
        raise ValueError(
            f"The sites {list(dict.fromkeys(layout.scaled))} have a scale of their own, under which a log-weight is "
            "that of no law, so that nothing of it estimates or bounds log p(x). Take poutine.scale, or the "
            "subsampling of an inner plate, away."
        )
    if layout.coupled:
        raise ValueError(
            f"Site {layout.coupled[0]!r} lies outside plate {pair.plate!r} and depends on latents inside of it, so a "
            "single datum has no likelihood of its own. evaluation.log_evidence(pair, x) gives log p of all data "
            "together. Else draw the site inside the plate, or leave it out."
        )
    # What is observed outside of the plate, as a prior of parameters, says nothing of a datum.
    data = [name for name in model.observation_nodes if _of_data(model.nodes[name], pair.plate)]
    if not data:
        raise ValueError(
            f"The model observes nothing inside plate {pair.plate!r}, so that it gives x no likelihood: write "
            "pyro.sample(name, law, obs=x) inside the plate."
        )
    rows = CheckedRows(rows.parts, pair) if rows.dtype is None else rows  # parameters made just now decide the dtype
    block = min(ROWS_AT_ONCE, at_once or ROWS_AT_ONCE)
    watch = OwnSubsampling(pair.plate)
    with evaluating(pair), _explaining(rows):
        for start in range(0, len(rows), block):
            with watch:
                check_support(pair, rows(start, min(start + block, len(rows))), first_row=start)
            if watch.subsamples:
                raise ValueError(watch.told)
        check_lone_rows(pair, rows, layout, block)
    given = {id(value): index for index, value in enumerate(parts_of(batch))}
    laws: list[Any] = [model.nodes[name]["fn"] for name in data]
    discrete = all(law.support.is_discrete for law in laws)
    return Program(layout, collect.energies, _visible_layer(layout, collect.energies, model, data, given), discrete)


@contextmanager
def _explaining(rows: CheckedRows) -> Iterator[None]:
    """Context in which a law that refuses its parameters because data are missing is told with what to do."""
    try:
        with explaining_missing(rows.parts):
            yield
    except ValueError as error:
        if str(error).startswith("Expected more than 1 value per channel"):
            raise ValueError(
                "Rows depend on each other: the programs put batch normalisation into training mode, in evaluation "
                "too, so that log p(x) would depend on the rows that are evaluated together. Leave the mode to the "
                "pair: take module.train() out of the program, and training=True of functional.batch_norm."
            ) from error
        raise


def _of_data(site: Any, plate: str | None) -> bool:
    return data_frame(site, plate) is not None and not site["infer"].get("_deterministic")


def _visible_layer(
    layout: Layout, energies: dict[str, LayeredEnergy], model: Any, observed: list[str], given: dict[int, int]
) -> VisibleLayer | None:
    """The observed layer, if the model is a machine whose one observed site holds an argument as it was given."""
    if len(energies) != 1 or list(layout.latent) != list(energies) or len(observed) != 1:
        return None
    (site, energy), node = *energies.items(), model.nodes[observed[0]]
    found = visible_layer(node["fn"])
    if found is None or found[0] is not energy or id(node["value"]) not in given:
        return None
    return VisibleLayer(site, found[1], given[id(node["value"])])
