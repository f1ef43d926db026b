"""`ppgen sample`: draws from a trained model, as an array or as a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppgen import training
from ppgen.commands import COMMANDS
from ppgen.commands.data import Data, data_of_run, image_shape
from ppgen.commands.errors import UsageError
from ppgen.commands.folders import SAMPLES, check_folder, load_run, watched
from ppgen.commands.options import Option, options_of
from ppgen.commands.parser import Parser
from ppgen.conditional import ConditionalModel
from ppgen.training.environment import resolve_device
from ppgen.training.run_folder.checkpoint import replacing

SUFFIXES = (".npy", ".png")


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen sample FOLDER`."""
    values = _parser().read(arguments)
    check_folder(values["folder"])
    output = Path(values["folder"]) / SAMPLES if values["output"] is None else Path(values["output"])
    path = output.expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--output must end in .npy or .png, got {str(path)!r}")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    run = load_run(values["folder"])
    run.pair.to(resolve_device(values["device"]))
    options = {option.name: values[option.name] for option in _options()}
    if (x := _covariates(run.pair, values["covariates"])) is not None:
        options["covariates"] = x
    options["progress"] = watched(values["quiet"])
    if path.suffix.lower() == ".png":
        note = _draw(run, _shape(run, values), options, path)
    else:
        draws = training.sample(run, **options)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.asarray(draws))
        note = ""
        if draws.rhat is not None:
            note = f"block Gibbs, {draws.num_chains} chains, R-hat of their free energies and units {draws.rhat:.3f}"
    count, model = values["num_samples"], type(run.pair).__name__
    print(f"{count} samples of {model}{f' ({note})' if note else ''} written to {path}")
    return 0


def _covariates(pair: Any, path: str | None) -> np.ndarray | None:
    """Rows of x that a model of y given x is drawn at.

    Raises:
        UsageError: If there are none, the model takes none, or the file holds no array.
    """
    name = type(pair).__name__
    if not isinstance(pair, ConditionalModel):
        if path is not None:
            raise UsageError(f"--covariates is for a model of y given x, and {name} is none")
        return None
    if path is None:
        raise UsageError(
            f"{name} is a model of y given x: give the rows of x, each of {pair.inputs} features, as --covariates "
            "FILE.npy; the samples are y, --num-samples for each row"
        )
    try:
        return np.load(Path(path).expanduser(), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UsageError(f"--covariates {path}: no array can be read from it ({error})") from error


def _draw(run: Any, shape: Sequence[int] | None, options: Mapping[str, Any], path: Path) -> str:
    """Write a figure of draws; returns the second line of its title, which tells how they were drawn."""
    from ppgen.diagnostics import figures
    from ppgen.diagnostics.mosaic import DPI

    figure = figures.samples(run, shape, **options)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png", bbox_inches="tight", pad_inches=0.1)
    return str(figure.get_suptitle()).partition("\n")[2]


def _shape(run: Any, values: Mapping[str, Any]) -> Sequence[int] | None:
    """Shape of the pictures: the one given, that of the data if they can be found, else a square.

    Raises:
        UsageError: If the shape given has another number of pixels than the model has variables.
    """
    if isinstance(run.pair, ConditionalModel):
        features = run.pair.num_features
    else:
        features = run.config["model"]["example"]["shape"][-1]
    given = values["image_shape"]
    if given is not None:
        if len(given) not in (2, 3) or min(given) < 1 or math.prod(given) != features:
            raise UsageError(
                f"--image-shape {','.join(map(str, given))} does not fit the {features} features of a row: give "
                f"height,width or height,width,colours whose product is {features}"
            )
        return tuple(given)
    return image_shape(features, _data(run))


def _data(run: Any) -> Data | None:
    """The data of a run, if they can be found and their images are what is drawn."""
    if isinstance(run.pair, ConditionalModel):
        return None
    try:
        return data_of_run(run, {})
    except (UsageError, ValueError, OSError):
        return None


def _options() -> list[Option]:
    return options_of(training.sample, skip=("pair", "like", "progress"))


def _parser() -> Parser:
    parser = Parser("ppgen sample", COMMANDS["sample"], usage="ppgen sample FOLDER [options]")
    parser.add_argument("folder", help="Folder of the run.")
    parser.add_argument("--quiet", action="store_true", help="Show no progress bar.")
    group = parser.add_argument_group("samples")
    parser.add_options(
        group,
        [
            *(each if each.name != "num_samples" else Option(each.name, int, 100, each.help) for each in _options()),
            Option(
                "output",
                str | None,
                None,
                "File to write: .npy for the rows as float32, .png for a picture; by default FOLDER/samples.npy.",
            ),
            Option(
                "image_shape",
                list[int] | None,
                None,
                "Shape of a row as an image in a .png, as 28,28; by default the data's.",
            ),
            Option(
                "covariates",
                str | None,
                None,
                "For a model of y given x: .npy file with the rows of x; --num-samples of y are drawn for each.",
            ),
            Option("device", str, "auto", '"auto" is the accelerator that is there, else the CPU.'),
        ],
    )
    return parser
