"""Evaluations of a datum by itself: its own law, its own row, its own place."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics, evaluation, models

GENERATOR = torch.Generator().manual_seed(0)
BITS = (torch.rand(50, 2, 3, generator=GENERATOR) < 0.4).float()
WEIGHTS = torch.randn(2, 6, generator=GENERATOR)


def latents(x: Tensor) -> Tensor:
    """Two standard Normal latents for each datum, inside the plate."""
    return pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))


def prior(x: Tensor) -> None:
    """The same as a guide, or as a model that observes nothing."""
    with pyro.plate("data", len(x)):
        latents(x)


def flat(x: Tensor) -> Tensor:
    return x.reshape(len(x), -1)


def bits_pair(observed: Callable[[Tensor], Tensor] = flat, lean: float = 0.0, guide: Any = prior) -> ppgen.Pair:
    """Bits with logits z @ WEIGHTS, plus what leans on the mean of all rows."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = latents(x)
            law = dist.Bernoulli(logits=z @ WEIGHTS + lean * flat(x).mean(0), validate_args=False)
            pyro.sample("x", law.to_event(1), obs=observed(x))

    return ppgen.Pair(model, guide)


@pytest.mark.parametrize("factor", [3.0, 255.0])
@pytest.mark.parametrize("method", ["importance", "elbo", "ais"])
def test_values_are_looked_at_where_they_are_observed(factor: float, method: str) -> None:
    """Catches +3107 nats called a lower bound, as data are checked only if `obs=` is the argument itself."""
    with pytest.raises(ValueError, match="site 'x' must lie in the support.*bits.*binarise"):
        evaluation.log_likelihood(bits_pair(), factor * BITS, method=method, num_particles=10, betas=2)
    with pytest.raises(ValueError, match="site 'x' must lie in the support"):
        evaluation.log_likelihood(bits_pair(), 2 * BITS - 1, method=method, num_particles=10, betas=2)


def test_the_first_bad_row_is_that_of_all_data() -> None:
    """Catches rows of later chunks that are not looked at, and their numbers counted from the chunk's start."""
    x = BITS.repeat(30, 1, 1)
    x[1203] = 0.5
    with pytest.raises(ValueError, match="the first is row 1203;"):
        evaluation.log_likelihood(bits_pair(), x, num_particles=1)


@pytest.mark.parametrize(
    "leaning",
    [
        bits_pair(lean=3.0),
        bits_pair(lambda x: flat(x)[:1]),
        bits_pair(lambda x: flat(x).flip(0)),
        bits_pair(lambda x: flat(x).roll(1, 0)),
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda pair: evaluation.log_likelihood(pair, BITS, num_particles=10),
        lambda pair: evaluation.log_likelihood(pair, BITS, method="ais", betas=2),
        lambda pair: diagnostics.importance_weights(pair, BITS),
        lambda pair: diagnostics.latent_units(pair, BITS),
        lambda pair: diagnostics.check(pair, BITS),
        lambda pair: diagnostics.approximation_gap(pair, BITS),
    ],
)
def test_rows_that_lean_on_each_other(leaning: ppgen.Pair, call: Callable[[Any], Any]) -> None:
    """Catches a value that depends on the chunk, -2.90 or -6.53, and data observed at the place of other data."""
    with pytest.raises(ValueError, match="Rows depend on each other: site 'x' of the model.*alone"):
        call(leaning)


def test_one_number_for_several() -> None:
    """Catches `obs=x[:, :1]`, the first feature observed in the place of each."""
    with pytest.raises(ValueError, match=r"'x' have event shape \(1,\), and its law \(6,\).*expand\(..., 6\)"):
        evaluation.log_likelihood(bits_pair(lambda x: flat(x)[:, :1]), BITS)


def test_a_model_that_observes_nothing() -> None:
    """Catches 0.0006 nats for data that no site of the model sees, and a recorded value taken for an observed one."""

    def records(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = latents(x)
            pyro.deterministic("doubled", 2 * z, event_dim=1)

    for model in (prior, records):
        with pytest.raises(ValueError, match="observes nothing inside plate 'data'"):
            evaluation.log_likelihood(ppgen.Pair(model, prior), BITS)


class Normalised(nn.Module):
    """Batch normalisation that stays in training mode whatever is asked of it."""

    def __init__(self, stubborn: bool) -> None:
        super().__init__()
        self.norm, self.stubborn = nn.BatchNorm1d(6), stubborn

    def forward(self, x: Tensor) -> Tensor:
        if self.stubborn:
            self.norm.train(len(x) > 1)
        return self.norm(x)[:, :2]


@pytest.mark.parametrize("stubborn", [False, True])
def test_batch_normalisation(stubborn: bool) -> None:
    """Catches statistics of the chunk in a guide's density, and normalisation by running statistics refused."""
    network = Normalised(stubborn)
    before = network.norm.running_mean.clone()

    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(flat(x)), 1.0).to_event(1))

    pair = bits_pair(guide=guide)
    pair.prepare(BITS)
    if stubborn:
        with pytest.raises(ValueError, match="site 'z' of the"):
            evaluation.log_likelihood(pair, BITS, num_particles=10)
    else:
        assert evaluation.log_likelihood(pair, BITS, num_particles=10).value < 0
        assert torch.equal(network.norm.running_mean, before)


