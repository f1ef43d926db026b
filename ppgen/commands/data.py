"""The data set that a command line names, and the one that a run was trained on."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ppgen import datasets, registry
from ppgen.batch import changed, num_rows
from ppgen.commands.errors import UsageError
from ppgen.commands.options import Option, options_of
from ppgen.commands.parser import option_of, read_config
from ppgen.conditional import ConditionalModel
from ppgen.datasets.integers import KINDS

COMMAND = "command.yaml"
"""File of a run folder with the options that it was made with, as `--config` takes them."""

Data = datasets.Dataset | datasets.PairedDataset
"""Rows, or pairs (x, y) for a model of y given x."""

_RENAMED = {"name": "data", "root": "data_dir", "seed": "data_seed"}
OPTIONS = "data_options"
SPLITS = ("train", "valid", "test")


_OWN = [
    Option(OPTIONS, dict | None, None, "Options of a registered data set that has some, in braces, as '{size: 12}'."),
    Option(
        "with_labels",
        int | Literal["all"] | None,
        None,
        "Train on pairs of rows and labels: of all training rows, or of a number of them, as many of each class; the "
        "others have label -1.",
    ),
    Option("labels_seed", int, 0, "Seed of the choice of labels."),
    Option(
        "labelled_in_batch",
        int | None,
        None,
        "Labelled rows in each training batch, beside others, weighted so that means over rows stay those of the data; "
        "without it batches are drawn from all rows alike.",
    ),
    Option(
        "split_features",
        int | None,
        None,
        "Train on pairs of the first features, as many as the number says, and the others.",
    ),
    Option(
        "split_quadrants",
        int | None,
        None,
        "Train on pairs of 1, 2 or 3 quadrants of images, the lower left one first, and the others.",
    ),
    Option("given_attributes", bool, False, "Train on pairs of ink, slant and width of images, and the images."),
]


def data_options(*, required: bool) -> list[Option]:
    """Options for the arguments of `ppgen.datasets.load`, with names of their own beside those of training.

    Args:
        required: Whether a data set must be named; otherwise every default is None, for what is recorded elsewhere.
    """
    found = [replace(option, name=_RENAMED.get(option.name, option.name)) for option in options_of(datasets.load)]
    found += _OWN
    if not required:
        found = [replace(option, type=option.type | None, default=None) for option in found]
    known = ", ".join(registry.names("data set"))
    name = Option(
        "data",
        str if required else str | None,
        found[0].default if required else None,
        f"Data set: {known}, or the path of a .npy or .npz file of your own (rows x features, or an .npz with arrays "
        "train and, if there are any, valid and test).",
    )
    return [name, *(each for each in found if each.name != "data")]


def load_data(values: Mapping[str, Any]) -> Data:
    """Data set of the options that `data_options` made.

    Raises:
        UsageError: If two options make pairs, or one is given in the place of another.
        ValueError: If it is not known or not sound.
        FileNotFoundError: If a file is missing.
    """
    names = {option.name for option in data_options(required=True)}
    renamed = {new: old for old, new in _RENAMED.items()}
    arguments = {renamed.get(name, name): values[name] for name in names if values.get(name) is not None}
    if arguments.get("image_shape"):
        arguments["image_shape"] = tuple(arguments["image_shape"])
    options = arguments.pop(OPTIONS, {})
    pairs = ("with_labels", "split_features", "split_quadrants", "given_attributes")
    seed, labelled = (arguments.pop(name, None) for name in ("labels_seed", "labelled_in_batch"))
    keep, first, quadrants, attributes = (arguments.pop(name, None) for name in pairs)
    made = (keep, first, quadrants, attributes or None)
    if len(asked := [option_of(name) for name, value in zip(pairs, made, strict=True) if value is not None]) > 1:
        raise UsageError(f"{asked[0]} and {asked[1]} both make pairs: give one of them")
    if labelled is not None and keep is None:
        raise UsageError("--labelled-in-batch needs rows with labels: give --with-labels N")
    for option in options_of(datasets.load):
        if option.name in options:
            flag = option_of(_RENAMED.get(option.name, option.name))
            raise UsageError(f"--data-options holds options of one data set, and {option.name} is for all: give {flag}")
    data = datasets.load(**arguments, **options)
    if first is not None:
        return data.split_features(first)
    if quadrants is not None:
        return data.split_quadrants(quadrants)
    if attributes:
        return data.given_attributes()
    if keep is None:
        return data
    with_labels = data.with_labels(None if keep == "all" else keep, seed or 0)
    return with_labels if labelled is None else with_labels.stratified(labelled)


def data_of_run(run: Any, values: Mapping[str, Any]) -> Data:
    """Data set that a run was trained on, or the one that the options name instead.

    Raises:
        UsageError: If the options name none and the folder does not say where the data are, or they have changed.
    """
    if values.get("data") is not None:
        return for_model(load_data(values), run.pair)
    trained = run.config["data"]
    where = {name: value for name, value in _recorded(run).items() if value is not None}
    where |= {name: value for name, value in values.items() if value is not None}
    if where.get("data") is None:
        raise UsageError(
            f"{run.folder} was trained on {trained['description']}, and does not say from which file: give --data"
        )
    data = for_model(load_data(where), run.pair)
    if data.checksum != trained["checksum"]:
        raise UsageError(
            f"data set {where['data']!r} is not the one that {run.folder} was trained on: its checksum differs. "
            "Give it with --data to use it all the same"
        )
    if values.get("binarize") is None and values.get("data_seed") is None:
        found = {"binarize": data.binarization, "data_seed": data.seed}
        before = {"binarize": trained.get("binarization"), "data_seed": trained.get("seed")}
        for name, value in found.items():
            if value != before[name]:
                raise UsageError(
                    f"{Path(run.folder) / COMMAND} makes data of {name} {value!r}, and the run was trained on "
                    f"{before[name]!r}. Put back the file, or give --data"
                )
    return data


def for_model(data: Data, model: Any) -> Data:
    """The data as a model takes them: of y given x each row holds x, and then y; or x are its labels.

    Raises:
        UsageError: If the rows are not as long as both, or x is no row of numbers.
    """
    if isinstance(data, datasets.PairedDataset) or not isinstance(model, ConditionalModel):
        return data
    if model.inputs_are_labels:
        return data.given_labels()
    name, inputs, outputs = type(model).__name__, model.inputs, model.outputs
    if model.covariate_shape != (inputs,):
        raise UsageError(
            f"{name} is a model of y given x, whose x are no features of a row, as --data holds them. Train it from "
            f"Python: ppgen.fit(models.{name}(...), (x, y))"
        )
    sizes = [option_of(each) for each in model.size_names]
    if inputs + outputs != data.num_features:
        raise UsageError(
            f"{name} is a model of y given x, and a row of --data holds x and then y: {sizes[0]} {inputs} and "
            f"{sizes[1]} {outputs} are {inputs + outputs} features, and the data have {data.num_features}. "
            "Arrays of their own are for Python: ppgen.fit(model, (x, y))"
        )
    return data.split_features(inputs)


def first_rows(rows: Any, count: int | None = None) -> Any:
    """The first rows, of each part where there are several."""
    return changed(rows, lambda part: part[:count])


def rows_of(data: Data, split: str | None) -> tuple[str, Any]:
    """Name and rows of a split; without one the test rows, else the validation rows, else the training rows.

    Raises:
        UsageError: If the split has no rows.
    """
    if split is None:
        split = next(name for name in ("test", "valid", "train") if num_rows(data.split(name)))
    if split not in SPLITS:
        raise UsageError(f"--split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not num_rows(data.split(split)):
        raise UsageError(f"data set {data.name!r} has no {split} rows")
    return split, first_rows(data.split(split))


def image_shape(num_features: int, data: Data | None = None) -> tuple[int, int] | None:
    """Shape in which a row is drawn: that of the data set, else a square; None if it is neither."""
    if data is not None and data.image_shape is not None and len(data.image_shape) == 2:
        return data.image_shape[0], data.image_shape[1]
    side = math.isqrt(num_features)
    return (side, side) if side * side == num_features else None


def _recorded(run: Any) -> dict[str, Any]:
    """What the folder says about its data: the options it was made with, else a registered name."""
    path = Path(run.folder) / COMMAND
    if path.exists():
        written = read_config(str(path))
        return {option.name: written.get(option.name) for option in data_options(required=False)}
    trained = run.config["data"]
    if trained["name"] not in registry.names("data set"):
        return {}
    method = trained["binarization"]
    return {
        "data": trained["name"],
        "binarize": method if method in ("threshold", "fixed", "dynamic") else None,
        "data_seed": trained["seed"],
        "integers": method if method in KINDS else None,
        OPTIONS: trained.get("options"),
        **trained.get("pairs", {}),
    }
