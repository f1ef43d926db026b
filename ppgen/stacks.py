"""What a stack of layers offers to greedy pretraining and to a classifier, and a machine to those who look at it."""

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
        """P(h = 1) of every row: (rows, visible) -> (rows, hidden)."""


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
        """The model of the lowest layers: a pair with a machine at its top and `data_mean`, the mean of its data."""


@runtime_checkable
class RecognitionLayers(Protocol):
    """A stack of sigmoid layers that recognises its data: what `training.finetune_classifier` starts from."""

    def recognition_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (below, above) and biases (above,) of the layers, from the bottom up."""


@runtime_checkable
class RecognitionMaps(Protocol):
    """Stack whose way up is a network of feature maps of images of one shape."""

    def recognition_network(self) -> nn.Module:
        """Network from the data to the uppermost pooling units, with their number as `num_features`."""

    def check_data(self, data: Any) -> None:
        """Raise unless a `ppgen.datasets.Dataset` holds images of the model's shape."""
