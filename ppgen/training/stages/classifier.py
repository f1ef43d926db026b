"""A feed-forward classifier that starts from the recognition weights of a stack of layers."""

from collections.abc import Sequence
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppgen import datasets, seeds
from ppgen.checks.arguments import as_numbers, check_count, check_kind
from ppgen.checks.seeding import check_seed
from ppgen.datasets.paired import UNLABELLED
from ppgen.nn import MLP
from ppgen.pair import Pair, as_pair
from ppgen.stacks import RecognitionLayers, RecognitionMaps, RecognitionNetwork
from ppgen.training.fitting import fit
from ppgen.training.run import Run
from ppgen.undisturbed import CPU, forked


class Classifier(nn.Module):
    r"""Layers of sigmoid units, or of pooled feature maps, and a softmax over classes on top.

    .. math:: h_l = \sigma(W_l^\top h_{l-1} + c_l), \quad h_0 = x, \quad
              p(y = k \mid x) = \mathrm{softmax}_k(V^\top h_L + d)

    Made by `training.finetune_classifier`.

    Args:
        sizes: Units of the input and of every hidden layer.
        classes: Labels, one for each output: (classes,) whole numbers.
        hidden: Network from the first of the sizes to the last, in the place of sigmoid layers.

    Raises:
        TypeError: If sizes or classes are no sequence, or a label is no whole number.
        ValueError: If a size is no whole number of at least 1, or -1 is a class.

    Attributes:
        run: Record of its training; None before.

    Example:
        >>> import torch
        >>> from ppgen.training import Classifier
        >>> Classifier((4, 3), [2, 7]).predict_proba(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    run: Run | None = None

    def __init__(self, sizes: Sequence[int], classes: Sequence[int], hidden: nn.Module | None = None) -> None:
        super().__init__()
        for name, value in (("sizes", sizes), ("classes", classes)):
            if not isinstance(value, Sequence) or isinstance(value, (str, bytes)) or not value:
                raise TypeError(f"{name} must be a sequence of whole numbers, got {value!r}.")
        for size in sizes:
            check_count("each number in sizes", size)
        for label in classes:
            check_kind("each label in classes", label, int, "a whole number")
            if label == UNLABELLED:
                raise ValueError(f"classes cannot hold {UNLABELLED}, which stands for a row without a label.")
        self.hidden = MLP(sizes, activation=nn.Sigmoid, activate_last=True) if hidden is None else hidden
        self.output = MLP((sizes[-1], len(classes)))
        self.classes: Tensor
        self.register_buffer("classes", torch.as_tensor(classes, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the classes: (rows, features) -> (rows, classes)."""
        return self.output(self.hidden(x))

    @torch.no_grad()
    def predict_proba(self, x: Any) -> Tensor:
        """Probability of each class: (rows, features) -> (rows, classes)."""
        like = next(self.parameters())
        return self(torch.as_tensor(x).to(like)).softmax(-1)

    def predict(self, x: Any) -> Tensor:
        """The most probable label: (rows, features) -> (rows,)."""
        return self.classes[self.predict_proba(x).argmax(-1)]

    def score(self, x: Any, labels: Any) -> float:
        """Accuracy: fraction of rows whose label is the most probable one, among those that have a label.

        Args:
            x: Data, (rows, features).
            labels: Class of each row, (rows,), or -1 where it has none.

        Raises:
            ValueError: If there is not one label for each row, or no row has any.
        """
        given = checked_labels(labels, len(x)).to(self.classes.device)
        labelled = given != UNLABELLED
        if not labelled.any():
            raise ValueError(f"labels must tell the class of some row, got none but {UNLABELLED}: a row without one.")
        return float((self.predict(x) == given)[labelled].double().mean())


