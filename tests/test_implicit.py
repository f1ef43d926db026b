"""A model that draws data and states no density of them: it is drawn, and whatever needs a likelihood refuses it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics, evaluation, inference, training
from ppgen.testing import check_frequencies

X = torch.zeros(8, 2)


class Generator(ppgen.GenerativeModel):
    """x = 1[W z > 0] of two bits from one Normal, by no law that could be evaluated."""

    has_likelihood = False

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0]))

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        with pyro.plate(self.plate, 1 if num_rows is None else num_rows):
            z = pyro.sample("z", dist.Normal(0.5, 1.0).expand([1]).to_event(1))
            return pyro.deterministic("x", z.mul(self.weight).gt(0).to(z), event_dim=1)


def test_an_implicit_model_is_drawn() -> None:
    """Catches draws of a model without an observed site that are refused, or are not those of its program."""
    drawn = ppgen.sample(Generator(), 4000)
    assert drawn.samples.shape == (4000, 2) and bool((drawn.samples.sum(-1) == 1).all())
    share = 1 - dist.Normal(0.5, 1.0).cdf(torch.tensor(0.0))
    check_frequencies(drawn.samples[:, 0].long(), torch.stack([1 - share, share]), "signs")
    again = ppgen.GenerativeModel.config(Generator())
    assert again == {} and ppgen.GenerativeModel.has_likelihood


@pytest.mark.parametrize(
    "ask",
    [
        lambda pair: evaluation.log_likelihood(pair, X),
        lambda pair: evaluation.bdmc(pair, num_data=3),
        lambda pair: diagnostics.check(pair, X),
        lambda pair: diagnostics.importance_weights(pair, X),
        lambda pair: diagnostics.approximation_gap(pair, X),
        lambda pair: diagnostics.simulation_based_calibration(pair, num_simulations=3),
        lambda pair: diagnostics.from_pyro_svi(pair, X),
        lambda pair: training.refine(pair, X),
        lambda pair: inference.sample_posterior(pair, X, num_samples=3),
        lambda pair: inference.log_weights(pair, X),
        lambda pair: inference.resolve("elbo", pair).bind(pair, X, num_data=8),
        lambda pair: ppgen.fit(pair, X, epochs=1, progress=False),
        lambda pair: ppgen.compare_inferences(Generator, X, ["elbo"], seeds=1, epochs=1, progress=False),
        lambda pair: pair.prepare(X),
    ],
)
def test_what_needs_a_likelihood_refuses_an_implicit_model(ask) -> None:
    """Catches a number in nats for a model without a density, and an error about a guide that it need not have."""
    with pytest.raises(ValueError, match=r"density of the data, and Generator is implicit .*bdmc"):
        ask(Generator())
