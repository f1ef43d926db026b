"""One density a class, from any pair."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppgen import datasets
from ppgen.checks.arguments import as_numbers
from ppgen.checks.seeding import check_seed
from ppgen.datasets.dataset import drawn
from ppgen.datasets.paired import UNLABELLED
from ppgen.seeds import derive, generator
from ppgen.training.fitting import fit
from ppgen.training.stages.class_parts import ClassParts
from ppgen.undisturbed import CPU, forked

SPLITS = ("train", "valid", "test")
OF_ANY = ("epochs", "batch_size", "device", "resume", "checkpoint_minutes", "progress")  # fit a background of its own
MOST_HELD = 10_000  # rows, at most, from which typical values are known


def fit_classes(
    make: Callable[[], Any],
    data: Any,
    labels: Any = None,
    *,
    inference: Any = None,
    background: bool | Callable[[], Any] = True,
    mutation: float = 1.0,
    prior: str = "empirical",
    evaluate: Mapping[str, Any] | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    **options: Any,
) -> ClassParts:
    r"""Train a pair on the rows of each class, which together are a classifier and a detector of outliers.

    .. math:: p(y \mid x) \propto \pi_y \, p(x \mid y), \qquad p_0(x) \text{ of mutated rows}

    Any pair will do: a mixture, whose likelihood is exact, a VAE, an RBM with an estimate of its log Z; errors of the
    estimates are carried through Bayes' rule. The background model, by which `outlier_score` measures, is trained
    on rows of all classes in which each feature is, with probability `mutation`, that of another row: at 1 the
    features are independent, and it knows how easy an image is and not what it shows.

    References:
        | Likelihood Ratios for Out-of-Distribution Detection (Ren et al., 2019), https://arxiv.org/abs/1906.02845

    Args:
        make: A function without arguments that makes a pair; it is called once for each class and for the background.
        data: A data set with labels, pairs (`data.with_labels()`), or an array with `labels`; training rows whose label
            is -1 are left out.
        labels: Class of each training row, (rows,), whole numbers; by default those of the data set.
        inference: As for `ppgen.fit`, of each part.
        background: Whether to train a background model, or a function that makes it, in the place of `make`; that one
            is trained by its own default inference, for as many epochs.
        mutation: Probability that a feature of its rows is of another row.
        prior: pi: `"empirical"`, the shares of the training rows, or `"uniform"`.
        evaluate: Arguments of `evaluation.log_likelihood` by which parts are evaluated, such as `num_particles`.
        seed: Seed of everything that is drawn.
        folder: Where each part keeps its run, in a folder of its own; None writes nothing.
        **options: Other arguments of `ppgen.fit`, such as `epochs` and `lr`.

    Raises:
        ValueError: If there are no labels, not one for each row, or of one class only; if a class of the other splits
            has no training row; if a part cannot be trained on so few rows as a class has: names it.
        TypeError: If `make` is no function, or labels are no whole numbers.

    Example:
        >>> from ppgen import datasets, models, training
        >>> bits = datasets.load("digits", binarize="threshold")
        >>> parts = training.fit_classes(lambda: models.BernoulliMixture(64, 5), bits, epochs=5, progress=False)
        >>> parts.score(bits.test, bits.labels["test"]) > 0.9, parts.probabilities(bits.test[:3]).shape
        (True, torch.Size([3, 10]))
        >>> blank = 0 * bits.test[:1]
        >>> bool(parts.outlier_score(blank) > parts.outlier_score(bits.test).median())
        True
        >>> parts.predict(bits.test, reject=0.05).min()  # some rows are of none of the classes
        tensor(-1)
    """
    seed = check_seed(seed)
    if not callable(make) or isinstance(make, torch.nn.Module):
        raise TypeError(f"make must be a function that makes a pair, such as lambda: models.VAE(64), got {make!r}.")
    if isinstance(mutation, bool) or not isinstance(mutation, (int, float)) or not 0 < mutation <= 1:
        raise ValueError(f"mutation must be a probability above 0, got {mutation!r}.")
    if prior not in ("empirical", "uniform"):
        raise ValueError(f'prior must be "empirical" or "uniform", got {prior!r}.')
    dataset, given = _labelled(data, labels)
    classes, counts = given[given != UNLABELLED].unique(return_counts=True)
    _check_classes(dataset, classes)
    subsets = [_of_class(dataset, given, int(label)) for label in classes]
    pairs = []
    for label, subset in zip(classes.tolist(), subsets, strict=True):
        with forked(CPU, derive(seed, "class", label)):
            pairs.append(make())
        _check_rows(pairs[-1], subset, label)
    own: dict[str, Any] = {"inference": inference, **options}
    runs = []
    for label, pair, subset in zip(classes.tolist(), pairs, subsets, strict=True):
        at = None if folder is None else Path(folder) / f"class-{label}"
        runs.append(fit(pair, subset, seed=derive(seed, "class", label) % 2**31, folder=at, **own))
    other = None
    if background:
        with forked(CPU, derive(seed, "background")):
            pair = background() if callable(background) else make()
        mutated = _mutated(dataset, given != UNLABELLED, float(mutation), seed)
        at = None if folder is None else Path(folder) / "background"
        if callable(background):
            own = {name: value for name, value in options.items() if name in OF_ANY}
        other = fit(pair, mutated, seed=derive(seed, "background") % 2**31, folder=at, **own)
    log_prior = (counts / counts.sum()).log() if prior == "empirical" else torch.zeros(len(classes)).log_softmax(0)
    means = [subset.mean for subset in subsets]
    return ClassParts(runs, classes, log_prior, other, _held(dataset, seed), evaluate or {}, means)


def _labelled(data: Any, labels: Any) -> tuple[datasets.Dataset, Tensor]:
    """The rows as a data set, and the class of each training row."""
    paired = isinstance(data, datasets.PairedDataset)
    dataset = datasets.as_dataset(data.rows if paired else data)
    if labels is None:
        held = data.labels if paired else dataset.labels
        if held is None or "train" not in held:
            raise ValueError(f"labels are needed: the data ({dataset.describe()}) have none of their own.")
        labels = held["train"]
    given = as_numbers("labels", labels).cpu()
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise TypeError(f"labels must be whole numbers, got {given.dtype}.")
    if given.shape != (dataset.num_train,):
        raise ValueError(
            f"labels must be one for each of the {dataset.num_train} training rows, got shape {tuple(given.shape)}."
        )
    return dataset, given.long()


def _check_classes(dataset: datasets.Dataset, classes: Tensor) -> None:
    """Raise where there is one class only, or a class of another split without a training row."""
    known = set(classes.tolist())
    for split in SPLITS[1:]:
        held = (dataset.labels or {}).get(split)
        absent = [] if held is None else sorted(set(held.tolist()) - known - {UNLABELLED})
        if absent:
            raise ValueError(
                f"Class {absent[0]} has no training row, and {split} rows are of it: no density can be trained of it. "
                f"The training rows are of {sorted(known)}; drop it from the data set, or label rows of it."
            )
    if len(classes) < 2:
        raise ValueError(f"labels must be of two classes or more, got {classes.tolist()}.")


def _check_rows(pair: Any, subset: datasets.Dataset, label: int) -> None:
    """Raise what the pair would raise of the rows of a class, before any part is trained."""
    check = getattr(pair, "check_enough", None)
    if check is None:
        return
    try:
        check(subset)
    except ValueError as error:
        raise ValueError(f"Class {label} has {subset.num_train} training rows. {error}") from error


def _of_class(dataset: datasets.Dataset, labels: Tensor, label: int) -> datasets.Dataset:
    """The training rows of a class, and the validation rows whose label is known to be it."""
    index = (labels == label).nonzero().squeeze(-1)
    valid = (dataset.labels or {}).get("valid")
    own = torch.zeros(0, dtype=torch.long) if valid is None else (valid.cpu() == label).nonzero().squeeze(-1)
    probabilities = dataset.train_probabilities
    return _with_rows(
        dataset,
        f"class {label}",
        dataset.train[index],
        dataset.valid[own],
        None if probabilities is None else probabilities[index],
    )


def _mutated(dataset: datasets.Dataset, kept: Tensor, mutation: float, seed: int) -> datasets.Dataset:
    """All rows, in which each feature is with some probability that of another row."""
    source = generator(seed, "mutation")
    index = kept.nonzero().squeeze(-1)
    probabilities = dataset.train_probabilities
    grey = None if probabilities is None else _moved(probabilities[index].cpu(), mutation, source)
    train = _moved(dataset.train[index].cpu(), mutation, source) if grey is None else drawn(grey, source)
    where = dataset.device
    return _with_rows(
        dataset,
        f"mutated {mutation:g}",
        train.to(where),
        dataset.valid[:0],
        None if grey is None else grey.to(where),
    )


def _moved(x: Tensor, mutation: float, source: torch.Generator) -> Tensor:
    """Rows in which each feature is with some probability that of another row, whose features keep their laws."""
    found = x.clone()
    for feature in range(x.shape[1]):
        chosen = (torch.rand(len(x), generator=source) < mutation).nonzero().squeeze(-1)
        found[chosen, feature] = x[chosen[torch.randperm(len(chosen), generator=source)], feature]
    return found


def _with_rows(
    dataset: datasets.Dataset, told: str, train: Tensor, valid: Tensor, probabilities: Tensor | None
) -> datasets.Dataset:
    checksum = sha256(f"{dataset.checksum}/{told}/{len(train)}".encode()).hexdigest()
    mean = (train if probabilities is None else probabilities).to(torch.float32).mean(0)
    return replace(
        dataset,
        name=f"{dataset.name} ({told})",
        train=train,
        valid=valid,
        test=dataset.test[:0],
        labels=None,
        mean=mean,
        checksum=checksum,
        train_probabilities=probabilities,
    )


def _held(dataset: datasets.Dataset, seed: int) -> Tensor:
    """Rows from which typical values are known: for validation, or of the training rows where there are none."""
    rows = dataset.valid if len(dataset.valid) else dataset.train
    order = torch.randperm(len(rows), generator=generator(seed, "held"))  # classes may take turns
    return rows[order[:MOST_HELD]].cpu()
