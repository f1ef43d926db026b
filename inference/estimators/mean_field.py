"""The variational bound of a Boltzmann machine with its means in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ppgen.distributions import LayerConditional, UndirectedDistribution
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.relaxed_laws import continued
from ppgen.inference.structure.layout import MEAN_FIELD, Layout
from ppgen.inference.structure.traces import base_law


@dataclass(frozen=True)
class MeanField(Estimator):
    r"""The guide's means in the place of draws, at the hidden units of a Boltzmann machine.

    .. math:: E_q[\log p^*(x, h)] - E_q[\log q(h)] \ge \log p^*(x, \mu) + H(q), \quad \mu = E_q[h]

    An energy that is linear in each unit has its mean at the units' means, and where layers are summed out between
    them the right-hand side is that of the best factorial law of these layers too: the bound that papers on deep
    machines print. It has no variance. The guide gives the means and is not learned through them: at the fixed point
    of the mean-field equations the bound does not change with them, so what the guide sends back is left out.

    References:
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.MeanField(), inference.PCD(k=5)).estimator
        MeanField()
    """

    kinds: ClassVar[frozenset[str]] = frozenset({MEAN_FIELD})
    needs: ClassVar[str] = 'a guide of mean-field means, marked infer={"posterior": "mean field"}'

    @classmethod
    def preferred(cls, kind: str, marked: bool) -> bool:
        """Whether the guide says that it gives mean-field means."""
        return kind == MEAN_FIELD

    @classmethod
    def serves(cls, objective: type[Any]) -> bool:
        """Whether the objective is a mean of log-weights."""
        return objective.is_mean_log_weight()

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless the guide's law is of Bernoulli variables."""
        law = base_law(fn)
        if not isinstance(law, torch.distributions.Bernoulli):
            raise ValueError(
                f"MeanField at site {site!r} needs Bernoulli variables in the guide, got {type(law).__name__}. Use "
                "inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
            )

    def check_plan(self, site: str, plan: Mapping[str, Estimator | None], layout: Layout, objective: Any) -> None:
        """Raise unless the site is a side of a machine, and its guide has nothing to learn."""
        other = "Use inference.LeaveOneOut() with two particles or more, or inference.ScoreFunction()."
        stated = base_law(layout.model_laws.get(site))
        if not isinstance(stated, UndirectedDistribution):
            raise ValueError(
                f"MeanField at site {site!r}: the model's law there is {type(stated).__name__}, no Boltzmann machine, "
                f"so its log-density at the means is no bound. {other}"
            )
        strangers = [
            name
            for name, fn in layout.observed_laws.items()
            if not (isinstance(base_law(fn), LayerConditional) and base_law(fn).machine_energy is stated.base_energy)
        ]
        if strangers or len(plan) > 1:
            name = next(iter(strangers), next((each for each in plan if each != site), ""))
            raise ValueError(
                f"MeanField at site {site!r}: site {name!r} is no layer of the same machine, so the log-density at the "
                f"means is no bound. {other}"
            )
        if base_law(layout.guide_laws[site]).logits.requires_grad:
            raise ValueError(
                f"MeanField at site {site!r}: the guide's means have parameters, which it would not train. Make them "
                f"by machine.mean_field(...). {other}"
            )

    def law(self, fn: Any) -> Any:
        """The discrete law, with a log-density between the values that it draws: minus its entropy at the means."""
        return continued(fn)

    def draw(self, name: str, fn: Any, steps: Tensor | None) -> Tensor | None:
        """The means, without a gradient."""
        return fn.mean.detach().expand(fn.shape())
