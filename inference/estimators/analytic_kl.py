"""The ELBO with Kullback-Leibler divergences in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import Delta
from torch.distributions import kl_divergence

from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.particles.factors import summed_log_prob
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import REPARAMETERISED, Layout
from ppgen.inference.structure.traces import base_law


@dataclass(frozen=True)
class AnalyticKL(Estimator):
    r"""Pathwise gradient with the divergence of a site in closed form instead of its log-densities at the draw.

    .. math:: E_q[\log p(z) - \log q(z \mid x)] = -\mathrm{KL}(q(z \mid x) \,\|\, p(z))

    Sound where the law of the site in the model depends on nothing that the guide draws after the site; raises
    elsewhere, and where `torch.distributions.kl_divergence` does not know the pair of laws.

    References:
        | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.AnalyticKL()).estimator
        AnalyticKL()
    """

    kinds: ClassVar[frozenset[str]] = frozenset({REPARAMETERISED})
    needs: ClassVar[str] = "a distribution with rsample in the guide"

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether the objective is a mean of log-weights."""
        return objective.is_mean_log_weight()

    def check_plan(self, site: str, plan: Mapping[str, Estimator | None], layout: Layout, objective: Any) -> None:
        """Raise unless a divergence stands for the two log-densities at the site, and is known."""
        if layout.marginalised:
            raise ValueError(
                f"AnalyticKL at site {site!r}: site {layout.marginalised[0]!r} of the model is summed out, so the "
                "divergence does not stand alone. Use inference.Pathwise() there."
            )
        if site in layout.mismatched:
            raise ValueError(
                f"AnalyticKL at site {site!r}: model and guide scale or mask it differently, so no divergence stands "
                "for the two log-densities. Use inference.Pathwise() there."
            )
        _check_closed_form(site, layout.model_laws, layout.guide_laws)

    def log_weights(self, site: str, weights: LogWeights, layout: Layout) -> LogWeights:
        """Log-weights with the terms of the site replaced by minus their divergence."""
        return _with_divergence(weights, site, layout)


def _check_closed_form(site: str, model_laws: dict[str, Any], guide_laws: dict[str, Any]) -> None:
    """Raise unless the divergence at a site is known and may be taken by itself.

    Args:
        site: A site under `AnalyticKL`.
        model_laws: Distribution of each latent site in the model, in the order in which they are drawn there.
        guide_laws: Distribution of each latent site in the guide, in the order in which they are drawn there.

    Raises:
        ValueError: Names the site and says what to use instead.
    """
    if site not in model_laws:
        raise ValueError(
            f"AnalyticKL at site {site!r}: it is auxiliary, so there is no law of the model to diverge from. Use "
            f'inference.Pathwise() there: estimator={{"{site}": inference.Pathwise(), ...}}.'
        )
    law = base_law(guide_laws[site])
    if isinstance(law, Delta) and bool((torch.as_tensor(law.log_density) != 0).any()):
        raise ValueError(
            f"AnalyticKL at site {site!r}: the guide gives its point a log-density, which no closed form knows. "
            "Use inference.Pathwise() there."
        )
    before_in_model = list(model_laws)[: list(model_laws).index(site)]
    after_in_guide = list(guide_laws)[list(guide_laws).index(site) + 1 :]
    late = [name for name in before_in_model if name in after_in_guide]
    if late:
        raise ValueError(
            f"AnalyticKL at site {site!r}: the model draws {late[0]!r} before it and the guide after it, so the "
            "site's prior depends on what is drawn from it and the divergence does not stand alone. Use "
            f'inference.Pathwise() there: estimator={{"{site}": inference.Pathwise(), ...}}.'
        )
    try:
        kl_divergence(guide_laws[site], model_laws[site])
    except NotImplementedError:
        names = " and ".join(_law_name(laws[site]) for laws in (guide_laws, model_laws))
        raise ValueError(
            f"AnalyticKL at site {site!r}: no closed form is known between {names}. Use inference.Pathwise() there."
        ) from None


def _with_divergence(weights: LogWeights, name: str, layout: Layout) -> LogWeights:
    if name not in weights.guide_terms:  # not drawn at this call
        return weights
    found = []
    for model_trace, guide_trace in zip(weights.model_traces, weights.guide_traces, strict=True):
        if name not in guide_trace.nodes:
            found.append(torch.zeros_like(weights.guide_terms[name][:1]))
            continue
        site: Any = guide_trace.nodes[name]
        stated: Any = model_trace.nodes[name]
        # Under .mask(False) it is the number 0.
        divergence = torch.as_tensor(kl_divergence(site["fn"], stated["fn"])).to(weights.local)
        found.append(summed_log_prob(site, layout, divergence))
    exact = found[0] if len(found) == 1 else torch.cat(found)
    return weights.with_divergence(name, exact)


def _law_name(law: Any) -> str:
    return type(base_law(law)).__name__
