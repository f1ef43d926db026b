"""Free energies of training data, held-out data and chains: overfitting and mixing of undirected models."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ppgen import inference
from ppgen.batch import check_features
from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.evaluation.rows import CheckedRows
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.machine_sites import undirected_sites
from ppgen.inference.structure.support import check_support
from ppgen.pair import as_pair
from ppgen.training.sampling.model_samples import sample
from ppgen.undisturbed import evaluating

ROWS_AT_ONCE = 2_000
MAX_ROWS = 5_000  # of the training data, drawn at random: their mean has an error of a few hundredths of a nat
RHAT_LIMIT = 1.01
LEAST_GAP = 0.5  # nats
OVERFITTING = (
    "Stop earlier (ppgen.fit(early_stopping=...)), use fewer units, decay the weights "
    "(ppgen.fit(optimizer={'weight_decay': 1e-4})), or, of images, give the filters a prior "
    "(models.RBM(shape=(28, 28)))."
)
_Z = 4.0  # standard errors from which a difference of means is none of chance


def signed(value: float, error: float) -> str:
    """A value with its sign, and its error if there is one.

    Example:
        >>> signed(0.5, 0.1234), signed(-0.5, math.nan)
        ('+0.50 ± 0.12', '-0.50')
    """
    return f"{value:+.2f} ± {error:.2g}" if math.isfinite(error) else f"{value:+.2f}"


@dataclass(frozen=True)
class FreeEnergies:
    """Free energies by what they belong to, in nats up to log Z, which they share.

    Attributes:
        values: `xarray.DataArray`s by name: `train`, `valid` and `chains`, as far as they were given.
        means: Their means.
        errors: Standard errors of the means.
        rhat: Split R-hat of the chains, or None.
    """

    values: dict[str, Any] = field(repr=False)
    means: dict[str, float]
    errors: dict[str, float]
    rhat: float | None

    @property
    def gap(self) -> tuple[float, float]:
        """Held-out minus training data, and its standard error; NaN if one of them is missing."""
        return self._difference("valid", "train")

    @property
    def chain_gap(self) -> tuple[float, float]:
        """Chains minus training data, and its standard error; NaN if one of them is missing."""
        return self._difference("chains", "train")

    @property
    def told(self) -> tuple[tuple[str, str, str], ...]:
        """What is wrong: what it is of (`"overfitting"`, `"mixing"`, `"fit"`), what it means, and what to try."""
        found = []
        gap, error = self.gap
        if gap > _Z * error and gap > LEAST_GAP:
            found.append(
                (
                    "overfitting",
                    f"held-out data lie {gap:.2f} ± {error:.2f} nats above the training data: the model has begun to "
                    "learn rows by heart",
                    OVERFITTING,
                )
            )
        if self.rhat is not None and not self.rhat <= RHAT_LIMIT:
            found.append(
                (
                    "mixing",
                    f"R-hat of the chains' free energies and units is {self.rhat:.3f} (limit {RHAT_LIMIT}): they do "
                    "not mix, and so neither samples nor the negative phase follow the model",
                    "More sweeps, or inference.TemperedPCD.",
                )
            )
        gap, error = self.chain_gap
        # Data whose free energies are high are held against the draws, whose spread they would widen without limit.
        whose = "train" if gap > 0 else "chains"
        spread = self._spread(whose) if whose in self.values and self.values[whose].size > 1 else math.nan
        if abs(gap) > _Z * error and abs(gap) > 2 * spread:
            where, theirs = ("above", "their") if gap > 0 else ("below", "the chains'")
            found.append(
                (
                    "fit",
                    f"the chains lie {abs(gap):.1f} ± {error:.1f} nats {where} the data, more than two of {theirs} "
                    "standard deviations: what the model draws is not what it was trained on",
                    "Train longer, or let the chains mix (inference.TemperedPCD).",
                )
            )
        return tuple(found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong, each in a line: what it means and what to try."""
        return tuple(f"{meaning}. {advice}" for _, meaning, advice in self.told)

    def __repr__(self) -> str:
        lines = ["Free energies in nats (log Z is common to all)"]
        lines += [
            f"  {name}: mean {signed(self.means[name], self.errors[name])}, sd {self._spread(name):.2f}, "
            f"{self.values[name].size} values"
            for name in self.values
        ]
        for label, (gap, error) in (("valid - train", self.gap), ("chains - train", self.chain_gap)):
            if not math.isnan(gap):
                lines.append(f"  {label}: {signed(gap, error)}")
        if self.rhat is not None:
            lines.append(f"  R-hat of the chains: {self.rhat:.3f}")
        lines += [f"warning: {each}" for each in self.warnings] or ["no sign of overfitting or of chains that stick"]
        return "\n".join(lines)

    def _spread(self, name: str) -> float:
        return float(self.values[name].std())

    def _difference(self, first: str, second: str) -> tuple[float, float]:
        if first not in self.means or second not in self.means:
            return math.nan, math.nan
        return self.means[first] - self.means[second], math.hypot(self.errors[first], self.errors[second])


