"""A run from its folder: `ppgen.load`."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils._pytree import tree_leaves

from ppgen import registry
from ppgen.checks.arguments import check_path
from ppgen.datasets.integers import KINDS as INTEGER_KINDS
from ppgen.pair import as_pair
from ppgen.training.data.batch_source import from_example
from ppgen.training.left_state import marked
from ppgen.training.run import Run
from ppgen.training.run_folder import checkpoint, stored
from ppgen.training.run_folder.checkpoint import load_pair_state
from ppgen.training.run_folder.contents import CONFIG, LAST
from ppgen.training.run_folder.folder import recorded_inference
from ppgen.undisturbed import forked

_LARGEST_BATCH = 2**30
_SPARE_PARAMETERS = 100  # of a constructor, beyond twice the saved weights: those that it makes and does not keep
_PREPARE = "Call pair.prepare(batch) with a batch of your data before ppgen.load."


def load(folder: str | Path, pair: Any = None) -> Run:
    """Read a run that `fit(folder=...)` kept, finished or not, on the CPU.

    Models of the zoo are built again by their registered name and constructor arguments. Nothing is
    unpickled, nothing is imported that a file names, and sizes are compared with the saved weights before anything
    is built, so that a folder from a stranger is safe to open. Weights are those of the checkpoints, whose digests are
    compared; `model.safetensors` is for others to read.

    Args:
        folder: Folder of the run.
        pair: For pairs that are not of the zoo: a pair built as for training, into which the weights are put.

    Returns:
        The run, with its pair, metrics and the chains it ended with. A run that was not finished gives the
        weights of its last checkpoint.

    Raises:
        ValueError: If the folder holds no run, a file is damaged, of another run or of a newer format, the model is
            not of the zoo and `pair` is missing, or the weights are not those of `pair`.

    Example:
        >>> import tempfile
        >>> import ppgen
        >>> from ppgen import datasets, models
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     vae = models.VAE(features=64, latent=8, hidden=(64,))
        ...     _ = ppgen.fit(vae, digits, "elbo", steps=3, folder=folder, progress=False)
        ...     ppgen.load(folder).state["step"]
        3
    """
    check_path("folder", folder)
    path = Path(folder)
    if not (path / CONFIG).exists():
        raise ValueError(f"{path} holds no run: there is no {CONFIG}. Give the folder that fit(folder=...) wrote.")
    config = stored.read_config(path)
    if not (path / LAST).exists():
        raise ValueError(f"The run in {path} was ended before its first checkpoint; start it again.")
    tensors, header = stored.read_last(path, config)
    finished, selection = header["finished"], header["selection"]
    restored = finished and config["training"]["restore_best"] and selection is not None and bool(selection["epoch"])
    final = stored.read_best(path, config, header)[0] if restored else tensors
    weights = checkpoint.section(final, "pair")
    inference = recorded_inference(config, path)
    pair = _rebuild(config["model"], weights, path) if pair is None else as_pair(pair)
    if "plate" in config["model"] and not pair.plate_settled:
        pair.settle_plate(config["model"]["plate"])
    _fill(pair, weights, config["model"], path)
    _check_finite(pair, path)
    pair.inference_state = marked(checkpoint.section(final, "inference"), config["data"])
    pair.initialised = True
    pair.takes_integers = pair.takes_integers or config["data"].get("binarization") in INTEGER_KINDS
    state = {
        "epoch": header["epoch"],
        "step": header["step"],
        "finished": finished,
        "stopped_by": header["stopped_by"],
        "monitor": selection and selection["monitor"],
        "execution": header.get("executed", {}),
        "best_epoch": selection and selection["epoch"],
        "best_value": selection["value"] if selection else math.nan,
        "restored_best": restored,
    }
    return Run(
        pair,
        inference,
        config["data"]["description"],
        {name: value for name, value in config.items() if name != "run"},
        metrics=header["metrics"],
        state=state,
        seconds=header["seconds"],
        peak_memory=header["peak_memory"],
        folder=path,
        points=tuple(header.get("points", ())),
    )


def _rebuild(model: dict[str, Any], weights: dict[str, Tensor], path: Path) -> Any:
    if model["name"] is None:
        raise ValueError(
            f"The run in {path} trained a {model['type']} that is not of the zoo, "
            "so it cannot be built from a file. Build it as for training and "
            "give it: ppgen.load(folder, pair=...)."
        )
    name, arguments = model["name"], model.get("arguments", {})
    cls = registry.lookup("model", name)
    what = f"{path / CONFIG} is damaged: field 'model.arguments'"
    try:
        with torch.device("meta"), _at_most(len(weights)):  # sizes without memory: a file may name any
            shapes = {key: value.shape for key, value in cls(**arguments).state_dict().items()}
    except Exception as error:  # whatever a constructor says to what a file holds
        raise ValueError(f"{what} makes no {name} ({type(error).__name__}: {error}).") from error
    for key in shapes:
        found = weights[key].shape if key in weights else None
        if found != shapes[key]:
            stored_as = "there is none" if found is None else f"it is {tuple(found)}"
            raise ValueError(
                f"{what} is of a {name} whose {key!r} has shape {tuple(shapes[key])}, and in the saved weights "
                f"{stored_as}: configuration and weights are not of one run."
            )
    pair = cls(**arguments)
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    return pair.to(dtypes.pop()) if len(dtypes) == 1 else pair


@contextmanager
def _at_most(num_saved: int) -> Iterator[None]:
    """Context in which this thread makes few more parameters than weights were saved: a file may name any number."""
    thread, made = threading.get_ident(), 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
        nonlocal made
        made += threading.get_ident() == thread
        if made > 2 * num_saved + _SPARE_PARAMETERS:
            raise ValueError(f"these make more than {made - 1} parameters, and {num_saved} weights are saved")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _fill(pair: Any, weights: dict[str, Tensor], model: dict[str, Any], path: Path) -> None:
    """Put the weights into the pair, whose parameters may be made only when it first sees a batch."""
    if set(weights) != set(pair.state_dict()):
        batch = _zeros(model["example"], path)
        with forked(pair.device):
            try:
                pair.prepare(batch)
            except Exception as error:  # whatever a user's program does with zeros
                raise ValueError(
                    f"The pair has not made its parameters, and a batch of zeros does not do ({error}). {_PREPARE}"
                ) from error
    load_pair_state(pair, weights)


def _zeros(example: dict[str, Any], path: Path) -> Any:
    """Batch of zeros with recorded shapes, if it is of a size that a batch may have."""
    try:
        with torch.device("meta"):
            batch = from_example(example)
        size = sum(each.nbytes for each in tree_leaves(batch) if isinstance(each, Tensor))
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path / CONFIG} is damaged: field 'model.example' describes no batch ({error}).") from error
    if size > _LARGEST_BATCH:
        raise ValueError(f"{path / CONFIG} tells of batches of {size} bytes, too many to try one. {_PREPARE}")
    return from_example(example)


def _check_finite(pair: Any, path: Path) -> None:
    """Refuse trained weights that are not finite, which no run writes."""
    for name, value in pair.named_parameters():
        if value.requires_grad and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path} is damaged: its weights {name!r} are not finite.")
