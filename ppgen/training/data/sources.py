"""Where the batches of a pair come from: rows of its data plate, or all its arguments as one datum."""

import warnings
from typing import Any

import pyro
import torch
from pyro import poutine

from ppgen.batch import split_batch
from ppgen.checks.arrays import in_dtype
from ppgen.datasets import Dataset, PairedDataset
from ppgen.inference.structure.data_plate import USUAL, data_plate, summed_outside
from ppgen.inference.structure.traces import sites
from ppgen.pair import Pair
from ppgen.training.data.batch_source import Batch, BatchSource
from ppgen.training.data.whole_data import WholeSource
from ppgen.undisturbed import forked, keeping_buffers


class NotGiven(int):
    """The default of a number, to be told from the same number as a user has given it."""


BATCH_SIZE = NotGiven(128)  # rows
UNKNOWN = ""  # no plate has this name


def source_for(pair: Any, data: Any, device: torch.device, batch_size: int | None) -> BatchSource:
    """Batches of rows where the pair has a data plate, and all arguments as one datum where it has none.

    The plate of a `Pair` that names none is settled by this where a batch is not all data: by a run of the model alone,
    which leaves no parameter. Else the first run of both programs tells.

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
    try:
        rows = BatchSource(data, device, as_given=True)
    except (TypeError, ValueError):
        if isinstance(data, str) or _on_trial(pair, WholeSource(data, device)) in (USUAL, UNKNOWN):
            raise
        pair.settle_plate(None)
        return whole_source(pair, data, device, batch_size)
    if not pair.plate_settled and rows.dataset is None and rows.num_train > (batch_size or BATCH_SIZE):
        # A batch might give parameters the sizes of some rows, where all of them are wanted.
        plate = _on_trial(pair, rows, batch_size or BATCH_SIZE)
        if plate == UNKNOWN:
            plate = USUAL if _on_trial(pair, WholeSource(data, device)) in (USUAL, UNKNOWN) else None
        pair.settle_plate(plate)
    return whole_source(pair, data, device, batch_size) if pair.plate is None else rows


def whole_source(pair: Pair, data: Any, device: torch.device, batch_size: int | None) -> WholeSource:
    """All arguments as one datum.

    Raises:
        ValueError: If a batch size is given, or a data set of rows.
    """
    if batch_size is not None:
        raise ValueError(
            f"batch_size={batch_size} divides rows, and the program has no data plate: all its arguments are one "
            "datum, which goes in whole at each step. Leave batch_size out, or name the plate that goes over the rows: "
            f"{pair.plate_argument}."
        )
    if isinstance(data, (str, Dataset, PairedDataset)):
        raise ValueError(
            "data are a data set of rows, and the program has no data plate that goes over them. Name it, "
            f"{pair.plate_argument}; or give the arguments of the program themselves, as data.train[:]."
        )
    return WholeSource(data, device)


def _on_trial(pair: Pair, source: BatchSource, batch_size: int = 1) -> str | None:
    """The plate over the data as a run of the model shows it; `UNKNOWN` if it cannot run."""
    pair.to(source.device)
    source.take_dtype(pair)
    index = torch.arange(min(batch_size, source.num_train))
    batch = source.batch("train", index, torch.Generator().manual_seed(0))
    found = _sites_of(pair, pair.model, batch)
    if found is None:
        return UNKNOWN
    plate = data_plate(pair, found, None, batch)
    if summed_outside(list(found.values()), (), plate):  # unless the guide draws them
        return data_plate(pair, found, _sites_of(pair, pair.guide, batch), batch)
    return plate


def _sites_of(pair: Pair, program: Any, batch: Batch) -> dict[str, Any] | None:
    """Sites of a run of one program alone; None if it cannot run. It leaves parameters and random state as they are."""
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
                return sites(poutine.trace(program).get_trace(*args, **kwargs))
        except Exception:  # whatever a user's program does; it is told when it is trained
            continue
    return None
