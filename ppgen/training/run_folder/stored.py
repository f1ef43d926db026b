"""What a run folder says, read and checked: each file sound in itself, and all of one run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppgen import registry
from ppgen.inference import from_config
from ppgen.inference.state_roles import Roles
from ppgen.training.run_folder import checkpoint, schema
from ppgen.training.run_folder.contents import BEST, CONFIG, LAST

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]


def read_config(folder: Path) -> dict[str, Any]:
    """Configuration of the run.

    Raises:
        ValueError: If the file is damaged or of a newer format; names the field.
    """
    path = folder / CONFIG
    content, digest = checkpoint.parse_json(path)
    checkpoint.check_format(content.get("checkpoint_format"), path)
    schema.CONFIG.check(content, path)
    if content["model"]["name"] is not None:
        registry.canonical("model", content["model"]["name"])
    if content["checkpoint_format"] >= checkpoint.FIRST_WITH_DIGEST:
        schema.record({"run": schema.TEXT, "sha256": schema.TEXT}).check({"sha256": digest, **content}, path)
    return checkpoint.read_json(path)


def read_last(folder: Path, config: Mapping[str, Any]) -> Checkpoint:
    """The last checkpoint, which must be of the run that the configuration describes.

    Raises:
        ValueError: If it is damaged, of a newer format, of another run, or contradicts itself.
    """
    path = folder / LAST
    tensors, header = _read(path, config, schema.LAST)
    epochs = [row["epoch"] for row in header["metrics"]]
    if epochs != list(range(1, header["epoch"] + 1)):
        raise ValueError(
            f"{path} is damaged: field 'metrics' must hold one row for each of its {header['epoch']} epochs, found "
            f"{len(epochs)}."
        )
    for name in ("value_sum", "random/cpu", "random/data"):
        if name not in tensors:
            raise ValueError(f"{path} is damaged: tensor {name!r} is missing.")
    if tensors["value_sum"].shape != () or not tensors["value_sum"].is_floating_point():
        raise ValueError(
            f"{path} is damaged: tensor 'value_sum' must be one number, found {tensors['value_sum']!r:.60}."
        )
    return tensors, header


def read_best(folder: Path, config: Mapping[str, Any], last: Mapping[str, Any], *, later: bool = False) -> Checkpoint:
    """The checkpoint of the best epoch.

    Args:
        folder: Folder of the run.
        config: Its configuration.
        last: Header of the last checkpoint, which tells which epoch is the best.
        later: Whether a later epoch will do, as a run that goes on comes to it again.

    Raises:
        ValueError: If it is damaged, of another run, or of another epoch.
    """
    path = folder / BEST
    tensors, header = _read(path, config, schema.BEST)
    found, expected = header["epoch"], (last["selection"] or {}).get("epoch")
    if found is None or expected is None or found < expected or (found > expected and not later):
        stopped = found is not None and expected is not None and found > expected
        remedy = "Let the stopped run go on with fit(resume='auto')." if stopped else "Put back the file of that epoch."
        raise ValueError(
            f"{path} is of epoch {found}, and {LAST} says that epoch {expected} was the best: they were not written "
            f"together. {remedy}"
        )
    return tensors, header


def _read(path: Path, config: Mapping[str, Any], rule: schema.FieldRule) -> Checkpoint:
    tensors, header = checkpoint.read(path)
    rule.check(header, path)
    same = header.get("run") == config.get("run")
    upgrading = "run" not in config and header.get("upgraded") is True  # stopped before the configuration was
    if not (same or upgrading):
        raise ValueError(
            f"{path} holds weights of another run than {CONFIG} in its folder (run {header.get('run')}, expected "
            f"{config.get('run')}). Put back the file of this run."
        )
    roles = _roles(config)
    for name, value in tensors.items():
        role = roles.get(name.rpartition(".")[2]) if name.startswith("inference/") else None
        if role is None or not value.is_floating_point():
            continue
        if role == "chains" and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path} is damaged: its chains {name!r} are not finite.")
        if role == "common" and bool(torch.isnan(value).any()):
            raise ValueError(f"{path} is damaged: its averages {name!r} hold NaN.")
    return tensors, header


def _roles(config: Mapping[str, Any]) -> Roles:
    """Role of each tensor of the recorded negative phase, by key; none if it is not known here, as `load` says."""
    try:
        phase = from_config(dict(config["inference"])).negative_phase
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return {}
    return {} if phase is None else phase.roles
