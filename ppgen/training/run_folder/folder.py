"""The folder of a run: locked while in use, its configuration compared before anything goes on."""

import inspect
import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from ppgen import registry
from ppgen.inference import Inference, from_config, to_config
from ppgen.training.processes.world import World
from ppgen.training.run_folder import checkpoint, contents, stored
from ppgen.training.run_folder.contents import BEST, CONFIG, LAST, MODEL


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
        ValueError: On entering, if it holds a run and `resume` is False, or none and `resume` is True; if it holds
            files of others where a run would write, or links.
        OSError: On writing, names the file.
    """

    def __init__(self, path: str | Path, resume: bool | str, world: World | None = None) -> None:
        self.path, self.resume, self.world = Path(path), resume, world or World()
        self._lock: Any = None
        self._config: dict[str, Any] = {}

    def __enter__(self) -> "RunFolder":
        self.world.first(self._open)
        return self

    def _open(self) -> None:
        from filelock import FileLock, Timeout

        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"folder must be a directory, and {self.path} is a file.")
        if self.path.is_symlink() and not self.path.exists():
            raise ValueError(f"folder must be a directory, and {self.path} is a link that leads nowhere.")
        if self.resume is True and not self.path.exists():
            self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        contents.check_no_links(self.path)
        self._lock = FileLock(self.path / contents.LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise FolderInUseError(
                f"Another run is writing to {self.path}. Wait for it to end, or choose another folder."
            ) from None
        try:
            self._check()
            contents.tidy(self.path)
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
        contents.check_not_foreign(self.path)
        if not self.resume and contents.is_run(self.path):
            raise ValueError(
                f"{self.path} already holds a run. Pass resume='auto' to go on with it, or choose another folder."
            )
        if self.resume is True and not has_checkpoint:
            raise ValueError(f"resume=True, but {self.path} holds no checkpoint. Use resume='auto' to start one there.")

    def begin(self, config: Mapping[str, Any]) -> stored.Checkpoint | None:
        """Compare the configuration with that of the folder, record it, and give the checkpoint.

        Raises:
            ValueError: If a field differs (it is named), or a file cannot be read.
        """
        return self.world.first(lambda: self._begin(json.loads(json.dumps(config))))

    def _begin(self, config: dict[str, Any]) -> stored.Checkpoint | None:
        last = None
        config["run"] = uuid.uuid4().hex
        if (self.path / CONFIG).exists():
            old = stored.read_config(self.path)
            last = stored.read_last(self.path, old) if (self.path / LAST).exists() else None
            compare(completed(old, self.path), config, 0 if last is None else last[1]["epoch"], self.path)
            config["run"] = old.get("run", config["run"])
            if last is not None:
                warn_of_environment(old, config)
                self._upgrade(old, config, last)
        self._config = config
        with self.writing():
            checkpoint.write_json(self.path / CONFIG, config)
        return last

    def _upgrade(self, old: Mapping[str, Any], config: Mapping[str, Any], last: stored.Checkpoint) -> None:
        """Write the files of an earlier format anew, with digests and the id of the run, before the configuration."""
        if old["checkpoint_format"] >= checkpoint.FIRST_WITH_DIGEST:
            return
        found = {LAST: last}
        if (self.path / BEST).exists():
            found = {BEST: stored.read_best(self.path, old, last[1], later=True), LAST: last}
        self._config = dict(config)
        for name, (tensors, header) in found.items():
            self._write(name, tensors, {**header, "upgraded": True})

    def read_best(self, last: Mapping[str, Any]) -> dict[str, Tensor]:
        """Weights and chains of the best epoch, given the header of the last checkpoint."""
        return self.world.first(lambda: stored.read_best(self.path, self._config, last, later=True)[0])

    def save_last(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write the state to go on from."""
        self.world.first(lambda: self._write(LAST, tensors, header))

    def save_best(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Write the weights and chains of the best epoch."""
        self.world.first(lambda: self._write(BEST, tensors, header))

    def save_model(self, state: Mapping[str, Tensor]) -> None:
        """Write the weights that the run ends with; for others to read, as `load` takes them from the checkpoints."""
        self.world.first(lambda: self._write(MODEL, state, {}))

    def _write(self, name: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        own = {"checkpoint_format": checkpoint.FORMAT, "run": self._config["run"]}
        with self.writing():
            checkpoint.write(self.path / name, tensors, {**header, **own})

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context in which an `OSError` says, beside the file, what can still be relied on."""
        try:
            yield
        except OSError as error:
            if error.errno is None or (error.strerror or "").endswith(")"):
                raise
            kept = "the last checkpoint is whole" if (self.path / LAST).exists() else "there is no checkpoint yet"
            raise OSError(error.errno, f"{error.strerror} ({kept})", error.filename) from error


def completed(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A recorded configuration, with arguments of its model and inference that are newer than it at their defaults.

    Raises:
        ValueError: If no inference can be made of what it says.
    """
    found, model = dict(config), config["model"]
    found["inference"] = json.loads(json.dumps(to_config(recorded_inference(config, path))))
    if model["name"] is not None:
        parameters = inspect.signature(registry.lookup("model", model["name"])).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
        found["model"] = {**model, "arguments": {**json.loads(json.dumps(defaults)), **model.get("arguments", {})}}
    return found


def recorded_inference(config: Mapping[str, Any], path: Path) -> Inference:
    """The inference that a configuration describes.

    Raises:
        ValueError: If it describes none.
    """
    try:
        return from_config(dict(config["inference"]))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path / CONFIG} is damaged: field 'inference' describes no inference ({what}).") from error


def compare(old: Mapping[str, Any], new: Mapping[str, Any], epochs_done: int, path: Path) -> None:
    """Raise if two configurations describe different runs.

    More epochs go on with the same run where the step size is constant; any other schedule would have been
    different from the start.

    Raises:
        ValueError: Names the first fields that differ and both values.
    """
    before, after = dict(_flat(old)), dict(_flat(new))
    own = ("checkpoint_format", "run")
    names = [name for name in {**before, **after} if name not in own and not name.startswith("environment.")]
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
