"""Antithetic pairs of draws for Bernoulli sites: the DisARM gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor

from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.score_function import LeaveOneOut
from ppgen.inference.structure.layout import DISCRETE, Layout
from ppgen.inference.structure.traces import base_law


@dataclass(frozen=True)
class DisARM(Estimator):
    r"""Gradient of the ELBO at Bernoulli sites from antithetic pairs of draws.

    .. math:: \hat g_i = \tfrac12 (f(b) - f(\tilde b)) (-1)^{\tilde b_i} 1[b_i \ne \tilde b_i] \, \sigma(|\alpha_i|),
              \qquad b_i = 1[u_i < \sigma(\alpha_i)], \quad \tilde b_i = 1[1 - u_i < \sigma(\alpha_i)]

    for the logits alpha, with f the log-weight of a draw. Unbiased.

    With several such sites in the guide it works site by site: a pair of one site shares all that the guide draws
    before it, is antithetic at it and independent after it. So for L sites each of the objective's `num_particles` is
    2 L runs of guide and model in training, all of them legal draws, over which the value and the gradients at other
    sites are averaged. One site and one particle cost what two particles of another estimator do. Discrete sites left
    to `"auto"` beside it get a score function with a moving average, because members of a pair are not independent.

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
    paired: ClassVar[bool] = True

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless the law is of independent Bernoulli variables."""
        law = base_law(fn)
        if not isinstance(law, torch.distributions.Bernoulli):
            raise ValueError(
                f"DisARM at site {site!r} needs independent Bernoulli variables in the guide, got "
                f"{type(law).__name__}. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )

    def term(self, site: Any, log_weights: Tensor, layout: Layout, pairing: Pairing) -> Tensor:
        """Scalar whose gradient is that of the objective per datum at a site; its value means nothing.

        Args:
            site: The site in the trace of the guide.
            log_weights: Log-weights that a draw there changes: (runs, rows), or (runs, 1) outside the data plate.
            layout: Structure of the pair.
            pairing: How the runs were drawn.
        """
        fn, shape = site["fn"], [1] * -layout.particle_dim
        shape[0], shape[layout.data_dim] = log_weights.shape
        signal = log_weights.detach().reshape(shape + [1] * fn.event_dim)
        at = pairing.sites.index(site["name"])
        (first, second), (bits, others) = pairing.split(signal)[at], pairing.split(site["value"].detach())[at]
        logits = pairing.split(base_law(fn).logits)[at, 0]  # the same for both members, who share what it depends on
        coefficient = 0.5 * (first - second) * (bits - others) * logits.detach().abs().sigmoid()
        for mask, event_dim in _masks(site):
            kept = torch.as_tensor(mask, device=logits.device).bool()
            kept = kept.reshape(kept.shape + (1,) * event_dim).expand(site["value"].shape)
            coefficient = coefficient * pairing.split(kept)[at, 0]
        return (logits * coefficient).sum() / first.numel()


def _masks(site: Any) -> list[tuple[Any, int]]:
    """Masks at a site, each with the number of event dimensions to its right."""
    fn = site["fn"]
    found = [] if site["mask"] is None else [(site["mask"], fn.event_dim)]
    while isinstance(fn, (Independent, MaskedDistribution)):
        if isinstance(fn, MaskedDistribution):
            found.append((fn._mask, fn.event_dim))
        fn = fn.base_dist
    return found


def check_pairs(plan: Mapping[str, Estimator | None], vectorize_particles: bool) -> None:
    """Raise where runs cannot be drawn in pairs, or another estimator compares them.

    Raises:
        ValueError: Names the site and says what to use instead.
    """
    pairing = Pairing.of(plan)
    if pairing is None:
        return
    site = pairing.sites[0]
    name = type(plan[site]).__name__
    if not vectorize_particles:
        raise ValueError(
            f"{name} at site {site!r} draws particles in pairs, all at once, and vectorize_particles is False. Set it "
            "to True, or use inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
        )
    compared = [other for other, estimator in plan.items() if isinstance(estimator, LeaveOneOut)]
    if compared:
        raise ValueError(
            f"LeaveOneOut at site {compared[0]!r} compares particles, which are not independent under {name} at site "
            f"{site!r}. Use inference.ScoreFunction() or inference.DisARM() there."
        )
