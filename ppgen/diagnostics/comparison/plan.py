"""From the arguments of a comparison to its cells: everything that can be wrong with them is found here."""

import difflib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ppgen import inference as inference_module
from ppgen import registry
from ppgen.checks.arguments import check_count
from ppgen.checks.room import check_room
from ppgen.diagnostics.comparison.cell import Cell, Study, seeded
from ppgen.diagnostics.comparison.folder import check_root
from ppgen.diagnostics.comparison.rows import check_evaluation, check_new, rows_of
from ppgen.evaluation.likelihood.methods import METHODS
from ppgen.inference import Estimator, Inference, NegativePhase, Objective, ParameterUpdate
from ppgen.pair import as_pair
from ppgen.training.binding import check_fit
from ppgen.training.data.batch_source import checksum_of
from ppgen.training.data.sources import source_for
from ppgen.training.environment import resolve_device
from ppgen.training.fitting import fit
from ppgen.training.settings import Settings
from ppgen.training.steps.optimizers import NO_OPTIMIZER, resolve_optimizer

FORMAT = 1
_OWN = ("pair", "data", "inference", "epochs", "steps", "seed", "folder", "resume", "callbacks", "progress")
_OPTIMIZER = ("optimizer", "lr", "lr_schedule")
_PARTS = (str, Inference, Objective, NegativePhase, Estimator, ParameterUpdate)


def plan(
    model_factory: Any,
    data: Any,
    inferences: Any,
    *,
    seeds: Any,
    folder: Any,
    test: Any,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    gradient: Mapping[str, int],
    fresh: bool,
) -> tuple[list[Cell], Study, dict[str, Any]]:
    """The cells of a comparison, what they share, and how it is described.

    Raises:
        ValueError: If an argument is out of its range, or a model and an inference do not fit.
        TypeError: If an argument has the wrong type.
    """
    numbers = _seeds(seeds)
    if folder is not None and not isinstance(folder, (str, Path)):
        raise TypeError(f"folder must be a path, got {type(folder).__name__}.")
    root = None if folder is None else Path(folder)
    if root is not None and root.exists() and not root.is_dir():
        raise ValueError(f"folder must be a directory, and {root} is a file.")
    if folder == "":
        raise ValueError("folder must be the path of a folder, got an empty one; '.' is the working directory.")
    if evaluation["method"] not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {evaluation['method']!r}.")
    _check_training(training)
    resolve_device(training.get("device", "auto"))
    factories = _factories(model_factory)
    cells: list[Cell] = []
    rows, described, evaluations = None, "", dict[str, dict[str, Any]]()
    wanted = _inferences(inferences, list(factories))
    for model, factory in factories.items():
        settings = Settings(**{name: _setting(training, name) for name in _setting_names()}, seed=0)
        for label, value in wanted[model].items():
            pair = as_pair(seeded(factory, numbers[0]))  # a new one for each, as preparing may change it
            source = source_for(pair, data, torch.device("cpu"), training.get("batch_size"))
            if rows is None:
                described = source.describe()
                rows, what = rows_of(source, test)
            resolved = inference_module.resolve(value, pair)
            try:
                bound = check_fit(pair, source, resolved, settings.batch_size)
            except ValueError as error:
                raise ValueError(f"inferences: {label!r} cannot train {model!r}: {error}") from error
            if model not in evaluations:  # rows that it can evaluate, by the method that is asked for
                check_new(pair, as_pair(seeded(factory, numbers[0])))
                evaluations[model] = check_evaluation(pair, rows, what, model, evaluation)
            optimizer, lr, lr_schedule = (training.get(name) for name in _OPTIMIZER)
            spec = resolve_optimizer(optimizer, lr, lr_schedule, pair.default_training)
            rests = not bound.followed_parameters()  # in closed form, beside others that the optimiser trains
            spec = NO_OPTIMIZER if rests else spec
            config: dict[str, Any] = {
                "comparison_format": FORMAT,
                "model": _described(model, pair),
                "inference": inference_module.to_config(resolved) if root else inference_module.describe(resolved),
                "training": settings.to_config() | {"monitor": settings.monitor} | spec.to_config(),
                "data": source.to_config(),
                "test": {"rows": what, "checksum": checksum_of(rows)},
                "evaluation": {name: _plain(each) for name, each in evaluations[model].items()},
                "gradient": dict(gradient),
            }
            for seed in numbers:
                mine = {**config, "training": {**config["training"], "seed": seed}}
                place = None if root is None else cell_folder(root, model, label, seed)
                cells.append(Cell(model, label, seed, factory, value, json.loads(json.dumps(mine)), place, rests))
    _check_folders(cells)
    if root is not None:
        check_root(root, [cell.folder for cell in cells if cell.folder is not None])
    for cell in cells:
        cell.check_folder()
    length = f"{training['epochs']} epochs" if training.get("steps") is None else f"{training['steps']} steps"
    attrs = {"data": described, "rows": what, "budget": length, "method": evaluation["method"]}
    given = {name: value for name, value in training.items() if value is not None}
    return cells, Study(data, rows, given, evaluation, gradient, fresh), attrs