def free_energies(
    pair: Any,
    train: Any,
    valid: Any = None,
    *,
    num_samples: int = 1000,
    max_rows: int | None = MAX_ROWS,
    seed: int = 0,
    **options: Any,
) -> FreeEnergies:
    r"""Compare the free energies of training data, held-out data and the model's own chains.

    .. math:: F(x) = -\log \sum_h e^{-E(x, h)}, \qquad \log p(x) = -F(x) - \log Z

    log Z cancels in differences. Held-out data whose free energies rise above those of the training data tell of
    overfitting; chains that lie far from the data, or whose R-hat is above 1.01, of chains that do not mix. For a deep
    machine F is the variational bound from above, -E_q[log p*(x, h) - log q(h | x)] with the guide q, for all three
    alike.

    Args:
        pair: A pair or a run with a Boltzmann machine.
        train: Training data.
        valid: Data that were not trained on.
        num_samples: Draws of the model; 0 for none.
        max_rows: Rows that are looked at, of more a random part; None for all.
        seed: Seed of all draws.
        **options: Other arguments of `ppgen.sample`, such as `num_chains`, `sweeps`, `warmup_steps`.

    Raises:
        ValueError: If the model is directed, each row has a log Z of its own, or data lie outside the support.
        TypeError: If `pair` is none.

    References:
        | A Practical Guide to Training Restricted Boltzmann Machines (Hinton, 2012)

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> found = diagnostics.free_energies(rbm, torch.eye(4), num_samples=500, num_chains=10, sweeps=5)
        >>> sorted(found.values), found.warnings
        (['chains', 'train'], ())
    """
    seed = check_seed(seed)
    given, pair = pair, as_pair(pair)
    check_count("num_samples", num_samples, 0)
    check_count("max_rows", max_rows, optional=True)
    data = {"train": train} if valid is None else {"train": train, "valid": valid}
    found = {name: _free_energies(pair, rows, max_rows, seed) for name, rows in data.items()}
    rhat = None
    if num_samples:
        drawn = sample(given, num_samples, seed=seed, **options)
        found["chains"], rhat = _free_energies(pair, drawn.samples, None, seed), drawn.rhat
    errors = {
        name: values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        for name, values in found.items()
    }
    if rhat is not None and num_samples:
        errors["chains"] *= math.sqrt(len(found["chains"]) / _effective(found["chains"], drawn.num_chains or 1))
    return FreeEnergies(
        {name: _array(name, values) for name, values in found.items()},
        {name: float(values.mean()) for name, values in found.items()},
        {name: float(value) for name, value in errors.items()},
        rhat,
    )


@torch.no_grad()
def _free_energies(pair: Any, x: Any, max_rows: int | None, seed: int) -> np.ndarray:
    rows = CheckedRows(x, pair)
    check_features(rows(0, 1), pair)
    with evaluating(pair, seed):
        pair.prepare(rows(0, min(len(rows), ROWS_AT_ONCE)))
        rows = CheckedRows(x, pair)
        first = rows(0, min(len(rows), ROWS_AT_ONCE))
        energies = undirected_sites(pair, first)
        if not energies:
            raise ValueError(
                "pair has no Boltzmann machine, so it has no free energies; log p(x) of directed models is compared by "
                "evaluation.log_likelihood."
            )
        if any(energy.batch_shape for energy in energies.values()):
            raise ValueError(
                "Each row of this model has a log Z of its own, so free energies of different rows cannot be compared; "
                "use evaluation.log_likelihood."
            )
        layout = find_layout(pair, first)
        picked = np.arange(len(rows))
        if max_rows is not None and len(rows) > max_rows:
            picked = np.sort(np.random.default_rng(seed).choice(len(rows), max_rows, replace=False))
        found = []
        with inference.attach(log_partition=dict.fromkeys(energies, 0.0)):
            for start in range(0, len(picked), ROWS_AT_ONCE):
                batch = rows.at(picked[start : start + ROWS_AT_ONCE])
                check_support(pair, batch)
                found.append(-inference.log_weights(pair, batch, layout=layout).local[0].double().cpu())
    return torch.cat(found).numpy()


def _effective(values: np.ndarray, num_chains: int) -> float:
    """Effective number of draws that alternate between chains."""
    from arviz_stats.base import array_stats

    draws = values[: len(values) // num_chains * num_chains].reshape(-1, num_chains).T
    if draws.shape[1] < 4 or np.ptp(draws) == 0:
        return float(num_chains)
    return float(min(max(array_stats.ess(np.ascontiguousarray(draws), method="mean"), 1.0), len(values)))


def _array(name: str, values: np.ndarray) -> Any:
    import xarray as xr

    dim = "draw" if name == "chains" else "data"
    return xr.DataArray(values, dims=[dim], name=f"free_energy_{name}", attrs={"units": "nats"})
