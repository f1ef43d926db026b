"""Models of y given x: what they need of a batch, how they are drawn, and what refuses what."""

from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn.module import pyro_method
from torch import Tensor, nn

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.testing import check_close, check_frequencies

X = torch.tensor([[1.0, 0.0], [-0.5, 2.0], [0.3, 0.7]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 1])


class TwoBits(ppgen.ConditionalModel):
    """y, two bits given one latent bit, whose odds depend on x: p(y | x) is a sum of two terms."""

    inputs, outputs = 2, 2
    default_inference = "vimco"

    def __init__(self) -> None:
        super().__init__()
        self.prior, self.encoder = nn.Linear(2, 1).double(), nn.Linear(4, 1).double()
        self.loading = nn.Parameter(torch.tensor([[2.0, -1.0], [0.5, 1.5]], dtype=torch.float64))

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=self.prior(x)).to_event(1))
            logits = self.loading[0] * z + self.loading[1] * (1 - z)
            return pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor) -> Tensor:
        self.check_arguments(x, y)
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", dist.Bernoulli(logits=self.encoder(torch.cat([x, y], -1))).to_event(1))


class Classes(TwoBits):
    """The same of a label: covariates without features, and a latent that is common to a batch."""

    @property
    def covariate_shape(self) -> tuple[int, ...]:
        return ()

    @pyro_method
    def model(self, label: Tensor, y: Tensor | None = None) -> Tensor:
        self.check_arguments(label, y)
        shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
        with pyro.plate(self.plate, len(label)):
            return pyro.sample(
                "y", dist.Normal(shift + label[:, None], 0.01).expand([len(label), 2]).to_event(1), obs=y
            )


def law(model: TwoBits, x: Tensor) -> Tensor:
    """p(y | x) of the four y, (rows, 4), summed over z by hand."""
    states = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    on = model.prior(x).sigmoid()
    given = [dist.Bernoulli(logits=model.loading[place]).to_event(1).log_prob(states).exp() for place in (0, 1)]
    return on * given[0] + (1 - on) * given[1]


def test_draws_and_likelihood_are_those_of_the_enumerated_law() -> None:
    """Catches draws of one row's law for all rows, rows and draws exchanged, a likelihood of x and y together."""
    model = TwoBits()
    expected = law(model, X).detach()
    drawn = ppgen.sample(model, 20_000, covariates=X, seed=3)
    assert drawn.samples.shape == drawn.means.shape == (20_000, 3, 2)
    index = (2 * drawn.samples[..., 0] + drawn.samples[..., 1]).long()
    for row in range(3):
        check_frequencies(index[:, row], expected[row], f"y of row {row}")
        share = expected[row] @ torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
        testing.check_mean(drawn.means[:, row], share, f"means of row {row}")
    y = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    found = evaluation.log_likelihood(model, {"x": X, "y": y}, num_particles=5000)
    exact = expected[torch.arange(3), torch.tensor([1, 3, 2])].log().numpy()
    assert (abs(found.per_datum["log_likelihood"] - exact) < 4 * found.per_datum["se"] + 1e-9).all()


