"""`ppgen fit`: train a model, evaluate it, draw it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ppgen import registry
from ppgen.checks.room import check_room
from ppgen.commands import COMMANDS, folders
from ppgen.commands.data import COMMAND, Data, data_options, for_model, load_data
from ppgen.commands.errors import INTERRUPTED, TERMINATED, Stopped, UsageError
from ppgen.commands.models import Parts, build_model, model_options
from ppgen.commands.options import Option, first_line, options_of
from ppgen.commands.parser import Parser, given, read_config, split_positional, without
from ppgen.commands.report import report
from ppgen.commands.report_of_draws import report_of_draws
from ppgen.training.data.sources import BATCH_SIZE
from ppgen.training.fitting import fit
from ppgen.training.processes.world import is_writer, launcher
from ppgen.training.run_folder.checkpoint import replacing

EPOCHS = 20
_NOT_RECORDED = ("config", "overwrite", "quiet", "report", "num_particles", "resume")


@dataclass(frozen=True)
class Command:
    """A command line of `ppgen fit` that has been read: the model, the parts of the inference, and all options."""

    model: type
    parts: Parts
    values: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Folder of the run; by default named after model, data and inference."""
        if self.values["folder"] is not None:
            return folders.folder_of(self.values["folder"])
        words = (self.values["model"], Path(self.values["data"]).stem, self.values["inference"]["name"])
        return Path("runs") / "-".join(registry.normalise(word) for word in words)


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen fit MODEL`."""
    command = read(arguments)
    particles = command.values["num_particles"]
    if particles is not None and particles < 1:
        raise UsageError(f"--num-particles must be 1 or more, got {particles}")
    check_room("--num-particles", particles or 1)
    run, data = train(command, shlex.join([*launcher(), "fit", *arguments]))
    if command.values["report"] and is_writer():
        values = command.values
        if not run.pair.has_likelihood:
            report_of_draws(run, data, seed=values["seed"])
            return 0
        report(run, data, num_particles=values["num_particles"], seed=values["seed"], quiet=values["quiet"])
    return 0


def read(arguments: Sequence[str]) -> Command:
    """Read a command line; the options depend on the model and the inference that it names.

    Raises:
        UsageError: If it cannot be run.
        ValueError: If a name is not known.
    """
    alone, rest = split_positional(arguments)
    path = given(rest, "config")
    config = {} if path is None else read_config(path)
    rest = without(rest, "config")
    asked = given(rest, "model")
    name = alone[0] if alone else config.get("model") if asked is None else asked
    if len(alone) > 1:
        raise UsageError(f"unexpected argument {alone[1]!r} after the model {alone[0]!r}")
    if name is None and "--help" not in rest:
        raise UsageError(f"name a model: ppgen fit MODEL --data NAME; known: {', '.join(registry.names('model'))}")
    model = None if name is None else registry.lookup("model", name)
    parts = _parts(rest, config, model)
    if name is None or model is None:
        _parser(None, None, parts).read(["--help"])
        raise UsageError("name a model: ppgen fit MODEL")
    canonical = registry.canonical("model", name)
    config["model"] = canonical
    values = _parser(canonical, model, parts).read(without(rest, "model"), config)
    return Command(model, parts, values)


def train(command: Command, line: str, show: Callable[[str], None] = print) -> tuple[Any, Data]:
    """Train as a command says, in its folder.

    Args:
        command: What to train.
        line: Command line with which to go on after an interruption.
        show: Prints a line on what the folder already holds.

    Raises:
        Stopped: After Ctrl-C or SIGTERM.
    """
    values, folder = command.values, command.folder
    rows = load_data(values)
    model = build_model(command.model, values, rows.num_features, values["seed"], rows.image_shape)
    data = for_model(rows, model)
    inference = command.parts.build(values, model)
    settings = {option.name: values[option.name] for option in _training_options()}
    if settings["batch_size"] == BATCH_SIZE:  # which no option says: data that are one datum have no batches
        settings["batch_size"] = BATCH_SIZE
    if settings["epochs"] is None and settings["steps"] is None:
        settings["epochs"] = EPOCHS
    if values["overwrite"]:
        if folder.is_dir():
            _check(command, data, inference, settings)
        if is_writer():
            folders.clear(folder)
    started = False

    def on_start(event: Any) -> None:
        nonlocal started
        if event.kind == "start":
            started = True
            if is_writer():
                _record(values, folder)
            if event.step and is_writer():
                show(f"going on with the run in {folder} from epoch {event.epoch}, step {event.step}")

    try:
        run = fit(
            model,
            data,
            inference,
            folder=folder,
            resume=values["resume"],
            callbacks=[on_start],
            progress=not values["quiet"],
            **settings,
        )
    except KeyboardInterrupt:
        raise Stopped(_how_to_go_on("interrupted", folder, line), INTERRUPTED) from None
    except SystemExit as stop:
        if stop.code != TERMINATED:
            raise
        raise Stopped(_how_to_go_on("terminated", folder, line), TERMINATED) from None
    if not started and is_writer():
        show(f"{folder} holds this run, finished: nothing to train (--overwrite starts it again)")
    return run, data


class _NothingRefusedError(Exception):
    """The end of a training that was only to be checked."""


def _check(command: Command, data: Data, inference: Any, settings: Mapping[str, Any]) -> None:
    """Raise what `fit` refuses, before a run is removed for one that cannot be."""

    def at_start(event: Any) -> None:
        raise _NothingRefusedError

    model = build_model(command.model, command.values, data.num_features, command.values["seed"], data.image_shape)
    try:
        fit(model, data, inference, callbacks=[at_start], progress=False, **settings)
    except _NothingRefusedError:
        pass


def _how_to_go_on(what: str, folder: Path, line: str) -> str:
    if not is_writer():
        return ""
    place = folders.progress_of(folder)
    if place is None:
        return f"ppgen fit: {what} before the first checkpoint; start again with: {line}"
    return f"ppgen fit: {what}; the checkpoint in {folder} is of {place}. Go on with: {line}"


def _record(values: Mapping[str, Any], folder: Path) -> None:
    """Write the options into the folder, for `--config` and for `ppgen evaluate`."""
    import yaml  # type: ignore[import-untyped]

    kept = {name: value for name, value in values.items() if name not in _NOT_RECORDED}
    kept["folder"] = str(folder)
    for name in ("data", "data_dir"):
        if kept[name] is not None and kept[name] not in registry.names("data set"):
            path = Path(kept[name]).expanduser().absolute()
            kept[name] = str(path) if path.exists() else kept[name]
    with replacing(folder / COMMAND) as temporary:
        temporary.write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")


def _parts(arguments: Sequence[str], config: dict[str, Any], model: type | None) -> Parts:
    """Names of the parts; arguments in the config of a part that the command line replaces are dropped from it."""
    chosen: dict[str, str | None] = {}
    for name in ("inference", "estimator", "negative_phase"):
        old = config.get(name) or {}
        asked = given(arguments, f"{name}.name")
        new = old.get("name") if asked is None else asked
        if new is not None and old and registry.normalise(str(new)) != registry.normalise(str(old.get("name", new))):
            config.pop(name)
        chosen[name] = new if new is None or str(new).lower() not in ("auto", "none", "null") else None
    default = getattr(model, "default_inference", "elbo")
    return Parts(
        default if chosen["inference"] is None else chosen["inference"], chosen["estimator"], chosen["negative_phase"]
    )


def _training_options() -> list[Option]:
    skip = ("pair", "data", "inference", "folder", "resume", "callbacks", "progress")
    return [
        replace(option, help=f"Passes over the training rows; {EPOCHS} if neither epochs nor steps are given.")
        if option.name == "epochs"
        else option
        for option in options_of(fit, skip=skip)
    ]


def _parser(name: str | None, model: type | None, parts: Parts) -> Parser:
    prog = f"ppgen fit {name}" if name else "ppgen fit"
    known = ", ".join(registry.names("model"))
    about = first_line(model) if model else f"{COMMANDS['fit']} MODEL is one of {known}, in any case."
    parser = Parser(
        prog, about, config=True, usage=f"{prog}{'' if name else ' MODEL'} --data NAME [--inference NAME] [options]"
    )
    options = model_options(model) if model else []
    nested = next((f"--{each.name} {each.nested}" for each in options if each.nested), "--hidden 64,64")
    group = parser.add_argument_group(
        "model",
        f"Arguments of the model. Lists may be written without their outer brackets: {nested}."
        if model
        else "ppgen fit MODEL --help shows the options of a model.",
    )
    group.add_argument("--model", type=str, default=name, help=f"The same as the first word: {known}.")
    parser.add_options(group, options)
    parser.add_options(parser.add_argument_group("data"), data_options(required=True))
    _add_inference(parser, parts, model)
    _add_training(parser)
    return parser


def _add_inference(parser: Parser, parts: Parts, model: type | None) -> None:
    algorithms = ", ".join(registry.names("algorithm", "objective"))
    phases = ", ".join(registry.names("negative phase"))
    estimators = ", ".join(registry.names("estimator"))
    group = parser.add_argument_group(
        "inference",
        f"Shown are the arguments of {parts.inference}; add --inference NAME before --help for those of another.",
    )
    default = parts.inference if model else None
    group.add_argument(
        "--inference.name",
        metavar="NAME",
        type=str,
        default=default,
        help=f"An algorithm or objective ({algorithms}), an estimator (of the ELBO) or, for undirected models, a "
        f"negative phase ({phases}); what is left out comes from the model.",
    )
    group.add_argument(
        "--estimator.name",
        metavar="NAME",
        type=str | None,
        default=parts.estimator,
        help=f"Gradient estimator of the objective ({estimators}); by default chosen by site.",
    )
    group.add_argument(
        "--negative-phase.name",
        metavar="NAME",
        type=str | None,
        default=parts.negative_phase,
        help=f"Negative phase ({phases}) beside an objective given by --inference.",
    )
    for part, options in parts.options().items():
        parser.add_options(group, options, f"{part}.")


def _add_training(parser: Parser) -> None:
    group = parser.add_argument_group("training")
    parser.add_options(group, _training_options())
    group = parser.add_argument_group("folder and output")
    resume = next(option for option in options_of(fit) if option.name == "resume")
    parser.add_options(
        group,
        [
            Option(
                "folder",
                str | None,
                None,
                "Where to keep configuration, weights, checkpoints, logs, estimates and figures; by default "
                "runs/MODEL-DATA-INFERENCE.",
            ),
            replace(resume, default="auto"),
            Option("report", bool, True, "Whether to evaluate and draw the model after training."),
            Option(
                "num_particles",
                int | None,
                None,
                "Particles a datum for the log-likelihood after training; by default up to 1000, fewer for many rows.",
            ),
        ],
    )
    group.add_argument("--overwrite", action="store_true", help="Start again, and remove the run in the folder.")
    group.add_argument("--quiet", action="store_true", help="Show no progress, only results.")
