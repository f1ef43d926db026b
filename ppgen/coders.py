"""What a model offers that gives each datum one code and each code one datum."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Coder(Protocol):
    """A model with a deterministic code, as autoencoders and sparse coding have: what `ppgen.features` asks for.

    Example:
        >>> from ppgen import models
        >>> isinstance(models.Autoencoder(4, hidden=(2,)), Coder), isinstance(models.VAE(4, latent=2), Coder)
        (True, False)
    """

    @property
    def num_codes(self) -> int:
        """Numbers of a code."""

    def encode(self, x: Tensor) -> Tensor:
        """Code of every row: (rows, features) -> (rows, codes)."""

    def decode(self, codes: Tensor) -> Tensor:
        """Mean of the data given their codes: (rows, codes) -> (rows, features)."""


@runtime_checkable
class HasEncoderLayers(Protocol):
    """A model whose code is computed by fully connected layers."""

    def encoder_layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (below, above) and bias (above,) of each layer, from the data up to the code."""
