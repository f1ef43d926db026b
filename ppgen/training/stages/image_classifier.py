"""A classifier of images that also tells which are of no class, to judge what models draw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppgen import datasets, seeds
from ppgen.checks.arguments import check_count
from ppgen.checks.seeding import check_seed
from ppgen.datasets.paired import UNLABELLED
from ppgen.nn.image_features import ImageFeatures
from ppgen.training.fitting import fit
from ppgen.training.run_folder.checkpoint import FORMAT, read, write
from ppgen.training.stages.classifier import Classifier, checked_labels, conditional_program, rows_of
from ppgen.training.stages.moved_images import moved_images
from ppgen.training.stages.no_class import images_of_no_class
from ppgen.undisturbed import CPU, forked

ROWS_AT_ONCE = 500
_KIND = "image classifier"


class ImageClassifier(Classifier):
    r"""A small convolutional network with a softmax over the classes of images and one more: no class.

    .. math:: p(y = k \mid x) = \mathrm{softmax}_k(V^\top f(x) + d), \quad k = 0, \dots, C

    It judges images that others made: which class a draw is of, how many draws are of none, and how near draws and
    data are by its features f(x). Made by `training.fit_image_classifier`, kept by `save` and `load`.

    Args:
        image_shape: Shape of a row as an image: (rows, columns), (channels, rows, columns) or, with 1 or 3 channels,
            (rows, columns, channels).
        classes: Labels of the classes, whole numbers.
        filters: Filters of each stage of the network.
        width: Features f(x).

    Raises:
        TypeError: If classes are no sequence of whole numbers.
        ValueError: If a size is no whole number of at least 1, -1 is a class, or the shape is none of these.

    Attributes:
        none: The number that stands for no class: one more than the largest label.

    Example:
        >>> import torch
        >>> from ppgen.training import ImageClassifier
        >>> judge = ImageClassifier((8, 8), [0, 1, 2], filters=(4,), width=16)
        >>> judge.none, judge.predict_proba(torch.zeros(5, 64)).shape, judge.features(torch.zeros(5, 64)).shape
        (3, torch.Size([5, 4]), torch.Size([5, 16]))
    """

    hidden: ImageFeatures

    def __init__(
        self, image_shape: Sequence[int], classes: Sequence[int], filters: Sequence[int] = (16, 32), width: int = 128
    ) -> None:
        network = ImageFeatures(image_shape, filters, width)
        Classifier.__init__(self, (network.num_pixels, width), classes, network)  # which checks the classes
        self.none = max(classes) + 1
        super().__init__((network.num_pixels, width), [*classes, self.none], network)
        self._made = {
            "image_shape": list(image_shape),
            "classes": list(classes),
            "filters": list(filters),
            "width": width,
        }

    @torch.no_grad()
    def predict_proba(self, x: Any) -> Tensor:
        """Probability of each class, and last of none: (rows, pixels) -> (rows, classes + 1)."""
        return torch.cat([self.output(found).softmax(-1) for found in self._features(x)])

    @torch.no_grad()
    def features(self, x: Any) -> Tensor:
        """Features below the softmax: (rows, pixels) -> (rows, width)."""
        return torch.cat(list(self._features(x)))

    def _features(self, x: Any) -> Any:
        like = next(self.parameters())
        rows, pixels = torch.as_tensor(x), self.hidden.num_pixels
        if rows.dim() != 2 or rows.shape[1] != pixels:
            raise ValueError(f"x must be rows of the {pixels} pixels of an image, got shape {tuple(rows.shape)}.")
        return (self.hidden(part.to(like)) for part in rows.split(ROWS_AT_ONCE))

    def save(self, path: str | Path) -> None:
        """Write weights, as safetensors, with sizes and classes as JSON in the header of the same file.

        Raises:
            OSError: If the file cannot be written; an old one of that name is whole then.
        """
        write(Path(path), self.state_dict(), {"checkpoint_format": FORMAT, _KIND: self._made})

    @classmethod
    def load(cls, path: str | Path) -> "ImageClassifier":
        """Read what `save` wrote, in evaluation mode on the CPU.

        Raises:
            ValueError: If the file is missing, damaged or of something else.
        """
        tensors, header = read(Path(path))
        if _KIND not in header:
            raise ValueError(f"{path} holds no image classifier: give a file that ImageClassifier.save wrote.")
        found = cls(**header[_KIND])
        found.load_state_dict(tensors)
        return found.eval()


def fit_image_classifier(
    data: Any,
    labels: Any = None,
    *,
    image_shape: Sequence[int] | None = None,
    filters: Sequence[int] = (16, 32),
    width: int = 128,
    none_share: float = 0.2,
    copies: int = 1,
    bits_share: float = 0.25,
    epochs: int = 6,
    lr: float = 2e-3,
    seed: int = 0,
    **options: Any,
) -> ImageClassifier:
    r"""Train a classifier of images, with images of no class that are made from the training rows.

    .. math:: \max \sum_n \log p(y_n \mid x_n) + \sum_m \log p(\text{none} \mid \tilde x_m)

    The images of no class are noise, blanks, patches in disorder, halves of two classes, strong blurs and magnified
    parts, as many of each. Test rows are never seen, and validation rows serve `monitor` and the like alone, so that
    errors on them are those of a stranger.

    Args:
        data: A data set of images, pairs (`data.with_labels(keep=...)`), the name of a data set, or an array; its
            training rows that have a label are learnt from, as they are stored.
        labels: Class of each training row, whole numbers, (rows,), with -1 where a row has no label; by default those
            of the data set.
        image_shape: Shape of a row as an image; by default that of the data set.
        filters: Filters of each stage of the network.
        width: Features below the softmax.
        none_share: Share of the images learnt from that are of no class, from 0 (that class is never learnt) to less
            than 1.
        copies: How many times each image is learnt from beside itself, each time turned, stretched and shifted a
            little; of images of bits it is drawn as bits then.
        bits_share: Of grey images within [0, 1], the share that is drawn as bits with the grey levels as
            probabilities, so that draws of models of bits are judged too.
        epochs: Passes over the rows.
        lr: Step size at the start; it falls linearly to nothing.
        seed: Seed of everything that is drawn.
        **options: Other arguments of `ppgen.fit`, such as `batch_size` and `folder`.

    Raises:
        ValueError: If rows are no images, there are no labels or not one for each row, they are of one class only, or a
            share is out of range.
        TypeError: If labels are no whole numbers.

    Example:
        >>> from ppgen import datasets, training
        >>> digits = datasets.load("digits")
        >>> judge = training.fit_image_classifier(digits, filters=(8,), width=32, epochs=4, progress=False)
        >>> judge.score(digits.test, digits.labels["test"]) > 0.8
        True
    """
    seed = check_seed(seed)
    check_count("epochs", epochs)
    check_count("copies", copies, 0, wanted="an int, 0 or more")
    for name, share in (("none_share", none_share), ("bits_share", bits_share)):
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < 1:
            raise ValueError(f"{name} must be a number from 0 to less than 1, got {share!r}.")
    dataset = datasets.as_dataset(rows_of(data))
    shape = dataset.image_shape if image_shape is None else image_shape
    if shape is None:
        raise ValueError(f"image_shape must be given: the data ({dataset.describe()}) do not say how rows are images.")
    if labels is None:
        held = data.labels if isinstance(data, datasets.PairedDataset) else dataset.labels
        if held is None or "train" not in held:
            raise ValueError(f"labels are needed: the data ({dataset.describe()}) have none of their own.")
        labels = held["train"]
    given = checked_labels(labels, dataset.num_train)
    known = given != UNLABELLED
    x, given = dataset.train[:].cpu().float()[known], given[known]
    classes, index = given.unique(return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"labels must be of two classes or more; there are {len(classes)} of them.")
    with forked(CPU, seeds.derive(seed, "classifier")):
        classifier = ImageClassifier(shape, classes.tolist(), filters, width)
    if classifier.hidden.num_pixels != dataset.num_features:
        raise ValueError(f"image_shape must be of the {dataset.num_features} features of a row, got {tuple(shape)}.")
    rows, targets = _learnt_from(x, index, classifier.hidden, none_share, copies, seed)
    if dataset.binarization == "grey" and bits_share:
        generator = torch.Generator().manual_seed(seeds.derive(seed, "bits"))
        bits = torch.rand(rows.shape, generator=generator) < rows
        drawn = torch.rand(len(rows), 1, generator=generator) < bits_share
        rows = torch.where(drawn, bits.to(rows), rows)
    options = {"lr_schedule": "linear", "device": "cpu"} | options
    classifier.run = fit(conditional_program(classifier), (rows, targets), epochs=epochs, lr=lr, seed=seed, **options)
    return classifier.eval()


def _learnt_from(
    x: Tensor, index: Tensor, network: ImageFeatures, none_share: float, copies: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Rows and positions of their classes: those that are given, moved ones, and those of no class."""
    generator = torch.Generator().manual_seed(seeds.derive(seed, "images"))
    images, none = network.images(x), int(index.max()) + 1
    of_bits = bool(((x == 0) | (x == 1)).all())
    found = [images]
    for _ in range(copies):
        moved = moved_images(images, generator)
        found.append((torch.rand(moved.shape, generator=generator) < moved).to(x) if of_bits else moved)
    count = round(len(x) * (copies + 1) * none_share / (1 - none_share))
    found.append(images_of_no_class(images, index, count, generator))
    targets = torch.cat([index.repeat(copies + 1), index.new_full((count,), none)])
    return network.rows(torch.cat(found)), targets
