"""The Gaussian Markov random field against the dense Gaussian that it is, and as the prior of an RBM's filters."""

import itertools
import math
import tempfile
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import ppgen
from ppgen import datasets, diagnostics, evaluation, inference, models, testing
from ppgen.distributions import GaussianMarkovField

SHAPES = [(1,), (5,), (3, 4), (2, 3, 2)]


def laplacian(shape: tuple[int, ...]) -> Tensor:
    """Degrees less adjacency, over pixels that differ by one step in one dimension."""
    pixels = torch.tensor(list(itertools.product(*map(range, shape))), dtype=torch.float64)
    near = (torch.cdist(pixels, pixels, p=1) == 1).double()
    return near.sum(1).diag() - near


def dense(shape: tuple[int, ...], smoothness: float, precision: float) -> MultivariateNormal:
    matrix = smoothness * laplacian(shape) + precision * torch.eye(math.prod(shape), dtype=torch.float64)
    return MultivariateNormal(torch.zeros(len(matrix), dtype=torch.float64), precision_matrix=matrix)


@pytest.mark.parametrize("shape", SHAPES)
def test_density_and_variance_are_those_of_the_dense_gaussian(shape: tuple[int, ...]) -> None:
    """Catches an edge that wraps around or is counted twice, a wrong eigenvalue, dimensions in the wrong order."""
    smoothness = torch.tensor([[0.0], [2.5]], dtype=torch.float64)
    field = GaussianMarkovField(shape, smoothness, torch.tensor([0.4, 1.5, 3.0], dtype=torch.float64))
    assert field.batch_shape == (2, 3) and field.event_shape == (math.prod(shape),)
    values = torch.randn(7, 1, 1, math.prod(shape), dtype=torch.float64)
    found = field.log_prob(values)
    for row, column in itertools.product(range(2), range(3)):
        law = dense(shape, float(field.smoothness[row, column]), float(field.precision[row, column]))
        testing.check_close(found[:, row, column], law.log_prob(values[:, 0, 0]), "log-density")
        testing.check_close(field.variance[row, column], law.variance, "variance")


def test_draws_have_the_precision_of_the_grid() -> None:
    """Catches waves scaled by the precision in the place of its root, or laid along the wrong dimension."""
    torch.manual_seed(0)
    count, law = 50_000, dense((3, 2), 2.5, 0.4)
    field = GaussianMarkovField((3, 2), torch.tensor(2.5, dtype=torch.float64), 0.4)
    draws = field.sample((count,))
    covariance, found = law.covariance_matrix, draws.mT @ draws / count
    se = ((covariance.square() + covariance.diag().outer(covariance.diag())) / count).sqrt()
    assert ((found - covariance).abs() < 4 * se).all()
    assert (draws.mean(0).abs() < 4 * (law.variance / count).sqrt()).all()


def test_expanded_fields() -> None:
    """Catches a batch shape that draws, densities or moments do not have, and draws that are copies."""
    field = GaussianMarkovField((2, 3), torch.tensor([1.0, 9.0])).expand((4, 2))
    draws = field.rsample((5,))
    assert draws.shape == (5, 4, 2, 6) and len(draws.flatten(0, -2).unique(dim=0)) == 40
    assert field.log_prob(draws).shape == (5, 4, 2) and field.log_prob(draws[0, 0, 0]).shape == (4, 2)
    assert field.mean.shape == field.variance.shape == (4, 2, 6)
    testing.check_close(field.log_prob(draws)[..., 1], GaussianMarkovField((2, 3), 9.0).log_prob(draws[..., 1, :]), "")


def test_wrong_fields_are_refused() -> None:
    """Catches an image without pixels, and precisions under which there is no law."""
    for shape in ((), (0, 3)):
        with pytest.raises(ValueError, match="shape must hold the positive numbers of pixels"):
            GaussianMarkovField(shape, 1.0)
    for name, values in {"smoothness": (-1.0, 1.0), "precision": (1.0, 0.0)}.items():
        with pytest.raises(ValueError, match=name):
            GaussianMarkovField((2, 2), *values)


def test_training_climbs_the_posterior_of_the_weights() -> None:
    """Catches a prior that counts once a batch and not once for all the data, or that is left out of the gradient."""
    torch.manual_seed(3)
    x = (torch.rand(12, 6, dtype=torch.float64) < 0.4).double()
    prior = GaussianMarkovField((2, 3), torch.tensor(7.0, dtype=torch.float64))
    rbm = models.RBM(visible=6, hidden=2, shape=(2, 3), smoothness=7.0).double()
    bound = inference.Inference(inference.MaximumLikelihood(), negative_phase=inference.ExactPartition()).bind(
        rbm, x[:4], num_data=12
    )
    found = 12 * torch.stack([bound.step(batch).gradients["weight"] for batch in x.split(4)]).mean(0)
    weight = rbm.weight.detach().clone().requires_grad_()
    plain = models.RBM.from_arrays(weight.detach(), rbm.visible_bias, rbm.hidden_bias)
    machine = plain.machine()
    likelihood = (-machine.base_energy.free_energy(x, 0) - machine.exact_log_partition()).sum()
    (wanted,) = torch.autograd.grad(likelihood, plain.weight)
    (pulled,) = torch.autograd.grad(prior.log_prob(weight.mT).sum(), weight)
    testing.check_close(-found, wanted + pulled, "gradient of the log-posterior")


