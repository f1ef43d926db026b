"""The folder of a run: locked while in use, its configuration compared before anything goes on."""

import inspect
import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from ppgen import registry
from ppgen.inference import from_config, to_config
from ppgen.training import checkpoint
from ppgen.training.processes import World

CONFIG, MODEL, METRICS = "config.json", "model.safetensors", "metrics.csv"
LAST, BEST = "checkpoint/last.safetensors", "checkpoint/best.safetensors"


class FolderInUseError(RuntimeError):
    """Another process, or another run of this one, is writing to the folder."""


class RunFolder:
    """Context in which this process alone writes to a run's folder.

    Args:
        path: The folder; made if it is missing.
        resume: What `fit` was given.
        world: The processes of the run, of which the first one reads and writes for all.

    Raises:
        FolderInUseError: On entering, if the folder is locked.
        ValueError: On entering, if it holds a run and `resume` is False, or none and `resume` is True.
    """

    def __init__(self, path: str | Path, resume: bool | str, world: World | None = None) -> None:
        self.path, self.resume, self.world = Path(path), resume, world or World()
        self._lock: Any = None

    def __enter__(self) -> "RunFolder":
        self.world.first(self._open)
        return self

    def _open(self) -> None:
        from filelock import FileLock, Timeout

        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"folder must be a directory, and {self.path} is a file.")
        if self.resume is True and not self.path.exists():
            self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FolderInUseError(
                f"Another run is writing to {self.path}. Wait for it to end, or choose another folder."
            ) from None
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.release()

    def _check(self) -> None:
        has_checkpoint = (self.path / LAST).exists()
        if not self.resume and (has_checkpoint or any((self.path / name).exists() for name in (CONFIG, MODEL))):
            raise ValueError(
                f"{self.path} already holds a run. Pass resume='auto' to go on with it, or choose another folder."
            )
        if self.resume is True and not has_checkpoint:
            raise ValueError(f"resume=True, but {self.path} holds no checkpoint. Use resume='auto' to start one there.")

    def begin(self, config: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Compare the configuration with that of the folder, record it, and give the checkpoint.

        Raises:
            ValueError: If a field differs (it is named), or a file cannot be read.
        """
        return self.world.first(lambda: self._begin(json.loads(json.dumps(config))))

    def _begin(self, config: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        last = checkpoint.read(self.path / LAST) if (self.path / LAST).exists() else None
        if (self.path / CONFIG).exists():
            old = checkpoint.read_json(self.path / CONFIG)
            check_format(old, self.path)
            old = completed(old)
            compare(old, config, 0 if last is None else int(last[1]["epoch"]), self.path)
            if last is not None:
                warn_of_environment(old, config)
        checkpoint.write_json(self.path / CONFIG, config)
        return last

    def read_best(self) -> dict[str, Tensor]:
        """Weights and chains of the best epoch."""
        return self.world.first(lambda: checkpoint.read(self.path / BEST)[0])

    def save_last(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write the state to go on from."""
        self.world.first(lambda: checkpoint.write(self.path / LAST, tensors, header))

    def save_best(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write the weights and chains of the best epoch."""
        self.world.first(lambda: checkpoint.write(self.path / BEST, tensors, header))

    def save_model(self, state: Mapping[str, Tensor]) -> None:
        """Write the weights that the run ends with."""
        self.world.first(lambda: checkpoint.write(self.path / MODEL, state, {"checkpoint_format": checkpoint.FORMAT}))


def check_format(config: Mapping[str, Any], path: Path) -> None:
    """Refuse a folder that a newer version wrote.

    Raises:
        ValueError: If the format is missing or newer than this version's.
    """
    version = config.get("checkpoint_format")
    if not isinstance(version, int) or version > checkpoint.FORMAT:
        raise ValueError(
            f"{path / CONFIG} has checkpoint_format {version!r}; this version of ppgen reads up to "
            f"{checkpoint.FORMAT}. Install the version that wrote it, or a newer one."
        )


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration, with arguments of its model and inference that are newer than it at their defaults."""
    found, model, inference = dict(config), config.get("model"), config.get("inference")
    if isinstance(inference, Mapping):
        found["inference"] = json.loads(json.dumps(to_config(from_config(dict(inference)))))
    if isinstance(model, Mapping) and model.get("name") is not None:
        parameters = inspect.signature(registry.lookup("model", model["name"])).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        found["model"] = {**model, "arguments": {**json.loads(json.dumps(defaults)), **model["arguments"]}}
    return found


def compare(old: Mapping[str, Any], new: Mapping[str, Any], epochs_done: int, path: Path) -> None:
    """Raise if two configurations describe different runs.

    More epochs go on with the same run where the step size is constant; any other schedule would have been
    different from the start.

    Raises:
        ValueError: Names the first fields that differ and both values.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    names = [name for name in {**before, **after} if not name.startswith("environment.")]
    differing = [name for name in names if before.get(name) != after.get(name)]
    if differing == ["training.epochs"]:
        epochs = after["training.epochs"]
        constant = after.get("training.lr_schedule") == "constant"
        if constant and isinstance(epochs, int) and epochs >= epochs_done:
            return
        if not constant:
            raise ValueError(
                f"{path} holds a run of epochs={before['training.epochs']!r}, this call asks for "
                f"epochs={epochs!r}. Only a constant lr_schedule can be extended; "
                f"{after.get('training.lr_schedule')!r} depends on the number of steps. "
                "Choose another folder."
            )
    if differing:
        shown = "; ".join(
            f"{name}: {before.get(name)!r} there, {after.get(name)!r} in this call" for name in differing[:3]
        )
        raise ValueError(f"{path} holds another run, so it cannot go on: {shown}. Choose another folder.")


def warn_of_environment(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Warn where versions or threads differ: the run goes on, but not bit for bit as it would have."""
    before, after = old.get("environment", {}), new.get("environment", {})
    differing = [f"{name} {before.get(name)} -> {after[name]}" for name in after if before.get(name) != after[name]]
    if differing:
        warnings.warn(
            f"The run goes on in another environment ({', '.join(differing)}), "
            "so it may differ in rounding from an uninterrupted one.",
            stacklevel=4,
        )


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
