"""From the options of `ppgen fit` to a model and an inference."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from ppgen import inference as inferences
from ppgen import registry
from ppgen.commands.errors import UsageError
from ppgen.commands.options import REQUIRED, Option, options_of

FROM_DATA = ("features", "visible")
"""Constructor arguments that are the number of features of the data unless they are given."""


def model_options(cls: type) -> list[Option]:
    """Options for the constructor of a model; its number of observed variables may be left to the data."""
    return [
        dataclasses.replace(
            option,
            type=option.type | None,
            default=None,
            help=f"{option.help} By default as many as the data have.",
        )
        if option.name in FROM_DATA and option.default is REQUIRED
        else option
        for option in options_of(cls)
    ]


def build_model(cls: type, values: Mapping[str, Any], num_features: int, seed: int) -> Any:
    """The model with weights drawn from `seed`.

    Raises:
        ValueError: If an argument is out of its range, or its size is not that of the data.
    """
    arguments = {option.name: values[option.name] for option in model_options(cls)}
    for name in FROM_DATA:
        if name in arguments:
            size = arguments[name]
            if size is not None and size != num_features:
                raise UsageError(f"--{name} {size} does not fit the data, which have {num_features} features")
            arguments[name] = num_features
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(**arguments)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Names of the parts of an inference that a command line or a configuration chose, None for the default.

    Attributes:
        inference: An objective, an algorithm or a negative phase.
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
            UsageError: If two negative phases are named.
        """
        kind, function = registry.lookup_inference(self.inference)
        if kind == "negative phase" and self.negative_phase is not None:
            raise UsageError(
                f"--inference {self.inference} is a negative phase already; give it or --negative-phase, "
                "and an objective such as elbo with --inference"
            )
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