def cell_folder(root: Path, model: str, inference: str, seed: int) -> Path:
    """Folder of a cell, which is the folder of its run too.

    Args:
        root: Folder of the comparison.
        model: Name of the model.
        inference: Label of the inference.
        seed: The seed.

    Example:
        >>> cell_folder(Path("runs"), "SBN", "wake-sleep", 0).as_posix()
        'runs/sbn/wake-sleep/seed-0'
    """
    return root / _slug(model) / _slug(inference) / f"seed-{seed}"


def check_budget(processes: Any, num_particles: Any, gradient_rows: Any, gradient_draws: Any) -> None:
    """Raise if a number of a comparison is not one.

    Raises:
        ValueError: Names the argument.
    """
    for name, value, least in (
        ("processes", processes, 0),
        ("num_particles", num_particles, 1),
        ("gradient_rows", gradient_rows, 1),
        ("gradient_draws", gradient_draws, 20),
    ):
        check_count(name, value, least)


def _seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ValueError(f"seeds must be 1 or more, got {seeds}.")
        check_room("seeds", seeds, 250)
        return list(range(seeds))
    if not isinstance(seeds, Sequence) or isinstance(seeds, str | bytes | bytearray | memoryview):
        raise TypeError(f"seeds must be a number of seeds or a sequence of them, got {seeds!r}.")
    found = list(seeds)
    if not found:
        raise ValueError("seeds must hold at least one seed, got none.")
    for seed in found:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"seeds must be integers in [0, 2^63), got {seed!r}.")
    if len(set(found)) < len(found):
        raise ValueError(f"seeds must differ, got {found}: a seed that stands twice is no second sample.")
    return found


def _factories(given: Any) -> dict[str, Any]:
    several = isinstance(given, Mapping)
    if several and not given:
        raise ValueError("model_factory must hold at least one model, got an empty mapping.")
    factories = dict(given) if several else {"": given}
    for name, factory in factories.items():
        if not isinstance(name, str):
            raise TypeError(f"model_factory must map names to functions, got the name {name!r}.")
        if isinstance(factory, torch.nn.Module) or not callable(factory):
            raise TypeError(
                "model_factory must be a function that makes a new model, because each cell trains its own: such as "
                f"lambda: models.VAE(...), got {type(factory).__name__}."
            )
    if several:
        return factories
    return {type(as_pair(seeded(given, 0))).__name__: given}


def _inferences(given: Any, models: list[str]) -> dict[str, dict[str, Any]]:
    """Values by label, by model."""
    if isinstance(given, Mapping) and given and set(given) <= set(models) and len(models) > 1:
        missing = [name for name in models if name not in given]
        if missing:
            raise ValueError(f"inferences names some models, and lacks {', '.join(map(repr, missing))}.")
        return {model: _labelled(given[model], model) for model in models}
    return {model: _labelled(given, model) for model in models}


def _labelled(given: Any, model: str) -> dict[str, Any]:
    if isinstance(given, _PARTS) or not isinstance(given, (Mapping, Sequence)):
        raise TypeError(
            "inferences must be a sequence of inferences or a mapping from labels to them, such as ['nvil', 'vimco'], "
            f"got {given!r}."
        )
    if not given:
        raise ValueError(f"inferences must hold at least one inference for {model!r}, got none.")
    pairs = list(given.items()) if isinstance(given, Mapping) else [(_label(each), each) for each in given]
    for label, _ in pairs:
        if not isinstance(label, str) or not label:
            raise TypeError(f"inferences must have names as labels, got {label!r}.")
    labels = [label for label, _ in pairs]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"inferences holds {twice!r} twice: give a mapping from labels to inferences.")
    return dict(pairs)


def _label(value: Any) -> str:
    if isinstance(value, str):
        return value
    return inference_module.describe(value) if isinstance(value, Inference) else repr(value)


def _check_training(training: Mapping[str, Any]) -> None:
    known = [name for name in inspect.signature(fit).parameters if name not in _OWN]
    for name in training:
        if name not in known and name not in ("epochs", "steps"):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"compare_inferences() got an unknown argument {name!r}.{hint}")


def _setting_names() -> list[str]:
    return [name for name in Settings.__dataclass_fields__ if name != "seed"]


def _setting(training: Mapping[str, Any], name: str) -> Any:
    default = None if name in ("epochs", "steps") else inspect.signature(fit).parameters[name].default
    return training.get(name, default)


def _described(name: str, pair: Any) -> dict[str, Any]:
    known = registry.name_of("model", type(pair))
    if known:
        return {"name": known, "arguments": pair.config()}
    shapes = {key: list(value.shape) for key, value in pair.state_dict().items()}
    return {"name": None, "type": type(pair).__name__, "tensors": shapes}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_.]+", "-", text.lower()).strip("-.") or "cell"


def _check_folders(cells: Sequence[Cell]) -> None:
    seen: dict[Path, Cell] = {}
    for cell in cells:
        if cell.folder is None:
            continue
        other = seen.setdefault(cell.folder, cell)
        if other is not cell:
            raise ValueError(
                f"{other.name} and {cell.name} would share the folder {cell.folder}: give them labels that differ in "
                "letters or digits."
            )
