"""Groups of arrays made into an `xarray.DataTree` as ArviZ reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppgen.checks.arguments import check_kind
from ppgen.version import __version__


@dataclass
class Group:
    """Variables of one group with their dimensions after the draws, filled chunk by chunk of draws."""

    arrays: dict[str, list[np.ndarray]] = field(default_factory=dict)
    dims: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, array: np.ndarray, dims: list[str]) -> None:
        """Add a chunk of draws, of shape (draws, dims...)."""
        self.arrays.setdefault(name, []).append(array)
        self.dims[name] = dims

    def take(self, other: "Group") -> None:
        """Add the variables of another group."""
        self.arrays |= other.arrays
        self.dims |= other.dims

    def drop(self, dim: str) -> None:
        """Take away a dimension of size one."""
        for name, names in self.dims.items():
            if dim in names:
                axis = 1 + names.index(dim)
                self.arrays[name] = [array.squeeze(axis) for array in self.arrays[name]]
                self.dims[name] = [each for each in names if each != dim]

    def remove(self, name: str) -> None:
        """Take away a variable, if there is one of that name."""
        self.arrays.pop(name, None)
        self.dims.pop(name, None)

    def variables(self) -> dict[str, np.ndarray]:
        """Variables with all their draws."""
        joined = {name: np.concatenate(chunks) for name, chunks in self.arrays.items() if len(chunks) > 1}
        return {name: joined.get(name, chunks[0]) for name, chunks in self.arrays.items()}


def make_tree(
    groups: Mapping[str, Group],
    *,
    sample_dims: Sequence[str],
    coords: Mapping[str, Any] | None,
    attrs: Mapping[str, Any],
    num_chains: int = 1,
) -> Any:
    """DataTree of the groups that are not empty.

    Args:
        groups: Groups by name; variables of `observed_data` have one draw, which is taken away.
        sample_dims: `["chain", "draw"]` or one name for the draws.
        coords: Coordinates by dimension.
        attrs: Attributes of the tree and of every group.
        num_chains: Chains, which the draws hold one after another.

    Raises:
        ValueError: If coordinates do not fit a dimension.
    """
    import pyro
    from arviz_base import dict_to_dataset
    from xarray import DataTree

    attrs = {"sample_dims": list(sample_dims), **attrs}
    library = {"creation_library": "ppgen", "creation_library_version": __version__}
    _check_coords(groups, coords)
    datasets, common = {}, None
    for name, group in groups.items():
        variables = group.variables()
        if not variables:
            continue
        fixed = name == "observed_data"
        datasets[name] = dict_to_dataset(
            {key: _shaped(array, fixed, len(sample_dims), num_chains) for key, array in variables.items()},
            dims={key: group.dims[key] for key in variables},
            coords={key: value for key, value in (coords or {}).items()},
            sample_dims=[] if fixed else list(sample_dims),
            inference_library=pyro,
            check_conventions=False,  # they would warn of more chains than draws, which is what we are for
            attrs={**library, **attrs},
        )
        common = common or datasets[name].attrs
    tree = DataTree.from_dict(datasets)
    tree.attrs.update(common or attrs)
    return tree


def _shaped(array: np.ndarray, fixed: bool, num_sample_dims: int, num_chains: int) -> np.ndarray:
    if fixed:
        return array[0]
    return array if num_sample_dims == 1 else array.reshape(num_chains, -1, *array.shape[1:])


def _check_coords(groups: Mapping[str, Group], coords: Mapping[str, Any] | None) -> None:
    for group in groups.values():
        for name, chunks in group.arrays.items():
            for dim, size in zip(group.dims[name], chunks[0].shape[1:], strict=True):
                if coords is not None and dim in coords and len(coords[dim]) != size:
                    raise ValueError(
                        f"coords[{dim!r}] must hold {size} values, the size of that dimension of {name!r}; "
                        f"got {len(coords[dim])}."
                    )


def check_labels(**given: Any) -> None:
    """Raise unless coordinates and names of dimensions, given by their argument, are mappings or None.

    Raises:
        TypeError: If one is something else.

    Example:
        >>> check_labels(coords=None, dims={"z": ["unit"]})
    """
    for name, value in given.items():
        if value is not None:
            check_kind(name, value, Mapping, "a mapping from names")


def check_sample_dims(sample_dims: Sequence[str] | None) -> list[str]:
    """The sample dimensions as a list: chain and draw without a choice.

    Raises:
        TypeError: If it holds no names.
        ValueError: If there is neither one name nor chain and draw.

    Example:
        >>> check_sample_dims(None), check_sample_dims("sample")
        (['chain', 'draw'], ['sample'])
    """
    if sample_dims is None:
        return ["chain", "draw"]
    known = isinstance(sample_dims, Sequence) and all(isinstance(name, str) for name in sample_dims)
    if not known:
        raise TypeError(f'sample_dims must be ["chain", "draw"] or one name such as ["sample"], got {sample_dims!r}.')
    names = [sample_dims] if isinstance(sample_dims, str) else [*sample_dims]
    if names != ["chain", "draw"] and len(names) != 1:
        raise ValueError(f'sample_dims must be ["chain", "draw"] or one name such as ["sample"], got {names}.')
    return names


def to_array(value: Tensor, support: Any = None) -> np.ndarray:
    """NumPy array on the CPU; bits as int8, a quarter of the memory and discrete to ArviZ."""
    value = value.detach()
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support is torch.distributions.constraints.boolean:
        value = value.to(torch.int8)
    return value.cpu().contiguous().numpy()
