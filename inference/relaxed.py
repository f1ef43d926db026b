"""Continuous relaxations of binary and one-hot draws: Concrete variables and straight-through gradients."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import Independent, MaskedDistribution, OneHotCategorical
from torch import Tensor

from ppgen.distributions import AutoregressiveBernoulli, UndirectedDistribution
from ppgen.inference.estimator import Estimator
from ppgen.inference.layout import DISCRETE, Layout, base_law
from ppgen.inference.schedules import Schedule

_LATE = 1e9  # a step after the end of any schedule


@dataclass(frozen=True)
class Relaxation(Estimator):
    """Draws made continuous at a temperature; a base of estimators.

    Args:
        temperature: A positive number, or a schedule such as `inference.Linear(steps=1000, start=1.0, end=0.3)`.

    Raises:
        ValueError: If the temperature is not positive, or a schedule starts or ends at one that is not.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({DISCRETE})
    needs: ClassVar[str] = "Bernoulli or OneHotCategorical variables in the guide"
    temperature: float | Schedule = 0.5

    def __post_init__(self) -> None:
        known = self.temperature
        ends = [float(known.value(torch.tensor(at))) for at in (0.0, _LATE)] if isinstance(known, Schedule) else [known]
        if not all(isinstance(end, (int, float)) and end > 0 for end in ends):
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
                f"{name} at site {site!r}: an index drawn from a Categorical cannot be relaxed. Draw one-hot vectors from "
                "pyro.distributions.OneHotCategorical, or use inference.LeaveOneOut() with two particles or more."
            )
        if not isinstance(law, (torch.distributions.Bernoulli, torch.distributions.OneHotCategorical)):
            raise ValueError(
                f"{name} at site {site!r} needs Bernoulli or OneHotCategorical variables in the guide, got "
                f"{type(law).__name__}. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )

    def law(self, fn: Any) -> Any:
        """The discrete law with its log-density at 0 and 1 continued linearly between them."""
        return continued(fn)

    def draw(self, name: str, fn: Any, steps: Tensor | None) -> Tensor | None:
        """Relaxed value, differentiable in the logits."""
        known: Any = self.temperature
        temperature = known.value(steps) if isinstance(known, Schedule) else known
        law = base_law(fn)
        logits = law.logits
        uniform = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device)
        uniform = uniform.clamp(min=torch.finfo(logits.dtype).tiny)
        if isinstance(law, torch.distributions.Bernoulli):
            noisy = logits + uniform.log() - torch.log1p(-uniform)
            return self.value(noisy > 0, torch.sigmoid(noisy / temperature))
        noisy = logits - torch.log(-uniform.log())
        largest = noisy.argmax(-1, keepdim=True)
        hard = largest == torch.arange(logits.shape[-1], device=logits.device)
        return self.value(hard, torch.softmax(noisy / temperature, -1))

    def value(self, hard: Tensor, soft: Tensor) -> Tensor:
        """Value at the site, from the discrete draw and its relaxation by the same noise."""
        return soft


@dataclass(frozen=True)
class Relaxed(Relaxation):
    r"""Pathwise gradient through relaxed draws of binary (Concrete) and one-hot (Gumbel-softmax) variables.

    .. math:: z = \sigma\Big(\frac{\alpha + \log u - \log(1 - u)}{T}\Big), \qquad
              z = \mathrm{softmax}\Big(\frac{\alpha - \log(-\log u)}{T}\Big)

    for the logits alpha. Model and guide are as they were, and their discrete log-densities are continued linearly to
    the relaxed value. Biased: what is climbed is the objective of relaxed values, which goes to the objective as the
    temperature T goes to 0, while the variance grows. The value of a training step is that of relaxed draws; values
    without training are those of the discrete program.

    References:
        | The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables (Maddison, Mnih and Teh, 2017),
          https://arxiv.org/abs/1611.00712
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


@dataclass(frozen=True)
class StraightThrough(Relaxation):
    r"""Discrete draws of binary and one-hot variables, with the gradient of their relaxation.

    .. math:: z = b + s - \mathrm{stop}(s), \quad b = 1[\alpha + \epsilon > 0], \quad
              s = \sigma\Big(\frac{\alpha + \epsilon}{T}\Big)

    with logistic noise epsilon; of one-hot variables b is the largest and s the softmax. Biased at any temperature T;
    values are those of the discrete program in training too.

    References:
        | Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation (Bengio, Leonard and
          Courville, 2013), https://arxiv.org/abs/1308.3432
        | Categorical Reparameterization with Gumbel-Softmax (Jang, Gu and Poole, 2017),
          https://arxiv.org/abs/1611.01144

    Args:
        temperature: A positive number, or a schedule such as `inference.Linear(steps=1000, start=1.0, end=0.3)`.

    Raises:
        ValueError: If the temperature is not positive; before training, at a site of another law.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), inference.StraightThrough()).estimator
        StraightThrough(temperature=1.0)
    """

    temperature: float | Schedule = 1.0

    def value(self, hard: Tensor, soft: Tensor) -> Tensor:
        """Bits with the gradient of their relaxation."""
        return hard.to(soft.dtype) + (soft - soft.detach())


class LinearOneHot(OneHotCategorical):
    """One-hot law whose log-density is linear in the value, which need not be a vertex."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Sum of value times log-probability: (..., categories) -> (...,)."""
        return (value * self.logits).sum(-1)


def continued(fn: Any) -> Any:
    """A law of binary or one-hot variables whose log-density takes values between them."""
    if isinstance(fn, Independent):
        return Independent(continued(fn.base_dist), fn.reinterpreted_batch_ndims, validate_args=False)
    if isinstance(fn, MaskedDistribution):
        return continued(fn.base_dist).mask(fn._mask)
    if isinstance(fn, torch.distributions.OneHotCategorical):
        return LinearOneHot(logits=fn.logits, validate_args=False)
    law = copy.copy(fn)
    law._validate_args = False
    return law


def check_relaxed(plan: Mapping[str, Estimator | None], layout: Layout) -> None:
    """Raise unless the model has a density at relaxed values, and the guide's is differentiated as a whole.

    Raises:
        ValueError: Names the site and says what to use instead.
    """
    relaxed = {name: type(estimator).__name__ for name, estimator in plan.items() if isinstance(estimator, Relaxation)}
    stopped = [name for name, estimator in plan.items() if estimator is not None and estimator.stops]
    for site, name in relaxed.items():
        if stopped:
            raise ValueError(
                f"{type(plan[stopped[0]]).__name__} at site {stopped[0]!r} leaves out the score of the guide, which does "
                f"not vanish under {name} at site {site!r}. Use inference.Pathwise() at site {stopped[0]!r}."
            )
        if site not in layout.model_laws:
            continue
        drawn, stated = base_law(layout.guide_laws[site]), base_law(layout.model_laws[site])
        kind = (
            torch.distributions.OneHotCategorical
            if isinstance(drawn, torch.distributions.OneHotCategorical)
            else (torch.distributions.Bernoulli, AutoregressiveBernoulli, UndirectedDistribution)
        )
        if not isinstance(stated, kind):
            raise ValueError(
                f"{name} at site {site!r}: the model's law there is {type(stated).__name__}, whose log-density at relaxed "
                "values is not known. Use inference.LeaveOneOut() with two particles or more, or "
                "inference.ScoreFunction()."
            )