def test_programs_that_draw_by_themselves_and_sharp_laws() -> None:
    """Catches noise of the program's own, or the rounding of a sharp law, taken for a leaning row."""
    x = torch.randn(20, 6, generator=GENERATOR)

    def noisy(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = latents(x)
            pyro.sample("x", dist.Normal(z @ WEIGHTS + torch.randn(len(x), 6), 1.0).to_event(1), obs=x)

    turn = torch.linalg.qr(torch.randn(6, 6, generator=GENERATOR)).Q

    def sharp(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            latents(x)
            pyro.sample("x", dist.Normal(x @ turn @ turn.T, 1e-6).to_event(1), obs=x)

    assert evaluation.log_likelihood(ppgen.Pair(noisy, prior), x, num_particles=10).value < 0
    assert evaluation.log_likelihood(ppgen.Pair(sharp, prior), x, num_particles=10).value > 0


def test_each_row_against_its_own_law() -> None:
    """Catches counts refused because a row is longer than the first, in every evaluation of Pyro's own LDA programs."""
    counts = torch.randint(0, 4, (30, 6), generator=GENERATOR).float()
    counts[0] = torch.tensor([1.0, 0, 0, 0, 0, 0])

    def model(x: Tensor) -> None:
        shift = pyro.param("shift", torch.zeros(6))
        with pyro.plate("data", len(x)):
            z = latents(x)
            pyro.sample("x", dist.Multinomial(int(x.sum(-1).max()), logits=z @ WEIGHTS + shift), obs=x)

    run = ppgen.fit(ppgen.Pair(model, prior), counts, "elbo", epochs=1, lr=1e-6, progress=False)
    found = evaluation.log_likelihood(run, counts, num_particles=1000)
    z = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    law = torch.distributions.Multinomial(100, logits=z @ WEIGHTS, validate_args=False)
    exact = torch.stack([law.log_prob(row).logsumexp(0) for row in counts]).mean() - torch.tensor(20_000.0).log()
    assert abs(found.value - float(exact)) < 0.1
    assert found.warning is None or "above 0" not in found.warning
    diagnostics.latent_units(run, counts, num_samples=2, num_aggregate=2)


class Improper(dist.Poisson):
    """Counts whose masses add up to more than 1."""

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 9.0


@pytest.mark.parametrize("shift", [0.0, 9.0])
def test_no_probability_is_above_one(shift: float) -> None:
    """Catches a mass above 1 at a discrete site, and counts with large factorials refused for their rounding."""
    counts = torch.tensor([0.0, 3.0, 1e6])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1e-3))
            law = (Improper if shift else dist.Poisson)((x + 0.1) * z.exp())
            pyro.sample("x", law, obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1e-3))

    if shift:
        with pytest.raises(ValueError, match="discrete site 'x' gives row 0 a log-probability of"):
            evaluation.log_likelihood(ppgen.Pair(model, guide), counts)
    else:
        assert evaluation.log_likelihood(ppgen.Pair(model, guide), counts, num_particles=200).warning is None


def test_an_estimate_above_zero_warns() -> None:
    """Catches log p(x) of bits above 0, by a log Z that is too low, without a word."""
    rbm = models.RBM(visible=4, hidden=3)
    found = evaluation.log_likelihood(rbm, torch.eye(4), log_partition=-100.0)
    assert "above 0 for 4 of 4 rows" in (found.warning or "")
    assert evaluation.log_likelihood(rbm, torch.eye(4)).warning is None


LOADINGS = torch.tensor([[1.0, -0.5, 0.8]])


