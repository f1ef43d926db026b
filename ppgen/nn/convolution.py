"""Convolution of images that keeps their size."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad


class Convolution(nn.Module):
    r"""Maps of an image by filters, as large as the image, whose border is padded with zeros.

    .. math:: y^k_{ij} = b_k + \sum_c \sum_{rs} W^{k}_{c,rs} \, x^c_{i + r - p, j + s - p}, \quad
              p = \lfloor (\text{size} - 1) / 2 \rfloor

    Filters start at Glorot's uniform law times the gain, biases at zero.

    Args:
        channels: Channels of the image.
        filters: Maps.
        size: Rows and columns of a filter.
        gain: That of the non-linearity behind it.

    Example:
        >>> from ppgen.nn import Convolution
        >>> import torch
        >>> Convolution(1, 4, size=3)(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 4, 8, 8])
    """

    def __init__(self, channels: int, filters: int, size: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(filters, channels, size, size), gain))
        self.bias = nn.Parameter(torch.zeros(filters))

    def forward(self, image: Tensor) -> Tensor:
        """Maps: (..., channels, rows, columns) -> (..., filters, rows, columns)."""
        size = self.weight.shape[-1]
        before, after = (size - 1) // 2, size // 2
        flat = image.reshape(-1, *image.shape[-3:])
        maps = conv2d(pad(flat, (before, after, before, after)), self.weight, self.bias)
        return maps.reshape(*image.shape[:-3], *maps.shape[1:])
