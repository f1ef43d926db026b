"""Data sets and their binarisations: what is modelled, split and checked before any work starts.

Likelihoods compare only on equal data, so a `Dataset` names its binarisation, its seed and the checksum of
its rows.
"""

from ppgen.datasets.attributes import image_attributes
from ppgen.datasets.dataset import Dataset
from ppgen.datasets.loading import as_dataset, available, load
from ppgen.datasets.paired import PairedDataset
from ppgen.datasets.photo_patches import photo_whitening
from ppgen.datasets.rows import Rows
from ppgen.datasets.source import Source
from ppgen.datasets.whitening import Whitening

__all__ = [
    "Dataset",
    "PairedDataset",
    "Rows",
    "Source",
    "Whitening",
    "as_dataset",
    "available",
    "image_attributes",
    "load",
    "photo_whitening",
]
