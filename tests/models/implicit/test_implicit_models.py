"""Generators, and their decoders as densities, against quadrature."""

import math

import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import evaluation, inference, models


def test_dcgan_shapes() -> None:
    """Catches a layer of the paper's full network that has other maps, and one that is normalised where none is."""
    full = models.ConvolutionalGenerator(shape=(3, 64, 64), width=128, halvings=4, output="tanh")
    assert full.grid == (1024, 4, 4)
    maps = [module.out_channels for module in full.network if isinstance(module, torch.nn.ConvTranspose2d)]
    assert maps == [512, 256, 128, 3]
    with torch.no_grad():
        assert full.eval().images(torch.zeros(2, 100)).shape == (2, 3 * 64 * 64)
    small = models.ConvolutionalGenerator()
    assert small.grid == (128, 7, 7) and small.images(torch.zeros(5, 2, 100)).shape == (5, 2, 784)
    judge = models.ConvolutionalDiscriminator(shape=(3, 64, 64), width=128, halvings=4)
    maps = [module.out_channels for module in judge.network if isinstance(module, torch.nn.Conv2d)]
    assert maps == [128, 256, 512, 1024] and judge(torch.zeros(2, 3 * 64 * 64)).shape == (2, 1)
    assert isinstance(judge.network[1], torch.nn.LeakyReLU)  # no normalisation after the first layer
    assert not any(
        isinstance(each, torch.nn.BatchNorm2d) for each in models.ConvolutionalDiscriminator(normalise=False).network
    )


@pytest.mark.parametrize("output", ["sigmoid", "tanh", "linear"])
def test_outputs_start_at_the_mean(output: str) -> None:
    """Catches a bias that starts at the mean itself, and not where the last function gives it."""
    data = ppgen.datasets.as_dataset(torch.rand(200, 5) * torch.tensor([0.2, 0.5, 0.7, 0.4, 0.6]))
    generator = models.Generator(features=5, latent=2, hidden=(4,), output=output)
    generator.initialise(data)
    generator.network.output.weight.data.zero_()
    drawn = ppgen.sample(generator, 1).samples[0]
    torch.testing.assert_close(drawn, data.mean, atol=1e-5, rtol=0)


def test_the_density_of_a_decoder() -> None:
    """Catches noise of another width, a guide that is not the prior, and a mean that is not G(z)."""
    torch.manual_seed(0)
    generator = models.Generator(features=3, latent=1, hidden=(4,), prior="normal").double()
    scored = models.with_noise(generator, sd=0.4)
    x = torch.rand(4, 3, dtype=torch.float64)
    grid = torch.linspace(-6, 6, 2001, dtype=torch.float64)[:, None]
    mean = torch.sigmoid(generator.network(grid))[:, None]
    log_density = -((x - mean) ** 2).sum(-1) / (2 * 0.4**2) - 1.5 * math.log(2 * math.pi * 0.4**2)
    prior = dist.Normal(0.0, 1.0).log_prob(grid)
    truth = torch.logsumexp(log_density + prior, 0) + math.log(12 / 2000)
    found = evaluation.log_likelihood(scored, x, method="importance", num_particles=20_000)
    assert abs(found.value - float(truth.mean().detach())) < 4 * found.se + 1e-3
    drawn = ppgen.sample(scored, 4000)
    assert float((drawn.samples - drawn.means).std()) == pytest.approx(0.4, rel=0.05)
    assert dict(scored.named_parameters())["decoder.network.0.weight"] is generator.network[0].weight


def test_one_decoder_is_trained_by_every_objective() -> None:
    """Catches an encoder that cannot be trained, and a decoder that is another one under another objective."""
    x = torch.rand(64, 5)
    for objective in (inference.ELBO(), inference.MaximumMeanDiscrepancy(compared="mean"), inference.Adversarial()):
        torch.manual_seed(0)
        pair = models.with_noise(models.Generator(features=5, latent=2, hidden=(4,)), sd=0.2, encoder=(6,))
        before = pair.decoder.network[0].weight.detach().clone()
        run = ppgen.fit(pair, x, objective, epochs=1, progress=False)
        assert not torch.equal(run.pair.decoder.network[0].weight, before)
    bits = (x > 0.5).float()
    vae = models.VAE(features=5, latent=2, hidden=(4,))  # whose law has a mean, too
    scored = models.with_noise(vae, sd=0.5)
    z = torch.zeros(1, 2)
    with scored.running():
        law = ppgen.inference.find_layout(scored, bits).observed_laws["x"]
    assert law.event_shape == (5,) and vae.decoder(z).mean.shape == (1, 5)


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda: models.with_noise(models.Generator(4), sd=0.0), ValueError, "sd must be positive"),
        (lambda: models.with_noise(models.Generator(4), sd=float("nan")), ValueError, "sd must be positive"),
        (lambda: models.with_noise(ppgen.Pair(print, print), sd=1.0), TypeError, "must be a model of ppgen.models"),
        (lambda: models.with_noise(models.SigmoidBeliefNet((4, 2)), 1.0, encoder=(3,)), ValueError, "encoder draws"),
        (lambda: models.Generator(4, output="relu"), ValueError, "output must be"),
        (lambda: models.Generator(4, prior="cauchy"), ValueError, "prior must be"),
        (lambda: models.ConvolutionalGenerator(shape=(1, 28, 28), halvings=3), ValueError, "multiples of 2"),
        (lambda: models.ConvolutionalDiscriminator(shape=(28, 28)), ValueError, "channels, rows and columns"),
    ],
)
def test_refusals(ask, error, message) -> None:
    """Catches a density that is none, and networks of images that cannot be halved."""
    with pytest.raises(error, match=message):
        ask()
