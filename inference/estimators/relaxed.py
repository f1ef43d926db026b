"""Continuous relaxations of binary and one-hot draws, with gradients through the draws."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ppgen.distributions import Autoregressive, AutoregressiveBernoulli, BernoulliOutput, UndirectedDistribution
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.relaxed_laws import continued
from ppgen.inference.schedules import Schedule
from ppgen.inference.structure.layout import DISCRETE, Layout
from ppgen.inference.structure.traces import base_law

_BIT, _ONE_HOT = torch.distributions.Bernoulli, torch.distributions.OneHotCategorical
_LATE = 1e9  # a step after the end of any schedule


@dataclass(frozen=True)
class Relaxation(Estimator):
    """Draws made continuous at a temperature: what `Relaxed` and `StraightThrough` have in common."""

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE})
    needs: ClassVar[str] = "Bernoulli or OneHotCategorical variables in the guide"
    temperature: float | Schedule = 0.5

    def __post_init__(self) -> None:
        known = self.temperature
        ends: list[Any] = [known]
        if isinstance(known, Schedule):
            ends = [float(known.value(torch.tensor(step))) for step in (0.0, _LATE)]
        if not all(isinstance(end, (int, float)) and 0 < end < math.inf and end is not True for end in ends):
            raise ValueError(f"temperature must be a positive number or a schedule of them, got {known!r}.")

    @property
    def scheduled(self) -> bool:
        """Whether the temperature follows a schedule."""
        return isinstance(self.temperature, Schedule)

    def check(self, site: str, fn: Any, num_particles: int) -> None:
        """Raise unless the law is of Bernoulli or one-hot variables."""
        law, name = base_law(fn), type(self).__name__
        if isinstance(law, torch.distributions.Categorical):
            raise ValueError(
                f"{name} at site {site!r}: the index that a Categorical draws cannot be relaxed. Use one-hot vectors, "
                "pyro.distributions.OneHotCategorical, or inference.LeaveOneOut() with two particles or more."
            )
        if not isinstance(law, (_BIT, _ONE_HOT)):
            raise ValueError(
                f"{name} at site {site!r} needs Bernoulli or OneHotCategorical variables in the guide, got "
                f"{type(law).__name__}. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )

    def check_plan(self, site: str, plan: Mapping[str, Estimator | None], layout: Layout, objective: Any) -> None:
        """Raise unless the model has a density at relaxed values, and the guide's is differentiated as a whole."""
        stopped = [name for name, estimator in plan.items() if estimator is not None and estimator.stops]
        name = type(self).__name__
        if stopped:
            raise ValueError(
                f"{type(plan[stopped[0]]).__name__} at site {stopped[0]!r} leaves out the score of the guide, which "
                f"does not vanish under {name} at site {site!r}. Use inference.Pathwise() at site {stopped[0]!r}."
            )
        stated = base_law(layout.model_laws.get(site, layout.guide_laws[site]))  # auxiliary sites are the guide's alone
        kinds: tuple[type, ...] = (_BIT, AutoregressiveBernoulli, UndirectedDistribution)
        if isinstance(base_law(layout.guide_laws[site]), _ONE_HOT):
            kinds = (_ONE_HOT,)
        elif isinstance(stated, Autoregressive) and isinstance(stated.output, BernoulliOutput):
            kinds = (Autoregressive,)  # linear in each bit, given those before, as they stand
        if not isinstance(stated, kinds):
            raise ValueError(
                f"{name} at site {site!r}: the model's law there is {type(stated).__name__}, whose log-density at "
                "relaxed values is not known. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )

    def law(self, fn: Any) -> Any:
        """The discrete law, with a log-density between the values that it draws."""
        return continued(fn)

    def draw(self, name: str, fn: Any, steps: Tensor | None) -> Tensor | None:
        """Value that is differentiable in the logits."""
        known: Any = self.temperature
        temperature = known.value(steps) if self.scheduled else known
        law = base_law(fn)
        logits = law.logits
        uniforms = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device)
        uniforms = uniforms.clamp(min=torch.finfo(logits.dtype).tiny)
        if isinstance(law, _BIT):
            noisy = logits + uniforms.log() - torch.log1p(-uniforms)
            return self.value(noisy > 0, torch.sigmoid(noisy / temperature))
        noisy = logits - torch.log(-uniforms.log())
        largest = noisy.argmax(-1, keepdim=True) == torch.arange(logits.shape[-1], device=logits.device)
        return self.value(largest, torch.softmax(noisy / temperature, -1))

    def value(self, hard: Tensor, soft: Tensor) -> Tensor:
        """Value at the site, from the discrete draw and its relaxation with the same noise."""
        return soft


@dataclass(frozen=True)
class Relaxed(Relaxation):
    r"""Pathwise gradient through relaxed draws of binary (Concrete) and one-hot (Gumbel-softmax) variables.

    .. math:: z = \sigma\Big(\frac{\alpha + \log u - \log(1 - u)}{T}\Big), \qquad
              z = \mathrm{softmax}\Big(\frac{\alpha - \log(-\log u)}{T}\Big)

    for the logits alpha. Model and guide are as they were; their discrete log-densities are continued linearly to the
    relaxed value. Biased: what is maximised is the objective of relaxed values. As the temperature T falls the bias
    goes to 0 and the variance grows. The value of a training step is that of relaxed draws, and no bound; values
    without training are those of the discrete program.

    References:
        | The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables (Maddison, Mnih and Teh,
          2017), https://arxiv.org/abs/1611.00712
        | Categorical Reparameterization with Gumbel-Softmax (Jang, Gu and Poole, 2017),
          https://arxiv.org/abs/1611.01144

    Args:
        temperature: A positive number, or a schedule such as `inference.Linear(steps=1000, start=1.0, end=0.3)`.

    Raises:
        ValueError: If the temperature is not positive; before training, at a site of another law.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.Relaxed(temperature=0.3)).estimator
        Relaxed(temperature=0.3)
    """
