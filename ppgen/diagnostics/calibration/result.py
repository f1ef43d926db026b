"""What simulation-based calibration found, in numbers, in sentences and as ArviZ draws it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppgen.diagnostics.calibration.ranks import holm, rank_statistics
from ppgen.trees import Group, make_tree

CLEAR = 3.0  # standard errors from which on a direction is named
DENSITIES = ("log_likelihood", "log_joint")

_CHAINS = {
    "narrow": "Too narrow: more warm-up, or a kernel that moves farther, so that chains find all of the posterior.",
    "wide": "Too wide: more warm-up, so that chains forget where they began.",
    "shifted": "Shifted: more warm-up, so that chains forget where they began.",
}
_GUIDE = {
    "narrow": "Too narrow: use a richer guide, or an objective that covers the posterior's mass "
    "(inference.IWELBO, inference.ReweightedWakeSleep).",
    "wide": "Too wide: train the guide longer, or let the scales of its Normals depend on x.",
    "shifted": "Shifted: train longer or give the guide more capacity; of continuous latents "
    "diagnostics.approximation_gap tells whether the guide's family or its amortisation is to blame.",
}
_EITHER = {
    "worse": "Draws worse than the truth: the posterior ignores part of what x tells, or is too wide.",
    "better": "Draws better than the truth: the posterior sits on the peak of the density, and is too narrow.",
    "other": "Of another shape: draw the unit, arviz_plots.plot_ecdf_pit(result.to_datatree()).",
}


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of simulated latents among the posterior draws given the data simulated from them.

    Attributes:
        model: Name of the model.
        method: Where the posterior draws came from.
        num_simulations: Number of simulations.
        num_samples: Independent draws L of each, among which the truth was ranked; of chains, those left by thinning.
        level: Probability at most of naming any unit of a calibrated posterior.
        sites: Names of the latent sites; the other variables are test quantities.
        ranks: Ranks from 0 to L, ties broken at random: an `xarray.Dataset`, as all that follow, of dimensions
            `simulation`, inner plates, event.
        pit: (rank + uniform) / (L + 1), which is uniform on (0, 1) if the posterior is calibrated.
        pvalue: By unit, of a test of uniformity by the worst point of the ECDF, exact and simultaneous over its points.
        fails: By unit, whether uniformity is rejected at `level` for all units together, by Holm's rule.
        shift: By unit, mean of the normal scores of the PIT values, 0 if calibrated: for a Normal posterior the
            distance of the truth from the draws' mean, in standard deviations of the draws. Positive: draws too low.
        spread: By unit, their standard deviation, 1 if calibrated: above, the draws are too narrow.
        x: The simulated data, as the pair takes them.
        autocorrelation_time: Of the slowest unit of the chains, in steps; None for independent draws.
    """

    model: str
    method: str
    num_simulations: int
    num_samples: int
    level: float
    sites: tuple[str, ...]
    ranks: Any = field(repr=False)
    pit: Any = field(repr=False)
    pvalue: Any = field(repr=False)
    fails: Any = field(repr=False)
    shift: Any = field(repr=False)
    spread: Any = field(repr=False)
    x: Any = field(repr=False)
    autocorrelation_time: float | None = None

    @property
    def calibrated(self) -> bool:
        """Whether no unit and no test quantity fails."""
        return not any(bool(each.any()) for each in self.fails.values())

    def to_datatree(self) -> Any:
        """The PIT values as an `xarray.DataTree` with a group `prior_sbc`, whose draws are the simulations.

        That is what `arviz_plots.plot_ecdf_pit(tree)` draws, one panel a unit, with the band of uniform values.
        """
        group = Group()
        for name, variable in self.pit.items():
            group.add(str(name), variable.values, [str(dim) for dim in variable.dims[1:]])
        attrs = {"inference": self.method, "model": self.model, "num_samples": self.num_samples}
        return make_tree({"prior_sbc": group}, sample_dims=["chain", "draw"], coords=None, attrs=attrs)

    def directions(self, name: str) -> dict[str, list[str]]:
        """Units of a variable that fail, by what is wrong with them; a unit may be in several lists, worst first.

        Lists: `narrow`, `wide`, `shifted down` and `shifted up` (the draws, against the truth), `other`; of
        `log_likelihood` and `log_joint`: `worse` and `better` (the draws, against the truth), `other`.
        """
        found: dict[str, list[tuple[float, str]]] = {}
        for index, fails in np.ndenumerate(self.fails[name].values):
            if not fails:
                continue
            label = _label(name, index)
            shift, spread = (float(each[name].values[index]) for each in (self.shift, self.spread))
            for kind, size in _kinds(shift, spread, self.num_simulations, name in DENSITIES):
                found.setdefault(kind, []).append((size, label))
        return {kind: [label for _, label in sorted(units, reverse=True)] for kind, units in found.items()}

    def __repr__(self) -> str:
        return "\n".join(self._sentences())

    def _sentences(self) -> Iterator[str]:
        total = sum(each.size for each in self.fails.values())
        yield (
            f"Simulation-based calibration of {self.model}: {self.num_simulations} simulations, each ranked among "
            f"{self.num_samples} draws of {self.method}."
        )
        if self.autocorrelation_time is not None:
            yield f"Chains were thinned by their longest autocorrelation time, {self.autocorrelation_time:.1f} steps."
        wrong: list[str] = []
        for name in map(str, self.fails):
            directions = self.directions(name)
            wrong += directions
            yield self._of_variable(name, directions)
        yield (
            f"A unit fails where its ECDF leaves the simultaneous band, at level {self.level:g} for all {total} "
            "together (Holm)."
        )
        kinds = dict.fromkeys("shifted" if kind.startswith("shifted") else kind for kind in wrong)
        advice = {**_EITHER, **(_GUIDE if self.autocorrelation_time is None else _CHAINS)}
        yield from (advice[kind] for kind in kinds)
        if not wrong:
            yield (
                "No evidence against the posterior draws on data of the model itself; whether the model fits real data "
                "is another question."
            )

    def _of_variable(self, name: str, directions: Mapping[str, Sequence[str]]) -> str:
        fails, size = int(self.fails[name].sum()), self.fails[name].size
        if not fails:
            return f"{name}: uniform." if size == 1 else f"{name}: all {size} units uniform."
        parts = [self._told(name, kind, units) for kind, units in directions.items()]
        counted = f"{name} fails" if size == 1 else f"{name}: {fails} of {size} units fail{'s' if fails == 1 else ''}"
        return f"{counted}: {'; '.join(parts)}."

    def _told(self, name: str, kind: str, units: Sequence[str]) -> str:
        several = self.fails[name].size > 1
        many, at = (f"{len(units)} ", f"{units[0]}: ") if several else ("", "")
        variable = (self.shift if kind.startswith("shifted") else self.spread)[name]
        worst = float(variable.values.flat[list(_labels(variable, name)).index(units[0])])
        if kind == "narrow":  # ranks among L draws saturate
            return (
                f"{many}too narrow, ranks form a U ({at}the truth spreads at least {worst:.2f} times as far as draws)"
            )
        if kind == "wide":
            return f"{many}too wide, ranks form a hump ({at}the truth spreads {worst:.2f} times as far as draws)"
        if kind.startswith("shifted"):
            return f"{many}{kind}, ranks slope ({at}by {abs(worst):.2f} sd of the draws)"
        if kind == "other":
            return f"{many}of another shape"
        compared = "below" if kind == "worse" else "above"
        return f"the draws' {name} lies {compared} that of the truth"


