"""`ppgen compare`: a model under several inferences, from several seeds, evaluated alike."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ppgen import registry
from ppgen.commands import COMMANDS
from ppgen.commands.data import data_options, for_model, load_data
from ppgen.commands.errors import INTERRUPTED, TERMINATED, Stopped, UsageError
from ppgen.commands.folders import folder_of
from ppgen.commands.models import model_arguments, model_options, takes_inputs
from ppgen.commands.options import Option, first_line, options_of
from ppgen.commands.parser import Parser, given, split_positional, without
from ppgen.devices import is_accelerator
from ppgen.diagnostics.comparison.compare import compare_inferences
from ppgen.diagnostics.comparison.folder import FIGURE, NETCDF
from ppgen.diagnostics.comparison.folder import TEXT_FILE as TEXT
from ppgen.training.environment import resolve_device
from ppgen.training.fitting import fit

_NOT_TRAINING = ("pair", "data", "inference", "epochs", "steps", "seed", "folder", "resume", "callbacks", "progress")
_BUDGET = ("epochs", "steps", "method", "num_particles", "num_chains", "betas", "gradient_rows", "gradient_draws")


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen compare MODEL`."""
    alone, rest = split_positional(arguments)
    name = alone[0] if alone else given(rest, "model")
    if len(alone) > 1:
        raise UsageError(f"unexpected argument {alone[1]!r} after the model {alone[0]!r}")
    if name is None:
        if "--help" in rest:
            _parser(None, None).read(["--help"])
        raise UsageError(f"name a model: ppgen compare MODEL --data NAME --inferences NAME,NAME; known: {_models()}")
    model, canonical = registry.lookup("model", name), registry.canonical("model", name)
    values = _parser(canonical, model).read(without(rest, "model"))
    inferences = [word.strip() for word in values["inferences"].split(",") if word.strip()]
    if not inferences:
        raise UsageError("--inferences must name at least one inference, such as nvil,vimco")
    data = load_data(values)
    factory = partial(model, **model_arguments(model, values, data.num_features, data.image_shape))
    paired = for_model(data, factory()) if takes_inputs(model) else data
    folder = Path("runs") / f"compare-{registry.normalise(canonical)}-{Path(data.name).stem}"
    folder = folder if values["folder"] is None else folder_of(values["folder"])
    run(
        "compare",
        arguments,
        lambda: compare_inferences(
            factory,
            paired,
            inferences,
            seeds=values["seeds"],
            folder=folder,
            processes=_processes(values),
            progress=not values["quiet"],
            **{name: values[name] for name in _BUDGET},
            **{option.name: values[option.name] for option in _training_options()},
        ),
        folder,
    )
    return 0


def run(command: str, arguments: Sequence[str], compare: Callable[[], Any], folder: Path) -> Any:
    """Compare, print the table and where it lies; after Ctrl-C say how to go on.

    Args:
        command: Name of the command.
        arguments: Its command line.
        compare: What compares.
        folder: Where it is kept.

    Raises:
        Stopped: After Ctrl-C or SIGTERM.
    """
    line = shlex.join(["ppgen", command, *arguments])
    try:
        found = compare()
    except KeyboardInterrupt as stop:
        said = str(stop).partition(";")[0] or "interrupted before the first cell"
        raise Stopped(f"ppgen {command}: {said}. Go on with: {line}", INTERRUPTED) from None
    except SystemExit as stop:
        if stop.code != TERMINATED:
            raise
        raise Stopped(f"ppgen {command}: terminated. Go on with: {line}", TERMINATED) from None
    print(f"\n{found}\n")
    print(f"table: {folder / TEXT}; for xarray: {folder / NETCDF}")
    if (folder / FIGURE).exists():
        print(f"figure: {folder / FIGURE}", flush=True)
    return found


def _processes(values: Mapping[str, Any]) -> int:
    """Number of processes: as many as were asked for, else one a core, or one for a GPU."""
    if values["processes"] is not None:
        return values["processes"]
    return 1 if is_accelerator(resolve_device(values["device"])) else cores()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _training_options() -> list[Option]:
    return options_of(fit, skip=_NOT_TRAINING)


def _models() -> str:
    return ", ".join(registry.names("model"))


def _parser(name: str | None, model: type | None) -> Parser:
    prog = f"ppgen compare {name}" if name else "ppgen compare"
    about = first_line(model) if model else f"{COMMANDS['compare']} MODEL is one of {_models()}."
    parser = Parser(prog, about, usage=f"{prog}{'' if name else ' MODEL'} --data NAME --inferences NAME,NAME [options]")
    described = {option.name: option for option in options_of(compare_inferences)}
    names = ", ".join(registry.names("algorithm", "objective", "negative phase"))
    group = parser.add_argument_group("comparison")
    group.add_argument("--inferences", type=str, required=True, help=f"Names with commas between them, of {names}.")
    parser.add_options(
        group,
        [
            Option("seeds", int, 3, "Number of seeds, from 0 on."),
            Option(
                "folder",
                str | None,
                None,
                "Where each cell is kept, with comparison.txt, .nc and .png; by default runs/compare-MODEL-DATA. The "
                "same command again goes on where it was stopped.",
            ),
            Option(
                "processes", int | None, None, "Cells that run at the same time; by default one a core; on a GPU one."
            ),
        ],
    )
    parser.add_options(group, [described[each] for each in _BUDGET if each in described])
    group.add_argument("--quiet", action="store_true", help="Print no line for each cell, only the table.")
    if model is not None:
        parser.add_options(parser.add_argument_group("model"), model_options(model))
    parser.add_options(parser.add_argument_group("data"), data_options(required=True))
    parser.add_options(parser.add_argument_group("training"), _training_options())
    return parser
