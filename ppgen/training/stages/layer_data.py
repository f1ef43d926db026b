"""Hidden activities, or codes, of one layer as the data of the next."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ppgen import seeds
from ppgen.datasets.dataset import Dataset, drawn
from ppgen.undisturbed import keeping_modes

SPLITS = ("train", "valid")
_ROWS = 4096  # rows sent up at once: with 784 features 12 MiB


class LayerData:
    """What greedy training sees of the data at one layer: what it learns from, and what is sent further up.

    Args:
        dataset: Data of the layer.
        below: What is sent up from it by split, (rows, units): bits, probabilities or codes.
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
        probabilities = {split: _sent(rbm, rbm.hidden_means, self.below[split]) for split in SPLITS}
        bits = {
            split: drawn(probabilities[split], seeds.generator(seed, "activities", layer, split)) for split in SPLITS
        }
        dataset = self._of(layer, bits, probabilities["train"], "dynamic", seed, probabilities["train"])
        return LayerData(dataset, bits if activities == "sample" else probabilities)

    def coded(self, coder: Any, layer: int) -> "LayerData":
        """Data of the next layer: the codes of an autoencoder, which are no draws.

        Args:
            coder: The autoencoder that was trained at this layer.
            layer: Number of its layer, for the name.
        """
        codes = {split: _sent(coder, coder.encode, self.below[split]) for split in SPLITS}
        grey = all(bool(((rows >= 0) & (rows <= 1)).all()) for rows in codes.values())
        return LayerData(self._of(layer, codes, codes["train"], "grey" if grey else "real"), codes)

    def _of(
        self,
        layer: int,
        rows: Mapping[str, Tensor],
        train: Tensor,
        binarization: str,
        seed: int | None = None,
        probabilities: Tensor | None = None,
    ) -> Dataset:
        """Data set of the rows of a hidden layer, whose mean and checksum are those of `train`."""
        return Dataset(
            name=f"{self.dataset.name.partition(', hidden layer')[0]}, hidden layer {layer}",
            train=rows["train"],
            valid=rows["valid"],
            test=train[:0],
            labels=None,
            image_shape=None,
            mean=train.mean(0),
            checksum=hashlib.sha256(train.contiguous().view(torch.uint8).numpy().data).hexdigest(),
            binarization=binarization,
            seed=seed,
            train_probabilities=probabilities,
        )


@torch.no_grad()
def _sent(pair: Any, upwards: Callable[[Tensor], Tensor], rows: Any) -> Tensor:
    """What a trained layer says of every row, (rows, hidden), float32 on the CPU."""
    like = next(pair.parameters())
    pieces = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)] or [rows[:0]]
    with keeping_modes(pair):
        pair.eval()
        return torch.cat([upwards(piece.to(like)).to("cpu", torch.float32) for piece in pieces])
