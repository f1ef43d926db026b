"""From the options of `ppgen fit` to a model and an inference."""

import dataclasses
import inspect
import math
from collections.abc import Mapping
from typing import Any

from ppgen import inference as inferences
from ppgen import registry
from ppgen.checks.seeding import check_seed
from ppgen.commands.errors import UsageError
from ppgen.commands.options import REQUIRED, Option, options_of
from ppgen.conditional import ConditionalModel
from ppgen.undisturbed import CPU, forked

FROM_DATA = ("features", "visible", "vocabulary")
"""Constructor arguments that are the number of features of the data unless they are given."""

SHAPE = "shape"
"""Constructor argument that is the shape of the images of the data unless it is given."""

SIZES_FROM_DATA = "sizes"
"""Constructor argument that holds the units of every layer, of which the first are the features of the data."""


def takes_inputs(cls: type) -> bool:
    """Whether a model is one of y given x, so that a row of data holds x and then y.

    Example:
        >>> from ppgen import models
        >>> takes_inputs(models.VAE), takes_inputs(models.StochasticFeedforward)
        (False, True)
    """
    return issubclass(cls, ConditionalModel)


def model_options(cls: type) -> list[Option]:
    """Options for the constructor of a model; its number of observed variables may be left to the data."""
    return [_from_data(option, _split_sizes(cls)) for option in options_of(cls)]


def _split_sizes(cls: type) -> tuple[str, str] | None:
    """Constructor arguments for the sizes of x and y where a row of data holds both; None of other models."""
    if not issubclass(cls, ConditionalModel) or cls.inputs_are_labels:
        return None
    return cls.size_names


def _from_data(option: Option, split: tuple[str, str] | None) -> Option:
    if split is not None and option.name == split[1] and option.default is REQUIRED:
        default = "the features of the data that are left by those of x, which come first"
    elif option.name in FROM_DATA and option.default is REQUIRED:
        default = "as many as the data have"
    elif option.name == SHAPE and option.default is REQUIRED:
        default = "that of the images of the data, else a square"
    elif option.name == SIZES_FROM_DATA:
        default = ",".join(["the features of the data", *map(str, option.default[1:])])
    else:
        return option
    return dataclasses.replace(
        option, type=option.type | None, default=None, help=f"{option.help} By default {default}."
    )


def model_arguments(cls: type, values: Mapping[str, Any], num_features: int, image_shape: Any = None) -> dict[str, Any]:
    """Arguments of the model's constructor, completed from the data.

    Raises:
        UsageError: If a size is not that of the data, or a shape is needed and neither given nor known of the data.
    """
    arguments = {option.name: values[option.name] for option in model_options(cls)}
    split = _split_sizes(cls)
    for name in FROM_DATA:
        if name in arguments and not (split is not None and name == split[1]):
            size = arguments[name]
            if size is not None and size != num_features:
                raise UsageError(f"--{name} {size} does not fit the data, which have {num_features} features")
            arguments[name] = num_features
    required = [option.name for option in options_of(cls) if option.default is REQUIRED]
    if SHAPE in required and arguments[SHAPE] is None:
        arguments[SHAPE] = _shape(num_features // arguments.get("image_channels", 1), image_shape)
    if split is not None and split[1] in required and arguments[split[1]] is None:
        arguments[split[1]] = _outputs(cls.__name__, split[0], arguments.get(split[0]), num_features)
    if SIZES_FROM_DATA in arguments:
        arguments[SIZES_FROM_DATA] = _sizes(cls, arguments[SIZES_FROM_DATA], num_features)
    return arguments


def build_model(cls: type, values: Mapping[str, Any], num_features: int, seed: int, image_shape: Any = None) -> Any:
    """The model with weights drawn from `seed`.

    Raises:
        ValueError: If an argument is out of its range, or its size is not that of the data.
    """
    check_seed(seed)
    arguments = model_arguments(cls, values, num_features, image_shape)
    with forked(CPU, seed):
        return cls(**arguments)


def _shape(pixels: int, image_shape: Any) -> list[int]:
    """Rows and columns of the data's images, else a square."""
    side = math.isqrt(pixels)
    if image_shape is None and side**2 != pixels:
        raise UsageError(f"--{SHAPE} is required: the data do not say what shape their images have")
    return [side, side] if image_shape is None else list(image_shape)[-2:]


def _outputs(name: str, size: str, inputs: int | None, num_features: int) -> int:
    if inputs is None or not 0 < inputs < num_features:
        raise UsageError(
            f"--{size} must be from 1 to {num_features - 1}: {name} is a model of y given x, and of the {num_features} "
            f"features of the data the first are x, the others y; got {inputs}"
        )
    return num_features - inputs


def _sizes(cls: type, sizes: list[int] | None, num_features: int) -> list[int]:
    if sizes is None:
        return [num_features, *inspect.signature(cls).parameters[SIZES_FROM_DATA].default[1:]]
    if sizes and sizes[0] != num_features:
        raise UsageError(
            f"--sizes {','.join(map(str, sizes))} does not fit the data, which have {num_features} features: "
            f"the first number must be {num_features}"
        )
    return sizes


@dataclasses.dataclass(frozen=True)
class Parts:
    """Names of the parts of an inference that a command line or a configuration chose, None for the default.

    Attributes:
        inference: An objective, an algorithm, an estimator or a negative phase.
        estimator: How the gradient of the objective is estimated.
        negative_phase: How that of log Z is.
    """

    inference: str
    estimator: str | None
    negative_phase: str | None

    def options(self) -> dict[str, list[Option]]:
        """Options for the arguments of each part.

        Raises:
            ValueError: If a name is not known.
            UsageError: If two negative phases or two estimators are named.
        """
        kind, function = registry.lookup_inference(self.inference)
        if kind == "negative phase" and self.negative_phase is not None:
            raise UsageError(
                f"--inference {self.inference} is a negative phase already; give it or --negative-phase, "
                "and an objective such as elbo with --inference"
            )
        if kind == "estimator" and self.estimator is not None:
            raise UsageError(f"--inference {self.inference} is an estimator already; give it or --estimator")
        found = {"inference": options_of(function)}
        if self.estimator is not None:
            found["estimator"] = options_of(registry.lookup("estimator", self.estimator))
        if self.negative_phase is not None:
            found["negative_phase"] = options_of(registry.lookup("negative phase", self.negative_phase))
        return found

    def build(self, values: Mapping[str, Any], model: Any) -> inferences.Inference:
        """The whole inference, completed from the model's default.

        Raises:
            ValueError: If an argument is out of its range.
        """
        arguments = {
            part: {option.name: values[part][option.name] for option in options}
            for part, options in self.options().items()
        }
        value = registry.lookup_inference(self.inference)[1](**arguments["inference"])
        found = inferences.resolve(value, model)
        if self.estimator is not None:
            estimator = registry.lookup("estimator", self.estimator)(**arguments["estimator"])
            found = dataclasses.replace(found, estimator=estimator)
        if self.negative_phase is not None:
            phase = registry.lookup("negative phase", self.negative_phase)(**arguments["negative_phase"])
            found = dataclasses.replace(found, negative_phase=phase)
        return found
