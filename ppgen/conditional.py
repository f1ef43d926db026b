"""Models of y given x: what they need of a batch, checked by name."""

import inspect
from typing import Any

from torch import Tensor

from ppgen.batch import split_batch
from ppgen.pair import GenerativeModel


class ConditionalModel(GenerativeModel):
    r"""Base of the models of y given covariates x, which are never drawn.

    .. math:: p(y \mid x) = \int p(y, z \mid x) \, dz

    A batch is a tuple (x, y), or a mapping with the names that `model` gives its first two arguments; x and y have as
    many rows. Log-likelihoods are those of y given x, and `ppgen.sample(model, num_samples, covariates=x)` draws y.

    Subclasses write `model(x, y=None)`, which returns the value of the site of y and draws it where y is None, and
    `guide(x, y)`; they say how many variables x and y have; and both programs begin with `self.check_arguments(x, y)`.

    Raises:
        ValueError: By `prepare`, and so before any training or evaluation: if x or y is missing, they have different
            numbers of rows, or another shape than the model.
        TypeError: If one of them is no tensor.

    Example:
        >>> import pyro, pyro.distributions as dist, torch
        >>> import ppgen
        >>> from pyro.nn.module import pyro_method
        >>> class Line(ppgen.ConditionalModel):
        ...     inputs, outputs = 2, 1
        ...     default_inference = "MaximumLikelihood"
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.line = torch.nn.Linear(2, 1)
        ...     @pyro_method
        ...     def model(self, x, y=None):
        ...         self.check_arguments(x, y)
        ...         with pyro.plate(self.plate, len(x)):
        ...             return pyro.sample("y", dist.Normal(self.line(x), 1.0).to_event(1), obs=y)
        ...     @pyro_method
        ...     def guide(self, x, y):
        ...         self.check_arguments(x, y)
        >>> ppgen.sample(Line(), 5, covariates=torch.zeros(3, 2))
        Samples(5 x (3, 1))
    """

    inputs: int
    """Variables of x, the covariates."""

    outputs: int
    """Variables of y."""

    inputs_are_labels: bool = False
    """Whether x are classes, one-hot, which data sets hold as labels, and not features of their rows."""

    size_names: tuple[str, str] = ("inputs", "outputs")
    """Arguments of the constructor that say how many variables x and y have, as messages name them."""

    @property
    def num_features(self) -> int:
        """Observed variables: those of y."""
        return self.outputs

    @property
    def covariate_shape(self) -> tuple[int, ...]:
        """Shape of the covariates of one row: (inputs,); a model of other ones, such as labels (), says which."""
        return (self.inputs,)

    def model(self, x: Tensor, y: Tensor | None = None) -> Any:
        """Joint density of latents and y given x; y is drawn where it is None."""
        raise NotImplementedError(f"{type(self).__name__} must define model(x, y=None), a Pyro program.")

    def guide(self, x: Tensor, y: Tensor) -> Any:
        """Approximate posterior of the latents given x and y."""
        raise NotImplementedError(f"{type(self).__name__} must define guide(x, y), a Pyro program.")

    def check_arguments(self, x: Any, y: Any = None) -> None:
        """Raise unless x, and y if it is given, are what one call of the programs takes.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If a shape is not that of the model, or there are not as many rows of y as of x.
        """
        names, shape, sizes = self.argument_names(), self.covariate_shape, self.size_names
        rows = _rows(names[0], x, shape, f"{sizes[0]}={self.inputs}" if shape == (self.inputs,) else None)
        if y is not None and (found := _rows(names[1], y, (self.outputs,), f"{sizes[1]}={self.outputs}")) != rows:
            raise ValueError(
                f"{names[0]} and {names[1]} must have the same number of rows, one of each for a datum; got {rows} and "
                f"{found}."
            )

    def check_batch(self, batch: Any) -> None:
        """Raise unless a batch is covariates and what is modelled given them, row by row.

        Raises:
            TypeError: If one is no tensor.
            ValueError: If one is missing, has another shape than the model, or they have different numbers of rows.
        """
        args, kwargs = split_batch(batch)
        names = self.argument_names()
        given = dict(zip(names, args, strict=False)) | kwargs
        missing = [name for name in names if given.get(name) is None]
        if missing:
            got = ", ".join(
                f"{name} of shape {tuple(value.shape)}" for name, value in given.items() if isinstance(value, Tensor)
            )
            raise ValueError(
                f"{type(self).__name__} is a model of {names[1]} given {names[0]}, and {' and '.join(missing)} is "
                f"missing: give a tuple ({', '.join(names)}), or a mapping with those names; got {got or 'neither'}."
                + self._how_to_give_classes()
            )
        covariates = given[names[0]]
        numbers = isinstance(covariates, Tensor) and covariates.dim() == 1 and len(self.covariate_shape) == 1
        if self.inputs_are_labels and numbers:
            raise ValueError(
                f"{names[0]} must be classes, one-hot, of shape (rows, {self.inputs}); got one number a row."
                + self._how_to_give_classes()
            )
        self.check_arguments(*(given[name] for name in names))

    def _how_to_give_classes(self) -> str:
        """What a message adds where covariates are classes."""
        if not self.inputs_are_labels:
            return ""
        return " `data.given_labels()` of a labelled data set makes classes of its labels, one-hot."

    def argument_names(self) -> tuple[str, str]:
        """Names that the model gives to the covariates and to what it models."""
        names = [name for name in inspect.signature(type(self).model).parameters if name != "self"]
        return (names[0], names[1]) if len(names) > 1 else ("x", "y")


def _rows(name: str, value: Any, shape: tuple[int, ...], width: str | None) -> int:
    """Number of rows of an argument, checked."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}.")
    place = value.dim() - len(shape) - 1
    if place < 0 or tuple(value.shape[place + 1 :]) != shape:
        wanted = ", ".join(["rows", *([width] if width else map(str, shape))]) + ("" if shape else ",")
        raise ValueError(f"{name} must have shape ({wanted}), got {tuple(value.shape)}.")
    return value.shape[place]
