"""Mixtures: likelihoods by hand, EM beside scikit-learn's, starts, limits."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as PeerMixture

import ppgen
from ppgen import datasets, evaluation, inference, models, testing

COVARIANCES = {"full": "full", "diagonal": "diag", "tied": "tied", "spherical": "spherical"}


def bits(rows: int = 40, features: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    centres = (torch.rand(3, features, generator=generator) < 0.5).double()
    flips = torch.rand(rows, features, generator=generator) < 0.2
    return (centres[torch.arange(rows) % 3] - flips.double()).abs()


def points(rows: int = 90, features: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(rows, features, generator=generator, dtype=torch.float64)
    mixing = torch.randn(3, features, features, generator=generator, dtype=torch.float64) / 2
    centres = 3 * torch.randn(3, features, generator=generator, dtype=torch.float64) + 5
    kind = torch.arange(rows) % 7 % 3
    found = centres[kind] + (mixing[kind] @ drawn.unsqueeze(-1)).squeeze(-1) + 0.3 * drawn
    return found.float().double()  # a data set holds float32


def fitted(mixture: Any, x: torch.Tensor, epochs: int, **options: Any) -> Any:
    given = {"batch_size": len(x), "progress": False, **options}
    return ppgen.fit(mixture, x, given.pop("inference", "em"), epochs=epochs, **given)


def enumerated(mixture: Any, x: torch.Tensor) -> torch.Tensor:
    """log p(x) of a Bernoulli mixture, term by term."""
    p = mixture.probabilities.unsqueeze(1)
    each = (x * p.log() + (1 - x) * (1 - p).log()).sum(-1)
    return (mixture.weights.log().unsqueeze(-1) + each).logsumexp(0)


def test_the_bernoulli_likelihood_is_the_enumerated_one() -> None:
    """Catches a component that is left out, a prior of parameters that counts as data, probabilities that sum to 2."""
    mixture = models.BernoulliMixture(4, 3).double()
    fitted(mixture, bits(30, 4), 3)
    x = torch.tensor([[(i >> j) & 1 for j in range(4)] for i in range(16)]).double()
    found = evaluation.log_likelihood(mixture, x, method="exact")
    assert found.kind == "exact" and found.se == 0
    np.testing.assert_allclose(found.per_datum["log_likelihood"], enumerated(mixture, x).detach(), atol=1e-10)
    assert np.exp(found.per_datum["log_likelihood"]).sum() == pytest.approx(1, abs=1e-10)


def test_a_sweep_of_em_is_the_formula() -> None:
    """Catches responsibilities of other weights, a pseudo-count that is forgotten or shared by all components."""
    x, mixture = bits(), models.BernoulliMixture(5, 3, pseudo_count=2.0).double()
    fitted(mixture, x, 1)
    p, weights, rate = mixture.probabilities, mixture.weights, (40 * x.mean(0) + 0.5) / 41
    joint = weights * torch.stack([(p[k] * x + (1 - p[k]) * (1 - x)).prod(-1) for k in range(3)], -1)
    shares = joint / joint.sum(-1, keepdim=True)
    wanted = (shares.mT @ x + 2 * rate) / (shares.sum(0).unsqueeze(-1) + 2)
    fitted(mixture, x, 1)
    torch.testing.assert_close(mixture.weights, shares.mean(0), atol=1e-10, rtol=0)
    torch.testing.assert_close(mixture.probabilities, wanted, atol=1e-7, rtol=0)  # the mean of data is float32


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_em_equals_that_of_scikit_learn(covariance: Any) -> None:
    """Catches a covariance around the old means, one without its regularisation, weights that are not normalised."""
    x, components = points(), 3
    start = torch.eye(components, dtype=torch.float64)[torch.arange(len(x)) * 5 % 11 % components]
    weights, means = start.mean(0), (start.mT @ x) / start.sum(0).unsqueeze(-1)
    spread = torch.eye(3).double() * torch.tensor([2.0, 3.0, 4.0]).double()[:, None, None]
    precisions = torch.linalg.inv(spread)
    shape = {"full": precisions, "tied": precisions.mean(0), "diagonal": precisions.diagonal(dim1=1, dim2=2)}
    own = shape.get(covariance, precisions[:, 0, 0])
    sweeps = 12
    peer = PeerMixture(
        components,
        covariance_type=COVARIANCES[covariance],
        reg_covar=1e-3,
        tol=0,
        max_iter=sweeps,
        weights_init=weights.numpy(),
        means_init=means.numpy(),
        precisions_init=own.numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer.fit(x.numpy())
    mixture = models.GaussianMixture(3, components, covariance, regularisation=1e-3).double()
    tied = torch.linalg.inv(precisions.mean(0)).expand(components, -1, -1)
    mixture.set_components(weights, means, tied if covariance == "tied" else spread)
    fitted(mixture, x, sweeps)
    found = evaluation.log_likelihood(mixture, x, method="exact")
    np.testing.assert_allclose(found.per_datum["log_likelihood"], peer.score_samples(x.numpy()), atol=1e-8)
    np.testing.assert_allclose(mixture.means.detach(), peer.means_, atol=1e-8)
    assert mixture.covariances.shape == (3, 3, 3)
    np.testing.assert_allclose(mixture.responsibilities(x), peer.predict_proba(x.numpy()), atol=1e-8)


@pytest.mark.parametrize(
    "make",
    [lambda: models.BernoulliMixture(5, 4), lambda: models.GaussianMixture(5, 4, regularisation=0, start="rows")],
)
def test_full_batches_never_lower_the_objective(make: Any) -> None:
    """Catches an M-step that is not the best of its expected log-density; a prior that the value does not know."""
    torch.manual_seed(1)
    x = bits() if isinstance(make(), models.BernoulliMixture) else points(90, 5)
    values = fitted(make().double(), x, 25).curve("train_value")
    assert min(after - before for before, after in zip(values, values[1:], strict=False)) > -1e-9
    assert values[-1] > values[0] + 0.1


def test_gradients_are_those_of_the_log_likelihood() -> None:
    """Catches a law whose density of the drawn component has no gradient, an enumeration that counts states twice."""
    x, mixture = bits(), models.BernoulliMixture(5, 3).double()
    fitted(mixture, x, 2)
    prior = mixture.pseudo_count * (
        mixture.mean * torch.nn.functional.logsigmoid(mixture.logits)
        + (1 - mixture.mean) * torch.nn.functional.logsigmoid(-mixture.logits)
    )
    each = x @ mixture.logits.mT - torch.nn.functional.softplus(mixture.logits).sum(-1)
    wanted = (mixture.weight_logits.log_softmax(-1) + each).logsumexp(-1).mean() + prior.sum() / len(x)
    gradients = torch.autograd.grad(wanted, [mixture.weight_logits, mixture.logits])
    summed = inference.Inference(inference.MaximumLikelihood(), inference.Enumerate())
    for given in ("maximum_likelihood", "elbo", summed):
        step = inference.resolve(given, mixture).bind(mixture, x, len(x)).step(x)
        assert float(step.value) == pytest.approx(wanted.item(), abs=1e-10)
        for name, gradient in zip(("weight_logits", "logits"), gradients, strict=True):
            torch.testing.assert_close(step.gradients[name], -gradient, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("start", ["rows", "kmeans"])
@pytest.mark.parametrize("kind", ["Bernoulli", "Gaussian"])
def test_batches_come_near_to_all_rows(kind: str, start: Any) -> None:
    """Catches averages of statistics that forget most of the data, a start that ignores them."""
    made: Any = getattr(models, f"{kind}Mixture")
    x = bits(200) if kind == "Bernoulli" else points(210, 5)
    rates = []
    for size in (len(x), 40):
        torch.manual_seed(4)
        mixture = made(5, 3, start=start).double()
        fitted(mixture, x, 12, batch_size=size)
        rates.append(float(evaluation.log_likelihood(mixture, x)))
    assert rates[1] > rates[0] - 0.15


def test_spherical_mixtures_have_k_means_as_their_limit() -> None:
    """Catches distances that are not those of the means; a variance that the assignment depends on."""
    x = points(60, 2)
    centroids, labels = models.kmeans(x, 4)
    mixture = models.GaussianMixture(2, 4, "spherical").double()
    mixture.set_components(torch.ones(4), centroids, 1e-6 * torch.eye(2).expand(4, 2, 2))
    torch.testing.assert_close(mixture.assign(x), labels)
    shares = mixture.responsibilities(x)
    torch.testing.assert_close(shares.mT @ x / shares.sum(0).unsqueeze(-1), centroids, atol=1e-6, rtol=0)


def test_draws_have_the_moments_of_their_components() -> None:
    """Catches a draw that is whitened where it should be coloured; the transpose of a triangle."""
    mixture = models.GaussianMixture(2, 2, "full").double()
    covariances = torch.tensor([[[2.0, 0.9], [0.9, 0.5]], [[0.3, -0.2], [-0.2, 1.0]]]).double()
    mixture.set_components(torch.tensor([0.25, 0.75]), torch.tensor([[-5.0, 1.0], [5.0, 0.0]]), covariances)
    drawn = ppgen.sample(mixture, 8000, seed=0).samples
    for place, side in enumerate((drawn[:, 0] < 0, drawn[:, 0] > 0)):
        error = 4 * (2 * covariances[place].diagonal().prod() / int(side.sum())).sqrt()
        assert (drawn[side].mT.cov() - covariances[place]).abs().max() < error
    assert abs(float((drawn[:, 0] > 0).double().mean()) - 0.75) < 4 * (0.1875 / 8000) ** 0.5


def test_components_without_rows_lose_their_weight_and_stay_finite() -> None:
    """Catches a logarithm of zero, a mean of no rows, a covariance of one row that is not positive definite."""
    x = torch.cat([torch.zeros(30, 3), torch.ones(30, 3) + 1e-3 * torch.randn(30, 3)])
    mixture = models.GaussianMixture(3, 2).double()
    far = torch.tensor([[0.5, 0.5, 0.5], [900.0, 900.0, 900.0]])
    mixture.set_components(torch.tensor([0.5, 0.5]), far, torch.eye(3).expand(2, 3, 3))
    fitted(mixture, x, 3)
    assert mixture.weights[1] < 1e-9
    assert all(bool(value.isfinite().all()) for value in mixture.state_dict().values())
    single = models.GaussianMixture(3, 2, start="rows")
    fitted(single, x[28:32], 5)
    assert all(bool(value.isfinite().all()) for value in single.state_dict().values())


def test_bad_input_is_refused_before_work_starts() -> None:
    """Catches more components than rows or than different rows, em of a guide that is not exact, strange shapes."""
    x = bits()
    for mixture in (models.BernoulliMixture(5, 41), models.GaussianMixture(5, 41)):
        with pytest.raises(ValueError, match="components=41, but the data have 40 training rows"):
            fitted(mixture.double(), x, 1)
    with pytest.raises(ValueError, match="only 2 are different"):
        fitted(models.BernoulliMixture(5, 3), torch.eye(5)[:2].repeat(10, 1), 1)
    with pytest.raises(ValueError, match="pseudo_count must be above 0"):
        models.BernoulliMixture(5, 3, pseudo_count=0)
    with pytest.raises(ValueError, match="covariance must be"):
        models.GaussianMixture(5, 3, covariance="diag")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="means must have shape"):
        models.GaussianMixture(5, 3).set_components(torch.ones(3), torch.ones(3, 4), torch.eye(5).expand(3, 5, 5))
    with pytest.raises(ValueError, match="exact posterior"):
        fitted(models.VAE(5, 2, (3,)), x.float(), 1)
    with pytest.raises(ValueError, match="exact posterior"):
        fitted(testing.mixtures.mixture_pair(), x[:, :2], 1)


def test_a_run_folder_gives_the_mixture_back(tmp_path: Any) -> None:
    """Catches a mean or a centre that is no part of the weights, so that resumed sweeps have another prior."""
    digits = datasets.load("digits", binarize="threshold")
    options: dict[str, Any] = {"batch_size": 300, "progress": False, "seed": 5}
    whole = ppgen.fit(models.BernoulliMixture(64, 8), digits, "em", epochs=4, **options)
    ppgen.fit(models.BernoulliMixture(64, 8), digits, "em", epochs=2, folder=tmp_path, **options)
    run = ppgen.fit(models.BernoulliMixture(64, 8), digits, "em", epochs=4, folder=tmp_path, resume=True, **options)
    for name, value in whole.pair.state_dict().items():
        torch.testing.assert_close(run.pair.state_dict()[name], value, rtol=0, atol=0, msg=name)
    assert ppgen.load(tmp_path).pair.config()["components"] == 8