def finetune_classifier(
    pair: Any,
    data: Any,
    labels: Any = None,
    *,
    initialise: Literal["recognition", "random"] = "recognition",
    epochs: int = 20,
    seed: int = 0,
    **options: Any,
) -> Classifier:
    r"""Train a classifier whose layers start from those of a trained stack, on the cross-entropy of its labels.

    .. math:: \max \frac{1}{N} \sum_n \log p(y_n \mid x_n)

    A `models.RBM` gives its weights and hidden biases, a `models.DBN` its recognition network and the uppermost layer,
    a `models.DBM` the first pass of its mean field, in which a layer with another above takes its input from below
    twice. A `models.ConvolutionalRBM` or `models.ConvolutionalDBN` gives its filters upwards: the softmax sees the
    probabilities of the uppermost pooling units. An autoencoder gives its encoder, non-linearities and all; of a
    convolutional one the softmax sees the pooled maps, and no switches. The softmax starts at random. The pair is left
    as it is.

    Args:
        pair: A `GaussianRBM`, `RBM`, `DBN`, `DBM`, `ConvolutionalRBM`, `ConvolutionalDBN` or an autoencoder, or a run
            that trained one.
        data: A data set, pairs (`data.with_labels(keep=...)`), the name of a data set, or an array; its training rows
            that have a label, as they are stored, are learnt from.
        labels: Class of each training row, whole numbers, (rows,), with -1 where a row has no label, as pairs have
            it; by default those of the data set.
        initialise: Where the layers start: `"recognition"`, or `"random"` to compare with. From one seed both have the
            same softmax and the same batches.
        epochs: Passes over the rows.
        seed: Seed of everything that is drawn.
        **options: Other arguments of `ppgen.fit`, such as `lr`, `batch_size` and `folder`. With `monitor`,
            `early_stopping` or `restore_best` the validation rows that have labels are looked at after each epoch.

    Raises:
        ValueError: If the pair has no recognition weights, the data are images of another shape or no rows with labels,
            there are no labels or not one for each row, or they are of one class only.
        TypeError: If `pair` is none, or labels are no whole numbers.

    References:
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)
        | Deep Boltzmann Machines (Salakhutdinov and Hinton, 2009)
        | Stacked Denoising Autoencoders: Learning Useful Representations in a Deep Network with a Local Denoising
          Criterion (Vincent, Larochelle, Lajoie, Bengio and Manzagol, 2010)
        | Convolutional Deep Belief Networks for Scalable Unsupervised Learning of Hierarchical Representations (Lee,
          Grosse, Ranganath and Ng, 2009)

    Example:
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> dbn = models.DBN(visible=64, hidden=(16, 8))
        >>> found = training.finetune_classifier(dbn, digits, epochs=20, lr=0.02, progress=False)
        >>> found.predict(digits.test).shape, found.score(digits.test, digits.labels["test"]) > 0.5
        (torch.Size([300]), True)
    """
    seed = check_seed(seed)
    pair = as_pair(pair)
    of_network = isinstance(pair, RecognitionNetwork)
    if not of_network and not isinstance(pair, RecognitionLayers):
        raise ValueError(
            "finetune_classifier starts from a stack of layers: of feature maps, a models.ConvolutionalRBM or "
            "models.ConvolutionalDBN, an autoencoder, or of sigmoid units, a models.RBM, models.DBN or models.DBM; got "
            f"{type(pair).__name__}."
        )
    if initialise not in ("recognition", "random"):
        raise ValueError(f'initialise must be "recognition" or "random", got {initialise!r}.')
    dataset = datasets.as_dataset(rows_of(data))
    if dataset.num_features != pair.num_features:
        raise ValueError(
            f"data must have {pair.num_features} features, as {type(pair).__name__} does; got {dataset.num_features} "
            f"({dataset.describe()})."
        )
    if isinstance(pair, RecognitionMaps):
        pair.check_data(dataset)
    if labels is None:
        held = data.labels if isinstance(data, datasets.PairedDataset) else dataset.labels
        if held is None or "train" not in held:
            raise ValueError(f"labels are needed: the data ({dataset.describe()}) have none of their own.")
        labels = held["train"]
    given = checked_labels(labels, dataset.num_train)
    x = dataset.train[:]
    labelled = given != UNLABELLED
    if not labelled.all():
        x, given = x[labelled.to(x.device)], given[labelled]
    classes, index = given.unique(return_inverse=True)
    if len(classes) < 2:
        told = f"all are {int(classes[0])}" if len(classes) else "there is none"
        others = "" if labelled.all() else f", but for {int((~labelled).sum())} of {UNLABELLED}, rows without a label"
        raise ValueError(f"labels must be of two classes or more; {told}{others}.")
    with forked(CPU, seeds.derive(seed, "classifier")), torch.no_grad():
        build = _on_network if of_network else _on_sigmoids
        classifier = build(pair, classes.tolist(), initialise == "random").to(pair.device)
    rows: Any = x.to("cpu", next(classifier.parameters()).dtype), index
    if any(options.get(name) is not None for name in ("monitor", "early_stopping", "restore_best")):
        rows = _with_validation(rows, dataset, classes)
    classifier.run = fit(conditional_program(classifier), rows, epochs=epochs, seed=seed, **options)
    return classifier


