"""Autoencoders of several layers as stacks: trained layer by layer, and what a classifier takes of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch

from ppgen.nn.activations import ACTIVATIONS, Activation
from ppgen.nn.mirrored_layers import MirroredLayers
from ppgen.nn.upward_layers import UpwardLayers

S = TypeVar("S", bound="StackedLayers")


class StackedLayers:
    """What `training.pretrain` and `training.finetune_classifier` ask of autoencoders of fully connected layers."""

    network: MirroredLayers
    observation: Any
    initialised: bool
    config: Any

    @property
    def num_hidden_layers(self) -> int:
        """Number of layers up to the code, that of the code among them."""
        return len(self.network.up)

    def layer_autoencoder(self: S, layer: int) -> S:
        """The autoencoder of one layer that greedy training fits for layer `layer`, counted from 1.

        It is of the same kind, with the noise or the penalty of this one. Above the first it reconstructs codes: those
        of sigmoid units by their cross-entropy, others by their squared error with a standard deviation that is
        learned. Reconstructions are put through those units' non-linearity, as the stack will do.

        Raises:
            ValueError: If there is no such layer.
        """
        if layer not in range(1, self.num_hidden_layers + 1):
            raise ValueError(f"layer must be a number from 1 to {self.num_hidden_layers}, got {layer!r}.")
        sizes, names = self.network.sizes, [_name(each) for each in self.network.activations]
        own: dict[str, Any] = dict(self.config())
        changes: dict[str, Any] = {"features": sizes[layer - 1], "hidden": (sizes[layer],)}
        changes |= {"activation": names[layer - 1], "code_activation": names[layer - 1]}
        if "prior" in own:
            changes["prior"] = "flat"
        if layer > 1:
            below = names[layer - 2]
            bits = below == "sigmoid"  # whose cross-entropy has the sigmoid for its link
            changes |= {"likelihood": "cross-entropy" if bits else "gaussian", "scale": None}
            changes["output_activation"] = "linear" if bits else below
        return type(self)(**{**own, **changes})

    @torch.no_grad()
    def compose(self: S, layers: Sequence[S]) -> None:
        """Take over the weights of autoencoders trained layer by layer, from the bottom up, and the law of the lowest.

        Raises:
            ValueError: If there is not one for each layer.
        """
        if len(layers) != self.num_hidden_layers:
            raise ValueError(f"layers must hold one autoencoder for each of {self.num_hidden_layers} layers.")
        up = [each.network.encoder_layers()[0] for each in layers]
        down = [each.network.decoder_layers()[0] for each in reversed(layers)]
        self.network.set_layers(up, down)
        self.observation.load_state_dict(layers[0].observation.state_dict())
        self.initialised = True

    def recognition_network(self) -> UpwardLayers:
        """The encoder as a network of its own, with copies of its weights."""
        return UpwardLayers(self.network.encoder_layers(), self.network.activations, self.observation.counts_words)


_NAMES: Mapping[int, str] = {id(activation): name for name, activation in ACTIVATIONS.items()}


def _name(activation: Activation) -> str:
    return _NAMES[id(activation)]
