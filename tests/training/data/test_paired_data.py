"""Tests of training on data sets of pairs: what a tuple of tensors gives, with validation, fresh bits and resuming."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import datasets, diagnostics, models
from ppgen.training.data.batch_source import BatchSource

QUIET: dict[str, Any] = {"progress": False, "compile": False, "batch_size": 100}


def net(inputs: int = 32) -> models.StochasticFeedforward:
    torch.manual_seed(0)
    return models.StochasticFeedforward(inputs, 64 - inputs, (8,), (3,), likelihood="bernoulli")


def classifier() -> ppgen.Pair:
    """p(y | x), where rows without a label count for nothing."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 10)

    def model(x: Tensor, y: Tensor) -> None:
        pyro.module("linear", linear)
        assert y.dtype == torch.int64
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=y >= 0):
            pyro.sample("y", dist.Categorical(logits=linear(x)), obs=y.clamp(min=0))

    def guide(x: Tensor, y: Tensor) -> None:
        """Nothing is latent."""

    return ppgen.Pair(model, guide)


def weights(run: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in run.pair.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(value.equal(other[name]) for name, value in one.items())


def test_training_on_pairs_is_training_on_their_tensors_with_validation() -> None:
    """Catches batches that differ from those of a tuple, and validation rows that are lost as they are with a tuple."""
    digits = datasets.load("digits", binarize="threshold")
    halves, all_labels = digits.split_features(32), digits.with_labels(keep=200)
    for make, data in ((net, halves), (classifier, all_labels)):
        run, before = (ppgen.fit(make(), each, epochs=2, **QUIET) for each in (data, data.train))
        assert same(weights(run), weights(before))
        assert len(run.curve("valid_value")) == 2
        with pytest.raises(ValueError, match="valid_value"):
            before.curve("valid_value")
        assert run.config["data"]["checksum"] == data.checksum and run.dataset == data.describe()


def test_bits_of_pairs_are_drawn_anew_and_as_those_of_whole_rows() -> None:
    """Catches pairs whose training bits are frozen, and halves that are drawn apart, also where a step gathers them."""
    digits = datasets.load("digits", binarize="dynamic")
    for data, whole in (
        (digits.split_features(20), lambda pair: torch.cat(pair, 1)),
        (digits.with_labels(), lambda pair: pair[0]),
    ):
        source, rows = (BatchSource(each, torch.device("cpu")) for each in (data, digits))
        one, other = (torch.Generator().manual_seed(3) for _ in range(2))
        index = torch.arange(5, 55)
        drawn = [whole(source.batch("train", index, one)) for _ in range(2)]
        assert not drawn[0].equal(drawn[1])
        assert all(each.equal(rows.batch("train", index, other)) for each in drawn)
        lazy, of_rows = source.selection(index, one), rows.selection(index, other)
        assert whole(lazy.batch()).equal(of_rows.batch())
        assert whole(lazy.gather(lazy.inputs())).equal(of_rows.gather(of_rows.inputs()))
    assert source.batch("train", index)[1].equal(digits.labels["train"][index])


@pytest.mark.parametrize("pairing", ["features", "labels"])
def test_a_stopped_run_on_pairs_goes_on_exactly_and_knows_its_data(pairing: str, tmp_path) -> None:
    """Catches pairs that a checkpoint does not know, so that a run resumes on other ones."""
    digits = datasets.load("digits", binarize="dynamic")
    make = net if pairing == "features" else classifier
    pairs = {
        "features": (digits.split_features(32), digits.split_features(31)),
        "labels": (digits.with_labels(keep=100), digits.with_labels(keep=100, seed=1)),
    }
    data, other = pairs[pairing]
    whole = ppgen.fit(make(), data, epochs=2, **QUIET)
    ppgen.fit(make(), data, epochs=1, folder=tmp_path, **QUIET)
    with pytest.raises(ValueError, match=r"data\.checksum" if pairing == "labels" else "inputs|checksum"):
        ppgen.fit(make(), other, epochs=2, folder=tmp_path, resume=True, **QUIET)
    assert same(weights(ppgen.fit(make(), data, epochs=2, folder=tmp_path, resume=True, **QUIET)), weights(whole))


def test_pairs_of_a_mapped_file_train_as_those_in_memory(tmp_path) -> None:
    """Catches a reader that takes the rows and forgets what stands beside them."""
    x = np.random.default_rng(0).random((90, 64), dtype=np.float32)
    np.savez(tmp_path / "x.npz", train=x, train_labels=np.arange(90) % 10)
    for pairing, make in ((lambda data: data.split_features(32), net), (lambda data: data.with_labels(), classifier)):
        runs = []
        for mapped in (False, True):
            data = datasets.load(tmp_path / "x.npz", binarize="dynamic", memory_map=mapped)
            runs.append(ppgen.fit(make(), pairing(data), epochs=2, **{**QUIET, "batch_size": 20}))
        assert same(*map(weights, runs)) and runs[0].curve("valid_value") == runs[1].curve("valid_value")


def test_a_pair_is_shown_the_rows_before_training() -> None:
    """Catches a model that learns nothing of its data before training because they come in pairs."""
    seen = []

    class Showing(models.StochasticFeedforward):
        def inspect_data(self, data: Any) -> None:
            seen.append(data)

        def initialise(self, data: Any) -> None:
            seen.append(data.mean)

    digits = datasets.load("digits", binarize="threshold")
    ppgen.fit(Showing(32, 32, (4,), (2,), likelihood="bernoulli"), digits.split_features(32), steps=1, **QUIET)
    assert seen[0] is digits and seen[1] is digits.mean


def test_an_override_by_the_old_name_is_still_called() -> None:
    """Catches a model of before whose look at the data is left out in silence, or which no longer finds its base's."""
    seen = []
    with pytest.warns(FutureWarning, match="Showing.look_at overrides .* call it inspect_data") as said:

        class Showing(models.GaussianRBM):
            def look_at(self, data: Any) -> None:
                seen.append(data)
                super().look_at(data)  # type: ignore[misc]

    assert [each.filename for each in said] == [__file__]
    x = torch.randn(40, 4)
    with pytest.warns(UserWarning, match="learn_variance=True"):  # by the base
        ppgen.fit(Showing(4, 2), 30 * x, steps=1, **{**QUIET, "batch_size": 20})
    assert len(seen) == 1


def test_every_label_is_checked_though_rows_are_bits() -> None:
    """Catches labels that are never looked at because the rows beside them are known to be bits."""
    linear = nn.Linear(64, 1)

    def model(x: Tensor, y: Tensor) -> None:
        pyro.module("linear", linear)
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Bernoulli(logits=linear(x)[:, 0]), obs=y.to(x))

    def guide(x: Tensor, y: Tensor) -> None:
        """Nothing is latent."""

    labels = np.zeros(3000, dtype=np.int64)
    labels[-1] = 2
    held = {"train": np.zeros((3000, 64)), "train_labels": labels}
    data = datasets.load(held, valid_size=0, test_size=0).with_labels()
    with pytest.raises(ValueError, match="first is row 2999"):
        ppgen.fit(ppgen.Pair(model, guide), data, steps=1, **QUIET)


def test_a_model_of_rows_alone_refuses_pairs_by_name() -> None:
    """Catches Python's words on a call with two arguments, raised inside of a model."""
    labelled = datasets.load("digits", binarize="threshold").with_labels()
    with pytest.raises(ValueError, match=r"data are pairs .* RBM is a model of rows alone: give the rows, data\.rows"):
        ppgen.fit(models.RBM(visible=64, hidden=2), labelled, steps=1, **QUIET)


def test_inferences_are_compared_on_the_test_pairs() -> None:
    """Catches a comparison that evaluates pairs on their training rows, as it does tuples."""
    halves = datasets.load("digits", binarize="threshold").split_features(32)
    found = diagnostics.compare_inferences(
        net, halves, ["vimco"], seeds=1, steps=2, num_particles=5, processes=0, progress=False, batch_size=100
    )
    assert "300 test rows" in str(found)
