"""Restricted Boltzmann machine of ratings, most of which are missing."""

from typing import Any

import torch
from torch import Tensor, nn

from ppgen.distributions import (
    Bernoulli,
    BoltzmannMachine,
    Categorical,
    Coupling,
    Dense,
    Ordinal,
    PrecisionGaussian,
    Units,
)
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.distributions.machines.pseudo_likelihood import log_rises
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.parts.arguments import positive_size

_AT_ONCE = 2**24  # numbers that a prediction holds together: 64 MiB in float32
_USER_WEIGHT, _USER_LOG_PRECISION, _LOG_PRECISION = 0.7, 1.6, 3.0  # where real hidden units start


class RatingsRBM(RestrictedMachine):
    r"""Boltzmann machine of users' ratings on a scale of K values and of hidden units, binary or real.

    .. math:: p(v, h) = \frac{1}{Z} \exp\Big(c \cdot h + \sum_{i \text{ rated}} (b_i + W_i h) \cdot v_i
              - \sum_j \frac{(\lambda_j + n) h_j^2}{2}\Big), \quad v_i \in \text{one-hot vectors of } K

    with the n items that a user rated and no others: what is missing is in no energy, neither that of the ratings nor
    that of the hidden units, so that users have normalisers of their own (`evaluation.log_partition(model, x=x)`). Data
    are rows of one-hot vectors of all items after one another, zeros at missing items: `encode` makes them of a matrix
    of ratings. Which items are rated is given, and no random variable. With `items` and users exchanged it is a machine
    of the ratings that an item is given.

    The last term is that of real hidden units alone, which are the more precise the more was rated: then the mean of h
    is what the user's ratings say on average, shrunk towards 0. The first of them starts as the user's mean, with the
    same weight for all items. `weights="ordinal"` takes ratings for ordered numbers, with two weights for each item and
    hidden unit in the place of K,

    .. math:: W_i(k) = (k - m_i) \, a_i + d_i

    for the mean m of an item's ratings: a of how high it is, d of its being rated at all.

    The guide is the exact posterior p(h | v). Training is contrastive divergence, as persistent chains would be users
    with ratings of their own; real hidden units are best trained by `inference.PseudoLikelihood()`, which they have in
    closed form. Sites: `hidden` and `visible`, in the plate `data`. Weights start at N(0, 0.01^2), those of real hidden
    units at N(0, 0.1^2), the biases of the ratings, at the first `fit`, at the logarithms of their frequencies.

    References:
        | Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007)
        | Statistical Analysis of Non-Lattice Data (Besag, 1975)

    Args:
        items: Items that can be rated.
        ratings: Values K of the scale, from 1 to K.
        hidden: Hidden units.
        hidden_units: `"bernoulli"` or `"gaussian"`.
        weights: `"categorical"`, W of every value by itself, or `"ordinal"`.

    Raises:
        ValueError: If a number is not positive, the scale has one value, or a kind of units or weights is unknown.

    Example:
        >>> import torch
        >>> from ppgen import models
        >>> model = models.RatingsRBM(items=3, ratings=5, hidden=2, hidden_units="gaussian", weights="ordinal")
        >>> x = model.encode(torch.tensor([[5, 0, 1], [0, 2, 0]]))
        >>> model.predict(x).shape
        torch.Size([2, 3])
    """

    default_inference = "cd"
    # Adam: the gradient of an item is as large as many users rated it.
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(
        self, items: int, ratings: int, hidden: int, hidden_units: str = "bernoulli", weights: str = "categorical"
    ) -> None:
        super().__init__()
        items, hidden = positive_size("items", items), positive_size("hidden", hidden)
        if positive_size("ratings", ratings) < 2:
            raise ValueError("ratings must be the number of values of the scale, 2 or more, got 1.")
        for name, given, known in (
            ("hidden_units", hidden_units, ("bernoulli", "gaussian")),
            ("weights", weights, ("categorical", "ordinal")),
        ):
            if given not in known:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}, got {given!r}.")
        self.real, self.ordered = hidden_units == "gaussian", weights == "ordinal"
        rows = items if self.ordered else items * ratings
        start = torch.randn(rows, hidden) / (10 if self.real else 100)
        if self.real:
            start[:, 0] = _USER_WEIGHT
            if not self.ordered:
                start[:, 0] *= (torch.arange(1.0, ratings + 1) - (ratings + 1) / 2).repeat(items)
        self.weight = nn.Parameter(start)
        self.visible_bias = nn.Parameter(torch.zeros(items, ratings))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((items * ratings,), float("nan")))
        if self.ordered:
            self.rated_weight = nn.Parameter(torch.zeros(items, hidden))
            self.item_mean: Tensor
            self.register_buffer("item_mean", torch.full((items,), (ratings + 1) / 2))
        if self.real:
            self.log_precision = nn.Parameter(torch.full((hidden,), _LOG_PRECISION))
            with torch.no_grad():
                self.log_precision[0] = _USER_LOG_PRECISION

    @property
    def num_features(self) -> int:
        """Number of observed variables: items times values of the scale."""
        return self.visible_bias.numel()

    def encode(self, ratings: Any) -> Tensor:
        """One-hot vectors of a matrix of ratings.

        Args:
            ratings: (users, items), numbers from 1 to K; 0 or NaN where a rating is missing.

        Returns:
            (users, items x K).

        Raises:
            ValueError: If the shape is another one, a rating lies outside the scale, or a user rated nothing.
        """
        given = torch.as_tensor(ratings, device=self.visible_bias.device)
        items, values = self.visible_bias.shape
        if given.dim() != 2 or given.shape[1] != items:
            raise ValueError(f"ratings must have shape (users, {items}), got {tuple(given.shape)}.")
        given = given.double().nan_to_num(0.0)
        wrong = (given != given.round()) | (given < 0) | (given > values)
        if wrong.any():
            user, item = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"ratings must be whole numbers from 1 to {values}, and 0 or NaN where they are missing; user {user} "
                f"gave item {item} {float(given[user, item]):g}."
            )
        self._check_rated(given > 0)
        return nn.functional.one_hot(given.long(), values + 1)[..., 1:].flatten(1).to(self.visible_bias.dtype)

    def decode(self, x: Tensor) -> Tensor:
        """Ratings of one-hot vectors, 0 where they are missing: (users, items x K) -> (users, items) integers."""
        return (x.unflatten(-1, self.visible_bias.shape) * self._scale).sum(-1).round().long()

    def machine(self, x: Tensor | None = None) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights for users who rated what those of x did; or all items."""
        return self._machine(None if x is None else self._present(x), 0)

    def _machine(self, present: Tensor | None, more: int) -> BoltzmannMachine:
        """The machine of users who rated some items, and so many more that are not told."""
        coupling: Coupling = Dense(self.weight)
        if self.ordered:
            coupling = Ordinal(self._scale - self.item_mean.unsqueeze(-1), self.weight, self.rated_weight)
        hidden: Units = Bernoulli(self.hidden_bias)
        if self.real:
            items = self.visible_bias.new_full((), len(self.visible_bias))
            count = items if present is None else present.sum(-1).to(items) + more
            hidden = PrecisionGaussian(self.hidden_bias, self.log_precision, count)
        return BoltzmannMachine({"visible": Categorical(self.visible_bias, present), "hidden": hidden}, [coupling])

    def _present(self, x: Tensor) -> Tensor:
        """Which items are rated: (..., items x K) -> (..., items)."""
        return x.unflatten(-1, self.visible_bias.shape).sum(-1) > 0

    def machine_of(self, x: Tensor | None) -> BoltzmannMachine:
        """The machine of the present weights for the rows of x, as `machine` makes it."""
        return self.machine(x)

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note how often each rating is given to an item, and start the biases, if they are zero, at its logarithm.

        An item has one rating more than users gave, spread as those of all items, so that none is impossible.
        """
        counts = (data.mean.to(self.visible_bias) * data.num_train).reshape(self.visible_bias.shape)
        overall = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        frequency = (counts + overall) / (counts.sum(-1, keepdim=True) + 1)
        self.data_mean.copy_(frequency.flatten())
        if self.visible_bias.any():
            return
        self.visible_bias.copy_(frequency.log())
        if self.ordered:  # only now: weights that were trained are those of the scores that they were trained with
            self.item_mean.copy_((frequency * self._scale).sum(-1))

    @torch.no_grad()
    def distribution(self, x: Tensor) -> Tensor:
        """Law of the rating of every item given the ratings in x.

        With binary hidden units by one pass of mean field, from the means of the hidden units given all of x. With real
        ones exactly: of an item in x given all others, of another one in the machine of a user who rated it too.

        Args:
            x: One-hot vectors of what is known, (users, items x K); nothing else is looked at.

        Returns:
            (users, items, K), for items in x too, as if their rating were asked for once more.

        Raises:
            ValueError: If a row is no user with one rating or more.
        """
        if x.dim() != 2 or x.shape[1] != self.num_features:
            raise ValueError(f"x must be one-hot vectors, (users, {self.num_features}), got {tuple(x.shape)}.")
        self._check_rated(self._present(x))
        if self.real:
            users = max(1, _AT_ONCE // (self.num_features * self.visible_bias.shape[1]))
            return torch.cat([self._exact(rows) for rows in x.split(users)])
        hidden = self.machine(x).conditional("hidden", given=x).mean
        every = self.machine().conditional("visible", given=hidden).mean
        return every.unflatten(-1, self.visible_bias.shape)

    def _exact(self, x: Tensor) -> Tensor:
        """Law of each rating given all others, with the hidden units integrated out."""
        present = self._present(x)
        known, asked = (log_rises(self._machine(present, more).base_energy, x, EVEN).softmax(-1) for more in (0, 1))
        return torch.where(present.unsqueeze(-1), known, asked)

    def predict(self, x: Tensor) -> Tensor:
        """Expected rating of every item given the ratings in x: (users, items x K) -> (users, items), from 1 to K."""
        return (self.distribution(x) * self._scale).sum(-1)

    @property
    def _scale(self) -> Tensor:
        like = self.visible_bias
        return torch.arange(1, self.visible_bias.shape[1] + 1, dtype=like.dtype, device=like.device)

    @staticmethod
    def _check_rated(present: Tensor) -> None:
        alone = ~present.any(-1)
        if alone.any():
            raise ValueError(
                f"Every user must have one rating or more; {int(alone.sum())} of {len(present)} have none, the first "
                f"is row {int(alone.nonzero()[0, 0])}. Leave them out."
            )
