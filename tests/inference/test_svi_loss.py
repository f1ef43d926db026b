"""Objectives, negative phases and inferences as losses of `pyro.infer.SVI` and as modules."""

import gc
import weakref

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import SGD
from torch import Tensor, nn

from ppgen import inference, models, testing
from ppgen.pair import Pair

store = pytest.mark.uses_pyro_store


def bits(rows: int, features: int) -> Tensor:
    return torch.rand(rows, features).lt(0.4).float()


CASES = {
    "VAE, ELBO": (lambda: models.VAE(5, latent=2, hidden=(4,)), inference.ELBO()),
    "VAE, IWELBO": (lambda: models.VAE(5, latent=2, hidden=(4,)), inference.IWELBO(num_particles=3)),
    "VAE, IWAE": (lambda: models.VAE(5, latent=2, hidden=(4,)), inference.IWAE(num_particles=3)),
    "HierarchicalVAE": (lambda: models.HierarchicalVAE(5, (3, 2), ((4,), (3,))), inference.ELBO()),
    "RBM, default": (lambda: models.RBM(5, 3), inference.ELBO()),
    "RBM, CD": (lambda: models.RBM(5, 3), inference.CD(k=2)),
    "RBM, PCD": (lambda: models.RBM(5, 3), inference.PCD(num_chains=10)),
    "RBM, exact": (lambda: models.RBM(5, 3), inference.ExactPartition()),
}


@store
@pytest.mark.parametrize("case", CASES)
def test_every_parameter_moves_in_svi(case: str) -> None:
    """Catches a loss that trains the guide alone, or a plain child module that Pyro does not see."""
    make, loss = CASES[case]
    pair = make()
    before = {name: tensor.detach().clone() for name, tensor in pair.named_parameters()}
    settings = {name: pyro.settings.get(name) for name in ("module_local_params", "validate_poutine")}
    svi = SVI(pair.model, pair.guide, SGD({"lr": 1e-4}), loss=loss)
    for rows in (7, 7, 3):
        assert isinstance(svi.step(bits(rows, 5)), float)
    assert [name for name, tensor in pair.named_parameters() if torch.equal(tensor, before[name])] == []
    assert isinstance(svi.evaluate_loss(bits(7, 5)), float)
    assert settings == {name: pyro.settings.get(name) for name in settings}


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_moves_as_a_module(case: str, device: torch.device) -> None:
    """Catches a module in a Lightning-style loop whose optimiser misses parameters, or that fills Pyro's store."""
    make, loss = CASES[case]
    pair = make().to(device)
    module = loss(pair.model, pair.guide)
    before = {name: tensor.detach().clone() for name, tensor in pair.named_parameters()}
    assert {id(tensor) for tensor in module.parameters()} == {id(tensor) for tensor in pair.parameters()}
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-4)
    for rows in (7, 7, 3):
        optimiser.zero_grad()
        value = module(bits(rows, 5).to(device))
        assert value.shape == () and value.device.type == device.type
        value.backward()
        optimiser.step()
    assert [name for name, tensor in pair.named_parameters() if torch.equal(tensor, before[name])] == []
    with torch.no_grad():
        assert not module(bits(7, 5).to(device)).requires_grad


def plain_model(x: Tensor) -> None:
    slope = pyro.param("slope", lambda: torch.tensor(1.4, dtype=x.dtype))
    with pyro.plate("data", 12, subsample=x):
        z = pyro.sample("z", dist.Normal(x.new_tensor(0.3), x.new_tensor(1.0)))
        pyro.sample("x", dist.Normal(slope * z, x.new_tensor(0.7)), obs=x)


def plain_guide(x: Tensor) -> None:
    a = pyro.param("a", lambda: torch.tensor(0.5, dtype=x.dtype))
    with pyro.plate("data", 12, subsample=x):
        pyro.sample("z", dist.Normal(a * x, x.new_tensor(0.6)))


def other_guide(x: Tensor) -> None:
    rate = pyro.param("rate", lambda: torch.tensor(1.0, dtype=x.dtype))
    with pyro.plate("data", 12, subsample=x):
        pyro.sample("z", dist.Poisson(rate.exp()))


@store
def test_same_number_as_pyro() -> None:
    """Catches a loss that is not summed over the data set as Pyro's are (12 rows, 4 at hand)."""
    x = torch.tensor([0.4, -1.0, 2.2, 0.1], dtype=torch.float64)
    numbers, losses = {}, {}
    for name, loss in (("ours", inference.ELBO()), ("Pyro's", Trace_ELBO())):
        pyro.clear_param_store()
        torch.manual_seed(0)
        draws = []
        for _ in range(400):
            value = loss.differentiable_loss(plain_model, plain_guide, x)
            parameters = [pyro.param(each).unconstrained() for each in ("slope", "a")]
            gradients = torch.autograd.grad(value, parameters)
            draws.append(torch.stack([value.detach(), *gradients]))
        numbers[name] = torch.stack(draws)
        losses[name] = torch.tensor([loss.loss(plain_model, plain_guide, x) for _ in range(400)], dtype=x.dtype)
    zero = torch.zeros(3, dtype=x.dtype)
    testing.check_mean(numbers["ours"] - numbers["Pyro's"], zero, "loss and gradients less Pyro's")
    testing.check_mean(losses["ours"] - losses["Pyro's"], zero[0], "loss() less Pyro's")


