"""Small machines of feature maps: filters over several positions and channels, rectangles, blocks above and below."""

import torch
from torch import Tensor

from ppgen.distributions import Bernoulli, BoltzmannMachine, Convolutional, Gaussian, MaxPooled, Units


def parameter(*shape: int, device: torch.device | str = "cpu") -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)
    return drawn.to(device).requires_grad_()


def hidden_maps(coupling: Convolutional) -> Units:
    """Units of the maps above a coupling, each map with one bias."""
    maps, rows, columns = coupling.map_shape
    bias, block = parameter(maps, device=coupling.weight.device), coupling.pool**2
    return Bernoulli(bias, rows * columns) if block == 1 else MaxPooled(bias, block, rows * columns // block)


def feature_maps(
    image: tuple[int, int, int],
    size: tuple[int, int],
    *,
    pool: int,
    maps: int = 2,
    top: int = 0,
    units: type[Bernoulli] | type[Gaussian] = Bernoulli,
    device: torch.device | str = "cpu",
) -> BoltzmannMachine:
    """Two layers joined by filters; with `top` maps, a third layer of filters of one pixel that hears pooling units."""
    coupling = Convolutional(parameter(maps, image[0], *size, device=device), image[1:], pool=pool)
    visible = units(parameter(image[0], device=device), positions=image[1] * image[2])
    layers = {"visible": visible, "hidden": hidden_maps(coupling)}
    if not top:
        return BoltzmannMachine(layers, [coupling])
    _, rows, columns = coupling.map_shape
    weight = parameter(top, maps, 1, 1, device=device)
    upper = Convolutional(weight, (rows // pool, columns // pool), pool_below=pool)
    return BoltzmannMachine({**layers, "top": hidden_maps(upper)}, [coupling, upper])
