"""What models offer to those who train them in stages: stacks of layers, priors, machines."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

# Methods alone: what a module holds as a buffer, as `data_mean`, is no attribute that a protocol finds.


@runtime_checkable
class HasMachine(Protocol):
    """A model that is, or holds, one Boltzmann machine."""

    def machine(self) -> Any:
        """The `ppgen.distributions.BoltzmannMachine` with its present weights."""


@runtime_checkable
class LayerMachine(HasMachine, Protocol):
    """The machine of one layer, which sends the means of its hidden units further up."""

    def hidden_means(self, x: Tensor) -> Tensor:
        """Mean of the hidden units of every row, P(h = 1) of bits: (rows, visible) -> (rows, hidden)."""


@runtime_checkable
class GreedyStack(Protocol):
    """A model whose layers are trained one after another: what `training.pretrain` takes.

    It also says `num_features` and `num_hidden_layers`.
    """

    def layer_rbm(self, layer: int, below: Any = None) -> Any:
        """The machine that greedy training fits for hidden layer `layer`, from 1, above the machine `below`."""

    def compose(self, rbms: Sequence[Any]) -> None:
        """Take over the weights of machines trained layer by layer, from the bottom up."""


@runtime_checkable
class BoundedStack(GreedyStack, Protocol):
    """A stack whose lowest layers alone are a model, so that each layer has a bound of its own."""

    def stacked(self, rbms: Sequence[Any]) -> Any:
        """The model of the lowest layers: a pair with a machine at its top and `data_mean`, the mean of its data.

        None where they have no one log Z, as documents of several lengths.
        """


@runtime_checkable
class GreedyCoders(Protocol):
    """A stack of autoencoders that are trained one after another: what `training.pretrain` takes too.

    It also says `num_features` and `num_hidden_layers`.
    """

    def layer_autoencoder(self, layer: int) -> Any:
        """The autoencoder of one layer that greedy training fits for hidden layer `layer`, from 1."""

    def compose(self, layers: Sequence[Any]) -> None:
        """Take over the weights of autoencoders trained layer by layer, from the bottom up."""


@runtime_checkable
class LearnedPrior(Protocol):
    """A model whose prior of the latents has parameters of its own: what `training.fit_prior` takes."""

    def prior_parameters(self) -> list[nn.Parameter]:
        """The parameters of the prior alone."""


@runtime_checkable
class Unrollable(Protocol):
    """A stack of layers that can be unrolled: its recognition upwards, then its generation downwards."""

    def unrolled(self, likelihood: str | None = None) -> Any:
        """The deterministic autoencoder of means, with weights of its own."""


@runtime_checkable
class RecognitionLayers(Protocol):
    """A stack of sigmoid layers that recognises its data: what `training.finetune_classifier` starts from."""

    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of the layers, from the bottom up."""


@runtime_checkable
class RecognitionNetwork(Protocol):
    """Stack whose way up is a network: the other thing that `training.finetune_classifier` starts from."""

    def recognition_network(self) -> nn.Module:
        """Copy of the network from the data to the uppermost units, with their number as `num_features`.

        Its method `reset_parameters` starts all of it at random.
        """


@runtime_checkable
class RecognitionMaps(RecognitionNetwork, Protocol):
    """Stack whose way up is a network of feature maps of images of one shape."""

    def check_data(self, data: Any) -> None:
        """Raise unless a `ppgen.datasets.Dataset` holds images of the model's shape."""
