"""Sigmoid belief networks: every state of tiny ones enumerated, with densities written out by hand."""

import json

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import ppgen
from ppgen import evaluation, inference, models, testing
from ppgen.distributions.units.bernoulli import ThresholdBernoulli
from ppgen.testing.examples import bit_vectors, densities_at, state_index

CASES = {
    "affine": lambda: models.SigmoidBeliefNet((3, 3, 2)),
    "one layer": lambda: models.SigmoidBeliefNet((3, 2)),
    "three layers": lambda: models.SigmoidBeliefNet((2, 3, 1, 2)),
    "nonlinear": lambda: models.SigmoidBeliefNet((3, 2, 3), nonlinear=True),
    "autoregressive": lambda: models.SigmoidBeliefNet((3, 3, 2), autoregressive=True),
    "both": lambda: models.SigmoidBeliefNet((3, 2, 1), nonlinear=True, autoregressive=True),
    "helmholtz": lambda: models.HelmholtzMachine((3, 3, 2)),
}


class _Data:
    """What `initialise` asks of a data set."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean


def asymmetric(name: str, device: torch.device | str = "cpu") -> models.SigmoidBeliefNet:
    """A network whose weights are all different and far from zero."""
    net = CASES[name]()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(1.2 * torch.randn(parameter.shape))
    return net.to(device, torch.float64)


def bernoulli(value: Tensor, logits: Tensor, weight: Tensor | None) -> Tensor:
    """Log-density of bits, unit by unit."""
    total = torch.zeros(())
    for unit in range(value.shape[-1]):
        logit = logits[..., unit]
        for earlier in range(unit if weight is not None else 0):
            logit = logit + weight[unit, earlier] * value[..., earlier]
        total = total + logsigmoid(torch.where(value[..., unit] == 1, logit, -logit))
    return total


def conditional(layer, value: Tensor, given: Tensor) -> Tensor:
    """Log-density of a layer given another one, by its matrices alone."""
    matrices = dict(layer.named_parameters())
    if "body.0.weight" in matrices:
        given = torch.tanh(given @ matrices["body.0.weight"].T + matrices["body.0.bias"])
    logits = given @ matrices["logits.0.weight"].T + matrices["logits.0.bias"]
    return bernoulli(value, logits, layer.weight)


def densities(net: models.SigmoidBeliefNet) -> tuple[Tensor, Tensor]:
    """log p(x, z) and log q(z | x), each (latent states, visible states)."""
    latents = bit_vectors(sum(net.sizes[1:])).unsqueeze(1).split(list(net.sizes[1:]), -1)
    chain = [bit_vectors(net.sizes[0]).unsqueeze(0), *latents]
    log_p = bernoulli(chain[-1], net.prior.bias, net.prior.weight)
    log_q = torch.zeros(())
    for layer, (lower, upper) in enumerate(zip(chain[:-1], chain[1:], strict=True)):
        log_p = log_p + conditional(net.decoders[layer], lower, upper)
        log_q = log_q + conditional(net.encoders[layer], upper, lower)
    return log_p.detach(), log_q.detach()


@pytest.mark.parametrize("name", CASES)
def test_the_law_of_the_data(name: str) -> None:
    """Catches a joint law that does not sum to 1, layers joined in the wrong order, draws of another law."""
    net = asymmetric(name)
    log_p, log_q = densities(net)
    marginal = log_p.exp().sum(0)
    testing.check_close(marginal.sum(), torch.ones_like(marginal[0]), "sum of p(x, z) over x and z")
    testing.check_close(log_q.exp().sum(0), torch.ones_like(marginal), "sum of q(z | x) over z")
    drawn = ppgen.sample(net, 20_000, seed=1)
    assert drawn.means is None or drawn.means.shape == drawn.samples.shape
    testing.check_frequencies(state_index(drawn.samples), marginal, "visible units")


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_log_weights_are_those_of_the_enumeration(name: str, vectorize: bool) -> None:
    """Catches a conditional that is missing from model or guide, and particles mixed up with rows."""
    net = asymmetric(name)
    log_p, log_q = densities(net)
    x = bit_vectors(net.sizes[0])
    num_particles = 2000 if vectorize else 3
    weights = inference.log_weights(net, x, num_particles, vectorize=vectorize)
    assert weights.local.shape == (num_particles, len(x))
    for particle, trace in enumerate(weights.guide_traces):
        latents = torch.cat([trace.nodes[site]["value"] for site in net.latent_sites], -1)
        assert latents.shape == ((num_particles,) if vectorize else ()) + (len(x), sum(net.sizes[1:]))
        index = state_index(latents).reshape(-1, len(x))
        found = weights.local if vectorize else weights.local[particle : particle + 1]
        testing.check_close(found, (log_p - log_q).gather(0, index), "log-weights")
        if vectorize:
            for row in range(len(x)):
                testing.check_frequencies(index[:, row], log_q[:, row].exp(), "latents of the guide")


@pytest.mark.parametrize("name", CASES)
def test_the_mean_weight_over_every_state_is_the_likelihood(name: str) -> None:
    """Catches a guide whose log-density is not that of the law it draws from."""
    net = asymmetric(name)
    x = bit_vectors(net.sizes[0])
    states = bit_vectors(sum(net.sizes[1:])).unsqueeze(1).expand(-1, len(x), -1)
    latents = dict(zip(net.latent_sites, states.split(list(net.sizes[1:]), -1), strict=True))
    log_weights, log_q = densities_at(net, x, latents)
    log_p, expected_log_q = densities(net)
    testing.check_close(log_q, expected_log_q, "log q(z | x)")
    testing.check_close((log_q + log_weights).logsumexp(0), log_p.logsumexp(0), "log of the mean weight")


@pytest.mark.parametrize("name", CASES)
def test_log_likelihood_agrees_with_enumeration(name: str) -> None:
    """Catches an evaluation that cannot run bits through a model, or whose error bar is too small."""
    net = asymmetric(name)
    estimate = evaluation.log_likelihood(net, bit_vectors(net.sizes[0]), method="importance", num_particles=20_000)
    expected = densities(net)[0].logsumexp(0).numpy()
    assert (abs(estimate.per_datum["log_likelihood"] - expected) <= 4 * estimate.per_datum["se"] + 1e-9).all()


def test_layers_can_be_found() -> None:
    """Catches latent sites in another order than the guide draws them, which estimators layer by layer need."""
    net = asymmetric("three layers")
    assert net.latent_sites == ("z1", "z2", "z3") and net.num_features == 2
    layout = inference.find_layout(net, torch.ones(4, 2, dtype=torch.float64))
    assert tuple(layout.latent) == net.latent_sites
    assert {conditional.weight for conditional in net.encoders} == {None}
    factorial, autoregressive = (list(asymmetric(name).parameters()) for name in ("affine", "autoregressive"))
    assert len(autoregressive) == len(factorial) + 5


def test_a_hidden_layer_is_as_wide_as_the_upper_stochastic_one() -> None:
    """Catches deterministic layers with the width of the layer below."""
    net = models.SigmoidBeliefNet((7, 5, 3), nonlinear=True)
    assert [layer.last for layer in net.decoders] == [5, 3] == [layer.last for layer in net.encoders]


@pytest.mark.parametrize("name", CASES)
def test_initialise_reproduces_the_mean(name: str) -> None:
    """Catches visible units that start at 1/2, and a trained bias that a later fit overwrites."""
    net = CASES[name]()
    mean = torch.linspace(0.2, 0.7, net.sizes[0])
    net.initialise(_Data(mean))
    zero = torch.zeros(1, net.sizes[1])
    first = net.decoders[0](zero).sample((20_000,)).reshape(-1, net.sizes[0])
    testing.check_mean(first, mean, "visible units")
    net.initialise(_Data(1 - mean))
    testing.check_close(net.decoders[0].logits.output.bias.detach(), torch.logit(mean), "kept bias", atol=1e-6)


def test_units_are_drawn_by_thresholds() -> None:
    """Catches draws by `torch.bernoulli`, which are three times as slow and cannot take uniforms."""
    net = models.SigmoidBeliefNet((3, 2))
    assert type(net.prior().base_dist) is ThresholdBernoulli
    assert type(net.decoders[0](torch.zeros(1, 2)).base_dist) is ThresholdBernoulli


@pytest.mark.parametrize("name", CASES)
def test_config_builds_the_same_model(name: str) -> None:
    """Catches a constructor argument that a checkpoint cannot hold."""
    net = CASES[name]()
    again = type(net)(**json.loads(json.dumps(net.config())))
    assert again.config() == net.config()
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in net.state_dict().items()
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.SigmoidBeliefNet((5,)), r"one latent layer or more, got \(5,\)"),
        (lambda: models.SigmoidBeliefNet(()), r"one latent layer or more, got \(\)"),
        (lambda: models.SigmoidBeliefNet((5, 0)), "each number in sizes must be at least 1, got 0"),
        (lambda: models.HelmholtzMachine((5,)), "one latent layer or more"),
        (lambda: models.HelmholtzMachine((5, -2)), "each number in sizes must be at least 1"),
    ],
)
def test_wrong_sizes_are_named(make, message: str) -> None:
    """Catches a size that is found wrong only in training."""
    with pytest.raises(ValueError, match=message):
        make()