@store
def test_one_value_trains_two_models() -> None:
    """Catches an objective that remembers the plates of the first model it met, as Pyro's do."""

    def deep(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("columns", 3, dim=-1):
            z = pyro.sample("z", dist.Normal(pyro.param("m", torch.tensor(0.5)), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def deep_guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2), pyro.plate("columns", 3, dim=-1):
            pyro.sample("z", dist.Normal(pyro.param("c", torch.tensor(0.5)) * x, 1.0))

    loss = inference.IWELBO(num_particles=4)
    optimiser = SGD({"lr": 0.001})
    for _ in range(2):
        assert SVI(plain_model, plain_guide, optimiser, loss=loss).step(torch.randn(4)) > 0
        assert SVI(deep, deep_guide, optimiser, loss=loss).step(torch.randn(6, 3)) > 0


@store
def test_another_guide_of_the_same_model_is_checked() -> None:
    """Catches a loss that knows the model and trusts a new guide: its discrete site would get no gradient."""
    loss = inference.Inference(inference.ELBO(), inference.Pathwise())
    x = torch.tensor([0.4, -1.0, 2.2, 0.1])
    SVI(plain_model, plain_guide, SGD({"lr": 0.001}), loss=loss).step(x)
    with pytest.raises(ValueError, match="'z', which is not reparameterised"):
        SVI(plain_model, other_guide, SGD({"lr": 0.001}), loss=loss).step(x)


@store
def test_multi_sample_loss_of_a_minibatch_with_a_global_latent() -> None:
    """Catches a loss of SVI that takes the rows at hand for the data set, where the plate says more."""

    def model(x: Tensor) -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 12, subsample=x):
            pyro.sample("x", dist.Normal(m, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("m", dist.Normal(pyro.param("q", torch.tensor(0.0)), 1.0))

    svi = SVI(model, guide, SGD({"lr": 0.001}), loss=inference.IWELBO(num_particles=3))
    with pytest.raises(ValueError, match="'m' lies outside plate 'data'.*on a batch of 4 of 12 rows"):
        svi.step(torch.zeros(4))
    assert svi.step(torch.zeros(12)) > 0


def test_a_pair_in_svi_trains_the_pair() -> None:
    """Catches a second set of parameters in Pyro's store, trained while the pair's own stand still."""
    pair = Pair(plain_model, plain_guide)
    x = torch.tensor([0.4, -1.0, 2.2, 0.1])
    pair.prepare(x)
    before = {name: tensor.detach().clone() for name, tensor in pair.named_parameters()}
    SVI(pair.model, pair.guide, SGD({"lr": 0.01}), loss=inference.ELBO()).step(x)
    assert set(before) == {"captured.slope", "captured.a"}
    assert all(not torch.equal(tensor, before[name]) for name, tensor in pair.named_parameters())
    with pytest.raises(ValueError, match="methods of different pairs"):
        inference.ELBO()(pair.model, Pair(plain_model, plain_guide).guide)


def test_a_module_of_another_guide() -> None:
    """Catches a module that takes the model's own guide instead of the one it was given."""
    vae, other = (models.VAE(5, latent=2, hidden=(4,)) for _ in range(2))
    inference.ELBO()(vae.model, other.guide)(bits(6, 5)).backward()
    assert all(tensor.grad is not None for tensor in (*vae.decoder.parameters(), *other.encoder.parameters()))
    assert all(tensor.grad is None for tensor in (*vae.encoder.parameters(), *other.decoder.parameters()))


@store
def test_state_dies_with_the_model() -> None:
    """Catches a loss kept by the user that keeps every model it has ever trained."""
    loss = inference.PCD(num_chains=5)
    rbm = models.RBM(5, 3)
    SVI(rbm.model, rbm.guide, SGD({"lr": 0.01}), loss=loss).step(bits(4, 5))
    reference = weakref.ref(rbm)
    del rbm
    pyro.clear_param_store()
    gc.collect()
    assert reference() is None


def test_a_step_without_parameters_raises() -> None:
    """Catches training that silently changes nothing: no parameter, or a loss that reaches none of them."""
    outside = torch.tensor(1.0, requires_grad=True)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z * outside, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    x = torch.zeros(4)
    with pytest.raises(ValueError, match="found no parameter to train.*pyro_method"):
        SVI(model, guide, SGD({"lr": 0.1}), loss=inference.ELBO()).step(x)
    pair = Pair(model, guide)
    pair.unused = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="found no parameter to train"):
        inference.Inference(inference.ELBO()).bind(pair, x, num_data=4).step(x)
    with pytest.raises(ValueError, match="found no parameter to train"):
        inference.ELBO()(model, guide)(x)


@store
def test_chains_are_carried_over_in_svi() -> None:
    """Catches persistent chains that start afresh at every step, which is another algorithm."""
    loss, rbm = inference.PCD(num_chains=6), models.RBM(5, 3)
    svi = SVI(rbm.model, rbm.guide, SGD({"lr": 0.0}), loss=loss)
    seen = []
    for _ in range(3):
        svi.step(bits(4, 5))
        (bound,) = [each for by_guide in loss._bound_to.values() for m in by_guide.values() for each in m.values()]
        seen.append(bound.state["hidden.chains"])
    assert not torch.equal(seen[0], seen[1])
    machine = rbm.machine()
    sweeps = torch.stack([machine.gibbs(seen[1]) for _ in range(200)])
    assert (sweeps == seen[2]).all(-1).any(0).all()  # every new chain is one sweep away from its last state
