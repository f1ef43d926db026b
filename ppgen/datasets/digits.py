"""The embedded data set: scikit-learn's handwritten digits, 8 x 8 pixels of 17 grey levels."""

from os import PathLike

import numpy as np

from ppgen.datasets.binarization import permutation
from ppgen.datasets.source import SPLIT_SEED, Source

NUM_TEST = 300
NUM_VALID = 200


def load_digits(root: str | PathLike | None = None) -> Source:
    """Handwritten digits of scikit-learn, 8x8, 17 grey levels: 1,297 train, 200 valid, 300 test.

    The file holds its writers one after the other, so the rows are permuted once and for all (without
    stratification) before they are divided. Grey levels 0 to 16 are divided by 16; at 8 / 16 a threshold
    gives 0.

    Args:
        root: Not used: the data need no file of the user's.

    References:
        Alpaydin, Kaynak (1998), Optical recognition of handwritten digits, UCI machine learning repository.
    """
    from sklearn.datasets import load_digits as sklearn_digits  # slow to import

    bunch = sklearn_digits()
    order = permutation(len(bunch.images), SPLIT_SEED)
    images, labels = bunch.images[order].astype(np.uint8), bunch.target[order]
    cut = len(order) - NUM_TEST
    return Source(
        name="digits",
        arrays={"train": images[:cut], "test": images[cut:]},
        labels={"train": labels[:cut], "test": labels[cut:]},
        scale=16.0,
        valid_size=NUM_VALID,
    )
