"""A pair, its data and an inference put together before the first step."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ppgen import seeds
from ppgen.batch import split_batch
from ppgen.conditional import ConditionalModel
from ppgen.inference.engine.stratified import stratify
from ppgen.inference.particles import model_alone
from ppgen.inference.structure.layout import find_layout
from ppgen.inference.structure.support import check_support
from ppgen.pair import GenerativeModel
from ppgen.training.data.batch_source import BatchSource, chunks
from ppgen.training.data.labelled_rows import inspect_labels, label_scale, strata_of
from ppgen.training.data.last_batch import explaining_lone_rows
from ppgen.training.left_state import go_on_from
from ppgen.training.processes.world import World
from ppgen.undisturbed import forked, keeping_modes


def check_fit(pair: Any, source: BatchSource, inference: Any, batch_size: int = 128) -> Any:
    """Raise what `fit` would raise before its first step; trains nothing, but prepares and initialises the pair.

    Returns the inference bound to the pair.

    Args:
        pair: A pair that is made for this.
        source: The data, on the CPU.
        inference: The whole inference.
        batch_size: Rows of a batch.

    Raises:
        ValueError: If data and pair do not fit, or the inference is not sound for this pair.
    """
    check_features(pair, source)
    with forked(source.device, 0), keeping_modes(pair):
        pair.train()
        return bind_pair(pair, source, inference, batch_size, World())[0]


def prepare_pair(pair: Any, source: BatchSource, batch_size: int) -> Any:
    """Move the pair to the data, initialise it and run it once; the first batch, in the type of its parameters."""
    pair.to(source.device)
    source.take_dtype(pair)
    inspect_labels(pair, source)
    if source.dataset is not None:
        pair.takes_integers = type(pair).takes_integers or source.dataset.integers is not None
        pair.inspect_data(source.dataset)
        if not pair.initialised:
            pair.initialise(source.dataset)
    index = torch.arange(min(batch_size, source.num_train))
    first = source.batch("train", index, seeds.generator(0, "first batch"))
    with explaining_lone_rows(pair, len(index), batch_size), _explaining_integers(pair, source):
        model_alone.prepare_pair(pair, first)
    source.take_dtype(pair)  # parameters made at the first call decide
    return source.batch("train", index, seeds.generator(0, "first batch"))


def settle_plate(pair: Any, source: BatchSource, batch_size: int) -> None:
    """Let the first run of the pair say which plate goes over the data, or that there is none."""
    if not pair.plate_settled:
        find_layout(pair, prepare_pair(pair, source, batch_size))


def bind_pair(pair: Any, source: BatchSource, inference: Any, batch_size: int, world: World) -> tuple[Any, Any]:
    """The inference bound to the pair, which is moved, prepared and initialised; and a first batch."""
    first = prepare_pair(pair, source, batch_size)
    if not any(parameter.requires_grad for parameter in pair.parameters()):
        raise ValueError(
            f"{type(pair).__name__} has no parameter to train: model and guide made none, or all are frozen."
        )
    index = torch.arange(min(batch_size, source.num_train))
    world.broadcast([*pair.parameters(), *pair.buffers()])
    own = source.batch("train", world.share(index), seeds.generator(0, "first batch"))
    bound = inference.bind(pair, own, source.num_train)
    bound.label_scale = label_scale(source) if inference.label_weight else None
    stratify(bound, strata_of(source, batch_size), world.size)
    if bound.update is not None:
        bound.update.batch_size = min(batch_size, source.num_train)  # of which this process has a share
    if not inference.objective.compares_draws:
        _check_support(pair, source, batch_size)
    go_on_from(pair.inference_state or {}, bound, own, source, world)
    return bound, first


@contextmanager
def _explaining_integers(pair: Any, source: BatchSource) -> Iterator[None]:
    """Context in which a program of real numbers that is given whole ones is told with what to do."""
    try:
        yield
    except RuntimeError as error:
        if source.dataset is None or source.dataset.integers is None or not re.search(r"\b[Ll]ong\b", str(error)):
            raise
        raise TypeError(
            f"{type(pair).__name__} computes with real numbers, and the {source.dataset.integers} of data set "
            f"{source.dataset.name!r} stay whole numbers (int64). Load the data without integers=, or use a model of "
            "whole numbers, such as one with an embedding."
        ) from error


def check_features(pair: Any, source: BatchSource) -> None:
    """Raise ValueError unless rows have as many features as the model, or are the covariates and data that it takes."""
    if source.pairs is not None and isinstance(pair, GenerativeModel) and not _takes(type(pair), (None, None), {}):
        raise ValueError(
            f"data are pairs ({source.describe()}), and {type(pair).__name__} is a model of rows alone: give the rows, "
            "data.rows, or a model of both."
        )
    whole = isinstance(pair, GenerativeModel) and not isinstance(pair, ConditionalModel)  # which names what is missing
    if source.tensors is not None and whole:
        args, kwargs = split_batch(source.tensors)
        if not _takes(type(pair), args, kwargs):
            parts = f"names {', '.join(map(repr, kwargs))}" if kwargs else f"{len(args)} parts"
            raise ValueError(
                f"data have {parts} ({source.describe()}), and the programs of {type(pair).__name__} take "
                f"{_arguments(type(pair))} alone: give the rows, or a model of both."
            )
    if isinstance(pair, ConditionalModel):
        pair.check_batch(source.batch("train", torch.arange(1), seeds.generator(0, "first batch")))
        if pair.inputs_are_labels and source.tensors is not None:
            pair.check_batch(source.tensors)  # every row: one that is no class trains without a word
        return
    size, given = getattr(pair, "num_features", None), source.num_features
    if size is not None and given is not None and size != given:
        raise ValueError(
            f"data must have {size} features, as {type(pair).__name__} does; got {given} ({source.describe()}). "
            f"Build the model for {given} features, or give other data."
        )


def _takes(model: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the programs of a class of models can be called with the parts of a batch."""
    try:
        for program in (model.model, model.guide):
            inspect.signature(program).bind(None, *args, **kwargs)
    except TypeError:
        return False
    return True


def _arguments(model: Any) -> str:
    """Names of the arguments of the guide of a class of models."""
    return ", ".join(list(inspect.signature(model.guide).parameters)[1:])


def _check_support(pair: Any, source: BatchSource, batch_size: int) -> None:
    """Look at every row, unless the data set is known to be bits and any bits will do: then the first are enough."""
    known_bits = source.of_bits
    num_test = 0 if source.dataset is None else len(source.dataset.test)
    for split, count in (("train", source.num_train), ("valid", source.num_valid), ("test", num_test)):
        for index in chunks(torch.arange(count), max(batch_size, 1000)):
            if check_support(pair, source.batch(split, index), first_row=int(index[0])) and known_bits:
                return
