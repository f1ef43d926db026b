"""Rows of which a part is known, completed by autoregressive models; draws in traced steps; run folders."""

import math

import pyro
import pytest
import torch

import ppgen
from ppgen import evaluation, models, nn, testing
from ppgen.distributions import Autoregressive, BernoulliOutput
from ppgen.testing.examples import bit_vectors, state_index

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


@pytest.mark.parametrize("inference", ["vimco", "reweighted-wake-sleep"])
def test_a_guide_draws_in_a_traced_step(inference: str) -> None:
    """Catches draws that no graph can hold, and a traced step that is not the program."""
    torch.manual_seed(0)
    parts = Guided()
    pair = ppgen.Pair(parts.model, parts.guide)
    before = parts.inference_network.given_weight.detach().clone()
    run = ppgen.fit(
        pair, BITS.repeat(8, 1), inference=inference, epochs=2, batch_size=8, seed=0, compile=False, progress=False
    )
    assert not torch.equal(parts.inference_network.given_weight, before)
    assert run.config["trained"]["traced"] if "traced" in run.config.get("trained", {}) else True


def test_run_folders_and_the_command_line(tmp_path, capsys) -> None:
    """Catches a run of an autoregressive model that the commands cannot load, sample or evaluate."""
    run = ppgen.fit(net(), BITS.repeat(8, 1), epochs=1, seed=0, folder=tmp_path / "run", progress=False)
    loaded = ppgen.load(tmp_path / "run")
    x = BITS
    assert float(evaluation.log_likelihood(loaded.pair, x)) == float(evaluation.log_likelihood(run.pair, x))
    assert torch.equal(ppgen.sample(loaded.pair, 5).samples, ppgen.sample(run.pair, 5).samples)
