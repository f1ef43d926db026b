"""Autoencoders: principal components, laws of the data, corruption, contraction, feature maps."""

import math
from typing import Any

import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

import ppgen
from ppgen import datasets, evaluation, features, inference, models, training


def correlated(rows: int = 60) -> Tensor:
    """Rows of six correlated numbers, about a mean of 1."""
    deviations = torch.tensor([3.0, 2.0, 1.0, 0.7, 0.5, 0.4], dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    return torch.randn(rows, 6, dtype=torch.float64) * deviations @ turned.T + 1.0


def minimise(model: Any, loss: Any) -> None:
    """Find the minimum of a loss without noise by a quasi-Newton method."""
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    for _ in range(4):
        optimiser.step(closure)


@pytest.mark.parametrize("tied", [False, True])
def test_a_linear_one_spans_principal_components(tied: bool) -> None:
    """Catches layers, a mean or a learned noise that keep a linear one from the optimum of its squared error."""
    x = correlated()
    model = models.Autoencoder(6, hidden=(2,), activation="linear", tied=tied).double()
    with model.running():
        minimise(model, lambda: Trace_ELBO().differentiable_loss(model.model, model.guide, x) / len(x))
    assert features.principal_angle(model, x) < 1e-4
    lost = torch.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0)) / len(x))[:4].sum()
    assert features.reconstruction_error(model, x) == pytest.approx(float(lost), rel=1e-8)
    assert float(model.observation.log_scale.detach().exp()) == pytest.approx(math.sqrt(lost / 6), rel=1e-6)


def test_a_linear_one_with_a_prior_is_probabilistic_principal_components() -> None:
    """Catches a prior, a noise or a guide under which log p(x) is another one, or is not found exactly."""
    x = correlated()
    model = models.Autoencoder(6, hidden=(2,), activation="linear", prior="normal").double()

    def loss() -> Tensor:  # minus the ELBO, in closed form
        mean, variance = model.encode(x), (2 * model.code_log_scale).exp()
        ((weight, _),) = model.decoder_layers()
        log_scale = model.observation.log_scale
        squares = (x - model.decode(mean)).square().sum(1) + (variance * weight.square().sum(1)).sum()
        likelihood = -0.5 * squares / (2 * log_scale).exp() - 6 * (log_scale + 0.5 * math.log(2 * math.pi))
        kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1)
        return (kl - likelihood).mean()

    minimise(model, loss)
    values = torch.linalg.eigvalsh((x - x.mean(0)).T @ (x - x.mean(0)) / len(x)).flip(0)
    noise = values[2:].mean()
    exact = -0.5 * (6 * math.log(2 * math.pi) + values[:2].log().sum() + 4 * noise.log() + 6)
    found = evaluation.log_likelihood(model, x, num_particles=20)
    assert -loss().item() == pytest.approx(float(exact), abs=1e-7)
    assert found.value == pytest.approx(float(exact), abs=1e-6) and found.se < 1e-4
    assert features.principal_angle(model, x) < 1e-4


def test_without_a_prior_nothing_is_called_a_likelihood() -> None:
    """Catches a density at a point that is printed as log p(x), and draws from a code that has no law."""
    model, x = models.Autoencoder(4, hidden=(2,)), torch.rand(6, 4)
    for method in ("auto", "importance", "exact", "ais"):
        with pytest.raises(ValueError, match="not defined: the latent site 'code' has an improper prior"):
            evaluation.log_likelihood(model, x, method=method)
    with pytest.raises(ValueError, match="no law .a flat prior"):
        ppgen.sample(model, 3)
    run = ppgen.fit(model, x, steps=1, progress=False)
    assert run.points == ("code",) and "no bound of log p(x)" in repr(run)
    found = run.check(x)
    assert "not defined" in found["log-likelihood"].text and found.log_likelihood is None
    assert found["reconstruction"].values["error"] == pytest.approx(features.reconstruction_error(model, x))