def test_draws_come_by_blocks_and_leave_the_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a last block that is dropped or repeated, and draws that follow from another seed than the one given."""
    monkeypatch.setattr("ppgen.training.sampling.given_covariates.ROWS_AT_ONCE", 7)
    model, before = TwoBits(), torch.get_rng_state()
    drawn = [ppgen.sample(model, 5, covariates=X.numpy(), seed=seed).samples for seed in (1, 1, 2)]
    assert drawn[0].shape == (5, 3, 2) and torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert torch.equal(before, torch.get_rng_state())


def test_draws_of_a_common_latent_are_independent() -> None:
    """Catches many draws as rows of one batch, which would all have one value of a latent outside the plate."""
    drawn = ppgen.sample(Classes(), 400, covariates=LABELS).samples
    check_close(drawn[:, 1] - drawn[:, 0], torch.full((400, 2), 2.0), "labels 2 and 0", atol=0.1)
    assert 0.8 < float(drawn[:, 0, 0].std()) < 1.2


def test_the_contract_holds() -> None:
    """Catches a contract that a sound conditional model does not pass."""
    testing.check_pair(TwoBits(), (X, torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)))


class Returned(TwoBits):
    """Returns its latent."""

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=self.prior(x)).expand([len(x), 2]).to_event(1))
            pyro.sample("y", dist.Bernoulli(logits=self.loading[0] * z).to_event(1), obs=y)
        return z


class Forced(TwoBits):
    """The law of y depends on whether y is given."""

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        with pyro.plate(self.plate, len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=self.prior(x)).to_event(1))
            logits = self.loading[0] * z + (0.0 if y is None else y)
            return pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)


def test_models_whose_draws_are_not_of_their_likelihood_are_found() -> None:
    """Catches draws of a latent that are taken for y, and a law that looks at the y that it should draw."""
    with pytest.raises(ValueError, match=r"returns the value of the site where y is observed.*that of Returned"):
        ppgen.sample(Returned(), 3, covariates=X)
    with pytest.raises(AssertionError, match="log-density of y where it is observed"):
        testing.check_conditional(Forced(), (X, torch.ones(3, 2, dtype=torch.float64)))


Y = torch.zeros(3, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (X, r"TwoBits is a model of y given x, and y is missing: give a tuple \(x, y\).* got x of shape \(\d, 2\)"),
        ({"y": Y}, r"and x is missing: .* got y of shape \(\d, 2\)"),
        ((X[:, :1], Y), r"x must have shape \(rows, inputs=2\), got \(\d, 1\)"),
        ((X, Y[:, 0]), r"y must have shape \(rows, outputs=2\), got \(\d,\)"),
        ((X, Y[:1]), "number of rows|equally many"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda batch: TwoBits().prepare(batch),
        lambda batch: ppgen.fit(TwoBits(), batch, epochs=1, progress=False),
        lambda batch: evaluation.log_likelihood(TwoBits(), batch),
        lambda batch: inference.log_weights(TwoBits(), batch),
    ],
    ids=["prepare", "fit", "log_likelihood", "log_weights"],
)
def test_wrong_batches_are_named(ask: Any, batch: Any, message: str) -> None:
    """Catches a batch without y, of another width, or whose single row of y would be given to every x."""
    with pytest.raises(ValueError, match=message):
        ask(batch)


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        (TwoBits(), {}, ValueError, r"covariates are needed to sample a TwoBits.* covariates=x, \(rows, 2\)"),
        (TwoBits(), {"covariates": X[:, :1]}, ValueError, r"covariates must have shape \(rows, 2\).* got \(3, 1\)"),
        (TwoBits(), {"covariates": X[:0]}, ValueError, "a row or more"),
        (TwoBits(), {"covariates": X[0]}, ValueError, r"got \(2,\)"),
        (TwoBits(), {"covariates": X / torch.tensor([1.0, 0.0])}, ValueError, "row 0 holds NaN or infinity"),
        (TwoBits(), {"covariates": [[1.0, 2.0]]}, TypeError, "covariates must be a tensor or an array"),
        (TwoBits(), {"covariates": X, "like": (X, Y)}, ValueError, "either covariates or like"),
        (TwoBits(), {"covariates": X, "given": Y}, ValueError, "either covariates or given"),
        (TwoBits(), {"given": np.full((2, 2), np.nan)}, ValueError, "model of y given x: x is covariates=x"),
        (Classes(), {"covariates": X}, ValueError, r"covariates must have shape \(rows,\).* got \(3, 2\)"),
        (models.VAE(3, latent=2, hidden=()), {"covariates": X}, ValueError, "VAE is none.*given=rows"),
    ],
)
def test_wrong_covariates_are_named(model: Any, options: dict[str, Any], error: Any, message: str) -> None:
    """Catches covariates that a model takes silently for data, leaves out, or broadcasts."""
    with pytest.raises(error, match=message):
        ppgen.sample(model, 3, **options)


def test_pyro_svi_refuses_what_fit_refuses() -> None:
    """Catches a single row of y that Pyro's own training would give to every x, and programs that lost the check."""
    model = TwoBits()
    svi = pyro.infer.SVI(model.model, model.guide, pyro.optim.Adam({"lr": 0.01}), loss=inference.IWAE(num_particles=2))
    with pytest.raises(ValueError, match="same number of rows"):
        svi.step(X, Y[:1])
    pyro.clear_param_store()
