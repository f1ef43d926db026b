"""Checkpoint files: tensors in safetensors, the rest as JSON in the same file's header; nothing is pickled.

One file a checkpoint, so that it is replaced as a whole: after a crash there is the old one or the new one. Each file
holds the digest of what it says, so that a flipped bit is noticed and not trained on.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppgen.training.run_folder.storage import LARGEST_TEXT, check_readable
from ppgen.training.run_folder.storage import replacing as replacing

FORMAT = 2
"""Version of the layout of a run folder; a newer one is refused. Since 2 files hold digests and the run's id."""

FIRST_WITH_DIGEST = 2

_KEY, _DIGEST = "ppgen", "sha256"


def plain_copy(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, contiguous, sharing no memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a checkpoint in one atomic replacement.

    Raises:
        OSError: If it cannot be written; names the file, of which the old content is whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    copies, text = plain_copy(tensors), json.dumps(header)
    metadata = {"format": "pt", _KEY: text, _DIGEST: _digest(copies, text)}
    with replacing(path) as temporary:
        try:
            save_file(copies, str(temporary), metadata=metadata)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a checkpoint; the tensors are copies, as aligned as new ones.

    Raises:
        ValueError: If the file is missing, damaged, not written by ppgen, or of a newer format.
    """
    from safetensors import SafetensorError, safe_open

    check_readable(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata.get(_KEY, "null"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is a safetensors file but no checkpoint of ppgen: its header has no {_KEY!r}.")
    version = header.get("checkpoint_format", FORMAT if _DIGEST in metadata else FIRST_WITH_DIGEST - 1)
    check_format(version, path)
    if (_DIGEST in metadata or version >= FIRST_WITH_DIGEST) and (
        metadata.get(_DIGEST) != _digest(tensors, metadata[_KEY])
    ):
        raise ValueError(f"{path} is damaged: its content is not what its digest says. {_REMEDY}")
    return tensors, header


def check_format(version: Any, path: Path) -> None:
    """Refuse a file that a newer version wrote.

    Raises:
        ValueError: If the format is missing, no number, or newer than this version's.
    """
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ValueError(
            f"{path} has checkpoint_format {version!r}; this version of ppgen reads up to {FORMAT}. Install the "
            "version that wrote it, or a newer one."
        )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, with its digest, in one atomic replacement.

    Raises:
        OSError: If it cannot be written; names the file, of which the old content is whole.
    """
    signed = {**content, _DIGEST: _digest({}, json.dumps(content))}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(signed, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object; it is compared with its digest, if it holds one.

    Raises:
        ValueError: If the file is missing or damaged.
    """
    content, found = parse_json(path)
    if found is not None and found != _digest({}, json.dumps(content)):
        raise ValueError(f"{path} is damaged or was changed by hand: it is not what its digest says. {_REMEDY}")
    return content


def parse_json(path: Path) -> tuple[dict[str, Any], Any]:
    """Content of a JSON file that holds one object, and the digest that it names; nothing is compared.

    Raises:
        ValueError: If the file is missing, no JSON or no object.
    """
    check_readable(path, LARGEST_TEXT)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object.")
    return content, content.pop(_DIGEST, None)


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


_REMEDY = "Put back a sound copy of the file, or start the run again."


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Of the header's text and of names, types, shapes and values of all tensors, in whatever order they lie."""
    found = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        found.update(f"\n{name!r} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def pair_state(pair: Any) -> dict[str, Tensor]:
    """Parameters and buffers of a pair.

    Raises:
        ValueError: If a module keeps other state, which a file without pickling cannot hold.
    """
    state = pair.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"The pair's state {name!r} is a {type(value).__name__}; only tensors can be saved. "
                "Register it as a buffer."
            )
    return dict(state)


def load_pair_state(pair: Any, state: Mapping[str, Tensor]) -> None:
    """Put weights into a pair.

    Raises:
        ValueError: If names or shapes are not those of the pair.
    """
    try:
        pair.load_state_dict(dict(state))
    except RuntimeError as error:
        raise ValueError(f"The saved weights are not those of this pair: {error}") from error
