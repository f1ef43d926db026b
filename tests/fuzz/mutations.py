"""Ways to damage a run folder, each a function of the folder, another run's folder, and a random generator."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ppgen.training.run_folder import checkpoint

CONFIG, LAST, BEST, MODEL = (
    "config.json",
    "checkpoint/last.safetensors",
    "checkpoint/best.safetensors",
    "model.safetensors",
)
READ = (CONFIG, LAST, BEST)
DERIVED = (MODEL, "metrics.csv")
Mutation = Callable[[Path, Path, Random], str]


def _file(folder: Path, random: Random, names: tuple[str, ...] = READ) -> Path:
    return folder / random.choice([name for name in names if (folder / name).exists()])


def truncated(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random, (*READ, "command.yaml"))
    size = random.choice([0, 1, 8, random.randrange(path.stat().st_size)])
    with path.open("r+b") as file:
        file.truncate(size)
    return f"{path.name} cut to {size} bytes"


def flipped(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random, (*READ, *READ, "command.yaml"))
    content = bytearray(path.read_bytes())
    position, bit = random.randrange(len(content)), random.randrange(8)
    content[position] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {position} of {path.name} flipped"


def flipped_in_text(folder: Path, other: Path, random: Random) -> str:
    """In the header of a checkpoint, which is text and rarer than its tensors."""
    path = _file(folder, random, (LAST, BEST))
    content = bytearray(path.read_bytes())
    position, bit = random.randrange(8 + int.from_bytes(content[:8], "little")), random.randrange(8)
    content[position] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {position} of the header of {path.name} flipped"


def overwritten(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random)
    content = bytearray(path.read_bytes())
    start, length = random.randrange(len(content)), random.choice([1, 4, 64])
    content[start : start + length] = random.randbytes(length)
    path.write_bytes(content)
    return f"{length} bytes from {start} of {path.name} replaced"


def extended(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random)
    path.write_bytes(path.read_bytes() + random.choice([b"\0", b"}", b"garbage " * 100]))
    return f"{path.name} made longer"


def of_another_run(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random)
    shutil.copy(other / path.relative_to(folder), path)
    return f"{path.name} taken from another run"


def exchanged(folder: Path, other: Path, random: Random) -> str:
    first, second = random.sample([folder / name for name in (*READ, MODEL) if (folder / name).exists()], 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return f"{first.name} and {second.name} exchanged"


def removed(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random)
    path.unlink()
    return f"{path.name} removed"


def of_another_kind(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random, (*READ, "command.yaml"))
    path.unlink()
    kind = random.choice(["folder", "pipe", "device", "loop", "dangling", "link"])
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        target = {
            "device": "/dev/zero",
            "loop": path,
            "dangling": folder / "none",
            "link": other / path.relative_to(folder),
        }
        path.symlink_to(Path(target[kind]).absolute())
    return f"{path.name} made a {kind}"


def linked_folder(folder: Path, other: Path, random: Random) -> str:
    name = random.choice(["checkpoint", "tensorboard", "figures"])
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).symlink_to((other / name).absolute())
    return f"{name} made a link to that of another run"


def derived(folder: Path, other: Path, random: Random) -> str:
    """Files that are written for others to read: whatever happens to them, nothing is lost."""
    path = _file(folder, random, DERIVED)
    how = random.choice(
        [truncated_to_half, lambda path: path.unlink(), lambda path: path.write_bytes(random.randbytes(99))]
    )
    how(path)
    return f"{path.name} damaged"


def truncated_to_half(path: Path) -> None:
    """Cut a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def leftovers(folder: Path, other: Path, random: Random) -> str:
    for place in (folder, folder / "checkpoint"):
        for name in ("config.json", "last.safetensors"):
            (place / f".{name}.{2**22 + random.randrange(9)}.tmp").write_bytes(random.randbytes(50))
    return "leftovers of killed writers"


def _place(content: Any, random: Random, signed: bool) -> tuple[Any, Any, str]:
    """A container somewhere in a JSON document, a key of it, and its name.

    Whoever makes the digest anew may write any number into the table of metrics, so that is left alone then.
    """
    found = []
    stack = [(content, "")]
    while stack:
        value, name = stack.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            found.append((value, key, f"{name}.{key}"))
            if not (signed and key == "metrics"):
                stack.append((inner, f"{name}.{key}"))
    return random.choice(found)