def test_cross_entropy_is_called_no_likelihood() -> None:
    """Catches a score of grey levels that is printed as nats of a law, or is given a prior to be one."""
    model, x = models.Autoencoder(4, hidden=(2,), likelihood="cross-entropy"), torch.rand(6, 4)
    run = ppgen.fit(model, x, steps=1, progress=False)
    assert "cross-entropy, which is no likelihood" in repr(run) and "log joint" not in repr(run)
    assert "no likelihood" in run.check(x)["log-likelihood"].text
    with pytest.raises(ValueError, match="no law of the data"):
        models.Autoencoder(4, likelihood="cross-entropy", prior="normal")
    weights = inference.log_weights(model, x).local.squeeze(0)
    means = model.decode(model.encode(x))
    expected = (x * means.log() + (1 - x) * (1 - means).log()).sum(1)
    assert torch.allclose(weights, expected, atol=1e-5)


def test_the_grey_law_is_normalised_and_reconstructs_by_its_mean() -> None:
    """Catches a continuous Bernoulli whose logits are given out as its mean."""
    model = models.Autoencoder(3, hidden=(2,), likelihood="continuous-bernoulli")
    codes = torch.randn(2, 2)
    law = torch.distributions.ContinuousBernoulli(logits=model.network.decode(codes))
    assert torch.allclose(model.decode(codes), law.mean)
    assert not torch.allclose(law.mean, law.probs, atol=1e-3)


def test_layers_are_read_and_written() -> None:
    """Catches layers in another order, or a decoder that is not unrolled from the transposes it is given."""
    model = models.Autoencoder(5, hidden=(4, 3), activation="sigmoid")
    weights, biases = [torch.randn(5, 4), torch.randn(4, 3)], [torch.randn(4), torch.randn(3)]
    back = [torch.randn(4), torch.randn(5)]
    decoder = list(zip([weights[1].T, weights[0].T], back, strict=True))
    model.set_layers(list(zip(weights, biases, strict=True)), decoder)
    x = torch.rand(2, 5)
    code = torch.sigmoid(x @ weights[0] + biases[0]) @ weights[1] + biases[1]
    assert torch.allclose(model.encode(x), code, atol=1e-6)
    below = torch.sigmoid(code @ weights[1].T + back[0])
    assert torch.allclose(model.decode(code), below @ weights[0].T + back[1], atol=1e-6)
    tied = models.Autoencoder(5, hidden=(4, 3), tied=True)
    pairs = zip(tied.encoder_layers(), tied.decoder_layers()[::-1], strict=True)
    assert all(torch.equal(up.T, down) for (up, _), (down, _) in pairs)
    with pytest.raises(ValueError, match="transposed"):
        tied.set_layers(model.encoder_layers(), models.Autoencoder(5, hidden=(4, 3)).decoder_layers())
    with pytest.raises(ValueError, match="encoder must hold weights"):
        model.set_layers(model.encoder_layers()[:1], decoder)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_deep_layers_start_with_signals(activation: str) -> None:
    """Catches a start at which a deep stack gives all data one code, so that nothing is learned without pretraining."""
    model = models.Autoencoder(64, hidden=(200, 100, 50, 30), activation=activation)
    x = torch.rand(100, 64).round()
    assert float(model.encode(x).std(0).mean().detach()) > 0.05


def test_corruption_has_the_law_that_is_stated() -> None:
    """Catches another share of spoilt numbers, salt without pepper, or noise of another size."""
    x, noise, normal = torch.full((2000, 10), 0.5), torch.rand(2000, 10), torch.randn(2000, 10)
    share = lambda spoilt: abs(float(spoilt.double().mean()) - 0.3) / (0.3 * 0.7 / 20_000) ** 0.5
    masked = models.DenoisingAutoencoder(10, (2,), "masking", 0.3).corrupted(x, noise)
    assert share(masked == 0) < 4 and set(masked.unique().tolist()) == {0.0, 0.5}
    salted = models.DenoisingAutoencoder(10, (2,), "salt-and-pepper", 0.3).corrupted(x, noise)
    assert share(salted != 0.5) < 4 and set(salted.unique().tolist()) == {0.0, 0.5, 1.0}
    assert abs(float((salted == 1).double().mean()) - 0.15) < 4 * (0.15 * 0.85 / 20_000) ** 0.5
    added = models.DenoisingAutoencoder(10, (2,), "gaussian", 0.3).corrupted(x, normal) - x
    assert abs(float(added.std()) - 0.3) < 4 * 0.3 / 40_000**0.5


