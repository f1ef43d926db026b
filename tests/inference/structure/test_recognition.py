"""Guides that do not read their data: refused by sleep phases, fitted anew to each simulation by calibration."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics, inference, models
from ppgen.inference.structure.recognition import reads_data

X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0]])
SLEEPING = [inference.WakeSleep(), inference.ReweightedWakeSleep(2, sleep=True)]


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, pyro.param("prior", torch.tensor(1.0))))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1).expand(z.shape + (2,)), 0.5).to_event(1), obs=x)


def blind(x: Tensor) -> None:
    loc = pyro.param("loc", torch.tensor(0.7))
    scale = pyro.param("scale", torch.tensor(0.4), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, scale))


def starting_at_zero(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("slope", torch.tensor(0.0)) * x.sum(-1), 0.5))


def fixed(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))


def with_dropout(network: nn.Module) -> Any:
    def guide(x: Tensor) -> None:
        pyro.module("network", network)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(network(x).squeeze(-1), 0.5))

    return guide


def bound(guide: Any, objective: inference.Objective) -> Any:
    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    return inference.Inference(objective).bind(pair, X, num_data=len(X))


@pytest.mark.parametrize("objective", SLEEPING)
def test_a_guide_that_ignores_x_cannot_sleep(objective: inference.Objective) -> None:
    """Catches a sleep phase that learns the prior: q = N(0.46, 4.65) where the posterior is N(1.34, 0.10)."""
    with pytest.raises(ValueError, match="draws site 'z' without reading its data.*become that of the prior"):
        bound(blind, objective)


@pytest.mark.uses_pyro_store
def test_nor_as_a_loss_of_svi() -> None:
    """Catches a check that knows the parameters of a pair only."""
    with pytest.raises(ValueError, match="draws site 'z' without reading its data"):
        inference.WakeSleep().loss(model, blind, X)
    inference.WakeSleep().loss(model, starting_at_zero, X)


@pytest.mark.parametrize(
    "guide",
    [
        starting_at_zero,
        fixed,
        with_dropout(nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))),
        with_dropout(nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))),
    ],
    ids=["zero", "fixed", "dropout", "batch norm"],
)
@pytest.mark.parametrize("objective", SLEEPING)
def test_guides_that_sleep_well(guide: Any, objective: inference.Objective) -> None:
    """Catches a sound guide refused: a weight of zero hides what it reads, dropout moves what it does not."""
    before = torch.get_rng_state()
    inferred = bound(guide, objective)
    assert torch.equal(before, torch.get_rng_state())
    inferred.step(X)


def test_nothing_is_left_changed_by_looking() -> None:
    """Catches parameters that are not put back exactly, or count as written, by which a log Z would be stale."""
    vae = models.VAE(2, latent=2, hidden=(4,))
    versions = {name: (value.clone(), value._version) for name, value in vae.named_parameters()}
    with vae.running():
        assert reads_data(vae, torch.zeros(3, 2), torch.ones(3, 2))
        assert not reads_data(vae, torch.zeros(3, 2), torch.zeros(3, 2))
    for name, value in vae.named_parameters():
        assert torch.equal(value, versions[name][0]) and value._version == versions[name][1]


def test_without_a_sleep_phase_a_guide_need_not_read() -> None:
    """Catches the check where the guide is trained on the data themselves."""
    bound(blind, inference.ReweightedWakeSleep(2)).step(X)
    bound(blind, inference.ELBO()).step(X)


def calibrate(guide: Any, **arguments: Any) -> Any:
    return diagnostics.simulation_based_calibration(ppgen.Pair(model, guide), x=X, **arguments)


def test_calibration_refuses_a_posterior_of_one_data_set() -> None:
    """Catches "too narrow, use a richer guide" said of an exact posterior, against data that it was not fitted to."""
    with pytest.raises(ValueError, match=r"draws the same whatever the data are.*give refit=\"svi\""):
        calibrate(blind, num_simulations=30)
    calibrate(starting_at_zero, num_simulations=30)  # reads, though not yet


def test_calibration_fits_the_guide_to_each_simulation() -> None:
    """Catches a guide that is not fitted, a model that is fitted with it, and parameters that are not put back."""
    pair = ppgen.Pair(model, blind)
    pair.prepare(X)
    before = {name: value.clone() for name, value in pair.named_parameters()}
    seen: list[Tensor] = []

    def refit(given: Any, x: Tensor) -> None:
        wanted = {name: value.requires_grad for name, value in given.named_parameters()}
        assert wanted == {"captured.prior": False, "captured.loc": True, "captured.scale": True}
        assert all(torch.equal(value, before[name]) for name, value in given.named_parameters())
        seen.append(x)
        precision = torch.tensor(1 + 2 / 0.25)
        given.captured._parameters["loc"].data.copy_(x.sum() / 0.25 / precision)
        given.captured._parameters["scale"].data.copy_(precision.rsqrt().log())

    result = diagnostics.simulation_based_calibration(pair, x=X, num_simulations=200, refit=refit, level=1e-4)
    assert result.calibrated and result.method == "the guide fitted to each simulation"
    assert len(seen) == 200 and seen[0].shape == (1, 2) and torch.equal(torch.cat(seen), result.x)
    assert all(torch.equal(value, before[name]) and value.requires_grad for name, value in pair.named_parameters())


def test_refits_by_svi_and_by_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a fit that cannot run inside of the calibration, and one that leaves gradients or moves the model."""
    monkeypatch.setattr("ppgen.diagnostics.calibration.refit.STEPS", 3)
    moved: list[Tensor] = []

    def by_fit(pair: Any, x: Tensor) -> None:
        if len(moved) < 2:
            ppgen.fit(pair, x, "elbo", steps=2, lr=0.1, progress=False, compile=False)
            moved.append(pair.captured._parameters["loc"].detach().clone())

    for refit in ("svi", by_fit):
        result = calibrate(blind, num_simulations=20, num_samples=5, refit=refit)
        assert result.num_samples == 5
    assert len(moved) == 2 and all(abs(float(loc) - 0.7) > 0.02 for loc in moved)


@pytest.mark.parametrize(
    ("guide", "arguments", "error", "message"),
    [
        (blind, {"refit": "map"}, TypeError, 'refit must be "svi", a function'),
        (blind, {"refit": "svi", "posterior": inference.HMC()}, ValueError, "does not draw from it"),
        (fixed, {"refit": "svi"}, ValueError, "no parameters of its own"),
    ],
)
def test_wrong_refits(guide: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    """Catches a refit that does nothing."""
    with pytest.raises(error, match=message):
        calibrate(guide, num_simulations=20, **arguments)
