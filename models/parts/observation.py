"""Laws of the data around the output of a network, where only the location depends on it."""

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen.models.parts.cross_entropy import CrossEntropy
from ppgen.models.parts.word_law import WordLaw
from ppgen.nn.activations import activation_named

LOOKED_AT = 10_000  # training rows from which the standard deviation starts

_LAWS: dict[str, Callable[[Tensor], Any]] = {
    "bernoulli": lambda output: dist.Bernoulli(logits=output),
    "continuous-bernoulli": lambda output: dist.ContinuousBernoulli(logits=output),
    "cross-entropy": lambda output: CrossEntropy(output),
}
LIKELIHOODS = ("gaussian", "normal", *_LAWS, "multinomial")


class Observation(nn.Module):
    """Independent variables whose location is the output of a network.

    Args:
        likelihood: `"gaussian"` (or `"normal"`) with one standard deviation for all variables, `"bernoulli"` for bits,
            `"continuous-bernoulli"` for numbers in [0, 1], or `"cross-entropy"`, which is no law: minus the
            cross-entropy between grey levels in [0, 1] and the outputs; `"multinomial"` for counts of the words of
            documents whose length is given.
        scale: Standard deviation under `"gaussian"`; None learns it.
        activation: Non-linearity that makes the mean of the output under `"gaussian"`; the other laws have their own.

    Raises:
        ValueError: If the likelihood is unknown, the scale is not positive, or there is none to be had; or a
            non-linearity.
        TypeError: If the scale is no number.

    Example:
        >>> Observation("bernoulli")(torch.zeros(5, 3)).event_shape
        torch.Size([3])
    """

    def __init__(self, likelihood: str, scale: float | None = None, activation: str = "linear") -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(map(repr, LIKELIHOODS))}, got {likelihood!r}.")
        self.law = None if likelihood in ("gaussian", "normal") else likelihood
        if scale is not None:
            if isinstance(scale, bool) or not isinstance(scale, (int, float)):
                raise TypeError(f"scale must be a number, such as 0.1, or None to learn it; got {scale!r}.")
            if self.law is not None:
                raise ValueError(f"scale is the standard deviation under 'gaussian'; {likelihood!r} has none.")
            if not 0 < scale < math.inf:
                raise ValueError(f"scale must be positive and finite, got {scale!r}.")
        self.activation = activation_named(activation, "output_activation")
        if self.law is not None and activation != "linear":
            raise ValueError(
                f"output_activation={activation!r} makes the mean under likelihood='gaussian', and {likelihood!r} has "
                "a link of its own: leave it out."
            )
        self.fixed_scale = scale
        self.log_scale = nn.Parameter(torch.zeros(())) if self.law is None and scale is None else None

    def forward(self, output: Tensor) -> Any:
        """Law of (..., features) around an output of that shape."""
        if self.counts_words:
            return WordLaw(output)
        if self.law is not None:
            return _LAWS[self.law](output).to_event(1)
        scale = self.log_scale.exp() if self.log_scale is not None else output.new_full((), self.fixed_scale or 1.0)
        return dist.Normal(self.activation.apply(output), scale).to_event(1)

    def mean(self, output: Tensor) -> Tensor:
        """Mean of the data around an output, of its shape; of documents that of one word."""
        if self.counts_words:
            return WordLaw(output).mean
        mean: Tensor = self.activation.apply(output) if self.law is None else _LAWS[self.law](output).mean
        return mean

    @property
    def counts_words(self) -> bool:
        """Whether the data are counts of words, of documents of any length."""
        return self.law == "multinomial"

    @property
    def normalised(self) -> bool:
        """Whether it is a law, so that its logarithm is a log-likelihood."""
        return self.law != "cross-entropy"

    @torch.no_grad()
    def initialise(self, bias: Tensor, mean: Tensor, data: Any) -> None:
        """Start the output's bias where it gives the mean of the data, and the standard deviation at that about it.

        What is not zero any more was trained or given, and stays.

        Args:
            bias: Bias of the output, which is written to.
            mean: Mean of the training data, of its shape.
            data: A `ppgen.datasets.Dataset`.
        """
        if self.counts_words:
            counts = (mean * data.num_train).clamp(min=0.1)
            if not bias.any():
                bias.copy_((counts / counts.sum()).log())
            return
        if not bias.any():
            bias.copy_(self.activation.inverse(mean) if self.law is None else torch.logit(mean.clamp(0.001, 0.999)))
        if self.log_scale is not None and not self.log_scale.any():
            rows = data.batch("train", torch.arange(min(data.num_train, LOOKED_AT))).double().flatten(1)
            variance = float((rows - rows.mean(0)).square().mean())
            if variance > 0:
                self.log_scale.fill_(0.5 * math.log(variance))


def refuse_words(likelihood: str, name: str) -> None:
    """Raise where documents are given to a model that does not count words.

    Raises:
        ValueError: If the likelihood is `"multinomial"`.
    """
    if likelihood == "multinomial":
        raise ValueError(f"likelihood='multinomial' is of documents, for which take an Autoencoder; not for a {name}.")
