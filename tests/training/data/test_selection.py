"""Batches gathered in the step: the same rows, fresh bits, and generators that a checkpoint can go on from."""

import math
import shutil
import warnings

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, models
from ppgen.training.data.batch_source import BatchSource

GREY = torch.rand(50, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "data",
    [GREY, (GREY.double(), torch.arange(50)), {"x": GREY.round(), "y": torch.arange(50) > 3}],
    ids=["table", "tuple", "mapping"],
)
@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_gathered_rows_are_those_of_the_batch(data, dtype) -> None:
    """Catches rows, types or an order of tensors that differ between a batch and the selection of the same rows."""
    source = BatchSource(data, torch.device("cpu"))
    source.dtype = dtype
    index = torch.tensor([7, 3, 49, 0])
    selection = source.selection(index)
    assert selection is not None and len(selection) == 4
    batch = source.batch("train", index)
    for found in (selection.batch(), selection.preview(), selection.gather(selection.inputs())):
        assert type(found) is type(batch)
        pairs = zip(_tensors(found), _tensors(batch), strict=True)
        assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in pairs)
    assert selection.shapes() == tuple((each.shape, each.dtype, each.device) for each in _tensors(batch))


def _tensors(batch) -> list[Tensor]:
    return list(batch.values()) if isinstance(batch, dict) else list(batch) if isinstance(batch, tuple) else [batch]


def test_bits_are_drawn_anew_with_the_probabilities_of_the_rows() -> None:
    """Catches a key that stays, bits of other rows, and a dry run or a preview that uses up the generator."""
    data = datasets.load(GREY.numpy(), binarize="dynamic")
    source = BatchSource(data, torch.device("cpu"))
    generator = torch.Generator().manual_seed(3)
    index = torch.arange(data.num_train)
    selection = source.selection(index, generator)
    before = generator.get_state()
    selection.preview(), selection.inputs(dry=True)
    assert torch.equal(generator.get_state(), before)
    draws = torch.stack([selection.gather(selection.inputs()) for _ in range(400)])
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(draws[0], draws[1])
    p = data.train_probabilities
    error = (draws.mean(0) - p).abs() / (p * (1 - p) / 400).sqrt().clamp(min=1e-9)
    assert float((error**2).mean()) < 1 + 4 * math.sqrt(2 / p.numel())
    assert not torch.equal(generator.get_state(), before)


def test_a_share_of_the_rows_is_laid_out_like_any_other() -> None:
    """Catches machine code that is refused its input, because a process takes every second row of an index."""
    source = BatchSource(GREY, torch.device("cpu"))
    selection = source.selection(torch.arange(10)[1::2])
    assert selection is not None
    assert all(each.is_contiguous() for each in selection.inputs())
    assert torch.equal(selection.gather(selection.inputs()), selection.batch())


def test_rows_read_from_disk_are_no_selection(tmp_path) -> None:
    """Catches a whole mapped file taken into memory as an input of the step."""
    import numpy as np

    np.save(tmp_path / "rows.npy", GREY.round().numpy())
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert BatchSource(datasets.load(mapped), torch.device("cpu")).selection(torch.arange(3)) is None


def test_a_compiled_run_on_dynamic_data_resumes(tmp_path) -> None:
    """Catches keys of the bits that a resumed run draws otherwise, or that are frozen in the machine code."""
    data = datasets.load(GREY.numpy(), binarize="dynamic")
    runs = []

    def keep_half(event) -> None:
        if event.kind == "checkpoint" and event.epoch == 3 and not (tmp_path / "half").exists():
            shutil.copytree(tmp_path / "whole", tmp_path / "half")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        for name, options in (("whole", {"callbacks": [keep_half]}), ("half", {"resume": True})):
            torch.manual_seed(0)
            pair = models.VAE(12, 3, (5,))
            run = ppgen.fit(
                pair,
                data,
                "elbo",
                epochs=6,
                batch_size=10,
                compile=True,
                seed=1,
                lr_schedule="constant",
                folder=tmp_path / name,
                checkpoint_minutes=0,
                progress=False,
                **options,
            )
            assert run.state["execution"]["stage"] == "compiled"
            runs.append((run.metrics, [value.clone() for value in pair.state_dict().values()]))
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert len({metrics["train_value"] for metrics in runs[0][0]}) == 6
