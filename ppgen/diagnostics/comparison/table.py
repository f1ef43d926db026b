"""What a comparison found: an `xarray.Dataset` that prints as a sorted table and the sentences that go with it."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ppgen.diagnostics.comparison.differences import Difference, difference, seed_means
from ppgen.evaluation.estimate import PARETO_K_LIMIT

DIMENSIONS = ("model", "inference", "seed")
UNITS = {
    "log_likelihood": "nats per datum",
    "log_likelihood_mcse": "nats per datum",
    "bad_pareto_k": "1",
    "ess": "1",
    "gradient_variance": "nats^2 per datum^2",
    "gradient_variance_se": "nats^2 per datum^2",
    "gradient_snr": "1",
    "rhat": "1",
    "seconds": "s",
    "peak_memory": "MiB",
}
MEANING = {
    "log_likelihood": "mean log p(x) over the evaluated rows",
    "log_likelihood_mcse": "its Monte Carlo standard error, NaN where the draws cannot tell",
    "bad_pareto_k": f"share of rows whose Pareto k-hat exceeds {PARETO_K_LIMIT}, NaN where it is known of none",
    "ess": "effective number of the weighted draws, mean over the rows",
    "gradient_variance": "of one step's gradient at the trained parameters, over the latents alone",
    "gradient_variance_se": "its Monte Carlo standard error",
    "gradient_snr": "length of the mean gradient over its standard deviation",
    "rhat": "of the persistent chains' free energies in the last epoch",
    "seconds": "of training",
    "peak_memory": "of training, on the device or of the cell's own process",
}
WORDS = ("kind", "method", "notes", "error")
POINTWISE = "log_likelihood_pointwise"


class Comparison(xr.Dataset):
    """Inferences on one model or several: an `xarray.Dataset` over `model`, `inference` and `seed`.

    Printed, it is a table sorted by test log-likelihood, each mean over seeds with its standard error over seeds, and
    sentences that say which differences are within noise. A selection that lacks what the table needs prints as
    xarray prints it. `Comparison.read(path)` reads the `comparison.nc` of a folder.

    NaN stands where a cell failed (`error` says why) or where an inference was not asked for of a model
    (`planned` is False). Pointwise values are in `log_likelihood_pointwise`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return self.table() if self._whole() else super().__repr__()

    @classmethod
    def read(cls, path: str | Path) -> "Comparison":
        """Read a comparison from a netCDF file, whole, so that the file is closed again.

        Args:
            path: `comparison.nc` in the folder of a comparison.
        """
        with xr.open_dataset(path, engine="h5netcdf") as found:
            whole = found.load()
        return cls(whole.data_vars, coords=whole.coords, attrs=whole.attrs)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.table())}</pre>" if self._whole() else super()._repr_html_()

    def _whole(self) -> bool:
        needed = {*UNITS, *WORDS, "planned"}
        return needed <= set(self.data_vars) and all(self[name].dims == DIMENSIONS for name in needed)

    def table(self) -> str:
        """The sorted table and what may be said about it.

        Raises:
            ValueError: If variables or dimensions are gone.
        """
        if not self._whole():
            raise ValueError("The comparison lacks variables or dimensions that its table needs; select less.")
        from ppgen.diagnostics.comparison.text import table

        return table(self)

    def difference(self, model: str, first: str, second: str) -> Difference | None:
        """Difference of two inferences on a model, paired over seeds and data; None without a seed in common.

        Its interval and those of all other pairs of inferences on the model hold together with 95 %, as it is the data
        that choose which of them is the best.

        Args:
            model: Name of the model.
            first: Label of an inference.
            second: Label of the other.
        """
        one, other = self.sel(model=model, inference=first), self.sel(model=model, inference=second)
        rows = None
        if POINTWISE in self:
            rows = one[POINTWISE].values - other[POINTWISE].values
        value, error = "log_likelihood", "log_likelihood_mcse"
        count = int(self.planned.sel(model=model).any("seed").sum())
        return difference(
            one[value].values,
            other[value].values,
            one[error].values,
            other[error].values,
            rows,
            pairs=max(math.comb(count, 2), 1),
        )

    def best(self, model: str) -> str | None:
        """Label of the inference with the highest mean log-likelihood over seeds; None if every cell failed."""
        means = seed_means(self.sel(model=model)["log_likelihood"].values)
        return None if np.isnan(means).all() else str(self.inference.values[int(np.nanargmax(means))])


def assemble(results: Sequence[tuple[tuple[str, str, int], Mapping[str, Any]]], attrs: Mapping[str, Any]) -> Comparison:
    """The comparison from the results of its cells.

    Args:
        results: (model, inference, seed) and result of each cell.
        attrs: What all cells share.
    """
    names: dict[str, list[Any]] = {
        dim: list(dict.fromkeys(key[at] for key, _ in results)) for at, dim in enumerate(DIMENSIONS)
    }
    shape = tuple(len(each) for each in names.values())
    numbers = {name: np.full(shape, np.nan) for name in UNITS}
    words = {name: np.full(shape, "", dtype=object) for name in WORDS}
    planned = np.zeros(shape, dtype=bool)
    lengths = {len(result["pointwise"]) for _, result in results if result.get("pointwise")}
    pointwise = np.full((*shape, lengths.pop()), np.nan) if len(lengths) == 1 else None
    for key, result in results:
        at = tuple(names[dim].index(part) for dim, part in zip(DIMENSIONS, key, strict=True))
        planned[at] = True
        for name, value in result.get("numbers", {}).items():
            numbers[name][at] = math.nan if value is None else value
        for name in WORDS:
            words[name][at] = result.get(name) or ""
        if pointwise is not None and result.get("pointwise"):
            pointwise[at] = [math.nan if value is None else value for value in result["pointwise"]]
    variables: dict[str, Any] = {
        name: (DIMENSIONS, values, {"units": UNITS[name], "long_name": MEANING[name]})
        for name, values in numbers.items()
    }
    variables |= {name: (DIMENSIONS, values.astype(str)) for name, values in words.items()}
    variables["planned"] = (DIMENSIONS, planned)
    if pointwise is not None:
        variables[POINTWISE] = ((*DIMENSIONS, "data"), pointwise, {"units": "nats"})
    return Comparison(variables, coords=names, attrs=dict(attrs))


def write(comparison: Comparison, path: Path) -> None:
    """Write a comparison as netCDF in one atomic replacement."""
    from ppgen.training.run_folder.checkpoint import replacing

    content = io.BytesIO()  # not the file itself: on a full disk HDF5 breaks off the whole process
    comparison.to_netcdf(content, engine="h5netcdf")
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