def _label(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def _labels(variable: Any, name: str) -> Iterator[str]:
    return (_label(name, index) for index in np.ndindex(variable.shape))


def _kinds(shift: float, spread: float, size: int, density: bool) -> Iterator[tuple[str, float]]:
    """What is wrong with a unit that fails, and by how many standard errors."""
    moved, spread_out = shift * size**0.5 / spread, np.log(spread) * (2 * size) ** 0.5
    if density:
        kind = "other" if abs(moved) < CLEAR else "worse" if moved > 0 else "better"
        yield kind, abs(moved)
        return
    if abs(spread_out) > CLEAR:
        yield ("narrow" if spread_out > 0 else "wide"), abs(spread_out)
    if abs(moved) > CLEAR:
        yield ("shifted down" if moved > 0 else "shifted up"), abs(moved)
    if max(abs(spread_out), abs(moved)) <= CLEAR:
        yield "other", 0.0


def summarise(
    ranks: Mapping[str, np.ndarray],
    dims: Mapping[str, Sequence[str]],
    num_samples: int,
    generator: np.random.Generator,
    **known: Any,
) -> Calibration:
    """The result from ranks of each variable.

    Args:
        ranks: By variable, (simulations, inner plates, event).
        dims: By variable, names of the dimensions after the first.
        num_samples: Draws of each simulation.
        generator: Source of the fractions of ranks.
        known: What else a `Calibration` holds.
    """
    import xarray as xr

    pit = {
        name: ((rank + generator.random(rank.shape)) / (num_samples + 1)).clip(1e-12, 1 - 1e-12)
        for name, rank in ranks.items()
    }
    flat = np.concatenate([value.reshape(len(value), -1) for value in pit.values()], 1)
    pvalue, shift, spread = rank_statistics(flat)
    columns = {"pvalue": pvalue, "fails": holm(pvalue, known["level"]), "shift": shift, "spread": spread}
    sections = np.cumsum([value[0].size for value in pit.values()])[:-1]
    units: dict[str, Any] = {
        kind: xr.Dataset(
            {
                name: (list(dims[name]), part.reshape(pit[name].shape[1:]))
                for name, part in zip(pit, np.split(column, sections), strict=True)
            }
        )
        for kind, column in columns.items()
    }
    each, every = (
        xr.Dataset({name: (["simulation", *dims[name]], value) for name, value in values.items()})
        for values in (ranks, pit)
    )
    return Calibration(num_simulations=len(flat), num_samples=num_samples, ranks=each, pit=every, **units, **known)