def test_an_rbm_of_images() -> None:
    """Catches a prior that enters log p(x), is lost with a kept run, or leaves the filters as rough as they were."""
    digits = datasets.load("digits", binarize="threshold")
    roughness = {}
    for smoothness in (0.0, 500.0):
        torch.manual_seed(0)
        rbm = models.RBM(visible=64, hidden=8, shape=(8, 8), smoothness=smoothness)
        with tempfile.TemporaryDirectory() as folder:
            run = ppgen.fit(rbm, digits, "pcd", steps=300, seed=0, folder=folder, progress=False, compile=False)
            again = ppgen.load(folder).pair
        assert run.state["monitor"] == "pseudo_log_likelihood"
        assert again.shape == (8, 8) and again.smoothness == smoothness
        plain = models.RBM(visible=64, hidden=8)
        plain.load_state_dict(run.pair.state_dict())
        values = [evaluation.log_likelihood(pair, digits.test[:50]).value for pair in (run.pair, again, plain)]
        assert values == [values[0]] * 3
        filters = rbm.weight.detach().mT.unflatten(-1, (8, 8))
        roughness[smoothness] = float(filters.diff(dim=-1).square().mean() / filters.square().mean())
    assert roughness[500.0] < 0.5 * roughness[0.0]


def smooth_and_plain() -> tuple[models.RBM, models.RBM]:
    smooth, plain = models.RBM(visible=6, hidden=3, shape=(2, 3)).double(), models.RBM(visible=6, hidden=3).double()
    plain.load_state_dict(smooth.state_dict())
    return smooth, plain


def test_what_is_said_of_data_leaves_the_prior_out() -> None:
    """Catches machines that are none any more, or whose visible layer is not found, as a second site is observed."""
    smooth, plain = smooth_and_plain()
    x = (torch.rand(4, 6, dtype=torch.float64) < 0.5).double()
    half = x.masked_fill(torch.arange(6) > 2, math.nan)
    short: dict[str, Any] = {"sweeps": 2, "warmup_steps": 2}
    drawn, raised = [], []
    for pair in (smooth, plain):
        drawn.append(ppgen.sample(pair, 4, given=half, **short).samples)
        assert ppgen.sample(pair, 4, like=x, **short).samples.shape == x.shape
        raised.append(evaluation.log_likelihood(pair, x, method="raise", num_chains=3, betas=5).value)
    assert torch.equal(*drawn)
    assert raised[0] == raised[1]
    tree = diagnostics.from_pyro_svi(smooth, x, num_samples=3, posterior_predictive=True, prior=True)
    assert not [name for name, group in tree.children.items() if "filters" in group]


@pytest.mark.parametrize("phase", [inference.PCD(num_chains=5, log_partition_chains=5), inference.PseudoLikelihood()])
def test_likelihoods_in_the_log_leave_the_prior_out(phase: inference.NegativePhase) -> None:
    """Catches a log-likelihood that holds log p(W) by datum, and a pseudo-likelihood that is not told any more."""
    x = (torch.rand(20, 6, dtype=torch.float64) < 0.5).double()
    told = []
    for pair in smooth_and_plain():
        options: dict[str, Any] = {"lr": 1e-12, "steps": 1, "progress": False, "compile": False}
        metrics = ppgen.fit(pair, x, phase, **options).metrics[-1]
        told.append({name: value for name, value in metrics.items() if name.endswith("likelihood")})
    assert told[0] == pytest.approx(told[1], abs=1e-9) and "pseudo_log_likelihood" in told[0]


def test_wrong_images_are_refused() -> None:
    """Catches a shape of other images, which would smooth pixels that are no neighbours."""
    with pytest.raises(ValueError, match="as many pixels as there are visible units, 64, got .* with 56"):
        models.RBM(visible=64, hidden=8, shape=(8, 7))
    for smoothness in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="smoothness must be at least 0 and finite"):
            models.RBM(visible=64, hidden=8, shape=(8, 8), smoothness=smoothness)
    for shape in ("8x8", 64):
        with pytest.raises(TypeError, match="shape must hold the pixels in each dimension"):
            models.RBM(visible=64, hidden=8, shape=shape)
    with pytest.raises(ValueError, match=r"images of the data have shape \(8, 8\), the model takes \(1, 4, 16\)"):
        images = datasets.load("digits", binarize="threshold")
        ppgen.fit(models.RBM(visible=64, hidden=8, shape=(4, 16)), images, "pcd", steps=1)
    with pytest.raises(TypeError, match="smoothness must be a number, such as 25.0; got 'much'"):
        models.RBM(visible=64, hidden=8, shape=(8, 8), smoothness="much")
