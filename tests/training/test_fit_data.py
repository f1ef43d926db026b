"""Data that are given to `fit`: refused with a reason, or passed to the programs as they are."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, models

_DIGITS = datasets.load("digits", binarize="threshold")


@pytest.mark.parametrize(
    "make", [lambda: models.VAE(32, 2, (4,)), lambda: models.HierarchicalVAE(32, (3, 2), ((4,), (4,))),
             lambda: models.RBM(32, 2)]
)  # fmt: skip
@pytest.mark.parametrize("data", [_DIGITS, _DIGITS.valid, (_DIGITS.valid,)])
def test_data_with_another_number_of_features_are_refused(make, data, tmp_path):
    """Catches an error of shapes from the middle of the model, and a folder made for a run that cannot be."""
    with pytest.raises(ValueError, match="data must have 32 features, as .* does; got 64 .*Build the model for 64"):
        ppgen.fit(make(), data, epochs=1, folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def _watching(seen):
    def model(x):
        seen.append(x)
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).expand(x.shape[1:]).to_event(x.dim() - 1), obs=x)

    return ppgen.Pair(model, lambda x: None)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("kind", [torch.as_tensor, lambda x: x.numpy()], ids=["tensor", "array"])
@pytest.mark.parametrize("shape", [(10, 4, 3), (10, 3), (10,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_a_pair_gets_a_tensor_in_its_own_shape_and_in_the_type_of_its_parameters(shape, dtype, kind, alone):
    """Catches data flattened, refused for want of columns, whole numbers made floats on the way to a user's programs,
    and floats of two types in one run: parameters made at its first call decide."""
    seen: list = []
    data = torch.arange(torch.Size(shape).numel()).reshape(shape).to(dtype)
    given = kind(data) if alone else (data,)
    run = ppgen.fit(_watching(seen), given, epochs=1, batch_size=10, lr=1e-6, progress=False)
    assert seen[0].dtype == dtype  # when there is no parameter yet
    expected = torch.float32 if dtype.is_floating_point else dtype
    assert all(x.shape == data.shape and x.dtype == expected for x in seen if x is not seen[0])
    assert seen[-1].flatten().sort().values.equal(data.flatten())
    assert len(ppgen.sample(run, 4)) == 4


def test_a_tensor_that_can_not_be_written_to_or_has_no_rows():
    """Catches a warning of torch about the user's array, and a number taken for data."""
    array = np.ones((5, 2))
    array.setflags(write=False)
    ppgen.fit(_watching([]), array, epochs=1, progress=False)
    with pytest.raises(TypeError, match="data must hold tensors with one row a datum, got a single number"):
        ppgen.fit(_watching([]), torch.tensor(1.0), epochs=1, progress=False)
    with pytest.raises(ValueError, match="positive number of rows"):
        ppgen.fit(_watching([]), torch.ones(0, 2), epochs=1, progress=False)


def test_a_pair_goes_on_with_its_tensor_after_a_stop(tmp_path):
    """Catches a tensor alone that a checkpoint cannot record, or other data taken for it."""

    def stop(event):
        if event.kind == "epoch":
            event.stop()

    options = {"epochs": 2, "folder": tmp_path, "progress": False}
    data = torch.arange(30.0).reshape(5, 3, 2)
    ppgen.fit(_watching([]), data, callbacks=[stop], **options)
    assert ppgen.fit(_watching([]), data, resume="auto", **options).state["epoch"] == 2
    with pytest.raises(ValueError, match="data"):
        ppgen.fit(_watching([]), data + 1, resume="auto", **options)


def test_rows_for_testing_are_checked_before_training():
    """Catches a run that is trained to its end and can then never be evaluated."""
    bits = (torch.rand(40, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    with pytest.raises(ValueError, match="must lie in the support"):
        ppgen.fit(models.RBM(4, 2), {"train": bits, "test": 2 * bits}, steps=1, progress=False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.SparseCoding(features=4, atoms=3),
        lambda: models.Autoencoder(features=4, hidden=(2,)),
        lambda: models.NADE(features=4, hidden=2),
    ],
    ids=["sparse", "autoencoder", "autoregressive"],
)
def test_parts_that_a_model_of_rows_can_not_take_are_refused(make, tmp_path):
    """Catches labels beside the rows of a model that takes none, told by how many arguments a method takes, and rows
    of another width told of by what a matrix product raised."""
    x, labels = torch.eye(4).repeat(3, 1), torch.arange(12) % 3
    how = {"epochs": 1, "progress": False, "folder": tmp_path / "run"}
    with pytest.raises(ValueError, match=r"data have 2 parts .* the programs of .* take x alone: give the rows"):
        ppgen.fit(make(), (x, labels), **how)
    with pytest.raises(ValueError, match=r"data have names 'x', 'y' .* take x alone: give the rows"):
        ppgen.fit(make(), {"x": x, "y": labels}, **how)
    assert not (tmp_path / "run").exists()
    with pytest.raises(
        ValueError, match=r"x does not fit the model: x must have shape \(rows, 4\), .* a row of x has shape \(3,\)"
    ):
        evaluation.log_likelihood(make(), x[:, :3])
