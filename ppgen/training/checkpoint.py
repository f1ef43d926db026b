"""Checkpoint files: tensors in safetensors, the rest as JSON in the same file's header; nothing is pickled.

One file a checkpoint, so that it is replaced as a whole: after a crash there is the old one or the new one.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

FORMAT = 1
"""Version of the layout of a run folder; a folder of a newer one is refused."""

_KEY = "ppgen"


def plain_copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a checkpoint in one atomic replacement."""
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        save_file(plain_copy(tensors), str(temporary), metadata={"format": "pt", _KEY: json.dumps(header)})


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a checkpoint; the tensors are copies, as aligned as new ones.

    Raises:
        ValueError: If the file is missing, damaged, or not written by ppgen.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is a safetensors file but no checkpoint of ppgen: its header has no {_KEY!r}.")
    return tensors, header


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path to write to, which then takes the place of `path`: there is the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # safetensors makes files that nobody else may read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file in one atomic replacement."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return content


def section(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Tensors whose names start with `name/`, without that prefix.

    Example:
        >>> import torch
        >>> list(section({"pair/w": torch.ones(1), "random/cpu": torch.ones(1)}, "pair"))
        ['w']
    """
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}/")}


def prefixed(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `section`."""
    return {f"{name}/{key}": value for key, value in tensors.items()}
