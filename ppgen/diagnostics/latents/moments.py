"""What the draws of a guide tell of each latent unit: how its mean moves with the data, and its divergence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, kl_divergence

from ppgen.checks.shapes import broadcast_shapes
from ppgen.diagnostics.converters.dimensions import arrange, name_dimensions, plates
from ppgen.distributions import LayerConditional
from ppgen.inference.particles.factors import drawn_log_prob
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.plates import PARTICLES
from ppgen.inference.structure.traces import data_frame, element_law, sites, undirected_law, unmasked


@dataclass
class SiteMoments:
    """Sums over the data of one latent site, block by block of rows.

    Attributes:
        dims: Names of the dimensions of its units.
        num_rows: Rows so far.
        mean: Mean over the rows of E_q[z | x]: (units..., components).
        squares: Sum over the rows of squared deviations from it, of the same shape.
        noise: Sum over the rows of the Monte Carlo variance of E_q[z | x], of the same shape.
        kl: Sum over the rows of the divergence of each unit, nats: (units...); None where units do not factorise.
        kl_noise: Sum of its Monte Carlo variances.
        site_kl: Sum over the rows of the divergence of the site, nats.
        site_kl_noise: Sum of its Monte Carlo variances.
        exact: Whether every divergence so far was in closed form, given what the guide drew before.
        binary: Whether the units are bits.
    """

    dims: list[str]
    num_rows: int = 0
    mean: Any = 0.0
    squares: Any = 0.0
    noise: Any = 0.0
    kl: Any = None
    kl_noise: Any = None
    site_kl: float = 0.0
    site_kl_noise: float = 0.0
    exact: bool = True
    binary: bool = False

    def add_means(self, means: Tensor) -> None:
        """Means of a block given each draw of what the guide drew before: (draws, rows, units..., components)."""
        means = means.double()
        of_rows, rows = means.mean(0), means.shape[1]
        self.noise = self.noise + _noise(means).sum(0)
        block = of_rows.mean(0)
        shift, total = block - self.mean, self.num_rows + rows
        spread = (of_rows - block).square().sum(0)
        self.squares = self.squares + spread + shift.square() * (self.num_rows * rows / total)
        self.mean = self.mean + shift * (rows / total)
        self.num_rows = total

    def add_divergences(self, units: Tensor | None, site: Tensor) -> None:
        """Divergences of a block: (draws, rows, units...), or None, and (draws, rows)."""
        self.site_kl += float(site.double().mean(0).sum())
        self.site_kl_noise += float(_noise(site.double()).sum())
        if units is not None:
            units = units.double()
            self.kl = units.mean(0).sum(0) + (0.0 if self.kl is None else self.kl)
            self.kl_noise = _noise(units).sum(0) + (0.0 if self.kl_noise is None else self.kl_noise)

    @property
    def activity(self) -> Tensor:
        """Variance over the data of E_q[z | x], the part that is Monte Carlo noise taken off: (units...)."""
        return (self.squares / (self.num_rows - 1) - self.noise / self.num_rows).sum(-1).clamp(min=0)


@dataclass
class Moments:
    """Moments of all latent sites of a pair.

    Args:
        layout: Structure of the pair.
        known: Whether log Z of each undirected site is known.
        dims: The user's names of dimensions, by site.
    """

    layout: Layout
    known: Mapping[str, bool]
    dims: Mapping[str, Sequence[str]] | None
    sites: dict[str, SiteMoments] = field(default_factory=dict)
    divergence: float = 0.0
    divergence_noise: float = 0.0

    def add(self, weights: LogWeights) -> None:
        """Take in a block of rows, run with one trace of many draws or with many traces of one."""
        every: Any = 0.0
        for name in self.layout.latent:
            pairs = [
                (sites(guide)[name], sites(model)[name])
                for guide, model in zip(weights.guide_traces, weights.model_traces, strict=True)
            ]
            count = len(weights.local) // len(pairs)
            kept = self.sites.setdefault(name, self._new(pairs[0][0], count))
            found = [self._divergence(name, drawn, stated, count) for drawn, stated in pairs]
            kept.exact &= found[0][2]
            kept.add_means(torch.cat([self._means(drawn, count) for drawn, _ in pairs]))
            units = None if found[0][0] is None else torch.cat([each for each, _, _ in found if each is not None])
            of_site = torch.cat([each for _, each, _ in found])
            kept.add_divergences(units, of_site)
            every = every + of_site.double()
        self.divergence += float(every.mean(0).sum())
        self.divergence_noise += float(_noise(every).sum())

    def _new(self, drawn: Any, count: int) -> SiteMoments:
        frames = plates(drawn, [PARTICLES])
        _, names = arrange(drawn["value"], drawn["fn"].event_dim, frames, count, self.layout.particle_dim)
        dims = name_dimensions(drawn["name"], names, self.dims, drawn["infer"])
        at = names.index(self.layout.plate)
        dims = dims[:at] + dims[at + 1 :]
        law = single_law(drawn["fn"])
        return SiteMoments(dims[: len(dims) - grouped(law)], binary=_bits(law.support))

    def _rows_first(self, value: Tensor, site: Any, event_dim: int, count: int) -> Tensor:
        """(draws, rows, units...) of a tensor with the plates of a site and event dimensions."""
        value, names = arrange(value, event_dim, plates(site, [PARTICLES]), count, self.layout.particle_dim)
        return value.movedim(1 + names.index(self.layout.plate), 1)

    def _means(self, drawn: Any, count: int) -> Tensor:
        """E[z] of the law at a site, or the draw where it has none: (draws, rows, units..., components)."""
        law, event_dim = single_law(drawn["fn"]), drawn["fn"].event_dim
        if isinstance(law, torch.distributions.Categorical):
            return self._rows_first(law.probs, drawn, event_dim + 1, count)
        try:
            mean = law.mean
        except (NotImplementedError, AttributeError):
            mean = None
        if mean is None or not mean.isfinite().all():
            mean = drawn["value"]
        mean = self._rows_first(mean, drawn, event_dim, count)
        return mean if grouped(law) else mean.unsqueeze(-1)

    def _divergence(self, name: str, drawn: Any, stated: Any, count: int) -> tuple[Tensor | None, Tensor, bool]:
        """KL of the units, or None, (draws, rows, units...); of the site, (draws, rows); whether in closed form."""
        guide, model, layout = single_law(drawn["fn"]), single_law(stated["fn"]), self.layout
        whole = undirected_law(stated["fn"]) is not None
        closed = not whole and not self._joined_later(name)
        alike = guide.event_dim == model.event_dim and (guide.event_dim == 0 or (grouped(guide) and grouped(model)))
        if alike and not whole:
            units = _closed_form(guide, model) if closed else None
            exact = units is not None
            if units is None:
                units = guide.log_prob(drawn["value"]) - model.log_prob(drawn["value"])
            units = self._rows_first(units, drawn, drawn["fn"].event_dim - guide.event_dim, count)
            return units, units.reshape(*units.shape[:2], -1).sum(-1), exact
        of_site = _closed_form(unmasked(drawn["fn"]), unmasked(stated["fn"])) if closed else None
        exact = of_site is not None
        if of_site is None:
            frame = data_frame(drawn, layout.plate)
            log_q = drawn_log_prob(drawn, layout)
            log_p = drawn_log_prob(stated, layout)
            of_site = (log_q - log_p).expand(count, int(frame.size))  # type: ignore[union-attr]
        else:
            of_site = self._rows_first(of_site, drawn, 0, count)
            of_site = of_site.reshape(*of_site.shape[:2], -1).sum(-1)
        return None, of_site if self.known.get(name, True) else torch.full_like(of_site, torch.nan), exact

    def _joined_later(self, name: str) -> bool:
        """Whether the site's law in the model depends on what the guide draws after it."""
        before = list(self.layout.model_laws)[: list(self.layout.model_laws).index(name)]
        after = list(self.layout.latent)[list(self.layout.latent).index(name) + 1 :]
        return any(other in after for other in before)


def single_law(fn: Any) -> Any:
    """The law of a single variable at a site, also where the site is the layer of a machine given its neighbours."""
    law = element_law(fn)
    return single_law(law.law) if isinstance(law, LayerConditional) else law


def grouped(law: Any) -> int:
    """1 where the components of an event are one variable: a one-hot vector, or a point of a simplex."""
    return int(law.event_dim == 1 and law.support in (constraints.one_hot, constraints.simplex))


def _bits(support: Any) -> bool:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.boolean


def _closed_form(guide: Any, model: Any) -> Tensor | None:
    shape = broadcast_shapes(guide.batch_shape, model.batch_shape)
    try:
        # Of one shape, as not every formula broadcasts.
        found: Tensor = kl_divergence(guide.expand(shape), model.expand(shape))
    except NotImplementedError:
        return None
    return found


def _noise(values: Tensor) -> Tensor:
    """Variance of the mean over the first dimension."""
    return values.var(0) / len(values)
