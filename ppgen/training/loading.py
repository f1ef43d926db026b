"""A run from its folder: `ppgen.load`."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from ppgen import inference as inferences
from ppgen import registry
from ppgen.pair import as_pair
from ppgen.training import checkpoint
from ppgen.training.batches import from_example
from ppgen.training.folder import BEST, CONFIG, LAST, MODEL, check_format
from ppgen.training.run import Run
from ppgen.training.stepper import load_pair_state
from ppgen.undisturbed import forked


def load(folder: str | Path, pair: Any = None) -> Run:
    """Read a run that `fit(folder=...)` kept, finished or not, on the CPU.

    Models of the zoo are built again by their registered name and constructor arguments. Nothing is
    unpickled, and nothing is imported that a file names, so that a folder from a stranger is safe to open.

    Args:
        folder: Folder of the run.
        pair: For pairs that are not of the zoo: a pair built as for training, into which the weights are put.

    Returns:
        The run, with its pair, metrics and the chains it ended with. A run that was not finished gives the
        weights of its last checkpoint.

    Raises:
        ValueError: If the folder holds no run, a file is damaged or of a newer format, the model is not of
            the zoo and `pair` is missing, or the weights are not those of `pair`.

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
    path = Path(folder)
    if not (path / CONFIG).exists():
        raise ValueError(f"{path} holds no run: there is no {CONFIG}. Give the folder that fit(folder=...) wrote.")
    config = checkpoint.read_json(path / CONFIG)
    check_format(config, path)
    if not (path / LAST).exists():
        raise ValueError(f"The run in {path} was ended before its first checkpoint; start it again.")
    tensors, header = checkpoint.read(path / LAST)
    finished = bool(header["finished"])
    restored = finished and bool(config["training"]["restore_best"]) and (path / BEST).exists()
    final = checkpoint.read(path / BEST)[0] if restored else tensors
    weights = checkpoint.section(final, "pair")
    if finished and (path / MODEL).exists():
        weights = checkpoint.read(path / MODEL)[0]
    pair = _rebuild(config["model"], weights, path) if pair is None else as_pair(pair)
    _fill(pair, weights, config["model"])
    pair.inference_state = checkpoint.section(final, "inference") or None
    pair.initialised = True
    selection = header["selection"]
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
        inferences.from_config(config["inference"]),
        config["data"]["description"],
        config,
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
    pair = registry.lookup("model", model["name"])(**model["arguments"])
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    return pair.to(dtypes.pop()) if len(dtypes) == 1 else pair


def _fill(pair: Any, weights: dict[str, Tensor], model: dict[str, Any]) -> None:
    """Put the weights into the pair, whose parameters may be made only when it first sees a batch."""
    if set(weights) != set(pair.state_dict()):
        with forked(pair.device):
            try:
                pair.prepare(from_example(model["example"]))
            except Exception as error:  # whatever a user's program does with zeros
                raise ValueError(
                    f"The pair has not made its parameters, and a batch of zeros does not do ({error}). Call "
                    "pair.prepare(batch) with a batch of your data before ppgen.load."
                ) from error
    load_pair_state(pair, weights)
