"""Features of digits without labels: sparse features of patches pooled over the image, principal components, pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import ppgen
from ppgen import models

SIDE, EPS, RIDGE = 28, 0.01, 0.1  # pixels; added to variances of a patch, and to those along principal axes
AT_ONCE = 250
BLANK = 0.1  # standard deviation of a patch below which there is nothing on it to learn from


@dataclass(frozen=True)
class PatchFeatures:
    """One soft threshold of each atom and of its negative at every place, averaged over the cells of a grid.

    Patches have mean 0 and standard deviation 1 and are whitened; features are max(0, D'x - t) and max(0, -D'x - t).
    This is the pipeline of Coates, Ng and Lee (2011, *An Analysis of Single-Layer Networks in Unsupervised Feature
    Learning*), with a dictionary of sparse coding.

    Attributes:
        filters: The atoms after the whitening, (atoms, size, size).
        offset: Their response to the mean patch, (atoms,).
    """

    filters: Tensor
    offset: Tensor

    @staticmethod
    def learned(images: Tensor, size: int, atoms: int, penalty: float, patches: int, seed: int) -> "PatchFeatures":
        """Of patches of images (rows, pixels), chosen at random among those that are not blank."""
        generator = torch.Generator().manual_seed(seed)
        cut = functional.unfold(images.view(-1, 1, SIDE, SIDE), size).mT.reshape(-1, size**2)
        cut = cut[cut.std(1) > BLANK]
        cut = cut[torch.randperm(len(cut), generator=generator)[:patches]]
        cut = cut - cut.mean(1, keepdim=True)
        cut = cut / (cut.var(1, keepdim=True) + EPS).sqrt()
        mean = cut.mean(0)
        values, axes = torch.linalg.eigh(torch.cov(cut.mT))
        whiten = axes @ torch.diag((values.clamp(min=0) + RIDGE).rsqrt()) @ axes.mT
        white = (cut - mean) @ whiten
        scale = torch.linalg.vector_norm(white, dim=1).mean()
        torch.manual_seed(seed)
        coder = models.SparseCoding(size**2, atoms, penalty)
        ppgen.fit(coder, white / scale, epochs=3, batch_size=500, seed=seed, progress=False)
        filters = whiten @ coder.dictionary.detach() / scale
        return PatchFeatures(filters.mT.reshape(-1, 1, size, size), mean @ filters)

    def __call__(self, images: Tensor, threshold: float, grid: int) -> np.ndarray:
        """Features of images, (rows, pixels) -> (rows, 2 atoms grid^2), float32."""
        size = self.filters.shape[-1]
        means = self.filters.new_full((1, 1, size, size), 1 / size**2)
        sums = self.filters.sum((-2, -1)).view(1, -1, 1, 1)
        found = []
        for part in images.view(-1, 1, SIDE, SIDE).split(AT_ONCE):
            mean = functional.conv2d(part, means)
            variance = (functional.conv2d(part.square(), means) - mean.square()).clamp(min=0) * size**2 / (size**2 - 1)
            response = functional.conv2d(part, self.filters) - mean * sums
            response = response / (variance + EPS).sqrt() - self.offset.view(1, -1, 1, 1)
            pooled = [
                functional.adaptive_avg_pool2d((each - threshold).clamp_(min=0), grid) for each in (response, -response)
            ]
            found.append(torch.cat(pooled, 1).flatten(1).numpy())
        return np.concatenate(found)


def principal_components(images: Tensor, number: int) -> Callable[[Tensor], np.ndarray]:
    """Scores of the first principal components of some images."""
    mean = images.mean(0)
    values, axes = torch.linalg.eigh(torch.cov(images.mT))
    first = axes[:, values.argsort(descending=True)[:number]]
    return lambda rows: ((rows - mean) @ first).numpy()
