"""Deep Boltzmann machine."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

from ppgen.distributions import Bernoulli, BoltzmannMachine, Dense
from ppgen.distributions.machines.layered_energy import ODD
from ppgen.distributions.machines.mean_field import mean_field_inputs
from ppgen.distributions.units.bernoulli import ThresholdBernoulli
from ppgen.models.boltzmann.doubled_rbm import DoubledRBM
from ppgen.models.boltzmann.rbm import RBM
from ppgen.models.parts.arguments import positive_size, positive_sizes
from ppgen.models.parts.programs import rows
from ppgen.pair import GenerativeModel


class DBM(GenerativeModel):
    r"""Deep Boltzmann machine: layers of binary units, neighbours joined without direction.

    .. math:: p(v, h_1, h_2, \dots) = \frac{1}{Z} \exp\Big(b \cdot v + \sum_l c_l \cdot h_l + v^\top W_1 h_1 +
              h_1^\top W_2 h_2 + \dots\Big)

    As a program it runs forward like any other: the odd hidden layers h_1, h_3, ... from their marginal, together at
    the site `hidden`, the visible units given h_1 at the site `visible`; the even hidden layers are summed out. The
    guide is the mean-field posterior q(h_1, h_3, ... | v), which has no parameters. By default it is trained on the
    classical variational bound, with the means in closed form (`inference.MeanField`), under persistent chains.
    Weights start at N(0, 1 / (units below + units above)), the visible bias, at the first `fit`, at the logit of the
    training mean.

    References:
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)
        | Deep Boltzmann Machines and the Centering Trick (Montavon and Mueller, 2012)

    Args:
        visible: Visible units.
        hidden: Units of the hidden layers, two or more, from the bottom up.
        mean_field_sweeps: Mean-field updates of all layers, after a first pass.

    Raises:
        ValueError: If a number of units or sweeps is not positive, or there is one hidden layer only.

    Example:
        >>> from ppgen import models
        >>> models.DBM(visible=64, hidden=(12, 8)).machine()
        BoltzmannMachine(visible=64, hidden1=12, hidden2=8)
    """

    default_inference = "pcd"
    default_training = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.5, "lr_schedule": "linear"}  # noqa: RUF012

    def __init__(self, visible: int, hidden: Sequence[int] = (200, 100), mean_field_sweeps: int = 10) -> None:
        super().__init__()
        sizes = (positive_size("visible", visible), *positive_sizes("hidden", hidden))
        if len(sizes) < 3:
            raise ValueError(f"hidden must name two layers or more, got {hidden!r}. models.RBM has one.")
        self.mean_field_sweeps = positive_size("mean_field_sweeps", mean_field_sweeps)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(below, above) / (below + above) ** 0.5)
            for below, above in zip(sizes, sizes[1:], strict=False)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes)
        self.data_mean: Tensor
        self.register_buffer("data_mean", torch.full((visible,), float("nan")))

    @property
    def num_features(self) -> int:
        """Number of observed variables: the visible units."""
        return len(self.data_mean)

    @property
    def num_hidden_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.weights)

    def machine(self) -> BoltzmannMachine:
        """The Boltzmann machine of the present weights: layers `visible`, `hidden1`, `hidden2`, ..."""
        names = ["visible", *(f"hidden{index}" for index in range(1, len(self.biases)))]
        layers = {name: Bernoulli(bias) for name, bias in zip(names, self.biases, strict=True)}
        return BoltzmannMachine(layers, [Dense(weight) for weight in self.weights])

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of the odd hidden layers and the visible units.

        Args:
            x: Data in {0, 1}, shape (rows, visible); None draws it, which needs a sampler (`inference.attach`).
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        machine = self.machine()
        energy = machine.base_energy
        with pyro.plate(self.plate, rows(x, num_rows)):
            hidden = pyro.sample("hidden", machine.marginal(machine.names[ODD::2]))
            below = energy.split(hidden, ODD)[ODD]
            return pyro.sample("visible", machine.conditional("visible", given=below), obs=x)

    @pyro_method
    def guide(self, x: Tensor) -> Tensor:
        """Mean-field posterior of the odd hidden layers, given data of shape (rows, visible)."""
        energy = self.machine().base_energy
        with torch.no_grad():
            inputs = mean_field_inputs(energy, {0: x}, self.mean_field_sweeps)
            logits = torch.cat([inputs[layer] + self.biases[layer] for layer in energy.sides[ODD]], -1)
        law = ThresholdBernoulli(logits=logits, validate_args=False).to_event(1)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("hidden", law, infer={"posterior": "mean field"})  # type: ignore[arg-type]

    @torch.no_grad()
    def initialise(self, data: Any) -> None:
        """Note the training mean, and start the visible bias, if it is zero, at its logit within 1e-4 of 0 and 1."""
        self.data_mean.copy_(data.mean)
        if not self.biases[0].any():
            self.biases[0].copy_(torch.logit(self.data_mean.clamp(1e-4, 1 - 1e-4)))

    def layer_rbm(self, layer: int, below: RBM | None = None) -> RBM:
        """The machine that greedy training fits for hidden layer `layer`, counted from 1.

        A layer between two others will hear both of them, so that alone it hears its one neighbour twice: the first
        hidden layer the data, the one below the uppermost that. Machines in the middle would be doubled both ways,
        which is a machine of twice the weights; `compose` halves them.
        """
        sizes = (len(self.biases[layer - 1]), len(self.biases[layer]))
        if layer == 1:
            return DoubledRBM(*sizes, visible_copies=2)
        return DoubledRBM(*sizes, hidden_copies=2) if layer == len(self.weights) else RBM(*sizes)

    @torch.no_grad()
    def compose(self, rbms: Sequence[RBM]) -> None:
        """Take over machines trained layer by layer; of the two biases that a layer then has, the sum."""
        for bias in self.biases:
            bias.zero_()
        for layer, rbm in enumerate(rbms):
            share = 1.0 if isinstance(rbm, DoubledRBM) else 0.5
            self.weights[layer].copy_(share * rbm.weight)
            self.biases[layer].add_(share * rbm.visible_bias)
            self.biases[layer + 1].add_(share * rbm.hidden_bias)
        self.data_mean.copy_(rbms[0].data_mean)

    @torch.no_grad()
    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of sigmoid layers upwards: the first pass of mean field.

        A layer with another above takes its input from below twice.
        """
        shares = [2.0] * (len(self.weights) - 1) + [1.0]
        return [
            (share * weight, bias) for share, weight, bias in zip(shares, self.weights, self.biases[1:], strict=True)
        ]