def test_the_target_is_clean_and_noise_shifts_no_value() -> None:
    """Catches corrupted data that are to be reconstructed, and a density of the noise that is counted."""
    x = torch.rand(5, 4, dtype=torch.float64)
    model = models.DenoisingAutoencoder(4, (3,), "gaussian", 0.5).double()
    found = inference.log_weights(model, x)
    noise = found.guide_traces[0].nodes["noise"]["value"].squeeze(0)
    law = model.observation(model.network.decode(model.encode(model.corrupted(x, noise))))
    assert torch.allclose(found.local.squeeze(0), law.log_prob(x))
    assert torch.allclose(model.encode(x), model.network.encode(x))


def test_a_denoised_gaussian_gives_its_score() -> None:
    """Catches a reconstruction that is not the posterior mean of the clean datum (Alain and Bengio, 2014)."""
    level, scales = 0.1, torch.tensor([1.0, 0.6], dtype=torch.float64)
    model = models.DenoisingAutoencoder(
        2, (2,), "gaussian", level, activation="linear", scale=1.0, likelihood="gaussian"
    ).double()
    x = correlated(400)[:, :2]
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T, correction=0)).T) * scales
    noise = 2**0.5 * torch.cat([torch.eye(2), -torch.eye(2)]).double()  # has the moments of Normal noise

    def loss() -> Tensor:
        seen = model.corrupted(x[:, None], noise)
        return (model.decode(model.encode(seen)) - x[:, None]).square().sum(-1).mean()

    minimise(model, loss)
    at = torch.tensor([[0.5, -0.3], [-1.0, 1.0]], dtype=torch.float64)
    assert torch.allclose(
        model.score(at), -at / (scales**2 + level**2), rtol=0.05
    )  # of the noisy data, nearly the data's
    assert torch.allclose(model.score(at), -at / scales**2, rtol=0.1)
    with pytest.raises(ValueError, match="noise='gaussian'"):
        models.DenoisingAutoencoder(2, (2,)).score(at)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "relu"])
def test_contraction_is_the_derivative_summed_over_units(activation: str) -> None:
    """Catches a mean over units, a wrong slope, and a deep penalty that is another one on average."""
    x = torch.rand(3, 4, dtype=torch.float64)
    model = models.ContractiveAutoencoder(4, (3,), activation=activation, code_activation=activation).double()
    deep = models.ContractiveAutoencoder(4, (3, 2), 1.0, False, activation, "linear").double()
    for each in (model, deep):
        derivative = torch.func.vmap(torch.func.jacrev(each.encode))(x)
        assert torch.allclose(each.contraction(x), derivative.square().sum((1, 2)))
    found = inference.log_weights(deep, x, num_particles=4000)
    law = deep.observation(deep.network.decode(deep.encode(x)))
    draws = law.log_prob(x) - found.local
    error = draws.std(0) / 4000**0.5
    assert bool(((draws.mean(0) - deep.contraction(x)).abs() < 4 * error).all())


def test_the_penalty_contracts() -> None:
    """Catches a penalty of the wrong sign, or one whose gradient is lost on its way through the guide."""
    digits = datasets.load("digits")
    norms = []
    for penalty in (0.0, 5.0):
        model = models.ContractiveAutoencoder(64, hidden=(16,), penalty=penalty)
        run = ppgen.fit(model, digits.train[:500], steps=50, batch_size=50, lr=1e-2, progress=False, compile=False)
        norms.append(model.contraction(digits.test[:50]).mean().item())
    assert norms[1] < 0.5 * norms[0]
    assert "less 5 times" in repr(run)


