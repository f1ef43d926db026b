"""The zoo: densities written out by hand, draws, starts, errors."""

import json
import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, Trace_ELBO
from torch import Tensor

from ppgen import inference, models, testing
from ppgen.testing.examples import state_index


class _Data:
    """What `initialise` asks of a data set."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean


def bits(rows: int, features: int) -> Tensor:
    return torch.rand(rows, features, dtype=torch.float64).lt(0.4).double()


def normal(value: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    return (-0.5 * ((value - loc) / log_scale.exp()) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)


def layer(conditional, given: Tensor, name: str) -> Tensor:
    return getattr(conditional, name)(conditional.body(given))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "categorical"])
def test_vae_log_weight(likelihood: str, device: torch.device) -> None:
    """Catches a prior, decoder or encoder term that is missing, summed over the wrong dimension, or on one device."""
    vae = models.VAE(3, latent=2, hidden=(4,), likelihood=likelihood, categories=3).to(device, torch.float64)
    x = (bits(5, 3) + bits(5, 3)).to(device) if likelihood == "categorical" else bits(5, 3).to(device)
    weights = inference.log_weights(vae, x, num_particles=4)
    z = weights.guide_traces[0].nodes["z"]["value"]
    assert z.shape == (4, 5, 2) and z.device.type == device.type
    zero = torch.zeros_like(z)
    expected = normal(z, zero, zero)
    expected = expected - normal(z, layer(vae.encoder, x, "loc"), layer(vae.encoder, x, "log_scale"))
    if likelihood == "gaussian":
        expected = expected + normal(x, layer(vae.decoder, z, "loc"), layer(vae.decoder, z, "log_scale"))
    elif likelihood == "bernoulli":
        logits = layer(vae.decoder, z, "logits")
        expected = expected + (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
    else:
        logits = layer(vae.decoder, z, "logits").reshape(4, 5, 3, 3)
        chosen = torch.nn.functional.one_hot(x.long(), 3)
        expected = expected + (logits.log_softmax(-1) * chosen).sum((-1, -2))
    testing.check_close(weights.local, expected, "log-weight of a VAE")


def test_hierarchical_vae_log_weight() -> None:
    """Catches a chain whose layers are joined in the wrong order."""
    model = models.HierarchicalVAE(4, latents=(3, 2), hidden=((4,), (5,))).double()
    x = bits(5, 4)
    weights = inference.log_weights(model, x, num_particles=2)
    z1, z2 = (weights.guide_traces[0].nodes[name]["value"] for name in ("z1", "z2"))
    zero = torch.zeros_like(z2)
    logits = layer(model.decoder, z1, "logits")
    expected = normal(z2, zero, zero) + (x * logits - torch.nn.functional.softplus(logits)).sum(-1)
    for sign, conditional, given, value in (
        (1, model.decoders[0], z2, z1),
        (-1, model.encoders[0], x, z1),
        (-1, model.encoders[1], z1, z2),
    ):
        expected = expected + sign * normal(
            value, layer(conditional, given, "loc"), layer(conditional, given, "log_scale")
        )
    testing.check_close(weights.local, expected, "log-weight of a hierarchical VAE")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("make", [
    lambda: models.VAE(4, latent=2, hidden=(3,)),
    lambda: models.HierarchicalVAE(4, (3, 2), ((4,), (3,))),
    lambda: models.RBM(4, 3),
    lambda: models.SigmoidBeliefNet((4, 3, 2)),
    lambda: models.SigmoidBeliefNet((4, 3, 2), nonlinear=True, autoregressive=True),
    lambda: models.DiscreteVAE(4, 3, (2,)),
    lambda: models.DBN(4, (3, 2, 2)),
], ids=["VAE", "HierarchicalVAE", "RBM", "SigmoidBeliefNet", "autoregressive", "DiscreteVAE", "DBN"])  # fmt: skip
def test_draws(make, dtype: torch.dtype, device: torch.device) -> None:
    """Catches a prior in the default dtype or on the CPU, rows that share a latent, a store that fills up."""
    pair = make().to(device, dtype)
    with pair.running(), inference.attach(sampler="exact"):
        drawn = pair.model(num_rows=200)
        assert pair.model().shape == (1, 4)
    assert drawn.shape == (200, 4) and drawn.dtype == dtype and drawn.device.type == device.type
    assert len(drawn.unique(dim=0)) > 5
    assert not list(pyro.get_param_store().keys())


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "categorical"])
def test_initialise_reproduces_the_mean(likelihood: str) -> None:
    """Catches a decoder that starts at 1/2 of every pixel, or a bias in the wrong unit."""
    vae = models.VAE(3, latent=2, hidden=(4,), likelihood=likelihood, categories=5)
    mean = torch.tensor([0.1, 0.5, 0.8]) * (4 if likelihood == "categorical" else 1)
    vae.initialise(_Data(mean))
    with torch.no_grad():
        law = vae.decoder(vae.decoder.last * torch.zeros(1, 2))
        levels = torch.arange(5.0)
        found = (law.base_dist.probs * levels).sum(-1) if likelihood == "categorical" else law.mean
    assert torch.allclose(found[0], mean, atol=0.02)


def test_rbm_starts_at_the_data() -> None:
    """Catches a visible bias that is not the logit of the mean, or infinite where a pixel never changes."""
    rbm = models.RBM(3, 2)
    assert rbm.data_mean.isnan().all()
    rbm.initialise(_Data(torch.tensor([0.0, 0.25, 1.0])))
    assert torch.allclose(rbm.visible_bias[1], torch.tensor(math.log(1 / 3)))
    assert rbm.visible_bias.isfinite().all()
    assert rbm.data_mean.tolist() == [0.0, 0.25, 1.0]
    assert rbm.default_inference == "pcd" and rbm.default_training["optimizer"] == "sgd"


def test_rbm_from_arrays(device: torch.device) -> None:
    """Catches weights transposed, biases exchanged, or a dtype that is changed on the way."""
    weight, visible, hidden = np.arange(6.0).reshape(3, 2) / 4 - 1, np.array([0.5, -1.0, 0.2]), np.array([0.3, -0.6])
    rbm = models.RBM.from_arrays(weight, visible, hidden).to(device)
    states, log_weights = testing.enumerated(rbm.machine())
    v, h = states[:, :3].cpu().numpy(), states[:, 3:].cpu().numpy()
    expected = v @ visible + h @ hidden + np.einsum("si,ij,sj->s", v, weight, h)
    testing.check_close(log_weights.cpu().detach(), torch.from_numpy(expected), "minus the energy of from_arrays")
    assert rbm.config() == models.RBM(visible=3, hidden=2).config() and rbm.weight.dtype == torch.float64
    assert models.RBM.from_arrays(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2)).weight.dtype == torch.float32
    law = torch.softmax(log_weights, 0).reshape(8, 4).sum(1)
    with rbm.running():
        drawn = Predictive(inference.attach(sampler="exact")(rbm.model), num_samples=40)(num_rows=100)["visible"]
    testing.check_frequencies(state_index(drawn), law, "visible units of an RBM")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.VAE(0), "must be at least 1"),
        (lambda: models.VAE(4, likelihood="poisson"), "'bernoulli', 'gaussian' or 'categorical', got 'poisson'"),
        (lambda: models.VAE(4, likelihood="categorical", categories=1), "categories must be at least 2, got 1"),
        (lambda: models.HierarchicalVAE(4, latents=(3,)), "two stochastic layers or more, got \\(3,\\); else use VAE"),
        (lambda: models.HierarchicalVAE(4, (3, 2), ((4,),)), "one group of layers for each of the 2"),
        (lambda: models.RBM(4, 0), "hidden must be at least 1, got 0"),
        (
            lambda: models.RBM.from_arrays(np.zeros((3, 2)), np.zeros(2), np.zeros(2)),
            r"visible_bias must have shape \(3,\)",
        ),
        (lambda: models.RBM.from_arrays(np.zeros(3), np.zeros(3), np.zeros(2)), r"weight must have shape"),
        (lambda: models.RBM.from_arrays(np.full((1, 1), np.nan), np.zeros(1), np.zeros(1)), "weight holds values that"),
    ],
)
def test_errors(call, message: str) -> None:
    """Catches a bad argument that is found only in training."""
    with pytest.raises(ValueError, match=message):
        call()


def test_grey_data_are_refused() -> None:
    """Catches grey pixels trained on as if they were bits."""
    x = torch.tensor([[0.0, 0.5, 1.0, 1.0]])
    for pair in (models.VAE(4, 2, (3,)), models.RBM(4, 2)):
        with pytest.raises(ValueError, match=r"must lie in.*Binarise grey values"):
            inference.resolve(None, pair).bind(pair, x, num_data=1)


@pytest.mark.uses_pyro_store
@pytest.mark.parametrize(
    "make",
    [
        lambda: (models.SigmoidBeliefNet((4, 3, 2), nonlinear=True, autoregressive=True), bits(30, 4)),
        lambda: (models.HelmholtzMachine((4, 3, 2)), bits(30, 4)),
        lambda: (models.StochasticFeedforward(2, 4, (3, 2), (2, 2)), (bits(30, 2), bits(30, 4))),
    ],
    ids=["SigmoidBeliefNet", "HelmholtzMachine", "StochasticFeedforward"],
)
def test_pyros_own_svi_moves_every_parameter(make) -> None:
    """Catches a child module that Pyro does not find because it is read outside of a method of the model."""
    pair, batch = make()
    pair.double()
    before = {name: value.detach().clone() for name, value in pair.named_parameters()}
    svi = SVI(pair.model, pair.guide, pyro.optim.SGD({"lr": 0.01}), Trace_ELBO())
    svi.step(*(batch if isinstance(batch, tuple) else (batch,)))
    assert not [name for name, value in pair.named_parameters() if torch.equal(value, before[name])]


def test_config_is_json() -> None:
    """Catches a constructor argument that a checkpoint cannot hold."""
    for pair in (models.VAE(4, 2, hidden=(3, 2)), models.HierarchicalVAE(4, (3, 2), ((4,), (3,))), models.RBM(4, 2)):
        config = json.loads(json.dumps(pair.config()))
        again = type(pair)(**config)
        assert again.config() == pair.config()
        assert [t.shape for t in again.parameters()] == [t.shape for t in pair.parameters()]
