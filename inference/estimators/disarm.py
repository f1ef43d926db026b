"""Antithetic pairs of draws for Bernoulli sites: the DisARM gradient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor

from ppgen.inference.baselines.moving_average import State
from ppgen.inference.estimators.antithetic_pairs import Pairing
from ppgen.inference.estimators.estimator import Estimator, ScoreInputs
from ppgen.inference.particles.signal_plates import at_plates, num_rows
from ppgen.inference.structure.layout import DISCRETE, Layout
from ppgen.inference.structure.traces import base_law


@dataclass(frozen=True)
class DisARM(Estimator):
    r"""Gradient of the ELBO at Bernoulli sites from antithetic pairs of draws.

    .. math:: \hat g_i = \tfrac12 (f(b) - f(\tilde b)) (-1)^{\tilde b_i} 1[b_i \ne \tilde b_i] \, \sigma(|\alpha_i|),
              \qquad b_i = 1[u_i < \sigma(\alpha_i)], \quad \tilde b_i = 1[1 - u_i < \sigma(\alpha_i)]

    for the logits alpha, with f the log-weight of a draw, or the costs downstream of the site in it, as under
    `ScoreFunction`. Unbiased.

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
    scores: ClassVar[bool] = True
    paired: ClassVar[bool] = True

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether the objective is a mean of log-weights."""
        return objective.is_mean_log_weight()

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless the law is of independent Bernoulli variables."""
        law = base_law(fn)
        if not isinstance(law, torch.distributions.Bernoulli):
            raise ValueError(
                f"DisARM at site {site!r} needs independent Bernoulli variables in the guide, got "
                f"{type(law).__name__}. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )

    def check_plan(self, site: str, plan: Mapping[str, Estimator | None], layout: Layout, objective: Any) -> None:
        """Raise where runs cannot be drawn in pairs, or another estimator compares them."""
        if not objective.vectorize_particles:
            raise ValueError(
                f"DisARM at site {site!r} draws particles in pairs, all at once, and vectorize_particles is False. Set "
                "it to True, or use inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
            )
        for other, estimator in plan.items():
            if estimator is not None and estimator.compares:
                raise ValueError(
                    f"{type(estimator).__name__} at site {other!r} compares particles, which are not independent under "
                    f"DisARM at site {site!r}. Use inference.ScoreFunction() or inference.DisARM() there."
                )

    def term(self, site: str, inputs: ScoreInputs) -> tuple[Tensor, State | None]:
        """Scalar whose gradient is that of the objective per datum at a site; its value means nothing."""
        pairing: Any = Pairing.of(inputs.plan)
        log_weights, layout = inputs.columns, inputs.layout
        found: Any = inputs.weights.guide_traces[0].nodes[site]
        fn, ndim = found["fn"], -layout.particle_dim
        if inputs.frames is None:
            shape = [1] * ndim
            shape[0] = len(log_weights)
            if layout.data_dim is not None:
                shape[layout.data_dim] = log_weights.shape[1]
            signal, rows = log_weights.detach().reshape(shape), log_weights.shape[1]
        else:
            signal = at_plates(log_weights.detach(), inputs.frames, ndim)
            rows = num_rows(log_weights, inputs.frames, layout.plate)
        signal = signal.reshape(signal.shape + (1,) * fn.event_dim)
        at = pairing.sites.index(site)
        (first, second), (bits, others) = pairing.split(signal)[at], pairing.split(found["value"].detach())[at]
        logits = pairing.split(base_law(fn).logits)[at, 0]  # the same for both members, who share what it depends on
        coefficient = 0.5 * (first - second) * (bits - others) * logits.detach().abs().sigmoid()
        for mask, event_dim in _masks(found):
            kept = torch.as_tensor(mask, device=logits.device).bool()
            kept = kept.reshape(kept.shape + (1,) * event_dim).expand(found["value"].shape)
            coefficient = coefficient * pairing.split(kept)[at, 0]
        return (logits * coefficient).sum() / (len(first) * rows), None


def _masks(site: Any) -> list[tuple[Any, int]]:
    """Masks at a site, each with the number of event dimensions to its right."""
    fn = site["fn"]
    found = [] if site["mask"] is None else [(site["mask"], fn.event_dim)]
    while isinstance(fn, (Independent, MaskedDistribution)):
        if isinstance(fn, MaskedDistribution):
            found.append((fn._mask, fn.event_dim))
        fn = fn.base_dist
    return found