def with_missing(style: str) -> ppgen.Pair:
    """x = z LOADINGS + noise with some x missing, told to Pyro in several ways."""

    def model(x: Tensor) -> None:
        there, shift = x.isfinite(), pyro.param("shift", torch.zeros(3))
        filled = x if style.startswith("raw") else x.where(there, 0.0)
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0))
            mean = z * LOADINGS + shift
            with pyro.plate("features", 3, dim=-1):
                if style.endswith("handler"):
                    with poutine.mask(mask=there):
                        pyro.sample("x", dist.Normal(mean, 0.5), obs=filled)
                else:
                    pyro.sample("x", dist.Normal(mean, 0.5).mask(there), obs=filled)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(0.3 * x.where(x.isfinite(), 0.0).sum(-1, keepdim=True), 0.7))

    return ppgen.Pair(model, guide)


MISSING = torch.randn(12, 3, generator=GENERATOR)
MISSING[::3, 1] = torch.nan
MISSING[4] = torch.tensor([torch.nan, torch.inf, 0.3])


def exact_with_missing() -> Tensor:
    """log p of what is there, nats: (rows,)."""
    found = []
    for row in MISSING:
        there = row.isfinite()
        loading = LOADINGS[0, there]
        covariance = torch.outer(loading, loading) + 0.25 * torch.eye(len(loading))
        law = torch.distributions.MultivariateNormal(torch.zeros(len(loading)), covariance)
        found.append(law.log_prob(row[there]))
    return torch.stack(found)


@pytest.mark.parametrize("style", ["filled, handler", "filled, law", "raw, handler", "raw, law"])
def test_values_missing_under_a_mask(style: str) -> None:
    """Catches data that `fit` takes refused by every evaluation, and a gradient of 0 times NaN."""
    run = ppgen.fit(with_missing(style), MISSING, "elbo", epochs=2, lr=1e-6, progress=False)
    truth = exact_with_missing().mean().item()
    found = evaluation.log_likelihood(run, MISSING, num_particles=500)
    assert abs(found.value - truth) < 4 * found.se + 1e-3
    annealed = evaluation.log_likelihood(run, MISSING, method="ais", num_chains=20, betas=10)
    assert abs(annealed.value - truth) < 4 * annealed.se + 0.1
    assert diagnostics.from_pyro_svi(run, MISSING, num_samples=3).log_likelihood.x.isnull().sum() == 0


def test_values_missing_without_a_mask() -> None:
    """Catches NaN as the value of an evaluation, and a message that does not say how values are left out."""

    def model(x: Tensor) -> None:
        pyro.param("unused", torch.zeros(()))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * LOADINGS, 0.5).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 2:], 0.7).to_event(1))

    with pytest.raises(ValueError, match=r"'x' hold NaN or infinity: 5 of 12 rows do.*pyro.poutine.mask\(mask="):
        evaluation.log_likelihood(ppgen.Pair(model, guide), MISSING)
    with pytest.raises(ValueError, match=r"'x' hold NaN or infinity: 5 of 12 rows do.*pyro.poutine.mask\(mask="):
        ppgen.fit(ppgen.Pair(model, guide), MISSING, "elbo", epochs=1, progress=False)
    spoilt = MISSING.clone()
    spoilt[0, 2] = torch.nan
    with pytest.raises(ValueError, match=r"programs cannot run on it.*pyro.poutine.mask\(mask="):
        evaluation.log_likelihood(ppgen.Pair(model, guide), spoilt)


def test_rows_of_different_lengths() -> None:
    """Catches sites that a row alone does not reach, and that a mask leaves out of it in a batch, taken for leaning."""
    lengths = torch.tensor([2, 1, 3, 3, 2])
    x = torch.randn(5, 3, generator=GENERATOR)

    def steps(x: Tensor, lengths: Tensor, observes: bool) -> None:
        z = torch.zeros(len(x))
        with pyro.plate("data", len(x)):
            for time in range(int(lengths.max())):
                with poutine.mask(mask=time < lengths):
                    z = pyro.sample(f"z_{time}", dist.Normal(z, 1.0))
                    if observes:
                        pyro.sample(f"x_{time}", dist.Normal(z, 1.0), obs=x[:, time])

    def model(x: Tensor, lengths: Tensor) -> None:
        steps(x, lengths, observes=True)

    def guide(x: Tensor, lengths: Tensor) -> None:
        steps(x, lengths, observes=False)

    found = evaluation.log_likelihood(ppgen.Pair(model, guide), (x, lengths), num_particles=2000)
    truth = []
    for row, length in zip(x, lengths.tolist(), strict=True):
        steps_in_common = torch.arange(1.0, length + 1)
        covariance = torch.minimum(steps_in_common[:, None], steps_in_common) + torch.eye(length)
        law = torch.distributions.MultivariateNormal(torch.zeros(length), covariance)
        truth.append(float(law.log_prob(row[:length])))
    assert abs(found.value - sum(truth) / 5) < 4 * found.se + 0.02
