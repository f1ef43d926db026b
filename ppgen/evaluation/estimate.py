"""The value of every Monte Carlo estimate: a number that never travels without its error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

KINDS = ("exact", "lower bound", "upper bound", "estimate")
PARETO_K_LIMIT = 0.7  # above it the error of an importance estimate cannot be trusted (Vehtari et al. 2024)

SMALLEST_ERROR = 1e-6  # nats; below it is rounding


@dataclass(frozen=True)
class Estimate:
    r"""A number in nats, its Monte Carlo standard error, and how both were obtained.

    Attributes:
        value: The estimate; for a log-likelihood the mean over the data, never its negative.
        se: Monte Carlo standard error of `value` given the data, in nats: what another seed would change.
            Part of it may be common to all data (`log_partition_se`). 0 if nothing was drawn. NaN, printed as
            unknown, if the draws cannot tell: of importance or annealing weights where the effective number of draws
            is below 2 for more than a tenth of the data (up to that share these count with a nat each), and of a log
            Z given as a bare number.
        kind: How `value` relates to the truth, in the sense of log p(x): `"exact"`, `"lower bound"`, `"upper
            bound"` (both in expectation) or `"estimate"`.
        method: Method and budget, such as `"importance (K=1000)"`.
        unit: `"nats per datum"` or `"nats"`.
        ess: Effective number of the weighted draws: of annealing runs, or of particles (mean over the data).
        num_draws: Number of draws that `ess` is out of.
        num_data: Number of data.
        data_se: Spread over the data, sd / sqrt(n): what another data set of that size would change.
        log_partition_se: The part of `se` that comes from log Z and so is the same for every datum.
        bias: First-order estimate of E[value] - truth that comes from taking the logarithm of a mean, -se^2
            / 2 averaged over the data; the gap of a lower bound.
        per_datum: Arrays over the data: `log_likelihood`, and where they exist `se`, `ess`, `pareto_k`; of a log Z
            that each datum has of its own, `log_partition` and `se`.
        warning: What makes the number doubtful, or None.
        note: What else a reader must know, or None.
        fingerprint: Hash of the weights that a log Z belongs to, and of the data if it depends on them.
        joint_pareto_k: Pareto shape of weights that are one for all data; NaN where it is unknown, None where data have
            weights of their own.

    Raises:
        ValueError: If `kind` is none of the four.

    Example:
        >>> from ppgen.evaluation import Estimate
        >>> Estimate(-19.8342, 0.012, "lower bound", "importance (K=1000)", num_data=360, data_se=0.213)
        -19.834 ± 0.012 nats per datum, lower bound, importance (K=1000), 360 rows; spread over data ±0.21
        >>> float(Estimate(31.5, 0.0, "exact", "enumeration (2^16 states)", unit="nats"))
        31.5
    """

    value: float
    se: float
    kind: str
    method: str
    unit: str = "nats per datum"
    ess: float | None = None
    num_draws: int | None = None
    num_data: int | None = None
    data_se: float | None = None
    log_partition_se: float | None = None
    bias: float | None = None
    per_datum: Mapping[str, np.ndarray] | None = field(default=None, repr=False, compare=False)
    warning: str | None = None
    note: str | None = None
    fingerprint: str | None = None
    joint_pareto_k: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {self.kind!r}.")

    def __float__(self) -> float:
        return float(self.value)

    @property
    def pointwise(self) -> Any:
        """log p(x) of every datum: an `xarray.DataArray` named `log_likelihood` over `data`, or None.

        Of `log_likelihood(..., per_position=True)` it is over `data` and `feature`: log p of each entry given those
        before it, whose sum over the features is log p(x).
        """
        by_entry = self.per_datum is not None and "per_position" in self.per_datum
        return self._array("per_position").rename("log_likelihood") if by_entry else self._array("log_likelihood")

    @property
    def pareto_k(self) -> Any:
        """Pareto shape of every datum's importance weights: an `xarray.DataArray` over `data`, or None.

        Of weights that are one for all data, as those of `log_evidence`, it is a single number.
        """
        return self._array("pareto_k") if self.joint_pareto_k is None else self.joint_pareto_k

    @property
    def num_bad_pareto_k(self) -> int | None:
        """Number of data whose Pareto k exceeds 0.7: their error cannot be trusted."""
        if self.per_datum is None or "pareto_k" not in self.per_datum:
            return None
        return int((self.per_datum["pareto_k"] > PARETO_K_LIMIT).sum())

    @property
    def num_unknown_pareto_k(self) -> int | None:
        """Number of data whose Pareto k is NaN: too few particles, or effective ones, for a tail to be fitted to."""
        if self.per_datum is None or "pareto_k" not in self.per_datum:
            return None
        return int(np.isnan(self.per_datum["pareto_k"]).sum())

    def to_dict(self) -> dict[str, Any]:
        """All fields but the arrays over the data, as JSON can hold them (NaN becomes None).

        Example:
            >>> from ppgen.evaluation import Estimate
            >>> Estimate(-1.5, 0.1, "estimate", "AIS (10 chains x 100 betas)").to_dict()["unit"]
            'nats per datum'
        """
        scalars = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "per_datum"}
        if self.joint_pareto_k is None:  # of weights of single data, which have it in `per_datum`
            del scalars["joint_pareto_k"]
        if self.num_bad_pareto_k is not None:
            scalars["num_bad_pareto_k"] = self.num_bad_pareto_k
            scalars["num_unknown_pareto_k"] = self.num_unknown_pareto_k
        return {
            name: value.to_dict() if isinstance(value, Estimate) else _json(value) for name, value in scalars.items()
        }

    def __repr__(self) -> str:
        error = "" if self.se == 0 else f" ± {_error(self.se)}"
        head = [f"{rounded(self.value, self.se)}{error} {self.unit}", self.kind, self.method]
        if self.num_data is not None:
            head.append("1 row" if self.num_data == 1 else f"{self.num_data} rows")
        if self.ess is not None and self.num_draws is not None:
            head.append(f"ESS {self.ess:.0f} of {self.num_draws}")
        parts = [", ".join(head)]
        if self.log_partition_se:
            parts.append(f"of it log Z ±{_error(self.log_partition_se)}, common to all rows")
        if self.bias is not None and math.isfinite(self.bias) and abs(self.bias) > self.se / 2:
            parts.append(f"expected bias {self.bias:+.2g}")
        if self.data_se is not None and math.isfinite(self.data_se):
            parts.append(f"spread over data ±{_error(self.data_se)}")
        if self.joint_pareto_k is not None:
            parts.append(f"Pareto k {'unknown' if math.isnan(self.joint_pareto_k) else f'{self.joint_pareto_k:.2f}'}")
        if self.num_bad_pareto_k and self.num_data:
            parts.append(f"Pareto k > {PARETO_K_LIMIT} for {_percent(self.num_bad_pareto_k / self.num_data)} of rows")
        if self.num_unknown_pareto_k and self.num_data:
            parts.append(f"Pareto k unknown for {_percent(self.num_unknown_pareto_k / self.num_data)} of rows")
        if self.note:
            parts.append(self.note)
        if self.warning:
            parts.append(f"warning: {self.warning}")
        return "; ".join(parts)

    __str__ = __repr__

    def _array(self, name: str) -> Any:
        if self.per_datum is None or name not in self.per_datum:
            return None
        import xarray as xr

        values = self.per_datum[name]
        nats = name in ("log_likelihood", "per_position")
        attrs = {"method": self.method, "kind": self.kind} | ({"units": "nats"} if nats else {})
        dims = ["data", "feature"][: values.ndim]
        coords = {dim: np.arange(size) for dim, size in zip(dims, values.shape, strict=True)}
        return xr.DataArray(values, dims=dims, coords=coords, name=name, attrs=attrs)


def with_error(value: float, se: float) -> str:
    """A value and its error, if there is one; "unknown" where it is NaN.

    Example:
        >>> with_error(-19.87164, 0.0033), with_error(-19.87164, math.nan)
        ('-19.8716 ± 0.0033', '-19.8716 ± unknown')
    """
    return rounded(value, se) if se == 0 else f"{rounded(value, se)} ± {_error(se)}"


def _percent(share: float) -> str:
    return f"{max(round(100 * share), 1)}%"


def _error(se: float) -> str:
    """Two significant digits."""
    if not math.isfinite(se):
        return "unknown"
    return f"{se:.{_decimals(se)}f}" if se >= SMALLEST_ERROR or se == 0 else "<1e-6"


def rounded(value: float, se: float) -> str:
    """A value with as many decimals as show two significant digits of its error.

    Example:
        >>> rounded(-19.87164, 0.0033)
        '-19.8716'
    """
    return f"{value:.{_decimals(se)}f}"


def _decimals(se: float) -> int:
    """Decimals that show two significant digits of the error; 4 where there is none."""
    if not math.isfinite(se) or se <= 0:
        return 4
    return max(1 - math.floor(math.log10(max(se, SMALLEST_ERROR))), 0)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
