"""VQVAE: the bound against enumerated codes, the gradient against one written by hand, the second fit of the prior."""

import math

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models, training
from ppgen.commands import fit as command
from ppgen.models.parts.codebook_law import CodebookLaw, nearest
from ppgen.testing import check_close
from ppgen.testing.examples import bit_vectors


def small() -> models.VQVAE:
    model = models.VQVAE((2, 4), codes=3, code_size=2, channels=2, prior_hidden=3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.7)
    return model


def terms(model: models.VQVAE, x: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x, c) of every code c, (codes, rows), and the numbers of the codes of the data."""
    every = torch.cartesian_prod(*[torch.arange(3)] * 2)
    decoded = model.observation(model.coder.decode(model.codebook[every].flatten(-2)).unsqueeze(1))
    return decoded.log_prob(x) + model.prior_law().log_prob(every.double()).unsqueeze(1), every


def test_value_is_a_bound_of_the_enumerated_likelihood() -> None:
    """Catches a penalty in the value, a prior of other codes than the decoder's, a model that does not sum to one."""
    model, x = small(), bit_vectors(8)
    with torch.no_grad():
        joint, every = terms(model, x)
    check_close(joint.logsumexp((0, 1)), torch.zeros(()).double(), "log of the sum of p(x, c)")
    index = (model.encode(x) * torch.tensor([3, 1])).sum(-1)
    assert torch.equal(every[index], model.encode(x))
    expected = joint[index, torch.arange(len(x))]
    found = evaluation.log_likelihood(model, x)
    assert (found.kind, found.method) == ("lower bound", "auto: ELBO of the guide's point")
    check_close(torch.tensor(found.pointwise.values), expected, "bound", atol=1e-6)
    assert bool((expected <= joint.logsumexp(0)).all())
    assert float(inference.resolve(None, model).bind(model, x, 256).step(x).value) == pytest.approx(
        float(expected.mean())
    )


def test_gradient_passes_straight_through_the_codes() -> None:
    """Catches a codebook that the decoder moves, an encoder cut off from it, a term with the wrong side stopped."""
    model, x = small(), bit_vectors(8)[::5]
    model.prepare(x)
    found = inference.resolve(None, model).bind(model, x, len(x)).step(x).gradients
    names = [name for name, _ in model.named_parameters()]
    vectors = model.coder.encode(x)
    numbers = torch.cdist(vectors, model.codebook).argmin(-1)
    chosen = model.codebook[numbers]
    straight = vectors + (chosen - vectors).detach()
    log_x = model.observation(model.coder.decode(straight.flatten(-2))).log_prob(x)
    log_c = model.prior_law().log_prob(numbers.double())
    book = (vectors.detach() - chosen).square().sum((-2, -1))
    committed = (vectors - chosen.detach()).square().sum((-2, -1))
    loss = -(log_x + log_c - book - 0.25 * committed).mean()
    expected = dict(zip(names, torch.autograd.grad(loss, list(model.parameters())), strict=True))
    for name in names:
        check_close(found[name], expected[name], name)


def test_prior_is_trained_alone_and_the_codes_stay() -> None:
    """Catches a second fit that moves the codes that it learns the law of, or leaves parameters frozen behind it."""
    model, x = small().float(), bit_vectors(8).float()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = training.fit_prior(model, x, epochs=2, lr=0.05, progress=False)
    moved = {name for name, value in run.pair.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith("prior.")}
    assert all(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(ValueError, match="no prior with parameters"):
        training.fit_prior(models.VAE(8, 2, (3,)), x)


def test_law_of_vectors_is_that_of_their_numbers() -> None:
    """Catches vectors outside of the codebook with a probability, and a law whose draws are not its support."""
    model = small()
    law = CodebookLaw(model.prior_law(), model.codebook).expand((5,))
    draws = law.sample((200,))
    assert draws.shape == (200, 5, 4)
    assert bool(law.support.check(draws).all())
    check_close(
        law.log_prob(draws),
        model.prior_law().log_prob(nearest(draws.unflatten(-1, (2, 2)), model.codebook).double()),
        "log p",
    )
    unchecked = CodebookLaw(model.prior_law(), model.codebook, validate_args=False)
    assert float(unchecked.log_prob(draws[0, 0] + 0.01).detach()) == -math.inf


def test_codes_that_are_close_to_each_other_keep_their_probabilities() -> None:
    """Catches a vector of the codebook taken for its neighbour, by rounding, and so for one outside of it."""
    torch.manual_seed(0)
    vectors = 10 * torch.randn(8, 4)
    codebook = torch.cat([vectors, vectors + 1e-4 * torch.randn(8, 4)])
    logits = torch.randn(3, 16)
    law = CodebookLaw(torch.distributions.Independent(torch.distributions.Categorical(logits=logits), 1), codebook)
    numbers = torch.randint(16, (50, 3))
    expected = logits.log_softmax(-1).gather(-1, numbers.T).sum(0)
    check_close(law.log_prob(codebook[numbers].flatten(-2)), expected, "log p of close codes", atol=1e-4)


def test_what_cannot_be_is_refused_and_the_command_line_trains(tmp_path) -> None:
    """Catches images that do not halve, scores without a law, options that the command line does not know."""
    with pytest.raises(ValueError, match="multiples of 4"):
        models.VQVAE((6, 8), halvings=2)
    with pytest.raises(ValueError, match="no law"):
        models.VQVAE((8, 8), likelihood="cross-entropy")
    with pytest.raises(ValueError, match="codes must be at least 2"):
        models.VQVAE((8, 8), codes=1)
    folder = tmp_path / "run"
    sizes = ["--codes", "2", "--code-size", "2", "--channels", "1", "--prior-hidden", "2"]
    options = ["--data", "digits", "--binarize", "threshold", "--epochs", "1", "--batch-size", "1300", "--seed", "0"]
    assert command.main(["vqvae", "--shape", "8,8", *sizes, *options, "--folder", str(folder)]) == 0
    run = ppgen.load(folder)
    assert isinstance(run.pair, models.VQVAE)
    assert ppgen.sample(run.pair, num_samples=2).samples.shape == (2, 64)
