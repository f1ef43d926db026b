"""Fully connected layers above the counts of a document."""

from torch import Tensor

from ppgen.nn.mirrored_layers import MirroredLayers


class CountingLayers(MirroredLayers):
    r"""Mirrored layers whose lowest one has a bias for each of the D words of a document.

    .. math:: h_1 = f(v^\top W_1 + D \, b_1), \quad D = \sum_i v_i

    as the hidden units of `models.ReplicatedSoftmax` hear it.

    Example:
        >>> import torch
        >>> CountingLayers((6, 4, 2)).encode(torch.ones(3, 6)).shape
        torch.Size([3, 2])
    """

    def encode(self, x: Tensor) -> Tensor:
        """Code: (..., vocabulary) -> (..., code)."""
        for layer, (weight, bias, activation) in enumerate(zip(self.up, self.up_bias, self.activations, strict=True)):
            times = 1.0 if layer else x.sum(-1, keepdim=True)
            x = activation.apply(x @ weight + times * bias)
        return x

    def pushed(self, x: Tensor, tangent: Tensor) -> tuple[Tensor, Tensor]:
        """Code, and how it moves when the counts move along a tangent: J v, both (..., code)."""
        for layer, (weight, bias, activation) in enumerate(zip(self.up, self.up_bias, self.activations, strict=True)):
            times = 1.0 if layer else x.sum(-1, keepdim=True)
            moved = tangent @ weight if layer else tangent @ weight + tangent.sum(-1, keepdim=True) * bias
            x = activation.apply(x @ weight + times * bias)
            tangent = moved * activation.slope(x)
        return x, tangent