@pytest.mark.parametrize(
    ("shape", "channels", "unpooling"), [((4, 6), (2,), "switches"), ((2, 4, 8), (3, 2), "switches"),
                                         ((4, 4), (2, 3), "repetition"), ((4, 4), (2, 3), "transposed")]
)  # fmt: skip
def test_images_come_back_in_their_shape(shape: tuple[int, ...], channels: tuple[int, ...], unpooling: str) -> None:
    """Catches maps that are flattened in another order than they are made from, and codes of another length."""
    model = models.ConvolutionalAutoencoder(shape, channels, unpooling=unpooling)
    x = torch.rand(3, model.num_features)
    codes = model.encode(x)
    assert codes.shape == (3, model.num_codes) and model.decode(codes).shape == x.shape
    assert torch.allclose(model.decode(codes.expand(2, 3, -1))[1], model.decode(codes), atol=1e-6)
    cells = [math.prod(each) for each in model.network.pooled]
    assert model.switch_bits == (2 * sum(cells) if unpooling == "switches" else 0)


def test_switches_pass_places_around_the_code() -> None:
    """Catches switches that are lost: a filter that copies the image gives its largest pixels back where they were."""
    model = models.ConvolutionalAutoencoder((4, 4), (1,), filter_size=1)
    with torch.no_grad():
        for name, tensor in model.network.named_parameters():
            tensor.fill_(0.0 if "bias" in name else 1.0)
    image = torch.zeros(4, 4)
    image[0, 1], image[3, 2], image[2, 3] = 0.7, 0.9, 0.2
    expected = image.clone()
    expected[2, 3] = 0.0
    assert torch.equal(model.decode(model.encode(image.reshape(1, 16))).reshape(4, 4), expected)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: models.Autoencoder(4, ()), "hidden must hold"),
        (lambda: models.Autoencoder(4, (0,)), "each number in hidden must be at least 1"),
        (lambda: models.Autoencoder(4, activation="gelu"), "activation must be one of"),
        (lambda: models.Autoencoder(4, code_activation="gelu"), "code_activation must be one of"),
        (lambda: models.Autoencoder(4, likelihood="poisson"), "likelihood must be one of"),
        (lambda: models.Autoencoder(4, scale=0.0), "scale must be positive"),
        (lambda: models.Autoencoder(4, likelihood="bernoulli", scale=1.0), "'bernoulli' has none"),
        (lambda: models.Autoencoder(4, prior="laplace"), "prior must be 'flat' or 'normal'"),
        (lambda: models.DenoisingAutoencoder(4, noise="poisson"), "noise must be one of"),
        (lambda: models.DenoisingAutoencoder(4, level=1.0), "level must be a share of the numbers in .0, 1"),
        (lambda: models.DenoisingAutoencoder(4, level=-0.1), "level must be at least 0"),
        (lambda: models.DenoisingAutoencoder(4, noise="gaussian", level=math.inf), "level must be at least 0"),
        (lambda: models.ContractiveAutoencoder(4, penalty=-1.0), "penalty must be at least 0"),
        (lambda: models.ConvolutionalAutoencoder((8, 6), (2, 2)), "multiples of 4"),
        (lambda: models.ConvolutionalAutoencoder((8,)), "shape must be"),
        (lambda: models.ConvolutionalAutoencoder((8, 8), unpooling="bilinear"), "unpooling must be one of"),
        (lambda: models.ConvolutionalAutoencoder((8, 8), filter_size=1, unpooling="transposed"), "filter_size must be"),
    ],
)
def test_what_is_wrong_is_named(make: Any, told: str) -> None:
    """Catches a level, a size or a name out of range that is found after hours, or by somebody else's error."""
    with pytest.raises(ValueError, match=told):
        make()


def test_what_a_flat_prior_refuses_is_one_line() -> None:
    """Catches the shapes of the whole trace, which Pyro appends, in what a user is told of a code without a law."""
    model = models.Autoencoder(4, hidden=(2,))
    with pytest.raises(ValueError, match="has no law") as told:
        training.sample(model, 3)
    assert "\n" not in str(told.value)


def test_switches_are_no_numbers_that_chains_move() -> None:
    """Catches Hamiltonian chains that walk over the switches of a code, which are whole numbers, as over real ones."""
    model = models.ConvolutionalAutoencoder((4, 4), (2,))
    with pytest.raises(ValueError, match="'code' is discrete"):
        inference.sample_posterior(model, torch.rand(3, 16), num_samples=2, warmup_steps=2)
