"""A feed-forward network of feature maps: what a stack of convolutional machines says of an image, upwards."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppgen.distributions.couplings.convolutional import in_blocks, map_shape


class PooledMaps(nn.Module):
    r"""One layer of filters, of whose maps each block of C x C units gives one number.

    .. math:: P(p^k = 1 \mid v) = 1 - \frac{1}{1 + \sum_{\text{block}} e^{I}}, \quad
              I_{ij} = a_k + \sum_c \sum_{rs} W^k_{c,rs} \, v^c_{i + r, j + s}

    the probability that probabilistic max-pooling gives to the pooling unit of the block; without blocks it is
    sigmoid(I). The filters and biases a are the layer's own.

    References:
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Args:
        weight: Filters W, (filters, channels, rows, columns); copied.
        bias: Biases a, (filters,); copied.
        shape: Rows and columns of the image.
        pool: Rows and columns of a block.

    Example:
        >>> PooledMaps(torch.ones(3, 1, 2, 2), torch.zeros(3), (5, 5), pool=2)(torch.zeros(7, 25)).shape
        torch.Size([7, 12])
    """

    def __init__(self, weight: Tensor, bias: Tensor, shape: Sequence[int], pool: int) -> None:
        super().__init__()
        filters, channels, *size = weight.shape
        rows, columns = map_shape(shape, size, pool)
        self.image_shape, self.pool = (channels, *shape), pool
        self.num_features = filters * (rows // pool) * (columns // pool)
        self.weight, self.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())

    def reset_parameters(self) -> None:
        """Start the filters at Glorot's uniform law and the biases at zero."""
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities of the pooling units, map by map: (rows, pixels) -> (rows, filters x blocks)."""
        maps = nn.functional.conv2d(image.unflatten(-1, self.image_shape), self.weight, self.bias)
        blocks = in_blocks(maps, self.pool).unflatten(-1, (-1, self.pool**2))
        return torch.sigmoid(blocks.logsumexp(-1)).flatten(-2)


class PooledFeatures(nn.Sequential):
    """Layers of pooled maps, each of which sees the pooling units of the one below.

    Example:
        >>> lower = PooledMaps(torch.ones(3, 1, 2, 2), torch.zeros(3), (5, 5), pool=2)
        >>> stack = PooledFeatures(lower, PooledMaps(torch.ones(2, 3, 2, 2), torch.zeros(2), (2, 2), pool=1))
        >>> stack(torch.zeros(7, 25)).shape, stack.num_features
        (torch.Size([7, 2]), 2)
    """

    @property
    def num_features(self) -> int:
        """Probabilities that come out for each image."""
        last: PooledMaps = list(self)[-1]  # type: ignore[assignment]
        return last.num_features

    def reset_parameters(self) -> None:
        """Start all layers at random."""
        for layer in self:
            layer.reset_parameters()  # type: ignore[operator]