def _json_changed(folder: Path, random: Random, change: Callable[[Any, Any], None], signed: bool) -> str:
    """A change in the configuration, or in the header of a checkpoint, with or without its digest made anew."""
    path = _file(folder, random)
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        kept = content.pop("sha256", None)
        holder, key, name = _place(content, random, signed)
        change(holder, key)
        if signed:
            checkpoint.write_json(path, content)
        else:
            path.write_text(json.dumps({**content, "sha256": kept}))
    else:
        tensors, content = checkpoint.read(path)
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata()
        holder, key, name = _place(content, random, signed)
        change(holder, key)
        if signed:
            checkpoint.write(path, tensors, content)
        else:
            save_file(tensors, str(path), metadata={**metadata, "ppgen": json.dumps(content)})
    return f"field {name} of {path.name}, {'digest made anew' if signed else 'digest as it was'}"


def without_a_field(folder: Path, other: Path, random: Random) -> str:
    def change(holder: Any, key: Any) -> None:
        del holder[key]

    return f"removed: {_json_changed(folder, random, change, random.random() < 0.7)}"


def of_a_wrong_type(folder: Path, other: Path, random: Random) -> str:
    def change(holder: Any, key: Any) -> None:
        kinds = [None, "text", [], {}, [[]], {"name": 3}]
        holder[key] = random.choice([each for each in kinds if type(each) is not type(holder[key])])

    return f"wrong type: {_json_changed(folder, random, change, random.random() < 0.7)}"


def of_an_absurd_number(folder: Path, other: Path, random: Random) -> str:
    def change(holder: Any, key: Any) -> None:
        holder[key] = random.choice([-1, 10**12, 10**30, float("nan"), float("-inf"), 2**63, -0.5, True])

    return f"absurd: {_json_changed(folder, random, change, signed=False)}"


def forged(folder: Path, other: Path, random: Random) -> str:
    """A number that cannot be, in a file whose digest is sound, as a stranger may make it."""
    if random.random() < 0.5:
        content = checkpoint.read_json(folder / CONFIG)
        arguments = content["model"]["arguments"]
        name = random.choice([key for key in ("features", "latent", "visible", "hidden") if key in arguments])
        value = random.choice([-1, 0, 10**9, 10**12, 2**63, 0.5])
        arguments[name] = [value] if isinstance(arguments[name], list) else value
        checkpoint.write_json(folder / CONFIG, content)
    else:
        tensors, content = checkpoint.read(folder / LAST)
        name = random.choice(["step", "epoch", "position", "rows", "seconds", "processes"])
        content[name] = value = random.choice([-1, 0.5, float("nan"), 10**30] + ([5] if name == "epoch" else []))
        checkpoint.write(folder / LAST, tensors, content)
    return f"{name} forged to be {value}"


def other_tensors(folder: Path, other: Path, random: Random) -> str:
    path = _file(folder, random, (LAST, BEST))
    tensors, header = checkpoint.read(path)
    name = random.choice(sorted(name for name in tensors if not name.startswith("validation")))
    kind = random.choice(["removed", "longer", "scalar", "renamed", "nan"])
    value = tensors.pop(name)
    if name.startswith("inference/"):  # whoever makes the digest anew may write other chains
        kind = "nan"
    if kind == "nan" and not (value.is_floating_point() and name.startswith(("pair/", "inference/"))):
        kind = "removed"
    made = {
        "longer": lambda: {name: torch.cat([value.reshape(-1), value.reshape(-1)])},
        "scalar": lambda: {name: value.reshape(-1)[:1].clone()},
        "renamed": lambda: {f"{name}x": value},
        "nan": lambda: {name: torch.full_like(value, torch.nan)},
    }
    tensors |= made[kind]() if kind in made else {}
    checkpoint.write(path, tensors, header)
    return f"tensor {name} of {path.name} {kind}, digest made anew"


def strange_text(folder: Path, other: Path, random: Random) -> str:
    path = folder / random.choice([CONFIG, "command.yaml"])
    kinds = [
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"",
        b"null",
        b"[]",
        b"1" * 5000,
        b'{"a":' * 5000,
        b'{"checkpoint_format": 2}',
        b"\xef\xbb\xbf{}",
    ]
    path.write_bytes(random.choice(kinds))
    return f"{path.name} replaced by strange text"


MUTATIONS: tuple[Mutation, ...] = (
    truncated, flipped, flipped, flipped_in_text, overwritten, extended, of_another_run, exchanged, removed,
    of_another_kind, linked_folder, derived, leftovers, without_a_field, without_a_field, of_a_wrong_type,
    of_a_wrong_type, of_an_absurd_number, forged, other_tensors, strange_text,
)  # fmt: skip
