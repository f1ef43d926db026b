"""Images turned, stretched and shifted a little."""

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

TURN, STRETCH, SHIFT = 0.15, 0.1, 0.06  # radians; shares of a side


def moved_images(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by up to 9 degrees, each side stretched by up to a tenth, shifted by up to 6 % of it.

    Every amount is drawn evenly between its bounds; values between pixels are interpolated.

    Args:
        images: (rows, channels, height, width).
        generator: Source of all that is drawn.

    Example:
        >>> import torch
        >>> moved_images(torch.rand(3, 1, 8, 8), torch.Generator().manual_seed(0)).shape
        torch.Size([3, 1, 8, 8])
    """

    def drawn(bound: float, *shape: int) -> Tensor:
        return bound * (2 * torch.rand(len(images), *shape, generator=generator) - 1)

    angle, scale, shift = drawn(TURN), 1 + drawn(STRETCH, 2), drawn(2 * SHIFT, 2)  # sides reach from -1 to 1
    turned = torch.stack([torch.stack([angle.cos(), -angle.sin()], -1), torch.stack([angle.sin(), angle.cos()], -1)], 1)
    maps = torch.cat([scale.unsqueeze(-1) * turned, shift.unsqueeze(-1)], -1).to(images)
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
