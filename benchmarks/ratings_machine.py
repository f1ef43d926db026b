"""A machine of ratings with Gaussian hidden units, written as a program and trained on its pseudo-likelihood."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.pair import GenerativeModel


class GaussianRatings(GenerativeModel):
    r"""Conditional machine of a user's ratings v given which n items were rated.

    .. math:: p(v, h) \propto \exp\Big(\sum_i b_i(v_i) + h \cdot \sum_i \big(s_i(v_i) a_i + d_i\big)
              - \frac{n + \lambda}{2} |h|^2\Big), \quad s_i(k) = k - m_i

    over rated items, with the mean m_i of an item's ratings: ratings are ordered numbers here, with one weight for each
    hidden unit and not five. The hidden units are as precise as there are ratings, and d_i tells them what was rated,
    whatever the rating. One more unit has the same weight for all items and a precision of its own: the user's mean.
    With the hidden units integrated out, a rating given all others has a closed form,

    .. math:: \log p(v_i = k \mid v_{-i}) = b_i(k) + s_i(k) \, \frac{a_i \cdot \theta_{-i}}{n + \lambda}
              + s_i(k)^2 \frac{|a_i|^2}{2 (n + \lambda)} + \text{const}, \quad
              \theta_{-i} = \sum_{j \ne i} s_j(v_j) a_j + \sum_j d_j

    whose sum over a user's ratings is what the program observes. Data are one-hot vectors as
    `models.RatingsRBM.encode` makes them.

    References:
        | Statistical Analysis of Non-Lattice Data (Besag, 1975)
        | Restricted Boltzmann Machines for Collaborative Filtering (Salakhutdinov, Mnih and Hinton, 2007)
    """

    def __init__(self, items: int, ratings: int, hidden: int) -> None:
        super().__init__()
        self.loading = nn.Parameter(torch.randn(items, hidden) / 10)
        self.rated = nn.Parameter(torch.zeros(items, hidden))
        self.change = nn.Parameter(torch.zeros(items, ratings))
        self.log_precision = nn.Parameter(torch.tensor([3.0, 1.6]))  # lambda of the units, and of the user's mean
        self.log_tilt = nn.Parameter(torch.tensor(-0.7))  # squared weight of the user's mean
        self.base: Tensor
        self.scale: Tensor
        self.register_buffer("scale", torch.arange(1.0, ratings + 1))
        self.register_buffer("base", torch.zeros(items, ratings))

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Biases at the logarithms of frequencies, to which each item has five ratings more that are like all."""
        counts = (data.mean.double() * data.num_train).reshape(self.base.shape)
        overall = counts.sum(0) / counts.sum()
        self.base.copy_(((counts + 5 * overall) / (counts.sum(-1, keepdim=True) + 5)).log())

    def law(self, x: Tensor) -> Tensor:
        """log p of each rating given all other ones up to a constant: (users, items x K) -> (users, items, K)."""
        score = self.scale - (self.base.exp() * self.scale).sum(-1, keepdim=True)
        known = x.unflatten(-1, self.base.shape)
        present = known.sum(-1)
        given = (known * score).sum(-1)  # s of what is rated, 0 elsewhere
        asked = 1 - present  # an item that was not rated is rated too if its rating is asked for
        count = present.sum(-1, keepdim=True) + asked
        size = self.loading.square().sum(-1)
        theta = given @ self.loading + present @ self.rated
        pull = theta @ self.loading.mT + asked * (self.loading * self.rated).sum(-1) - given * size
        units, mean = count + self.log_precision[0].exp(), count + self.log_precision[1].exp()
        tilt = self.log_tilt.exp()
        slope = pull / units + tilt * (given.sum(-1, keepdim=True) - given) / mean
        curvature = (size / units + tilt / mean) / 2
        bias = self.base + self.change
        return bias + score * slope.unsqueeze(-1) + score.square() * curvature.unsqueeze(-1)

    @pyro_method
    def model(self, x: Tensor) -> Tensor:
        """Each rating given all others."""
        known = x.unflatten(-1, self.base.shape)
        with pyro.plate(self.plate, len(x)):
            law = dist.Categorical(logits=self.law(x)).mask(known.sum(-1) > 0).to_event(1)
            return pyro.sample("ratings", law, obs=known.argmax(-1))

    @pyro_method
    def guide(self, x: Tensor) -> None:
        """There is nothing to guess."""

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Expected rating of every item given those in x: (users, items x K) -> (users, items)."""
        return (self.law(x).softmax(-1) * self.scale).sum(-1)
