"""The ELBO in closed form where the likelihood is Normal around a linear image of a Normal site."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.distributions import MaskedDistribution
from pyro.distributions.util import sum_rightmost
from torch import Tensor
from torch.distributions import Normal

from ppgen.batch import split_batch
from ppgen.distributions import LinearNormal
from ppgen.inference.estimators.analytic_kl import AnalyticKL
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.particles.factors import Factor, summed_log_prob
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.structure.layout import Layout
from ppgen.inference.structure.traces import base_law, element_law
from ppgen.pair import keeping_buffers
from ppgen.undisturbed import device_of, forked

_INSTEAD = "Use inference.AnalyticKL() or inference.Pathwise() there."


@dataclass(frozen=True)
class AnalyticELBO(AnalyticKL):
    r"""The gradient of the ELBO itself, without variance: divergence and expected log-likelihood in closed form.

    .. math:: E_q[\log p(x \mid a)] - \mathrm{KL}(q \,\|\, p), \quad q = N(m, \mathrm{diag}(v)): \qquad
              E_q \|x - D a\|^2 = \|x - D m\|^2 + \sum_k v_k \|D_k\|^2

    Sound at a site with independent Normal variables in the guide, where every observed site of the model is a
    `ppgen.distributions.LinearNormal` in it, and the divergence is known, as those from Normal and from Laplace priors
    are. What training reports is the log-weight of draws, as under every estimator; its mean is the ELBO.

    References:
        | Learning Sparse Codes with Entropy-Based ELBOs (Velychko, Damm, Fischer and Luecke, 2023),
          https://arxiv.org/abs/2311.01888

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.AnalyticELBO()).estimator
        AnalyticELBO()
    """

    needs: ClassVar[str] = "independent Normal variables in the guide"

    def check_plan(self, site: str, plan: Mapping[str, Estimator | None], layout: Layout, objective: Any) -> None:
        """Raise unless divergence and expected log-likelihood stand for everything that depends on the site."""
        law = base_law(layout.guide_laws[site])
        if not isinstance(law, Normal):
            raise ValueError(
                f"AnalyticELBO at site {site!r} needs independent Normal variables in the guide, got "
                f"{type(law).__name__}. {_INSTEAD}"
            )
        for name, observed in layout.observed_laws.items():
            if not isinstance(element_law(observed), LinearNormal):
                raise ValueError(
                    f"AnalyticELBO at site {site!r}: the law of the observed site {name!r} is "
                    f"{type(element_law(observed)).__name__}, and its expectation is known of a "
                    f"distributions.LinearNormal({site}, matrix, scale) alone. {_INSTEAD}"
                )
            if _masked(observed):
                raise ValueError(
                    f"AnalyticELBO at site {site!r}: the observed site {name!r} has a mask of its own "
                    f"(fn.mask(...)), under which no closed form is known. Use pyro.poutine.mask, or none. {_INSTEAD}"
                )
        later = list(layout.model_laws)[list(layout.model_laws).index(site) + 1 :] if site in layout.model_laws else []
        if later:
            raise ValueError(
                f"AnalyticELBO at site {site!r}: the model draws the latent {later[0]!r} after it, whose law may "
                f"depend on it. {_INSTEAD}"
            )
        super().check_plan(site, plan, layout, objective)

    def check_program(self, site: str, pair: Any, batch: Any, layout: Layout) -> None:
        """Raise if matrix, offset or noise of the data move with the site, and so have expectations of their own."""
        args, kwargs = split_batch(batch)
        with forked(device_of(pair, args, kwargs)), pair.running(), keeping_buffers(pair), torch.no_grad():
            drawn: Any = poutine.trace(pair.guide).get_trace(*args, **kwargs)
            found: list[Any] = []
            if site not in drawn.nodes:  # at this call
                return
            for shift in (0.0, 1.0):
                drawn.nodes[site]["value"] = drawn.nodes[site]["value"] + shift
                found.append(poutine.trace(poutine.replay(pair.model, trace=drawn)).get_trace(*args, **kwargs))
        for name in layout.observed_laws:
            laws = [element_law(trace.nodes[name]["fn"]) for trace in found if name in trace.nodes]
            for part in ("matrix", "offset", "scale"):
                values = [torch.as_tensor(value) for law in laws if (value := getattr(law, part)) is not None]
                if any(not torch.equal(value, values[0]) for value in values[1:]):
                    raise ValueError(
                        f"AnalyticELBO at site {site!r}: the {part} of the LinearNormal at site {name!r} depends on "
                        f"what is drawn there, so that its expectation is not known. {_INSTEAD}"
                    )

    def log_weights(self, site: str, weights: LogWeights, layout: Layout) -> LogWeights:
        """Log-weights with the terms of the site and of the data given it replaced by their expectations."""
        weights = super().log_weights(site, weights, layout)
        if site not in weights.guide_terms:  # not drawn at this call
            return weights
        for name in layout.observed_laws:
            found = [
                summed_log_prob(trace.nodes[name], layout, _expected(trace, name, guide.nodes[site], site))
                for trace, guide in zip(weights.model_traces, weights.guide_traces, strict=True)
                if name in trace.nodes
            ]
            if not found:
                continue
            own = [factor for factor in weights.factors if factor.name == name and factor.sign > 0]
            exact = Factor.of_columns(name, 1, torch.cat(found), weights.plate, own[0].inside)
            weights = weights.with_added((exact, *(replace(factor, sign=-1) for factor in own)))
        return weights


def _expected(trace: Any, name: str, drawn: Any, site: str) -> Tensor:
    """E_q[log p(x | a)] at an observed site, (..., plates)."""
    observed = trace.nodes[name]
    law = element_law(observed["fn"])
    if law.inputs is not trace.nodes[site]["value"]:
        raise ValueError(
            f"AnalyticELBO at site {site!r}: the inputs of the LinearNormal at site {name!r} are not the value that "
            f"was drawn there, but another or made from it. Give it what pyro.sample({site!r}, ...) returns. {_INSTEAD}"
        )
    guide = element_law(drawn["fn"])
    shape = drawn["fn"].shape()
    each = law.expected_log_prob(observed["value"], guide.loc.expand(shape), guide.scale.square().expand(shape))
    return sum_rightmost(each, observed["fn"].event_dim)


def _masked(fn: Any) -> bool:
    while hasattr(fn, "base_dist"):
        if isinstance(fn, MaskedDistribution):
            return True
        fn = fn.base_dist
    return False
