"""Word counts of documents as one layer of a Boltzmann machine."""

from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import constraints

from ppgen.checks.arguments import check_count, check_tensors
from ppgen.distributions.units.supports import documents
from ppgen.distributions.units.units import Units


class Multinomial(Units):
    r"""Counts of D words that share one softmax: a document of known length.

    .. math:: E(x) = -b \cdot x, \quad A(\text{input}) = D \log \sum_i \exp(b_i + \text{input}_i), \quad
              \text{each word} \sim \mathrm{softmax}(b + \text{input})

    States are the D ordered words, so that the energy has no multinomial coefficient; a value is their counts, (...,
    vocabulary). The length belongs to the datum and is no random variable.

    References:
        | Replicated Softmax: an Undirected Topic Model (Salakhutdinov and Hinton, 2009)

    Args:
        bias: Biases b, shape (vocabulary,).
        total: Lengths D: an integer tensor of the shape of the data, or one number for all.
        longest: The largest length, where it must not be looked up, as in a step that is traced.

    Raises:
        ValueError: If a shape does not fit, or a length is not positive.

    Example:
        >>> import torch
        >>> from ppgen.distributions import Multinomial
        >>> units = Multinomial(torch.zeros(3), total=torch.tensor([2, 5]))
        >>> units.sample(torch.zeros(2, 3), torch.rand(2, units.num_uniforms)).sum(-1)
        tensor([2., 5.])
    """

    support = constraints.nonnegative_integer

    def __init__(self, bias: Tensor, total: Tensor | int, longest: int | None = None) -> None:
        check_tensors(bias=bias)
        if not isinstance(total, Tensor):
            check_count("total", total)
        check_count("longest", longest, optional=True)
        if bias.dim() != 1:
            raise ValueError(f"bias must have shape (vocabulary,), got {tuple(bias.shape)}.")
        self.bias = bias
        self.total = torch.as_tensor(total, device=bias.device)
        self.longest = int(self.total.max()) if longest is None else longest
        if longest is None and not bool((self.total >= 1).all()):
            raise ValueError(f"total must hold lengths of 1 word or more, got {int(self.total.min())}.")

    @property
    def size(self) -> int:
        """Number of variables: the words of the vocabulary."""
        return self.bias.shape[0]

    @property
    def batch_shape(self) -> Size:
        """Shape of the data that the law depends on: that of the lengths."""
        return self.total.shape

    def conditions(self) -> list[Tensor]:
        """Tensors of the data that the law depends on: the lengths."""
        return [self.total.unsqueeze(-1)]

    def rows(self, index: Tensor) -> "Multinomial":
        """Documents of the lengths of given index; uniforms are asked for as many words as the longest of them has."""
        return Multinomial(self.bias, self.total[index]) if self.total.dim() else self

    @property
    def num_states(self) -> float:
        """Number of joint states: the vocabulary to the number of words of the longest document."""
        return self.size**self.longest

    @property
    def event_support(self) -> constraints.Constraint:
        """Values that the layer can have: counts of one word or more."""
        return documents

    @property
    def num_uniforms(self) -> int:
        """Uniforms that one draw of the layer takes: one for each word of the longest document."""
        return self.longest

    def parameters(self) -> list[Tensor]:
        """Tensors that the energy depends on: the biases."""
        return [self.bias]

    def energy_terms(self, value: Tensor) -> Tensor:
        """Energy, -b.x: (..., 1), nats."""
        return -(value @ self.bias).unsqueeze(-1)

    def log_partition_terms(self, input: Tensor) -> Tensor:
        """Log-partition given the input, D logsumexp(b + input): (..., 1), nats."""
        return (self.total * (self.bias + input).logsumexp(-1)).unsqueeze(-1)

    def mean(self, input: Tensor) -> Tensor:
        """Mean given the input, D softmax(b + input): (..., size)."""
        return self.total.unsqueeze(-1) * (self.bias + input).softmax(-1)

    def mode(self, input: Tensor) -> Tensor:
        """D times the most probable word: documents are ordered words, each of which has its mode: (..., size)."""
        word = (self.bias + input).argmax(-1)
        counts = self.total.unsqueeze(-1) * torch.nn.functional.one_hot(word, self.size)
        return counts.to(input.dtype)

    def variance(self, input: Tensor) -> Tensor:
        """Variance given the input, D p (1 - p) at mean D p: (..., size)."""
        law = (self.bias + input).softmax(-1)
        return self.total.unsqueeze(-1) * law * (1 - law)

    def sample(self, input: Tensor, uniform: Tensor) -> Tensor:
        """Counts of the words at which the cumulative probability passes each of the first D uniforms."""
        cumulative = (self.bias + input).softmax(-1).cumsum(-1)
        words = torch.searchsorted(cumulative, uniform.to(cumulative.dtype).contiguous()).clamp(max=self.size - 1)
        places = torch.arange(self.longest, device=words.device)
        counted = (places < self.total.unsqueeze(-1)).expand(words.shape).to(input.dtype)
        return torch.zeros_like(cumulative).scatter_add(-1, words, counted)

    def states(self, index: Tensor) -> Tensor:
        """Counts of the ordered words that the digits of the index name, of documents of one length.

        Raises:
            ValueError: If the lengths differ.
        """
        if self.total.dim() and not bool((self.total == self.longest).all()):
            raise ValueError("States of documents of unequal length cannot be enumerated together; give one length.")
        powers = self.size ** torch.arange(self.longest - 1, -1, -1, device=index.device)
        words = (index.unsqueeze(-1) // powers) % self.size
        counts = torch.nn.functional.one_hot(words, self.size).sum(-2).to(self.bias.dtype)
        return counts.reshape(len(index), *(1,) * self.total.dim(), -1)

    def base_rate(self, mean: Tensor | None) -> "Multinomial":
        """Units with the logarithm of the mean frequencies as bias, held above 1e-8 of all words."""
        if mean is None:
            return Multinomial(self.bias.detach(), self.total, self.longest)
        frequency = mean.to(self.bias) / mean.to(self.bias).sum()
        return Multinomial(frequency.clamp(min=1e-8).log(), self.total, self.longest)

    def scaled(self, factor: float | Tensor) -> "Multinomial":
        """Units with bias factor * b."""
        return Multinomial(factor * self.bias, self.total, self.longest)

    def interpolated(self, base: "Multinomial", beta: float | Tensor) -> "Multinomial":
        """Units with bias (1 - beta) b_base + beta b."""
        return Multinomial((1 - beta) * base.bias + beta * self.bias, self.total, self.longest)

    def to(self, *args: Any) -> "Multinomial":
        """The units with their tensors on another device or in another dtype; lengths stay integers."""
        devices = [each for each in args if not isinstance(each, torch.dtype)]
        total = self.total.to(*devices) if devices else self.total
        return Multinomial(self.bias.to(*args), total, self.longest)
