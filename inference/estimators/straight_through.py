"""Straight-through gradients: discrete draws that are differentiated like continuous ones."""

from dataclasses import dataclass

from torch import Tensor

from ppgen.inference.estimators.relaxed import Relaxation
from ppgen.inference.schedules import Schedule


@dataclass(frozen=True)
class StraightThrough(Relaxation):
    r"""Discrete draws of binary and one-hot variables, with the gradient of their relaxation.

    .. math:: z = b + s - \mathrm{stop}(s), \quad b = 1[\alpha + \epsilon > 0], \quad
              s = \sigma\Big(\frac{\alpha + \epsilon}{T}\Big)

    for the logits alpha, with logistic noise epsilon; of one-hot variables b is the largest and s the softmax, with
    Gumbel noise. Biased at any temperature T; values are those of the discrete program in training too.

    References:
        | Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation (Bengio, Leonard
          and Courville, 2013), https://arxiv.org/abs/1308.3432
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
        """The discrete draw with the gradient of its relaxation."""
        return hard.to(soft.dtype) + (soft - soft.detach())
