"""Replicated softmax: topics of documents, whose words share their weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Multinomial, Replicated
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.parts.arguments import positive_size
from ppgen.models.parts.documents import longest_document, words_of


class ReplicatedSoftmax(RestrictedMachine):
    r"""Boltzmann machine of word counts and binary topics.

    .. math:: p(v, h) = \frac{1}{Z_D} \exp(b \cdot v + D \, c \cdot h + v^\top W h), \quad D = \sum_i v_i

    for the D words of a document in their order, whose counts are v: a restricted Boltzmann machine with one softmax
    for each word, all of them with the same weights. Its normaliser depends on the length: log p(v) takes log Z_D of
    each row (`evaluation.log_partition(model, x=x)`), exact up to 20 hidden units. The length is given and no random
    variable. A document is a row of counts; an empty one, or counts that are not whole, are refused.

    The guide is the exact posterior p(h | v). Training is contrastive divergence, as persistent chains would be
    documents of lengths of their own. Sites: `hidden` and `visible`, in the plate `data`. Weights start at
    N(0, 0.01^2), the word biases, at the first `fit`, at the logarithms of the words' frequencies.

    References:
        | Replicated Softmax: an Undirected Topic Model (Salakhutdinov and Hinton, 2009)

    Args:
        vocabulary: Words V.
        hidden: Hidden units H.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> import torch
        >>> from ppgen import evaluation, models
        >>> model = models.ReplicatedSoftmax(vocabulary=20, hidden=3)
        >>> counts = torch.tensor([[2.0] * 20, [1.0, 0.0] * 10])
        >>> evaluation.log_partition(model, x=counts).per_datum["log_partition"].shape
        (2,)
        >>> model.top_words(4).shape
        torch.Size([3, 4])
    """

    default_inference = "cd"
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(self, vocabulary: int, hidden: int) -> None:
        super().__init__()
        vocabulary, hidden = positive_size("vocabulary", vocabulary), positive_size("hidden", hidden)
        self.weight = nn.Parameter(torch.randn(vocabulary, hidden) / 100)
        self.visible_bias = nn.Parameter(torch.zeros(vocabulary))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.data_mean: Tensor
        self.no_bias: Tensor
        self.register_buffer("data_mean", torch.full((vocabulary,), float("nan")))
        self.register_buffer("no_bias", torch.zeros(hidden), persistent=False)
        self._longest: int | None = None  # words of the longest training document: how many a traced step draws

    @property
    def num_features(self) -> int:
        """Number of observed variables: the words of the vocabulary."""
        return len(self.visible_bias)

    @property
    def typical_length(self) -> int:
        """Words of documents drawn without data: as many as the training documents have on average, 100 before."""
        total = float(self.data_mean.sum())
        return max(round(total), 1) if total == total else 100

    def machine(self, x: Tensor | None = None) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights for documents as long as those of x, (rows, V)."""
        if x is None:
            words = Multinomial(self.visible_bias, self.typical_length)
        else:
            words = words_of(x, self.visible_bias, self._longest, self.training)
        layers = {"visible": words, "hidden": Bernoulli(self.no_bias)}
        return BoltzmannMachine(layers, [Replicated(self.weight, self.hidden_bias)])

    def inspect_data(self, data: Any) -> None:
        """Note the length of the longest training document, which a traced step cannot ask for."""
        self._longest = longest_document(data)

    def machine_of(self, x: Tensor | None) -> BoltzmannMachine:
        """The machine of the present weights for the rows of x, as `machine` makes it."""
        return self.machine(x)

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the mean counts, and start the word biases, if they are zero, at log frequencies.

        A word that is not in the training documents counts as a tenth of one.
        """
        self.data_mean.copy_(data.mean)
        if not self.visible_bias.any():
            counts = (self.data_mean * data.num_train).clamp(min=0.1)
            self.visible_bias.copy_((counts / counts.sum()).log())

    @torch.no_grad()
    def topics(self, x: Tensor) -> Tensor:
        """Probability of each hidden unit given documents: (rows, V) -> (rows, H)."""
        return self.machine(x).conditional("hidden", given=x).mean

    @torch.no_grad()
    def hidden_means(self, x: Tensor) -> Tensor:
        """P(h = 1 | v) of each hidden unit, what a layer above sees: (rows, V) -> (rows, H)."""
        return torch.sigmoid(x @ self.weight + x.sum(-1, keepdim=True) * self.hidden_bias)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Law of a word of each document after one step up and down by the means: (rows, V) -> (rows, V), sums of 1.

        What a query is about: words that it does not hold are likely if documents with its words hold them.

        Example:
            >>> import torch
            >>> from ppgen import models
            >>> models.ReplicatedSoftmax(vocabulary=20, hidden=3).reconstruct(torch.ones(2, 20)).shape
            torch.Size([2, 20])
        """
        return (self.visible_bias + self.topics(x) @ self.weight.mT).softmax(-1)

    @torch.no_grad()
    def top_words(self, k: int = 10, words: Sequence[str] | None = None) -> Any:
        """Words whose probability a hidden unit raises most.

        Args:
            k: Words of each hidden unit.
            words: The vocabulary in the order of the counts; without it, indices are returned.

        Returns:
            Indices (H, k), the strongest first; with `words`, a list of lists of them.

        Raises:
            ValueError: If k is not from 1 to the size of the vocabulary, or `words` has another length.
        """
        size = self.num_features
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= size:
            raise ValueError(f"k must be a number of words from 1 to {size}, got {k!r}.")
        index = self.weight.mT.topk(k).indices
        if words is None:
            return index
        if len(words) != size:
            raise ValueError(f"words must name the {size} words of the vocabulary, got {len(words)}.")
        return [[words[word] for word in row] for row in index.tolist()]
