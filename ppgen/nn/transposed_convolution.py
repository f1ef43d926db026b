"""The transpose of a convolution: each number of a map writes its filter into the image."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, pad


class TransposedConvolution(nn.Module):
    r"""Image written by maps through filters, `stride` times as large as they are.

    .. math:: x^c_{uv} = b_c + \sum_k \sum_{ij} W^{k}_{c, u - s i + p, v - s j + p} \, y^k_{ij}, \quad
              p = \lfloor (\text{size} - 1) / 2 \rfloor

    Without its bias it is the transpose of the linear map of `Convolution` with the same filters, of which every s-th
    row and column is kept. Filters start at Glorot's uniform law times the gain, biases at zero.

    Args:
        filters: Maps above.
        channels: Channels of the image below.
        size: Rows and columns of a filter; at least the stride, so that every pixel is written.
        stride: Pixels from one filter to the next.
        gain: That of the non-linearity behind it.

    Raises:
        ValueError: If a filter is smaller than the stride.

    Example:
        >>> from ppgen.nn import TransposedConvolution
        >>> import torch
        >>> TransposedConvolution(4, 1, size=3)(torch.zeros(5, 4, 8, 8)).shape
        torch.Size([5, 1, 8, 8])
        >>> TransposedConvolution(4, 1, size=3, stride=2)(torch.zeros(5, 4, 8, 8)).shape
        torch.Size([5, 1, 16, 16])
    """

    def __init__(self, filters: int, channels: int, size: int, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        if size < stride:
            raise ValueError(f"size must be at least the stride, {stride}, so that every pixel is written; got {size}.")
        self.stride = stride
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(filters, channels, size, size), gain))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Image: (..., filters, rows, columns) -> (..., channels, stride x rows, stride x columns)."""
        size, stride = self.weight.shape[-1], self.stride
        rows, columns = (stride * number for number in maps.shape[-2:])
        before = (size - 1) // 2
        written = conv_transpose2d(maps.reshape(-1, *maps.shape[-3:]), self.weight, stride=stride)
        beyond = max(0, before + stride - size)  # pixels at the far border that no filter reaches
        written = pad(written, (0, beyond, 0, beyond))[..., before : before + rows, before : before + columns]
        image = written + self.bias[:, None, None]
        return image.reshape(*maps.shape[:-3], *image.shape[1:])
