"""Rows of which a part is known, completed by autoregressive models; draws in traced steps; run folders."""

import math
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, inference, models, nn, testing
from ppgen.cli import main
from ppgen.distributions import Autoregressive, BernoulliOutput
from ppgen.testing.examples import bit_vectors, state_index
from ppgen.training.steps.traced_step import TracedStep

NAN = math.nan
BITS = torch.tensor([[1.0, 0, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])


def net() -> models.FullyVisibleBeliefNet:
    torch.manual_seed(0)
    model = models.FullyVisibleBeliefNet(4)
    with torch.no_grad():
        model.network.weight.normal_()
        model.network.bias.normal_()
    return model


def test_completions_are_draws_of_the_law_of_the_rest() -> None:
    """Catches rows that change what is known, and means that are not those of the entries given the ones before."""
    model = net()
    given = torch.tensor([[1.0, 0.0, NAN, NAN], [0.0, NAN, NAN, NAN]])
    drawn = ppgen.sample(model, 5_000, given=given)
    assert drawn.samples.shape == (5_000, 2, 4) and drawn.rhat is None and drawn.num_chains is None
    assert bool(((drawn.samples == given) | given.isnan()).all())
    states = bit_vectors(4).float()
    every = model.law().log_prob(states).detach().exp()
    for row in range(2):
        known = ~given[row].isnan()
        weight = torch.where((states[:, known] == given[row, known]).all(-1), every, 0.0)
        testing.check_frequencies(state_index(drawn.samples[:, row]), weight / weight.sum(), "completions")
    testing.check_mean(drawn.samples[:, :, 2:] - drawn.means[:, :, 2:], torch.zeros(2, 2), "draws around their means")
    assert torch.equal(drawn.means[:, 0, :2], given[0, :2].expand(5_000, 2))
    assert torch.equal(
        ppgen.sample(model, 5, given=given, seed=3).samples, ppgen.sample(model, 5, given=given, seed=3).samples
    )


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ([[NAN, 1.0, 0.0, 0.0]], "given must be known in the first entries of the order.*weighted_completion"),
        ([[2.0, NAN, NAN, NAN]], "given must hold bits, 0 or 1 where it is known, got 2"),
        ([[1.0, NAN, NAN]], "given must have 4 features"),
    ],
)
def test_rows_that_cannot_be_completed_are_refused(given: list, match: str) -> None:
    """Catches entries that are held while others are drawn, as if that were the conditional law."""
    with pytest.raises(ValueError, match=match):
        ppgen.sample(net(), 3, given=torch.tensor(given))


def test_an_orderless_network_completes_rows_that_miss_different_entries() -> None:
    """Catches rows refused as their masks differ, or given the entries or the draws of other rows."""
    torch.manual_seed(0)
    model = models.OrderlessNADE(4, hidden=(8,), orders=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    given = torch.tensor([[NAN, 1.0, 0.0, NAN], [1.0, NAN, NAN, NAN], [NAN, 0.0, 1.0, NAN], [1.0, 1.0, 0.0, 0.0]])
    drawn = ppgen.sample(model, 5_000, given=given).samples
    assert bool(((drawn == given) | given.isnan()).all())
    states = bit_vectors(4).float()
    for row in range(3):
        known = ~given[row].isnan()
        rest = model.law().condition(given[row]).log_prob(states).detach().exp()
        testing.check_frequencies(
            state_index(drawn[:, row]), torch.where((states[:, known] == given[row, known]).all(-1), rest, 0.0), "row"
        )
    alike = given[[0, 2]]
    assert ppgen.sample(model, 5, given=alike).samples.shape == (5, 2, 4)


def test_means_of_draws_are_those_before_each_entry() -> None:
    """Catches pictures of an autoregressive model's draws without the probabilities that they came from."""
    drawn = ppgen.sample(net(), 2_000)
    assert drawn.means is not None
    testing.check_mean(drawn.samples - drawn.means, torch.zeros(4), "draws around their means")


class Guided(torch.nn.Module):
    """A model of bits with a vector of bits as latent, whose guide is autoregressive."""

    def __init__(self) -> None:
        super().__init__()
        self.inference_network = nn.CausalLinear(3, given=4)
        self.prior = nn.CausalLinear(3)
        self.out = torch.nn.Linear(3, 4)

    def model(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", Autoregressive(self.prior, BernoulliOutput()))
            pyro.sample("x", pyro.distributions.Bernoulli(logits=self.out(z)).to_event(1), obs=x)

    def guide(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Autoregressive(self.inference_network, BernoulliOutput(), given=x))


@pytest.mark.parametrize("name", ["vimco", "wake-sleep"])
def test_a_guide_draws_in_a_traced_step(name: str) -> None:
    """Catches draws that no graph can hold, a graph that grows with the entries, and one that is not the program."""
    torch.manual_seed(0)
    parts = Guided()
    pair = ppgen.Pair(parts.model, parts.guide)
    pair.prepare(BITS)
    bound = inference.resolve(name, pair).bind(pair, BITS, len(BITS))
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(BITS) is None
    nodes = traced.graph(BITS).module.graph.nodes
    draws = [node for node in nodes if "autoregressive_draws" in str(node.target)]
    assert len(draws) == (2 if name == "wake-sleep" else 1)


def test_runs_are_loaded_and_used_by_commands(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Catches a run of an autoregressive model that cannot be loaded, sampled or evaluated, or gives other numbers."""
    np.save(tmp_path / "bits.npy", BITS.repeat(8, 1).numpy())
    folder, data = str(tmp_path / "run"), str(tmp_path / "bits.npy")
    options = "--epochs 1 --quiet --report false --compile false".split()
    assert main(["fit", "FullyVisibleBeliefNet", *options, "--data", data, "--folder", folder]) == 0
    loaded = ppgen.load(folder)
    whole = evaluation.log_likelihood(loaded.pair, datasets.load(data).test, method="exact")
    capsys.readouterr()
    assert main(["evaluate", folder, "--data", data, "--quiet"]) == 0
    assert f"{float(whole):.4f}" in capsys.readouterr().out
    assert main(["sample", folder, "--num-samples", "5", "--output", str(tmp_path / "draws.npy")]) == 0
