"""PixelVAE: its likelihood against quadrature over the latent, priors, free bits, and the command line."""

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models
from ppgen.commands import fit as command
from ppgen.inference.particles.log_weights import log_weights
from ppgen.testing import check_close
from ppgen.testing.enumeration import enumerated
from ppgen.testing.examples import bit_vectors


def small(latent: int = 2, **options) -> models.PixelVAE:
    model = models.PixelVAE((2, 2), latent=latent, hidden=(3,), channels=2, layers=2, first_size=3, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model


def exact(model: models.PixelVAE, x: Tensor) -> Tensor:
    weights, log_mass = enumerated(model, x, nodes=60)
    return (weights.local + log_mass).logsumexp(0)


def test_likelihood_is_that_of_quadrature() -> None:
    """Catches latents that reach another row or particle of the decoder, and a density that does not sum to one."""
    model, x = small(latent=1), bit_vectors(4)
    with torch.no_grad():
        expected = exact(model, x)
    check_close(expected.logsumexp(0), torch.zeros(()).double(), "log of the sum of p(x)", atol=1e-4)
    rows = torch.arange(0, 16, 3)
    estimate = evaluation.log_likelihood(model, x[rows], num_particles=500)
    error = (torch.tensor(estimate.pointwise.values) - expected[rows]).abs()
    assert bool((error < 4 * torch.tensor(estimate.per_datum["se"]) + 1e-3).all())


@pytest.mark.parametrize("prior", ["normal", "autoregressive"])
def test_particles_at_once_are_those_one_by_one(prior: str) -> None:
    """Catches a prior or decoder that takes particles and rows for each other."""
    model, x = small(prior=prior), bit_vectors(4)[::3]
    model.prepare(x)
    weights = log_weights(model, x, 3)
    z = weights.guide_traces[0].nodes["z"]["value"].reshape(3, len(x), 2)
    alone = torch.stack([model.law(each).log_prob(x) + model.prior_law().log_prob(each) for each in z])
    log_q = torch.stack([model.encoder(x).log_prob(each) for each in z])
    check_close(weights.local, alone - log_q, "log-weights")


def test_autoregressive_prior_starts_as_a_normal_law_of_parts_that_differ() -> None:
    """Catches a mixture whose parts are all alike, which no gradient ever parts."""
    model = models.PixelVAE((2, 3), latent=2, hidden=(3,), channels=2, layers=1, prior="autoregressive")
    draws = model.prior_law().sample((2000,))
    assert abs(float(draws.mean())) < 0.05
    assert abs(float(draws.std()) - 1) < 0.1
    (slope,) = torch.autograd.grad(model.prior_law().log_prob(draws[:50]).sum(), model.prior.bias)
    assert bool((slope[:, 5:10].diff(dim=-1) != 0).all())


def test_default_inference_keeps_nats_free_and_reports_the_bound() -> None:
    """Catches a decoder trained to ignore its latent by default, and free nats in the value that is reported."""
    model, x = small(), bit_vectors(4)
    chosen = inference.resolve(None, model)
    assert chosen.objective.free_bits == 4.0
    model.prepare(x)
    values = []
    for each in (chosen, inference.Inference(inference.ELBO())):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            values.append(float(each.bind(model, x, len(x)).step(x).value))
    assert values[0] == values[1]


def test_command_line_trains_and_reads_back(tmp_path) -> None:
    """Catches options that the command line does not know, and a folder that another model is made from."""
    folder = tmp_path / "run"
    sizes = ["--latent", "1", "--hidden", "2", "--channels", "1", "--layers", "1"]
    options = ["--data", "digits", "--binarize", "threshold", "--epochs", "1", "--batch-size", "1300", "--seed", "0"]
    assert command.main(["pixelvae", "--shape", "8,8", *sizes, *options, "--folder", str(folder)]) == 0
    run = ppgen.load(folder)
    assert isinstance(run.pair, models.PixelVAE)
    assert ppgen.sample(run.pair, num_samples=2).samples.shape == (2, 64)
