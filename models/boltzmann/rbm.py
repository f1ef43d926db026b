"""Restricted Boltzmann machine."""

from collections.abc import Sequence
from typing import Any, Literal

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.checks.arguments import as_numbers
from ppgen.distributions import (
    Bernoulli,
    BoltzmannMachine,
    Dense,
    GaussianMarkovField,
    PrecisionGaussian,
    Units,
)
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.parts.arguments import check_images, number_from_zero, one_of, pixels, positive_size


class RBM(RestrictedMachine):
    r"""Restricted Boltzmann machine of binary visible units, and of binary or real hidden ones.

    .. math:: p(v, h) = \frac{1}{Z} \exp(b \cdot v + c \cdot h + v^\top W h)

    With `hidden_units="gaussian"` the hidden units are real numbers, and the exponent has `-|h|^2 / 2` beside, so that
    p(h | v) is normal about the linear code c + W'v with variance 1; with them summed out

    .. math:: p(v) \propto \exp\big(b \cdot v + c^\top W^\top v + \tfrac{1}{2} |W^\top v|^2\big)

    As a program it runs forward like any other: the hidden units from their marginal, the visible ones given them. Its
    guide is the exact posterior p(h | v), so a log-weight is log p(v) for every h. Sites: `hidden` and `visible`, in
    the plate `data`. Weights start at N(0, 1 / (V + H)) and the visible bias, at the first `fit`, at the logit of the
    training mean.

    Of images, whose `shape` is given, the filters have a prior, a Gaussian Markov random field on the pixels:

    .. math:: \log p(W) = -\frac{1}{2} \sum_j \Big(\kappa \sum_{i \sim i'} (W_{ij} - W_{i'j})^2 + \sum_i W_{ij}^2\Big)
              + \text{const}

    Training then maximises log p(W) beside the log-likelihood of all the data, so that what is learned of one pixel is
    believed of its neighbours too: noise of single pixels is fitted less. It stands at the site `filters`, outside of
    the plate, and is no part of log p(v). Of what `fit` logs, `train_value` and `valid_value` are the objective, with
    log p(W) by the number of data; likelihoods and pseudo-likelihoods are those of the data.

    References:
        | Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002)
        | Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient (Tieleman, 2008)
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)

    Args:
        visible: Visible units V.
        hidden: Hidden units H.
        shape: Pixels in each dimension of the images that the visible units are, such as (28, 28); None for data
            that are no images, or for filters without a prior.
        smoothness: kappa, the prior precision of the difference between weights of neighbouring pixels.
        hidden_units: `"bernoulli"`, or `"gaussian"` for real ones of variance 1. Their weights take small steps, a
            hundredth of those of binary units: means have no bound.

    Raises:
        ValueError: If a number of units is not positive, `shape` does not have as many pixels as there are
            visible units, `smoothness` is negative or not finite, or there are no such hidden units.
        TypeError: If one of them is no number, or no sequence of whole numbers.

    Example:
        >>> from ppgen import models
        >>> models.RBM(visible=64, hidden=16, shape=(8, 8)).machine()
        BoltzmannMachine(visible=64, hidden=16)
    """

    default_inference = "pcd"
    has_given_weights = False
    default_training = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(
        self,
        visible: int,
        hidden: int,
        shape: Sequence[int] | None = None,
        smoothness: float = 25.0,
        hidden_units: Literal["bernoulli", "gaussian"] = "bernoulli",
    ) -> None:
        super().__init__()
        visible, hidden = positive_size("visible", visible), positive_size("hidden", hidden)
        self.hidden_units = one_of("hidden_units", hidden_units, ("bernoulli", "gaussian"))
        self.shape = None if shape is None else pixels(shape, visible)
        self.smoothness = number_from_zero("smoothness", smoothness)
        self.weight = nn.Parameter(torch.randn(visible, hidden) / (visible + hidden) ** 0.5)
        self.visible_bias = nn.Parameter(torch.zeros(visible))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((visible,), float("nan")))

    @classmethod
    def from_arrays(
        cls,
        weight: Any,
        visible_bias: Any,
        hidden_bias: Any,
        hidden_units: Literal["bernoulli", "gaussian"] = "bernoulli",
    ) -> "RBM":
        """Machine with given weights, NumPy arrays or tensors; their dtype is kept.

        Args:
            weight: W, shape (V, H).
            visible_bias: b, shape (V,).
            hidden_bias: c, shape (H,).
            hidden_units: `"bernoulli"` or `"gaussian"`.

        Raises:
            TypeError: If one holds no real numbers.
            ValueError: If the shapes do not fit or a value is not finite.

        Example:
            >>> import numpy as np
            >>> from ppgen import models
            >>> models.RBM.from_arrays(np.zeros((3, 2)), np.zeros(3), np.zeros(2)).weight.dtype
            torch.float64
        """
        given = {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
        tensors = {name: as_numbers(name, value) for name, value in given.items()}
        weight = tensors["weight"]
        if weight.dim() != 2:
            raise ValueError(f"weight must have shape (visible, hidden), got {tuple(weight.shape)}.")
        expected = dict(zip(given, (weight.shape, weight.shape[:1], weight.shape[1:]), strict=True))
        for name, tensor in tensors.items():
            if tensor.shape != expected[name]:
                raise ValueError(
                    f"{name} must have shape {tuple(expected[name])} beside weight of shape {tuple(weight.shape)}, "
                    f"got {tuple(tensor.shape)}."
                )
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds values that are not finite.")
        kind: Any = {} if hidden_units == "bernoulli" else {"hidden_units": hidden_units}
        rbm = cls(*weight.shape, **kind)
        dtype = weight.dtype if weight.is_floating_point() else torch.get_default_dtype()
        rbm.to(dtype)
        rbm.has_given_weights = True
        with torch.no_grad():
            for name, tensor in tensors.items():
                getattr(rbm, name).copy_(tensor)
        return rbm

    @classmethod
    def example(cls) -> tuple["RBM", Tensor]:
        """A small instance with six bit vectors, to try things on."""
        return cls(visible=5, hidden=3), torch.rand(6, 5).lt(0.4).float()

    @property
    def num_features(self) -> int:
        """Number of observed variables: the visible units."""
        return len(self.visible_bias)

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights."""
        layers = {"visible": Bernoulli(self.visible_bias), "hidden": hidden_layer(self.hidden_bias, self.hidden_units)}
        return BoltzmannMachine(layers, [Dense(self.weight)])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of hidden and visible units, and the prior of the filters if they are of images.

        Args:
            x: Data in {0, 1}, shape (rows, visible); None draws them, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        if self.shape is not None:
            smoothness = self.weight.new_tensor(self.smoothness)
            prior = GaussianMarkovField(self.shape, smoothness, validate_args=False)
            pyro.sample("filters", prior.expand(self.hidden_bias.shape).to_event(1), obs=self.weight.mT)
        return super().model(x, num_rows)

    @torch.no_grad()
    def hidden_means(self, x: Tensor) -> Tensor:
        """Mean of each hidden unit given v, P(h = 1 | v) of binary ones: (rows, V) -> (rows, H)."""
        heard = x @ self.weight + self.hidden_bias
        return torch.sigmoid(heard) if self.hidden_units == "bernoulli" else heard

    @torch.no_grad()
    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of the one sigmoid layer upwards.

        Raises:
            ValueError: If the hidden units are real.
        """
        if self.hidden_units != "bernoulli":
            raise ValueError("The hidden units are real, no sigmoid layer. Take an RBM of binary hidden units.")
        return [(self.weight, self.hidden_bias)]

    def check_data(self, data: Any) -> None:
        """Raise if the images of a data set have another shape than those that the filters' prior is for.

        Raises:
            ValueError: If the shape is another one.
        """
        if self.shape is not None:
            check_images(data, (1, *self.shape))

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the training mean, and start the visible bias at its logit, held within 1e-4 of 0 and 1.

        A bias that was given (`from_arrays`), or is not zero any more because it was loaded or trained, stays.

        Raises:
            ValueError: If the data are images of another shape.
        """
        self.check_data(data)
        self.data_mean.copy_(data.mean)
        if not self.has_given_weights and not self.visible_bias.any():
            self.visible_bias.copy_(torch.logit(self.data_mean.clamp(1e-4, 1 - 1e-4)))


def hidden_layer(bias: Tensor, kind: str) -> Units:
    """Hidden units of a machine, `"bernoulli"`, or `"gaussian"`: real ones, normal about bias and input, variance 1.

    Example:
        >>> hidden_layer(torch.zeros(3), "gaussian")
        PrecisionGaussian(3)
    """
    return Bernoulli(bias) if kind == "bernoulli" else PrecisionGaussian(bias)
