"""Images of no class, made from images that have one."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

Draw = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def images_of_no_class(images: Tensor, labels: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Images that no class has: noise, blanks, patches in disorder, halves of two classes, blurs and magnified parts.

    As many of each kind, one more of the first ones. Of images of bits they are drawn as bits, with what would be grey
    as their probability.

    Args:
        images: Images that have a class, (rows, channels, height, width).
        labels: Their classes, (rows,), of two or more.
        count: Images to make.
        generator: Source of all that is drawn.

    Returns:
        (count, channels, height, width).

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> images_of_no_class(torch.rand(9, 1, 8, 8), torch.arange(9) % 3, 12, generator).shape
        torch.Size([12, 1, 8, 8])
    """
    made = []
    for number, kind in enumerate(KINDS):
        share = len(range(number, count, len(KINDS)))
        if share:
            chosen = torch.randint(len(images), (2, share), generator=generator)
            chosen[1] = _of_another_class(labels, chosen[0], generator)
            made.append(kind(images[chosen[0]], images[chosen[1]], generator))
    found = torch.cat(made) if made else images[:0]
    if bool(((images == 0) | (images == 1)).all()):
        return (torch.rand(found.shape, generator=generator) < found).to(images.dtype)
    return found


def _of_another_class(labels: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """A row of another class for each chosen one."""
    order = labels.argsort(stable=True)
    bounds = (
        torch.searchsorted(labels[order], labels[chosen]),
        torch.searchsorted(labels[order], labels[chosen], right=True),
    )
    same = bounds[1] - bounds[0]
    steps = torch.rand(len(chosen), generator=generator, dtype=torch.float64) * (len(labels) - same)
    return order[(bounds[1] + steps.long()) % len(labels)]


def noise(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel from another image, or of one of two values with an evenly drawn share of each."""
    pixels = images.flatten(1)
    rank = torch.rand(pixels.shape, generator=generator).argsort(0)
    shuffled = pixels.gather(0, rank).reshape(images.shape)
    share = torch.rand(_one_each(images), generator=generator)
    bits = torch.rand(images.shape, generator=generator) < share
    low, high = images.min(), images.max()
    return torch.where(_half(images, generator), shuffled, torch.where(bits, high, low))


def blank(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """One value everywhere, the lowest of all in half of the images, and a few pixels of another value."""
    low, high = images.min(), images.max()
    level = low + (high - low) * torch.rand(_one_each(images), generator=generator)
    level = torch.where(_half(images, generator), low, level)
    share = 0.03 * torch.rand(_one_each(images), generator=generator)
    specks = torch.rand(images.shape, generator=generator) < share
    return torch.where(specks, low + high - level, level)


def disorder(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Patches, four to a side, in another order; what is left over at the borders stays."""
    count, channels, height, width = images.shape
    tall, wide = max(height // 4, 1), max(width // 4, 1)
    rows, columns = height // tall, width // wide
    inner = images[..., : rows * tall, : columns * wide].reshape(count, channels, rows, tall, columns, wide)
    patches = inner.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = torch.rand(count, rows * columns, generator=generator).argsort(1)
    moved = patches[torch.arange(count)[:, None], order].unflatten(1, (rows, columns)).permute(0, 3, 1, 4, 2, 5)
    found = images.clone()
    found[..., : rows * tall, : columns * wide] = moved.reshape(count, channels, rows * tall, columns * wide)
    return found


def halves(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """One half of an image, upper or left, and the other half of one of another class."""
    upper = torch.arange(images.shape[2])[:, None] < images.shape[2] // 2
    left = torch.arange(images.shape[3]) < images.shape[3] // 2
    return torch.where(torch.where(_half(images, generator), upper, left), images, others)


def blurred(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Means over squares of a third of the image, twice, stretched to the range of the image."""
    size = max(min(images.shape[2:]) // 3, 2) // 2 * 2 + 1
    found = images
    for _ in range(2):
        found = avg_pool2d(found, size, stride=1, padding=size // 2, count_include_pad=False)
    low, high = found.amin((1, 2, 3), keepdim=True), found.amax((1, 2, 3), keepdim=True)
    bottom, top = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return bottom + (top - bottom) * (found - low) / (high - low).clamp_min(1e-6)


def magnified(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """A part of the image, of a quarter to two fifths of its side, as large as the whole."""
    scale = 0.25 + 0.15 * torch.rand(len(images), generator=generator)
    place = (2 * torch.rand(len(images), 2, generator=generator) - 1) * (0.7 - scale)[:, None]
    maps = torch.zeros(len(images), 2, 3)
    maps[:, 0, 0], maps[:, 1, 1], maps[:, :, 2] = scale, scale, place
    grid = affine_grid(maps.to(images), list(images.shape), align_corners=False)
    return grid_sample(images, grid, align_corners=False)


def _one_each(images: Tensor) -> tuple[int, int, int, int]:
    return len(images), 1, 1, 1


def _half(images: Tensor, generator: torch.Generator) -> Tensor:
    """A mask of about half of the images, (rows, 1, 1, 1)."""
    return torch.rand(_one_each(images), generator=generator) < 0.5


KINDS: tuple[Draw, ...] = (noise, blank, disorder, halves, blurred, magnified)
"""All kinds of images of no class."""
