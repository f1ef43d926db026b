"""Antithetic pairs of draws for Bernoulli sites: the DisARM gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor

from ppgen.inference.estimator import Estimator
from ppgen.inference.layout import DISCRETE, Layout, base_law
from ppgen.inference.score_function import LeaveOneOut

_PAIR = 2  # members of a pair


@dataclass(frozen=True)
class DisARM(Estimator):
    r"""Gradient of the ELBO at Bernoulli sites from antithetic pairs of draws.

    .. math:: \hat g_i = \tfrac12 (f(b) - f(\tilde b)) (-1)^{\tilde b_i} 1[b_i \ne \tilde b_i] \,
              \sigma(|\alpha_i|), \quad b_i = 1[u_i < \sigma(\alpha_i)], \quad \tilde b_i = 1[1 - u_i < \sigma(\alpha_i)]

    for the logits alpha, with f the log-weight of a draw. Unbiased. With several such sites in the guide it works site by
    site: a pair of site l shares all that the guide draws before it, is antithetic at it and independent after it. So
    for L sites each of the objective's `num_particles` stands for 2 L runs of guide and model in training, all of them
    legal draws, over which the value and the gradients at other sites are averaged; L = 1 and one particle cost what
    two particles of another estimator do. Sites without an estimator of their own get one that does not compare
    particles, for those of a pair are not independent.

    References:
        | DisARM: An Antithetic Gradient Estimator for Binary Latent Variables (Dong, Mnih and Tucker, 2020),
          https://arxiv.org/abs/2006.10680

    Raises:
        ValueError: Before training, at a site whose law is not of independent Bernoulli variables, beside
            `LeaveOneOut`, and with particles that are run one by one.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> sbn = models.SigmoidBeliefNet(sizes=(6, 4, 3))
        >>> bound = inference.Inference(inference.ELBO(), inference.DisARM()).bind(sbn, torch.ones(5, 6), num_data=5)
        >>> bound.step(torch.ones(5, 6)).value.shape
        torch.Size([])
    """

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE})
    needs: ClassVar[str] = "independent Bernoulli variables in the guide"
    objectives: ClassVar[tuple[str, ...]] = ("ELBO",)
    scores: ClassVar[bool] = True

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless the law is of independent Bernoulli variables."""
        law = base_law(fn)
        if not isinstance(law, torch.distributions.Bernoulli):
            raise ValueError(
                f"DisARM at site {site!r} needs independent Bernoulli variables in the guide, got "
                f"{type(law).__name__}. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )


@dataclass(frozen=True)
class Pairing:
    """How runs of guide and model are coupled: rows are (sites under DisARM, members of a pair, particles).

    Attributes:
        sites: Sites under DisARM, in the order in which the guide draws them.
        order: All sites of the guide, in that order.
    """

    sites: tuple[str, ...]
    order: tuple[str, ...]

    @classmethod
    def of(cls, plan: Mapping[str, Estimator | None]) -> "Pairing | None":
        """The coupling that a plan asks for; None if there is no site under DisARM."""
        sites = tuple(name for name, estimator in plan.items() if isinstance(estimator, DisARM))
        return cls(sites, tuple(plan)) if sites else None

    def runs(self, num_particles: int) -> int:
        """Runs of guide and model that stand for some particles."""
        return len(self.sites) * _PAIR * num_particles

    def draw(self, name: str, fn: Any) -> Tensor:
        """Value at a site of the guide, whose first dimension is that of the runs."""
        if name not in self.sites:
            return self._joined(self._split(fn()), name, antithetic=False)
        probs = base_law(fn).probs
        uniforms = torch.rand(fn.shape(), dtype=probs.dtype, device=probs.device)
        return (self._joined(self._split(uniforms), name, antithetic=True) < probs).to(probs.dtype)

    def shared(self, name: str, value: Tensor) -> Tensor:
        """A value that was drawn independently, as pairs of later sites share it."""
        return self._joined(self._split(value), name, antithetic=False)

    def _split(self, value: Tensor) -> Tensor:
        return value.unflatten(0, (len(self.sites), _PAIR, -1))

    def _joined(self, value: Tensor, name: str, antithetic: bool) -> Tensor:
        """Second members, in pairs of sites after this one, replaced by the first, and antithetic in those of this."""
        at = self.order.index(name)
        before = sum(self.order.index(site) < at for site in self.sites)
        first, second = value.unbind(1)
        after = before
        parts = [second[:before]]
        if antithetic:
            parts.append(1 - first[before : before + 1])
            after = before + 1
        return torch.stack([first, torch.cat([*parts, first[after:]])], 1).flatten(0, 2)

    def term(self, name: str, site: Any, log_weights: Tensor, layout: Layout) -> Tensor:
        """Scalar whose gradient is that of the objective per datum at a site; its value means nothing.

        Args:
            name: A site under DisARM.
            site: The site in the trace of the guide.
            log_weights: Log-weights that a draw there changes: (runs, rows), or (runs, 1) outside the data plate.
            layout: Structure of the pair.
        """
        fn, ndim = site["fn"], -layout.particle_dim
        shape = [1] * ndim
        shape[0] = len(log_weights)
        shape[layout.data_dim] = log_weights.shape[1]
        signal = log_weights.detach().reshape(shape + [1] * fn.event_dim)
        at = self.sites.index(name)
        (f, other_f), (bits, other_bits) = self._split(signal)[at], self._split(site["value"].detach())[at]
        logits = self._split(base_law(fn).logits)[at, 0]
        coefficient = 0.5 * (f - other_f) * (bits - other_bits) * logits.detach().abs().sigmoid()
        for mask, event_dim in _masks(site):
            kept = torch.as_tensor(mask, device=logits.device).bool()
            kept = kept.reshape(kept.shape + (1,) * event_dim).expand(site["value"].shape)
            coefficient = coefficient * self._split(kept)[at, 0]
        return (logits * coefficient).sum() / f.numel()


def _masks(site: Any) -> list[tuple[Any, int]]:
    """Masks at a site, each with the number of event dimensions to its right."""
    found, fn = [], site["fn"]
    if site["mask"] is not None:
        found.append((site["mask"], fn.event_dim))
    while isinstance(fn, (Independent, MaskedDistribution)):
        if isinstance(fn, MaskedDistribution):
            found.append((fn._mask, fn.event_dim))
        fn = fn.base_dist
    return found


def check_pairing(plan: Mapping[str, Estimator | None], vectorize_particles: bool) -> None:
    """Raise where runs cannot be coupled, or something else compares them.

    Raises:
        ValueError: Names the site and says what to use instead.
    """
    sites = [name for name, estimator in plan.items() if isinstance(estimator, DisARM)]
    if sites and not vectorize_particles:
        raise ValueError(
            f"DisARM at site {sites[0]!r} draws particles in pairs, all at once, and vectorize_particles is False. Set it "
            "to True, or use inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
        )
    compared = [name for name, estimator in plan.items() if isinstance(estimator, LeaveOneOut)]
    if sites and compared:
        raise ValueError(
            f"LeaveOneOut at site {compared[0]!r} compares particles, which are not independent under DisARM at site "
            f"{sites[0]!r}. Use inference.ScoreFunction() or inference.DisARM() there."
        )


def paired(estimators: Sequence[Any]) -> bool:
    """Whether an estimator among these draws particles in pairs."""
    return any(isinstance(estimator, DisARM) for estimator in estimators)
