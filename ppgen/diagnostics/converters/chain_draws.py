"""What the chains of `ppgen.inference` hold, in one form whatever the kernel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ppgen.diagnostics.converters.dimensions import name_dimensions
from ppgen.diagnostics.converters.given_draws import stacked
from ppgen.inference import PosteriorSamples
from ppgen.trees import Group, to_array

DATA = "data"  # dimension of the rows in the trees of `inference.sample`


@dataclass
class ChainDraws:
    """Draws of chains, one chain after another.

    Attributes:
        kernel: Name of the kernel.
        num_chains: Chains.
        num_draws: Draws of each.
        values: Draws by site or layer, (chains x draws, rows, inner plates, event).
        posterior: The draws as the group of a tree.
        sample_stats: What the kernel tells of each step.
        by_site: Whether the draws are those of the latent sites of a pair, and nothing else.
        conditioned: Whether every datum has chains of its own; otherwise values are (chains x draws, units).
        dims: Names of event dimensions that the trees of machines have.
        coords: Coordinates of dimensions that the kernel knows.
    """

    kernel: str
    num_chains: int
    num_draws: int
    values: dict[str, Tensor]
    posterior: Group
    sample_stats: Group
    by_site: bool
    conditioned: bool
    dims: dict[str, list[str]] = field(default_factory=dict)
    coords: dict[str, Any] = field(default_factory=dict)


def chain_draws(chains: Any, dims: Mapping[str, Sequence[str]] | None, plate: str = DATA) -> ChainDraws:
    """The draws of chains of any of our kernels.

    Args:
        chains: A `PosteriorSamples` or a tree of `inference.sample`.
        dims: The user's names of dimensions, by site.
        plate: Name of the data plate, for chains of a machine, which do not know it.

    Raises:
        TypeError: If they are neither.
    """
    if isinstance(chains, PosteriorSamples):
        return _of_posteriors(chains, dims)
    if isinstance(getattr(chains, "children", None), Mapping) and "posterior" in chains.children:
        return _of_tree(chains, dims, plate)
    raise TypeError(
        "chains must be what inference.sample_posterior or inference.sample returned, got "
        f"{type(chains).__name__}; draws of pyro.infer.MCMC go to from_pyro, a trained guide to from_pyro_svi."
    )


def _of_posteriors(chains: PosteriorSamples, dims: Mapping[str, Sequence[str]] | None) -> ChainDraws:
    values = {name: stacked(value) for name, value in chains.draws.items()}
    posterior, stats = Group(), Group()
    for name, value in values.items():
        inferred = list(chains.dims.get(name, (DATA, *(None,) * (value.dim() - 2))))
        given = (dims or {}).get(name, ())
        if len(given) < len(inferred):  # names of event dimensions, which may have some of the model's
            inferred = [*inferred[: len(inferred) - len(given)], *(None,) * len(given)]
        posterior.add(name, to_array(value), name_dimensions(name, inferred, dims, {}))
    plate = [next((names[0] for names in chains.dims.values() if names and names[0] is not None), DATA)]
    if chains.log_density.dim() == 2:  # of all data together
        plate = []
    for name, value in {"lp": chains.log_density, **chains.info._asdict()}.items():
        stats.add(name, to_array(stacked(value)), plate)
    num_chains, num_draws = chains.log_density.shape[:2]
    return ChainDraws(chains.kernel, num_chains, num_draws, values, posterior, stats, by_site=True, conditioned=True)


def _of_tree(tree: Any, dims: Mapping[str, Sequence[str]] | None, plate: str) -> ChainDraws:
    groups = {"posterior": Group(), "sample_stats": Group()}
    values, coords = dict[str, Tensor](), dict[str, Any]()
    for kind, group in groups.items():
        if kind not in tree.children:
            continue
        for name, array in tree[kind].data_vars.items():
            names = [plate if dim == DATA else str(dim) for dim in array.dims[2:]]
            value = array.values.reshape(-1, *array.shape[2:])
            if kind == "posterior":
                values[str(name)] = stacked(array.values)
                names = _renamed(str(name), names, dims)
            group.add(str(name), value, names)
            coords |= {str(dim): array[dim].values for dim in names if dim in array.coords}
    return ChainDraws(
        str(tree.attrs.get("kernel", "unknown")),
        tree.posterior.sizes["chain"],
        tree.posterior.sizes["draw"],
        values,
        groups["posterior"],
        groups["sample_stats"],
        by_site=False,
        conditioned=any(plate in names for names in groups["posterior"].dims.values()),
        dims={name: [unit_name(name)] for name in values},
        coords=coords,
    )


def _renamed(name: str, own: Sequence[str], dims: Mapping[str, Sequence[str]] | None) -> list[str]:
    """Names of the dimensions of a layer: its own, but the user's for its units, or for all."""
    inferred = [None if dim == unit_name(name) else dim for dim in own]
    return name_dimensions(name, inferred, dims, {"event_dims": [unit_name(name)]})


def unit_name(layer: str) -> str:
    """Name of the dimension of a layer's units in the trees of `inference.sample`."""
    return f"{layer}_unit"
