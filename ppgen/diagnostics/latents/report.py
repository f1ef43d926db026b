"""What the numbers of latent units mean, in sentences."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ppgen.diagnostics.guides.importance_weights import percent
from ppgen.evaluation.estimate import with_error
from ppgen.inference.structure.layout import EXACT_POSTERIOR, MEAN_FIELD

COSTLY = 0.01  # nats; a divergence of an inactive unit above it is paid for nothing
PINNED = 0.01  # a bit this close to 0 or 1 on average is never, or always, on


@dataclass(frozen=True)
class LatentUnits:
    """Activity and divergence of latent units, and the aggregated posterior against the prior.

    Attributes:
        dataset: `xarray.Dataset`. For each site, over its units: `<site>_activity`, `<site>_active`, `<site>_mean`, the
            mean over data and draws, and where units factorise `<site>_kl` and its standard error `<site>_kl_se`, nats
            per datum. Over `site`: `kl_of_site`, `kl_of_site_se`, `num_units`, `num_active`, `kind`, what the guide is
            there, and `closed_form`, whether no draw of the site itself enters its divergence. Of all sites together,
            in nats per datum, with `_se`: `divergence`, `mutual_information` and `marginal_divergence`, of which the
            first is the sum.
        binary_sites: Sites whose units are bits.
    """

    dataset: Any = field(repr=False)
    binary_sites: tuple[str, ...] = ()

    def of(self, site: str) -> Any:
        """The variables of one site as an `xarray.Dataset`: `activity`, `active`, `mean`, `kl`, `kl_se`.

        Raises:
            ValueError: If there is no such site.
        """
        if site not in self.sites:
            raise ValueError(f"site must be one of the latent sites {list(self.sites)}, got {site!r}.")
        names = ("activity", "active", "mean", "kl", "kl_se")
        return self.dataset[[f"{site}_{name}" for name in names if f"{site}_{name}" in self.dataset]].rename(
            {f"{site}_{name}": name for name in names if f"{site}_{name}" in self.dataset}
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the latent sites, in the order in which the guide draws them."""
        return tuple(map(str, self.dataset.site.values))

    @property
    def num_units(self) -> int:
        """Number of latent units, of all sites together."""
        return int(self.dataset.num_units.sum())

    @property
    def num_inactive(self) -> int:
        """Number of latent units that are the same for all data."""
        return self.num_units - int(self.dataset.num_active.sum())

    @property
    def share_inactive(self) -> float:
        """Fraction of the latent units that are the same for all data."""
        return self.num_inactive / self.num_units

    @property
    def collapsed_sites(self) -> tuple[str, ...]:
        """Sites without a single active unit."""
        return tuple(name for name in self.sites if not int(self.dataset.num_active.sel(site=name)))

    @property
    def warning(self) -> str | None:
        """What is wrong with the latent units, in words; None where nothing is."""
        gone = ", ".join(self.collapsed_sites)
        if gone and self._untrained:
            return f"no unit of {gone} depends on the data, so that the model takes all features for independent"
        if len(self.collapsed_sites) == len(self.sites):
            return f"posterior collapse: no unit of {gone} depends on the data, so that the latents tell nothing"
        return f"posterior collapse of the layer {gone}: none of its units depends on the data" if gone else None

    @property
    def advice(self) -> str:
        """What to do about the latent units, in words."""
        if self.collapsed_sites and self._untrained:
            return "The guide has nothing to train, so it is the model's weights that are too small: train longer."
        if self.collapsed_sites:
            return (
                "Let the divergence in slowly (inference.ELBO(kl_weight=...)) or leave each layer some of it free "
                "(free_bits=...), train longer, or give the decoder less of its own to explain the data with."
            )
        wasted = sum(self._wasted(name) for name in self.sites)
        if wasted:
            return (
                f"{_units(wasted)} cost more than {COSTLY} nats each without telling data apart: the guide has not "
                "reached the prior there, or the prior not the guide; train longer."
            )
        if self.num_inactive:
            return "Inactive units do no harm beside their cost in time; a smaller latent layer would do."
        return "All units are in use; a larger latent layer may find use for more."

    def __repr__(self) -> str:
        told, num_rows = self.dataset, self.dataset.attrs["num_rows"]
        lines = [f"Latent units of {told.attrs['model']} on {num_rows} data, {told.attrs['num_samples']} draws each."]
        lines += [self._line(name) for name in self.sites]
        information = with_error(float(told.mutual_information), float(told.mutual_information_se))
        if math.isfinite(float(told.divergence)):
            total = with_error(float(told.divergence), float(told.divergence_se))
            marginal = with_error(float(told.marginal_divergence), float(told.marginal_divergence_se))
            lines.append(
                f"Mean KL(q(z|x) || p(z)): {total} nats, of which {information} are what z tells about the datum, "
                f"I(x; z), and {marginal} what sets the posterior of all data apart from the prior, KL(q(z) || p(z))."
            )
            if float(told.marginal_divergence) > float(told.mutual_information) + 2 * float(
                told.marginal_divergence_se
            ):
                lines.append(
                    "The second part is the larger: draws from the prior are not like codes of data, so that samples "
                    "of the model suffer; a more flexible prior would mend it."
                )
        else:
            lines.append(
                f"z tells {information} nats about the datum, I(x; z). log Z of the prior is not known, so there is no "
                "divergence from it; give log_partition=evaluation.log_partition(pair)."
            )
        if float(told.mutual_information) > math.log(num_rows) - 1:
            lines.append(
                f"I(x; z) of {num_rows} rows cannot be above log({num_rows}) = {math.log(num_rows):.2f} nats, and is "
                "near it: more rows would show more, and less KL(q(z) || p(z))."
            )
        warning = [] if self.warning is None else [f"Warning: {self.warning}."]
        return "\n".join([*lines, *warning, self.advice])

    @property
    def _untrained(self) -> bool:
        """Whether the guide follows from the model at every collapsed site."""
        kinds = self.dataset.kind.sel(site=list(self.collapsed_sites)).values
        return all(kind in (EXACT_POSTERIOR, MEAN_FIELD) for kind in kinds)

    def _line(self, name: str) -> str:
        of_site, units = self.dataset.sel(site=name), self.of(name)
        number, active = int(of_site.num_units), int(of_site.num_active)
        text = (
            f"{name}: {active} of {_units(number)} active (activity above {self.dataset.attrs['threshold']:g}), "
            f"{number - active} inactive ({percent((number - active) / number)})"
        )
        if name in self.binary_sites:
            mean = units["mean"].values
            text += f", {int((mean < PINNED).sum())} never on, {int((mean > 1 - PINNED).sum())} always on"
        kl = float(of_site.kl_of_site)
        if math.isfinite(kl):
            how = "in closed form" if bool(of_site.closed_form) else "by its draws"
            text += f"; KL {with_error(kl, float(of_site.kl_of_site_se))} nats per datum, {how}"
        if "kl" in units and 0 < active < number:
            text += f", {float(units.kl.values[units.active.values].sum()):.2f} of it in active units"
        return text + "."

    def _wasted(self, name: str) -> int:
        units = self.of(name)
        return int((np.asarray(units.kl)[~np.asarray(units.active)] > COSTLY).sum()) if "kl" in units else 0


def _units(number: int) -> str:
    return "1 unit" if number == 1 else f"{number} units"
