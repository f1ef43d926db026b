"""Tests of training and evaluation on whole numbers, and of the type of labels in both."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

import ppgen
from ppgen import datasets, evaluation, extension, models
from ppgen.pair import GenerativeModel

QUIET: dict[str, Any] = {"progress": False, "compile": False}
SEEN: list[tuple[torch.dtype, ...]] = []


class Tokens(GenerativeModel):
    """Tokens that are independent, beside a label if there is one; notes the types of what it is given."""

    def __init__(self, num_values: int = 5, length: int = 3) -> None:
        super().__init__()
        self.num_values, self.length = num_values, length
        self.logits = nn.Parameter(torch.zeros(length, num_values))

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        logits = self.logits
        SEEN.append((x.dtype,) if y is None else (x.dtype, y.dtype))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Categorical(logits=logits).to_event(1), obs=x)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        """Nothing is latent."""


@pytest.fixture(autouse=True)
def registered() -> Any:
    SEEN.clear()
    ppgen.register("model", "TokensOfATest", Tokens)
    yield
    extension._REGISTERED["model"].pop("TokensOfATest")


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 5, (60, 3))


def test_tokens_reach_training_evaluation_and_a_loaded_run_as_int64(tmp_path) -> None:
    """Catches tokens that a model of the zoo is given as floats, by an evaluation if not by training."""
    data = datasets.as_dataset(tokens(), integers="tokens", valid_size=10, test_size=10)
    run = ppgen.fit(Tokens(), data, epochs=2, folder=tmp_path, **QUIET)
    value = evaluation.log_likelihood(run.pair, data.test).value
    assert set(SEEN) == {(torch.int64,)}
    again = ppgen.load(tmp_path)
    assert evaluation.log_likelihood(again.pair, data.test).value == value
    assert set(SEEN) == {(torch.int64,)} and run.config["data"]["binarization"] == "tokens"
    logits = run.pair.logits.detach().log_softmax(-1)
    expected = logits[torch.arange(3), data.test].sum(-1).mean()
    assert value == pytest.approx(float(expected), abs=1e-5)


def test_a_model_trained_on_real_numbers_is_evaluated_on_them_as_before() -> None:
    """Catches integer arrays that a model of the zoo can no longer be evaluated on."""
    bits = np.random.default_rng(0).integers(0, 2, (60, 6))
    vae = models.VAE(features=6, latent=2)
    ppgen.fit(vae, bits, "elbo", steps=1, **QUIET)
    assert evaluation.log_likelihood(vae, bits, num_particles=5).num_data == 60


def test_a_model_of_real_numbers_refuses_whole_ones_by_name() -> None:
    """Catches PyTorch's words on matrix products where the data are the reason."""
    data = datasets.as_dataset(tokens(), integers="levels")
    with pytest.raises(TypeError, match=r"VAE computes with real numbers.* the levels of data set 'array'"):
        ppgen.fit(models.VAE(features=3, latent=2, likelihood="gaussian"), data, "elbo", steps=1, **QUIET)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
@pytest.mark.parametrize("keywords", [False, True])
def test_labels_have_one_type_in_training_and_evaluation(dtype: torch.dtype, keywords: bool) -> None:
    """Catches labels that training gives as they are and evaluation as floats."""
    x, y = torch.from_numpy(tokens()), (torch.arange(60) % 4).to(dtype)
    batch: Any = {"x": x, "y": y} if keywords else (x, y)
    pair = Tokens()
    pair.takes_integers = True
    ppgen.fit(pair, batch, steps=1, **QUIET)
    evaluation.log_likelihood(pair, batch)
    assert set(SEEN) == {(torch.int64, torch.int64)}


def test_labels_of_a_data_set_have_the_same_type_as_those_of_a_tuple() -> None:
    """Catches a data set of pairs whose labels an evaluation takes for real numbers."""
    held = {"train": tokens(), "train_labels": np.arange(60) % 4}
    data = datasets.load(held, integers="tokens", valid_size=10, test_size=10).with_labels(keep=8)
    run = ppgen.fit(Tokens(), data, epochs=1, **QUIET)
    evaluation.log_likelihood(run.pair, data.test)
    assert set(SEEN) == {(torch.int64, torch.int64)}


def test_a_program_of_ones_own_gets_whole_numbers_as_they_are() -> None:
    """Catches a change of what a Pair is given: its tensors keep their types in training and evaluation."""
    seen = set()

    def model(x: Tensor, y: Tensor) -> None:
        seen.add((x.dtype, y.dtype))
        values = pyro.param("logits", torch.zeros(3))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Bernoulli(logits=values.sum()), obs=y.float())

    def guide(x: Tensor, y: Tensor) -> None:
        """Nothing is latent."""

    pair = ppgen.Pair(model, guide)
    batch = torch.zeros(20, 3, dtype=torch.uint8), torch.arange(20, dtype=torch.int32) % 2
    ppgen.fit(pair, batch, steps=1, **QUIET)
    evaluation.log_likelihood(pair, batch)
    assert seen == {(torch.uint8, torch.int32)}
