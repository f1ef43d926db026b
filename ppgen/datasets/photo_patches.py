"""Whitened patches of scikit-learn's two sample photographs: natural images without a download."""

from os import PathLike

import numpy as np

from ppgen.checks.arguments import check_count
from ppgen.datasets.binarization import permutation
from ppgen.datasets.source import SPLIT_SEED, Source
from ppgen.datasets.whitening import Whitening

TILES = (7, 10)  # of a photograph of 427 x 640 pixels, 61 x 64 pixels each
GROUP = 7  # tiles of like contrast, of which one is for tests, one for validation and five for training
LARGEST = 32
STEPS = 1024  # to a unit: values are rounded, so that rounding errors of other machines do not show
LUMA = (0.299, 0.587, 0.114)


def load_photo_patches(root: str | PathLike | None = None, size: int = 12, num_patches: int = 28_000) -> Source:
    """Whitened grey patches of scikit-learn's photographs of a temple and of a flower.

    Each photograph is cut into 70 tiles; of each seven of like contrast five are for training, one is for validation
    and one for tests. A patch lies within one tile: no pixel of a test patch is in a training patch, as there would be
    if patches were split that overlap; those of one split do overlap. Of each patch the mean is taken away; then all
    are whitened by the covariance of the training patches, 1e-4 added to its eigenvalues, to a standard deviation of 1
    over all pixels. Values are rounded to 1 / 1024, by which the checksum is the same on every machine.
    `datasets.photo_whitening` gives the matrices that lead back to pixels.

    The photographs come with scikit-learn, under the Creative Commons licence CC BY 2.0: china.jpg by danielbuechele,
    flower.jpg by vultilion (Flickr). A figure that shows them names their authors.

    References:
        | The "Independent Components" of Natural Scenes are Edge Filters (Bell and Sejnowski, 1997)

    Args:
        root: Not used: the data need no file of the user's.
        size: Rows and columns of a patch, 2 to 32.
        num_patches: Training patches; validation and test have a tenth of them each.

    Raises:
        ValueError: If the size is out of its range, or fewer patches are asked for than a patch has pixels, or more
            than there are.
    """
    cut, whitening = _cut(size, num_patches)
    white = {split: (rows - whitening.mean) @ whitening.matrix for split, rows in cut.items()}
    stored = {split: np.rint(STEPS * rows).astype(np.int32).reshape(-1, size, size) for split, rows in white.items()}
    return Source(name="photo_patches", arrays=stored, scale=float(STEPS))


def photo_whitening(size: int = 12, num_patches: int = 28_000) -> Whitening:
    """The whitening of the data set `"photo_patches"` of the same options, and so the way back to pixels.

    Args:
        size: Rows and columns of a patch.
        num_patches: Training patches.

    Raises:
        ValueError: As loading the data set does.

    Example:
        >>> from ppgen import datasets
        >>> patches = datasets.load("photo_patches", size=6, num_patches=500)
        >>> whitening = datasets.photo_whitening(size=6, num_patches=500)
        >>> grey = patches.test.numpy() @ whitening.inverse + whitening.mean
        >>> grey.shape, bool(abs(grey.mean(1)).max() < 1e-3), bool(grey.std() < 0.3)
        ((50, 36), True, True)
    """
    return _cut(size, num_patches)[1]


def photographs() -> list[np.ndarray]:
    """The two photographs in grey, (427, 640) each, from 0 to 1."""
    from sklearn.datasets import load_sample_images  # slow to import

    return [picture @ np.array(LUMA) / 255 for picture in load_sample_images().images]


def _cut(size: int, num_patches: int) -> tuple[dict[str, np.ndarray], Whitening]:
    """Grey patches less their means by split, (N, pixels), and the whitening of the training ones."""
    wanted = f"a whole number of pixels, from 2 to {LARGEST}"
    if check_count("size", size, 2, wanted=wanted, room=False) > LARGEST:
        raise ValueError(f"size must be {wanted}, got {size}.")
    check_count("num_patches", num_patches, size**2, wanted=f"at least {size**2}, the pixels of a patch", room=False)
    tiles = _tiles()
    counts = {"train": num_patches, "valid": -(-num_patches // 10), "test": -(-num_patches // 10)}
    cut = {split: _patches(tiles[split], size, count, split) for split, count in counts.items()}
    return cut, Whitening.fitted(cut["train"])


def _tiles() -> dict[str, np.ndarray]:
    """Tiles of both photographs by split, (tiles, 61, 64)."""
    found: dict[str, list[np.ndarray]] = {"train": [], "valid": [], "test": []}
    for number, picture in enumerate(photographs()):
        tiles = np.stack([part for band in np.split(picture, TILES[0]) for part in np.split(band, TILES[1], axis=1)])
        groups = np.argsort(tiles.std((1, 2)), kind="stable").reshape(-1, GROUP)
        orders = permutation(groups.size, SPLIT_SEED + number).reshape(groups.shape).argsort(1)
        dealt = np.take_along_axis(groups, orders, axis=1)
        for split, chosen in zip(found, np.split(dealt, (GROUP - 2, GROUP - 1), axis=1), strict=True):
            found[split].append(tiles[np.sort(chosen, axis=None)])
    return {split: np.concatenate(parts) for split, parts in found.items()}


def _patches(tiles: np.ndarray, size: int, count: int, split: str) -> np.ndarray:
    """Patches of some tiles at different places, chosen at random, less their means: (count, pixels)."""
    windows = np.lib.stride_tricks.sliding_window_view(tiles, (size, size), axis=(1, 2))
    places = int(np.prod(windows.shape[:3]))
    if count > places:
        raise ValueError(
            f"num_patches asks for {count:,} {split} patches of {size} x {size} pixels, and the photographs have "
            f"{places:,}. Give a smaller num_patches or size."
        )
    chosen = permutation(places, SPLIT_SEED)[:count]
    rows = windows[np.unravel_index(chosen, windows.shape[:3])].reshape(count, -1)
    return rows - rows.mean(1, keepdims=True)
