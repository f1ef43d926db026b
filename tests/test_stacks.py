"""Which models are stacks of layers, and what is told of those that are none."""

import pytest
import torch

from ppgen import models, registry, training
from ppgen.models.boltzmann.doubled_rbm import DoubledRBM
from ppgen.stacks import (
    BoundedStack,
    GreedyCoders,
    GreedyStack,
    HasMachine,
    LayerMachine,
    RecognitionLayers,
    RecognitionMaps,
    RecognitionNetwork,
    Unrollable,
)

EXPECTED = {
    HasMachine: {
        "RBM",
        "GaussianRBM",
        "ReplicatedSoftmax",
        "RatingsRBM",
        "ConvolutionalRBM",
        "DBM",
        "DBN",
        "ConvolutionalDBN",
        "DiscreteVAE",
    },
    LayerMachine: {"RBM", "GaussianRBM", "ReplicatedSoftmax", "ConvolutionalRBM"},
    GreedyStack: {"DBM", "DBN", "ConvolutionalDBN"},
    BoundedStack: {"DBN", "ConvolutionalDBN"},
    GreedyCoders: {"Autoencoder", "DenoisingAutoencoder", "ContractiveAutoencoder"},
    Unrollable: {"DBN"},
    RecognitionLayers: {"RBM", "GaussianRBM", "DBM", "DBN"},
    RecognitionNetwork: {
        "ConvolutionalRBM",
        "ConvolutionalDBN",
        "Autoencoder",
        "DenoisingAutoencoder",
        "ContractiveAutoencoder",
        "ConvolutionalAutoencoder",
    },
    RecognitionMaps: {"ConvolutionalRBM", "ConvolutionalDBN", "ConvolutionalAutoencoder"},
}


@pytest.mark.parametrize("protocol", EXPECTED)
def test_models_offer_what_their_docstrings_say(protocol: type) -> None:
    """Catches a model that is refused by pretraining or a classifier because a method of it was renamed."""
    found = {name for name in registry.MODELS if issubclass(registry.lookup("model", name), protocol)}
    assert found == EXPECTED[protocol]


def test_every_layer_of_a_stack_is_a_machine() -> None:
    """Catches a machine of a layer, as a doubled one, whose activities cannot be sent up, before it is trained."""
    stacks = [
        models.DBN(4, (3, 2)),
        models.DBN(4, (3, 2), "gaussian"),
        models.DBN(4, (3, 2), "multinomial", "gaussian"),
        models.DBM(4, (3, 2, 2)),
        models.ConvolutionalDBN(16, (2, 2), (2, 2), (1, 1)),
    ]
    for stack in stacks:
        assert isinstance(stack, GreedyStack)
        assert all(isinstance(stack.layer_rbm(layer), LayerMachine) for layer in range(1, stack.num_hidden_layers + 1))
    assert isinstance(DoubledRBM(3, 2, visible_copies=2), LayerMachine)


class Wrong(models.DBN):
    """A network whose layers are no machines."""

    def layer_rbm(self, layer: int, below: object = None) -> object:
        return models.RatingsRBM(self.sizes[layer - 1] // 2, 2, self.sizes[layer])


def test_a_layer_without_activities_is_named_before_it_is_trained() -> None:
    """Catches a layer that is trained, and of which only then an attribute is missing."""
    steps: list[object] = []
    with pytest.raises(TypeError, match=r"Wrong.layer_rbm must return .*hidden_means.* got RatingsRBM"):
        training.pretrain(Wrong(4, (3, 2)), torch.eye(4), epochs=1, progress=False, callbacks=[steps.append])
    assert not steps
    with pytest.raises(ValueError, match="pretrain trains a stack of layers.*got VAE"):
        training.pretrain(models.VAE(4, latent=2, hidden=()), torch.eye(4), progress=False)
    with pytest.raises(ValueError, match="starts from a stack of layers.*got VAE"):
        training.finetune_classifier(models.VAE(4, latent=2, hidden=()), torch.eye(4), torch.arange(4))
