"""What the features of a convolutional network are: how oriented its filters, where on a face its units answer."""

from typing import Any

import numpy as np
import torch

STRONGEST = 40  # responses over which the picture of a unit is averaged


def orientation(filters: np.ndarray) -> np.ndarray:
    r"""How much of the power of each filter has one orientation, from 0 (none) to 1 (a grating): (filters,).

    .. math:: \Big| \sum_f P_f e^{2 i \theta_f} \Big| \Big/ \sum_f P_f

    over its frequencies f, but the mean; theta_f is the direction of a frequency.

    Args:
        filters: (filters, rows, columns).
    """
    size = 4 * filters.shape[1]  # finer steps of the spectrum than the filter's own
    centred = filters - filters.mean((1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred, (size, size))) ** 2
    axis = np.fft.fftfreq(size)
    angle = np.arctan2(axis[:, None], axis[None])
    return np.abs((power * np.exp(2j * angle)).sum((1, 2))) / power.sum((1, 2))


def responses(dbn: Any, images: np.ndarray) -> np.ndarray:
    """Inputs of the uppermost units, before pooling: (images, filters, rows, columns).

    Their probabilities are often 1 to all digits, so that the largest could not be told.
    """
    *below, top = dbn.recognition_network()
    with torch.no_grad():
        pooled = torch.nn.Sequential(*below)(torch.as_tensor(images).flatten(1)).unflatten(-1, top.image_shape)
        return torch.nn.functional.conv2d(pooled, top.weight, top.bias).numpy()


def scatter(found: np.ndarray) -> np.ndarray:
    """Standard deviation of the place of each unit's strongest response over images, in units of its map: (filters,).

    The square root of the mean variance along rows and columns. A unit that answers to a part of aligned faces has its
    strongest response at about the same place in each of them.
    """
    images, filters, rows, columns = found.shape
    place = found.reshape(images, filters, -1).argmax(-1)
    where = np.stack([place // columns, place % columns])
    return np.sqrt(where.var(1).mean(0))


def seen_by(dbn: Any, found: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Mean of the grey patches at the strongest responses of each uppermost unit: (filters, rows, columns).

    Args:
        dbn: A network of two layers.
        found: Responses to the images, (images, filters, rows, columns).
        grey: The images, (images, rows, columns), each of mean 0 and variance 1 then.
    """
    (_, lower, step), (_, upper, _) = dbn.specification
    side = step * upper + lower - 1  # pixels
    grey = (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True)
    pictures = []
    for unit in range(found.shape[1]):
        strongest = np.argsort(found[:, unit].ravel())[::-1][:STRONGEST]
        where = np.stack(np.unravel_index(strongest, found[:, unit].shape), 1)
        cut = [grey[n, step * i : step * i + side, step * j : step * j + side] for n, i, j in where]
        pictures.append(np.mean(cut, 0))
    return np.stack(pictures)
