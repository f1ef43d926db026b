"""What a run leaves in its folder, told apart from what others put there."""

import contextlib
from pathlib import Path

from ppgen.training.run_folder import checkpoint
from ppgen.training.run_folder.storage import remove_leftovers

CONFIG, MODEL, METRICS, LOCK = "config.json", "model.safetensors", "metrics.csv", ".lock"
LAST, BEST = "checkpoint/last.safetensors", "checkpoint/best.safetensors"
POSTERIOR, SAMPLES, EVALUATION, COMMAND = "posterior.nc", "samples.npy", "evaluation.json", "command.yaml"
CHECKPOINTS, FIGURES, TENSORBOARD = "checkpoint", "figures", "tensorboard"

_LOCKED = (MODEL, METRICS, LAST, BEST, COMMAND, CONFIG)  # written by the holder of the lock only
_LATER = (POSTERIOR, SAMPLES, EVALUATION)
_PICTURES = tuple(f"{FIGURES}/{name}.png" for name in ("curve", "samples", "reconstructions", "filters"))
_FILES = (*_LATER, *_LOCKED)
_FOLDERS = (CHECKPOINTS, FIGURES, TENSORBOARD)


def is_run(folder: Path) -> bool:
    """Whether the configuration in a folder says that ppgen made it, whether or not it can still be read whole."""
    try:
        config = checkpoint.parse_json(folder / CONFIG)[0]
    except ValueError:
        return False
    return isinstance(config.get("model"), dict) and "checkpoint_format" in config and "inference" in config


def check_no_links(folder: Path) -> None:
    """Refuse to write where a link would lead out of the folder, or where something else than a file stands.

    Raises:
        ValueError: Names the link.
    """
    for name in (*_FOLDERS, LOCK, *_FILES, *_PICTURES):
        path = folder / name
        if path.is_symlink():
            raise ValueError(
                f"{path} is a link. A run writes and removes nothing outside its folder: remove the link, or give "
                "another folder."
            )
        if path.exists() and not (path.is_dir() if name in _FOLDERS else path.is_file()):
            kind = "folder" if name in _FOLDERS else "regular file"
            raise ValueError(f"{path} is no {kind}, and a run keeps one there. Move it away, or give another folder.")


def check_not_foreign(folder: Path) -> None:
    """Refuse a folder without a run that holds files of the names that a run would replace.

    Raises:
        ValueError: Names the first of them.
    """
    if is_run(folder):
        return
    if (folder / CONFIG).exists():
        checkpoint.parse_json(folder / CONFIG)  # says what is wrong with it
        raise ValueError(f"{folder / CONFIG} is no configuration of a run of ppgen. Give a folder of its own.")
    for path in (*(folder / name for name in (*_FILES, *_PICTURES)), *_events(folder)):
        if path.exists():
            raise ValueError(
                f"{folder} holds {path.relative_to(folder)} and no {CONFIG}, so it is no folder of a run, and a run "
                "would replace what lies there. Give a folder of its own."
            )


def _events(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / TENSORBOARD).glob("events.out.tfevents.*") if not path.is_dir())


def is_bare(folder: Path) -> bool:
    """Whether a folder holds nothing but a lock and what killed writers left."""
    return all(
        path.name == LOCK or (path.name.startswith(".") and path.name.endswith(".tmp")) for path in folder.iterdir()
    )


def tidy(folder: Path) -> None:
    """Remove what killed writers left half written; for the holder of the folder's lock."""
    for place in (folder, folder / CHECKPOINTS, folder / FIGURES):
        names = {Path(name).name for name in (*_LATER, *_PICTURES)}
        remove_leftovers(place, names, {Path(name).name for name in _LOCKED})


def remove_run(folder: Path) -> None:
    """Remove what a run wrote, and nothing else; the configuration last, which says that the rest is ours."""
    tidy(folder)
    for path in (*(folder / name for name in _PICTURES), *_events(folder), *(folder / name for name in _FILES)):
        path.unlink(missing_ok=True)
    for name in _FOLDERS:
        with contextlib.suppress(OSError):  # there is none, or it holds something else
            (folder / name).rmdir()