def rows_of(data: Any) -> Any:
    """The rows of pairs of rows and labels; any other data as they are."""
    if not isinstance(data, datasets.PairedDataset):
        return data
    if data.labels is None:
        raise ValueError(
            f"data must be rows with labels, data.with_labels(...); these are split features ({data.describe()})."
        )
    return data.rows


def _with_validation(rows: tuple[Tensor, Tensor], dataset: Any, classes: Tensor) -> Any:
    """Training rows with positions of their classes, and the validation rows of those classes, if there are labels."""
    x, index = rows
    held = {"train": x, "train_labels": index}
    if dataset.labels is not None and "valid" in dataset.labels and len(dataset.valid):
        labels = dataset.labels["valid"].cpu()
        known = torch.isin(labels, classes)
        valid = dataset.valid[:].cpu()[known]
        held |= {"valid": valid.to(x.dtype), "valid_labels": torch.searchsorted(classes, labels[known])}
    return datasets.load(held, valid_size=None if "valid" in held else 0, test_size=0).with_labels()


def _on_sigmoids(pair: Any, classes: list[int], random: bool) -> Classifier:
    """Layers of sigmoid units with the recognition weights of the pair, or with random ones."""
    layers = pair.recognition_layers()
    sizes = [len(layers[0][0]), *(len(bias) for _, bias in layers)]
    classifier = Classifier(sizes, classes).to(layers[0][0].dtype)
    linear = [module for module in classifier.hidden.modules() if isinstance(module, nn.Linear)]
    for module, (weight, bias) in zip(linear, layers, strict=True):
        if not random:
            module.weight.copy_(weight.mT)
            module.bias.copy_(bias)
    return classifier


def _on_network(pair: Any, classes: list[int], random: bool) -> Classifier:
    """The network upwards of the pair, or one like it at random."""
    network = pair.recognition_network()
    classifier = Classifier((pair.num_features, network.num_features), classes, network)
    if random:
        network.reset_parameters()
    return classifier.to(next(network.parameters()).dtype)


def conditional_program(classifier: Classifier) -> Pair:
    """The classifier as a pair without latents: p(y | x)."""

    def model(x: Tensor, y: Tensor) -> None:
        net = pyro.module("classifier", classifier)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Categorical(logits=net(x)), obs=y)

    def guide(x: Tensor, y: Tensor) -> None:
        """Nothing is latent."""

    return Pair(model, guide, default_inference="MaximumLikelihood")


def checked_labels(labels: Any, num_rows: int) -> Tensor:
    """Labels as whole numbers on the CPU, (rows,).

    Raises:
        TypeError: If they are no whole numbers.
        ValueError: If there is not one for each row.
    """
    values = as_numbers("labels", labels).cpu()
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise TypeError(f"labels must be whole numbers, got {values.dtype}.")
    if values.shape != (num_rows,):
        raise ValueError(f"labels must be one for each of the {num_rows} rows, got shape {tuple(values.shape)}.")
    return values.long()
