"""Hidden activities of one layer as the data of the next."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ppgen import seeds
from ppgen.datasets.dataset import Dataset, drawn

SPLITS = ("train", "valid")
_ROWS = 4096  # rows sent up at once: with 784 features 12 MiB


class LayerData:
    """What greedy training sees of the data at one layer: bits to learn from, and what is sent further up.

    Args:
        dataset: Data of the layer.
        below: What is sent up from it by split, (rows, units): bits, or probabilities.
    """

    def __init__(self, dataset: Dataset, below: Mapping[str, Any] | None = None) -> None:
        self.dataset = dataset
        self.below = below or {split: dataset.split(split) for split in SPLITS}

    def above(self, rbm: Any, layer: int, activities: Literal["sample", "mean"], seed: int) -> "LayerData":
        """Data of the next layer: its units' probabilities given what is sent up, and bits drawn from them.

        Training batches draw their bits anew.

        Args:
            rbm: The machine that was trained at this layer.
            layer: Number of the next layer's data, for its name and its draws.
            activities: Whether draws or probabilities are sent further up.
            seed: Seed of the draws.
        """
        probabilities = {split: _sent(rbm, self.below[split]) for split in SPLITS}
        bits = {
            split: drawn(probabilities[split], seeds.generator(seed, "activities", layer, split)) for split in SPLITS
        }
        train = probabilities["train"]
        dataset = Dataset(
            name=f"{self.dataset.name.partition(', hidden layer')[0]}, hidden layer {layer}",
            train=bits["train"],
            valid=bits["valid"],
            test=train[:0],
            labels=None,
            image_shape=None,
            mean=train.mean(0),
            checksum=hashlib.sha256(train.contiguous().view(torch.uint8).numpy().data).hexdigest(),
            binarization="dynamic",
            seed=seed,
            train_probabilities=train,
        )
        return LayerData(dataset, bits if activities == "sample" else probabilities)


@torch.no_grad()
def _sent(rbm: Any, rows: Any) -> Tensor:
    """P(h = 1) of every row, (rows, hidden), float32 on the CPU."""
    like = rbm.weight
    pieces = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)] or [rows[:0]]
    return torch.cat([rbm.hidden_means(piece.to(like)).to("cpu", torch.float32) for piece in pieces])
