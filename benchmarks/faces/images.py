"""Faces for a convolutional network: whitened by their spectrum, divided by the contrast around, mirrored."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

FACES, HELD_OUT = 100, 20
PAD = 8  # pixels that images are reflected by at their edges, so that filters by spectrum do not wrap around


@dataclass(frozen=True)
class Images:
    """Images in the form that the machines see, (images, rows, columns), and the grey ones they are made of."""

    train: np.ndarray
    faces: np.ndarray
    others: np.ndarray
    grey: np.ndarray


def load(path: Path, *, cutoff: float, spread: float, scale: float) -> Images:
    """80 faces and their mirror images for training; 20 faces, and images of other things, to look at the features.

    Args:
        path: A file of 100 faces and then other images of the same size.
        cutoff: Frequency at which the whitening filter has ended, in cycles a pixel.
        spread: Standard deviation of the window in which contrast is measured, in pixels.
        scale: Standard deviation of what comes out, in those of the machine's own noise.
    """
    images = np.load(path).astype(np.float64)
    order = np.random.default_rng(0).permutation(FACES)
    chosen, held_out = images[order[:-HELD_OUT]], images[order[-HELD_OUT:]]
    grey = np.concatenate([chosen, chosen[:, :, ::-1]])
    made = [equalised(whitened(each, cutoff), spread) for each in (grey, held_out, images[FACES:])]
    unit = scale / made[0].std()
    train, faces, others = (np.ascontiguousarray(unit * each, dtype=np.float32) for each in made)
    return Images(train, faces, others, grey)


def whitened(images: np.ndarray, cutoff: float) -> np.ndarray:
    r"""Images whose spectrum is flattened: frequencies f weighted by f exp(-(f / cutoff)^4), the mean taken away.

    Natural images have amplitudes that fall like 1 / f (Olshausen and Field, 1997).
    """
    rows, columns = (np.fft.fftfreq(size + 2 * PAD) for size in images.shape[1:])
    frequency = np.hypot(rows[:, None], columns[None])
    return _filtered(images, frequency * np.exp(-((frequency / cutoff) ** 4)))


def equalised(images: np.ndarray, spread: float) -> np.ndarray:
    """Images divided by their root mean square in a Gaussian window around each pixel, held above the average one."""
    rows, columns = (np.fft.fftfreq(size + 2 * PAD) for size in images.shape[1:])
    window = np.exp(-2 * (np.pi * spread * np.hypot(rows[:, None], columns[None])) ** 2)
    contrast = np.sqrt(_filtered(images**2, window).clip(min=0))
    return images / np.maximum(contrast, contrast.mean())


def _filtered(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Images times weights in frequency space, reflected at their edges."""
    padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD)), mode="reflect")
    return np.fft.ifft2(np.fft.fft2(padded) * weights).real[:, PAD:-PAD, PAD:-PAD]
