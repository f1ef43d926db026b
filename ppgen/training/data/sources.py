"""Where the batches of a pair come from: rows of its data plate, or all its arguments as one datum."""

import warnings
from typing import Any

import pyro
import torch
from pyro import poutine

from ppgen.batch import split_batch
from ppgen.checks.arrays import in_dtype
from ppgen.inference.structure.data_plate import USUAL, data_plate
from ppgen.inference.structure.traces import sites
from ppgen.pair import Pair
from ppgen.training.data.batch_source import Batch, BatchSource
from ppgen.training.data.whole_data import WholeSource
from ppgen.undisturbed import forked, keeping_buffers

BATCH_SIZE = 128  # rows, where none are given


def source_for(pair: Any, data: Any, device: torch.device, batch_size: int | None) -> BatchSource:
    """Batches of rows where the pair has a data plate, and all arguments as one datum where it has none.

    The plate of a `Pair` that names none is settled by this, by a run of the model alone that leaves no parameter.

    Args:
        pair: A pair.
        data: As `ppgen.fit` takes them.
        device: Where batches go.
        batch_size: Rows of a batch, if they were given.

    Raises:
        ValueError: If there is no data plate, and a batch size is given or a data set of rows.
        TypeError: If there is a data plate and the data have no rows.
    """
    if not isinstance(pair, Pair) or (pair.plate_settled and pair.plate is not None):
        return BatchSource(data, device, as_given=isinstance(pair, Pair))
    rows: BatchSource | None = None
    refused: Exception | None = None
    try:
        rows = BatchSource(data, device, as_given=True)
    except (TypeError, ValueError) as error:
        if isinstance(data, str):
            raise
        refused = error
    if not pair.plate_settled:
        pair.to(device)
        _settle(pair, rows, refused, data, batch_size or BATCH_SIZE)
    if rows is not None and (pair.plate is not None or not pair.plate_settled):
        return rows
    if refused is not None and pair.plate is not None:
        raise refused
    if batch_size is not None:
        raise ValueError(
            f"batch_size={batch_size} divides rows, and the program has no data plate: all its arguments are one "
            "datum, which goes in whole at each step. Leave batch_size out, or name the plate that goes over the rows: "
            f"{pair.plate_argument}."
        )
    if rows is not None and rows.dataset is not None:
        raise ValueError(
            f"data are a data set of rows ({rows.describe()}), and the program has no data plate that goes over them. "
            f"Name it, {pair.plate_argument}; or give the arguments of the program themselves, as data.train[:]."
        )
    return WholeSource(data, device)


def _settle(pair: Pair, rows: BatchSource | None, refused: Exception | None, data: Any, batch_size: int) -> None:
    """Settle the plate by a run of the model: on the first rows, or else on all data.

    It is left open where the model cannot run, which says why when it is trained.
    """
    if rows is not None:
        rows.take_dtype(pair)
        index = torch.arange(min(batch_size, rows.num_train))
        first = rows.batch("train", index, torch.Generator().manual_seed(0))
        found = _model_sites(pair, first)
        if found is not None:
            pair.settle_plate(data_plate(pair, found, {}, first))
        if found is not None or rows.dataset is not None or rows.num_train <= batch_size:
            return
    whole = WholeSource(data, rows.device if rows is not None else pair.device)
    whole.take_dtype(pair)
    batch = whole.batch("train", torch.arange(1))
    found = _model_sites(pair, batch)
    if found is None and refused is not None:
        raise refused
    if found is not None:
        plate = data_plate(pair, found, {}, batch)
        pair.settle_plate(USUAL if plate == USUAL else None)  # of a plate that needs all rows there are no batches


def _model_sites(pair: Pair, batch: Batch) -> dict[str, Any] | None:
    """Sites of a run of the model alone; None if it cannot run. It leaves parameters and random state as they are."""
    for each in (batch, in_dtype(batch, torch.get_default_dtype())):
        args, kwargs = split_batch(each)
        try:
            with (
                forked(pair.device),
                torch.no_grad(),
                keeping_buffers(pair),
                warnings.catch_warnings(action="ignore"),
                pyro.get_param_store().scope(),
                pyro.settings.context(module_local_params=False),
            ):
                return sites(poutine.trace(pair.model).get_trace(*args, **kwargs))
        except Exception:  # whatever a user's program does; it is told when it is trained
            continue
    return None
