"""A data set that is ready to be modelled: three splits, one binarisation, one checksum."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ppgen.datasets.rows import Rows

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training, validation and test rows with all that a reported likelihood must name.

    `train`, `valid` and `test` are float32 tensors (rows x features) which a model may be evaluated on as
    they stand; for a file mapped from disk they are `Rows`, which read what is indexed and give float32
    tensors too.

    Args:
        name: Registered name, or the stem of the file, or `"array"`.
        train: (N, F). Under `"dynamic"` one fixed draw; `batch` redraws from `train_probabilities`.
        valid: (N_valid, F); may have no rows.
        test: (N_test, F); may have no rows.
        labels: Class of each row by split, int64, or None.
        image_shape: Shape of a row as an image, or None.
        mean: (F,) mean of the training rows; of the probabilities under `"dynamic"`.
        checksum: sha256 of the stored rows of the three splits, before binarisation.
        binarization: `"threshold"`, `"fixed"`, `"dynamic"`; without one, what the values are: `"binary"` (0
            and 1 as given), `"grey"` (within [0, 1]) or `"real"`.
        seed: Seed of the fixed draw, or of the evaluation draw under `"dynamic"`; None otherwise.
        train_probabilities: (N, F) grey levels that training batches are drawn from under `"dynamic"`; else
            None.

    Example:
        >>> from ppgen import datasets
        >>> datasets.load("digits", binarize="threshold")
        Dataset(digits (threshold binarisation): 1297 train, 200 valid, 300 test rows x 64 features,
        images 8x8)
    """

    name: str
    train: Tensor | Rows
    valid: Tensor | Rows
    test: Tensor | Rows
    labels: dict[str, Tensor] | None
    image_shape: tuple[int, ...] | None
    mean: Tensor
    checksum: str
    binarization: str
    seed: int | None = None
    train_probabilities: Tensor | Rows | None = None

    @property
    def num_features(self) -> int:
        return self.train.shape[1]

    @property
    def num_train(self) -> int:
        return len(self.train)

    @property
    def is_binary(self) -> bool:
        """Whether every value of every split is 0 or 1."""
        return self.binarization not in ("grey", "real")

    @property
    def device(self) -> torch.device:
        return self.mean.device

    def split(self, name: str) -> Tensor | Rows:
        """Rows of the split of that name.

        Raises:
            ValueError: If `name` is none of `"train"`, `"valid"`, `"test"`.
        """
        if name not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, got {name!r}.")
        return getattr(self, name)

    def batch(self, split: str, index: Any, generator: torch.Generator | None = None) -> Tensor:
        """Rows of a split as a float32 tensor on the data set's device.

        Under `"dynamic"` the training rows are drawn anew at each call, x = [u < p] with u uniform.

        Args:
            split: `"train"`, `"valid"` or `"test"`.
            index: Integers (B,), a mask, or a slice.
            generator: Source of the uniforms; torch's global random state without it.

        Returns:
            (B, F) float32.

        Example:
            >>> from ppgen import datasets
            >>> digits = datasets.load("digits", binarize="dynamic")
            >>> digits.batch("train", torch.arange(5), torch.Generator().manual_seed(0)).shape
            torch.Size([5, 64])
        """
        rows = self.split(split)
        if split != "train" or self.train_probabilities is None:
            return rows[index]
        return drawn(self.train_probabilities[index], generator)

    def to(self, device: torch.device | str) -> "Dataset":
        """Data set with its tensors on `device`; mapped rows stay on disk, batches are moved."""
        labels = self.labels and {split: values.to(device) for split, values in self.labels.items()}
        probabilities = self.train_probabilities
        return replace(
            self,
            train=self.train.to(device),
            valid=self.valid.to(device),
            test=self.test.to(device),
            labels=labels,
            mean=self.mean.to(device),
            train_probabilities=None if probabilities is None else probabilities.to(device),
        )

    def describe(self) -> str:
        """Name and binarisation in the words that stand beside a reported likelihood.

        Example:
            >>> from ppgen import datasets
            >>> datasets.load("digits", binarize="dynamic", seed=3).describe()
            'digits (dynamic binarisation, evaluation draw of seed 3)'
        """
        wording = {
            "binary": "binary as given",
            "grey": "grey levels, not binarised",
            "real": "real values",
            "threshold": "threshold binarisation",
            "fixed": f"fixed binarisation, seed {self.seed}",
            "dynamic": f"dynamic binarisation, evaluation draw of seed {self.seed}",
        }
        return f"{self.name} ({wording[self.binarization]})"

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(self.split(split))} {split}" for split in SPLITS)
        images = f", images {'x'.join(map(str, self.image_shape))}" if self.image_shape else ""
        return f"Dataset({self.describe()}: {sizes} rows x {self.num_features} features{images})"


def drawn(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Bits of grey levels, x = [u < p], on the device of the grey levels.

    Args:
        probabilities: (B, F) in [0, 1].
        generator: Source of the uniforms; torch's global random state without it.

    Returns:
        (B, F) of the same type.

    Example:
        >>> drawn(torch.tensor([[0.0, 1.0]]))
        tensor([[0., 1.]])
    """
    # A generator draws on its own device only: CPU uniforms of a seed serve a data set on any device.
    where = probabilities.device if generator is None else generator.device
    u = torch.rand(probabilities.shape, dtype=probabilities.dtype, device=where, generator=generator)
    return (u.to(probabilities.device) < probabilities).to(probabilities.dtype)
