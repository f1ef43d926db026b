"""What semi-supervised models share: labels of some rows, their checks, predictions, and analogies."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ppgen.batch import changed, split_batch
from ppgen.models.semi_supervised.class_labels import (
    check_classes,
    check_labels,
    check_range,
    is_labelled,
    label_log_prob,
)
from ppgen.pair import GenerativeModel


class SemiSupervisedModel(GenerativeModel):
    r"""Base of the models with a class that some rows tell, and others leave to be inferred.

    A batch is rows x, (rows, features), or a tuple (x, y) with labels y, (rows,), whole numbers, -1 where a row has
    none. Both kinds of rows run through one program: the model draws the class of every row, and the guide's law of it
    is the label itself where there is one. So a row's log-weight is one of log p(x, y) where y is told, else of
    log p(x).

    Subclasses have `features` and `classes`, and say `class_logits` and `analogies`.
    """

    default_inference = "semi-supervised"
    default_training = {"lr": 0.005}  # noqa: RUF012

    surrogate_gradients = ("classifier", "code_encoder")  # to which the labels add

    features: int
    classes: int

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum, without its label."""
        return self.features

    @abstractmethod
    def class_logits(self, x: Tensor) -> Tensor:
        """Logits of q(y | x): (rows, features) -> (rows, classes). They may depend on draws of latents."""

    @abstractmethod
    def analogies(self, x: Any, y: Any = None) -> Tensor:
        """Each row once in every class, with the style that it has: (rows, classes, features), means."""

    def label_log_prob(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probability log q(y | x) of the label of each row, in nats, and which rows have one: both (rows,).

        It is 0 where there is no label. An inference weighs its mean over labelled rows by `label_weight`.
        """
        if y is None:
            return x.new_zeros(len(x)), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        return label_log_prob(self.class_logits(x), y), is_labelled(y)

    def with_simulated_labels(self, batch: Any, latents: Mapping[str, Tensor]) -> Any:
        """A batch whose rows were simulated, with the classes that they came from in the place of its labels.

        Rows without a label stay without one. So simulation-based calibration ranks in q(z | x, y) where rows have
        labels, and in q(y, z | x) where they have none.

        Args:
            batch: Simulated rows, with labels or without.
            latents: What they came from, by site.
        """
        args, kwargs = split_batch(batch)
        y = kwargs.get("y", args[1] if len(args) > 1 else None)
        if y is None:
            return batch
        drawn = torch.where(is_labelled(y), latents["y"].argmax(-1).reshape(y.shape).to(y.dtype), y)
        return changed(batch, lambda part: drawn if part is y else part)

    @torch.no_grad()
    def predict_log_proba(self, x: Any) -> Tensor:
        """Log-probability of each class, log q(y | x), in nats: (rows, features) -> (rows, classes).

        Raises:
            ValueError: If rows have another number of features.
        """
        return self.class_logits(self._rows(x)).log_softmax(-1)

    def predict(self, x: Any) -> Tensor:
        """The most probable class of each row: (rows, features) -> (rows,) int64.

        Raises:
            ValueError: If rows have another number of features.
        """
        return self.predict_log_proba(x).argmax(-1)

    def check_batch(self, batch: Any) -> None:
        """Raise unless a batch is rows, or rows and their labels.

        Raises:
            TypeError: If labels are no whole numbers.
            ValueError: If rows have another number of features, or labels are out of range or not one for each row.
        """
        args, kwargs = split_batch(batch)
        given = dict(zip(("x", "y"), args, strict=False)) | kwargs
        if isinstance(given.get("x"), Tensor):
            self._check_features(given["x"])
            if given.get("y") is not None:
                check_labels(given["y"], len(given["x"]), self.classes)

    def inspect_labels(self, labels: Mapping[str, Tensor] | None) -> None:
        """Raise unless labels of a data set, by split, are such that classes can be learnt from them.

        Raises:
            ValueError: If there are none, one is out of range, no training row has one, or a class has none.
        """
        if labels is None:
            raise ValueError(
                f"{type(self).__name__} learns {self.classes} classes from labels of some rows, and the data have "
                "none. Give data.with_labels(keep=50), or a tuple (x, y) with labels y, -1 where a row has none."
            )
        for split, values in labels.items():
            check_range(values, self.classes, f"{split} labels")
        check_classes(labels["train"], self.classes)

    def _rows(self, x: Any) -> Tensor:
        """Rows on the device and in the type of the parameters, checked."""
        found = torch.as_tensor(x).to(next(self.parameters()))
        self._check_features(found)
        return found

    def _labels(self, x: Tensor, y: Any) -> Tensor:
        """The labels that are given, and the most probable classes of other rows: (rows,) int64."""
        best = self.class_logits(x).argmax(-1)
        if y is None:
            return best
        given = torch.as_tensor(y, device=x.device)
        check_labels(given, len(x), self.classes)
        return torch.where(is_labelled(given), given.long(), best)

    def _check_features(self, x: Tensor) -> None:
        if x.dim() != 2 or x.shape[1] != self.features:
            raise ValueError(f"x must have shape (rows, features={self.features}), got {tuple(x.shape)}.")
