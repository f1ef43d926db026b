"""Restricted Boltzmann machine of ratings, most of which are missing."""

from typing import Any

import torch
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Categorical, Dense
from ppgen.models.arguments import positive_size
from ppgen.models.restricted import RestrictedMachine


class RatingsRBM(RestrictedMachine):
    r"""Boltzmann machine of users' ratings on a scale of K values and binary hidden units.

    .. math:: p(v, h) = \frac{1}{Z} \exp\Big(c \cdot h + \sum_{i \text{ rated}} (b_i + W_i h) \cdot v_i\Big),
              \quad v_i \in \text{one-hot vectors of } K

    with the items that a user rated and no others: what is missing is in no energy, neither that of the ratings nor
    that of the hidden units, so that users have normalisers of their own (`evaluation.log_partition(model, x=x)`). Data
    are rows of one-hot vectors of all items after one another, zeros at missing items: `encode` makes them of a matrix
    of ratings. Which items are rated is given, and no random variable.

    The guide is the exact posterior p(h | v). Training is contrastive divergence, as persistent chains would be users
    with ratings of their own. Sites: `hidden` and `visible`, in the plate `data`. Weights start at N(0, 0.01^2), the
    biases of the ratings, at the first `fit`, at the logarithms of their frequencies.

    References:
        | Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007)

    Args:
        items: Items that can be rated.
        ratings: Values K of the scale, from 1 to K.
        hidden: Hidden units.

    Raises:
        ValueError: If a number is not positive, or the scale has one value.

    Example:
        >>> from ppgen import models
        >>> model = models.RatingsRBM(items=3, ratings=5, hidden=2)
        >>> x = model.encode(torch.tensor([[5, 0, 1], [0, 2, 0]]))
        >>> model.predict(x).shape
        torch.Size([2, 3])
    """

    default_inference = "cd"
    # Adam: the gradient of an item is as large as many users rated it.
    default_training = {"optimizer": "adam", "lr": 0.003, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(self, items: int, ratings: int, hidden: int) -> None:
        super().__init__()
        items, hidden = positive_size("items", items), positive_size("hidden", hidden)
        if positive_size("ratings", ratings) < 2:
            raise ValueError("ratings must be the number of values of the scale, 2 or more, got 1.")
        self.weight = nn.Parameter(torch.randn(items * ratings, hidden) / 100)
        self.visible_bias = nn.Parameter(torch.zeros(items, ratings))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((items * ratings,), float("nan")))

    @property
    def num_features(self) -> int:
        """Observed variables: items times values of the scale."""
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
        given = torch.as_tensor(ratings, device=self.weight.device)
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
        return nn.functional.one_hot(given.long(), values + 1)[..., 1:].flatten(1).to(self.weight.dtype)

    def decode(self, x: Tensor) -> Tensor:
        """Ratings of one-hot vectors, 0 where they are missing: (users, items x K) -> (users, items) integers."""
        return (x.unflatten(-1, self.visible_bias.shape) * self._scale).sum(-1).round().long()

    def machine(self, x: Tensor | None = None) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights for users who rated what those of x did; or all items."""
        present = None if x is None else x.unflatten(-1, self.visible_bias.shape).sum(-1) > 0
        layers = {"visible": Categorical(self.visible_bias, present), "hidden": Bernoulli(self.hidden_bias)}
        return BoltzmannMachine(layers, [Dense(self.weight)])

    def machine_of(self, x: Tensor | None) -> BoltzmannMachine:
        """The machine of the present weights for the rows of x, as `machine` makes it."""
        return self.machine(x)

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note how often each rating is given to an item, and start the biases, if they are zero, at its logarithm.

        An item has one rating more than users gave, spread as those of all items, so that none is impossible.
        """
        counts = (data.mean.to(self.weight) * data.num_train).reshape(self.visible_bias.shape)
        overall = (counts.sum(0) + 1) / (counts.sum() + counts.shape[1])
        frequency = (counts + overall) / (counts.sum(-1, keepdim=True) + 1)
        self.data_mean.copy_(frequency.flatten())
        if not self.visible_bias.any():
            self.visible_bias.copy_(frequency.log())

    @torch.no_grad()
    def distribution(self, x: Tensor) -> Tensor:
        """Law of the rating of every item given the ratings in x, by one pass of mean field.

        Args:
            x: One-hot vectors of what is known, (users, items x K); nothing else is looked at.

        Returns:
            (users, items, K), for items in x too, as if their rating were asked for once more.

        Raises:
            ValueError: If a row is no user with one rating or more.
        """
        if x.dim() != 2 or x.shape[1] != self.num_features:
            raise ValueError(f"x must be one-hot vectors, (users, {self.num_features}), got {tuple(x.shape)}.")
        self._check_rated(x.unflatten(-1, self.visible_bias.shape).sum(-1) > 0)
        hidden = self.machine(x).conditional("hidden", given=x).mean
        every = self.machine().conditional("visible", given=hidden).mean
        return every.unflatten(-1, self.visible_bias.shape)

    def predict(self, x: Tensor) -> Tensor:
        """Expected rating of every item given the ratings in x: (users, items x K) -> (users, items), from 1 to K."""
        return (self.distribution(x) * self._scale).sum(-1)

    @property
    def _scale(self) -> Tensor:
        like = self.weight
        return torch.arange(1, self.visible_bias.shape[1] + 1, dtype=like.dtype, device=like.device)

    @staticmethod
    def _check_rated(present: Tensor) -> None:
        alone = ~present.any(-1)
        if alone.any():
            raise ValueError(
                f"Every user must have one rating or more; {int(alone.sum())} of {len(present)} have none, the first "
                f"is row {int(alone.nonzero()[0, 0])}. Leave them out."
            )
