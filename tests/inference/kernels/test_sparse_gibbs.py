"""Gibbs sampling of sparse codes against quadrature, Hamiltonian Monte Carlo and closed forms, and what it refuses."""

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from ppgen import diagnostics, inference
from ppgen.inference.kernels import sparse_gibbs

DICTIONARY = torch.tensor([[0.8, 0.6, 0.0], [0.6, 0.7, -0.3], [0.0, 0.3, 0.6], [0.0, 0.2, 0.7]], dtype=torch.float64)
SCALE, NOISE = 0.4, 0.5
X = torch.tensor([[1.0, 0.3, -0.4, 0.2], [-0.2, 0.1, 0.9, 1.4]], dtype=torch.float64)


def coder(positive=False, guide="normal", dtype=torch.float64, dictionary=DICTIONARY):
    """Sparse coding with three atoms, and a guide that is a law, or the point of zeros that a Lasso gives."""
    dictionary = dictionary.to(dtype)
    scale = torch.full(dictionary.shape[1:], SCALE, dtype=dtype)

    def model(x=None):
        prior = dist.Exponential(1 / scale) if positive else dist.Laplace(0 * scale, scale)
        with pyro.plate("data", 1 if x is None else len(x)):
            codes = pyro.sample("codes", prior.to_event(1))
            return pyro.sample("x", dist.Normal(codes @ dictionary.mT, NOISE).to_event(1), obs=x)

    def by_guide(x):
        with pyro.plate("data", len(x)):
            if guide == "point":
                pyro.sample("codes", dist.Delta(x.new_zeros(len(x), len(scale)), event_dim=1))
            elif positive:
                pyro.sample("codes", dist.Exponential(1 / scale).to_event(1))
            else:
                pyro.sample("codes", dist.Normal(0 * scale, 1.0).to_event(1))

    return ppgen.Pair(model, by_guide)


def moments(x, positive=False, points=120, reach=5.0):
    """Means and variances of the codes by the rule of midpoints, of which none lies at the edge of the prior."""
    low = 0.0 if positive else -reach
    axis = low + (torch.arange(points, dtype=x.dtype) + 0.5) * (reach - low) / points
    codes = torch.cartesian_prod(axis, axis, axis)
    error = (x.unsqueeze(1) - codes @ DICTIONARY.mT).square().sum(-1) / NOISE**2
    weights = (-error / 2 - codes.abs().sum(-1) / SCALE).softmax(-1)
    mean = weights @ codes
    return mean, weights @ codes.square() - mean.square()


def close_by_chains(draws, mean, variance):
    """Whether means and variances lie within four errors, which independent chains tell."""
    for value, expected in ((draws, mean), ((draws - mean).square(), variance)):
        by_chain = value.mean(1)
        error = by_chain.std(0) / len(by_chain) ** 0.5
        assert ((by_chain.mean(0) - expected).abs() < 4 * error).all()
        assert (error < 0.01).all()  # the test can see something


@pytest.mark.parametrize(
    ("kernel", "positive", "settings"),
    [
        (inference.SparseGibbs(), False, {"num_samples": 60, "warmup_steps": 20, "num_chains": 200}),
        (inference.HMC(num_steps=6, step_size=0.3), False, {"num_samples": 60, "warmup_steps": 40, "num_chains": 200}),
        (inference.SparseGibbs(), True, {"num_samples": 60, "warmup_steps": 20, "num_chains": 200}),
    ],
)
def test_moments_of_three_codes(kernel, positive, settings):
    """Catches a wrong conditional law: means and variances of three correlated codes against quadrature."""
    found = inference.sample_posterior(coder(positive), X, kernel=kernel, seed=2, **settings)
    close_by_chains(found.draws["codes"], *moments(X, positive))
    assert found.kernel == type(kernel).__name__ and (found.step_size is None) == (found.kernel == "SparseGibbs")
    assert (found.acceptance_rate > 0.5).all() and not found.num_diverging.any()
    assert repr(found).startswith("PosteriorSamples(codes: 200 chains x 60 draws of 2 rows, acceptance ")


@pytest.mark.parametrize("positive", [False, True])
def test_codes_are_calibrated(positive):
    """Catches wrong posteriors anywhere where the prior puts codes (Geweke's joint test, by ranks), chains that do not
    start where a point guide has zeros, and a kernel that calibration does not take."""
    found = diagnostics.simulation_based_calibration(
        coder(positive, guide="point"),
        x=X,
        posterior=inference.SparseGibbs(),
        num_simulations=300,
        num_samples=200,
        warmup_steps=30,
        seed=1,
    )
    assert found.calibrated and "SparseGibbs" in str(found)


def test_wrong_scales_are_not_calibrated():
    """Catches a test of calibration that any kernel passes: half of the noise, and every interval is too narrow."""

    class Overconfident(inference.SparseGibbs):
        def init(self, density, position, /):
            state = super().init(density, position)
            law = state.law
            gram, image = (None if state.gram is None else 4 * state.gram), 4 * state.image
            return state._replace(law=law, gram=gram, image=image)

    found = diagnostics.simulation_based_calibration(
        coder(), x=X, posterior=Overconfident(), num_simulations=300, num_samples=200, warmup_steps=30
    )
    assert not found.calibrated


def test_both_factorisations_draw_from_the_same_normal():
    """Catches a mean or a covariance of either form that is not that of the posterior given the scales."""
    torch.manual_seed(0)
    matrix, residual = torch.randn(1, 2, 5).double(), torch.randn(1, 2).double()
    deviations = torch.tensor([0.0, 1e-8, 0.3, 1.0, 20.0]).double()
    scaled = matrix[0] * deviations
    covariance = deviations[:, None] * torch.linalg.inv(torch.eye(5) + scaled.mT @ scaled) * deviations
    mean = covariance[:, 2:] @ matrix[0, :, 2:].mT @ residual[0]
    many = deviations.expand(100_000, 1, 5)
    noise, error = torch.randn(many.shape).double(), torch.randn(100_000, 1, 2).double()
    gram, image = matrix.mT @ matrix, residual @ matrix[0]
    for draws in (
        sparse_gibbs._by_code_matrix(gram, image, many, noise),
        sparse_gibbs._by_feature_matrix(matrix, residual, many, noise, error),
    ):
        found = draws.squeeze(1)
        assert found.isfinite().all() and (found[:, 0] == 0).all()
        spread = covariance.diagonal().sqrt()
        assert ((found.mean(0) - mean).abs() <= 4 * spread / 100_000**0.5).all()
        assert ((found.T.cov() - covariance).abs() <= 6 * spread[:, None] * spread / 100_000**0.5 + 1e-30).all()


def test_cheaper_factorisation_is_chosen():
    """Catches a sweep that factorises 512 by 512 numbers where 64 by 64 do (seven times as slow)."""
    x, density = torch.randn(3, 4), {}
    for codes in (3, 40):
        pair = coder(dtype=torch.float32, dictionary=torch.randn(4, codes))
        density[codes] = inference.LatentDensity(pair, x, num_chains=2)
    held = {codes: inference.SparseGibbs().init(each, each.draw("guide")).gram for codes, each in density.items()}
    assert held[3].shape == (1, 3, 3) and held[40] is None


def test_scales_follow_their_law():
    """Catches a quotient by a code of zero, and a root of the inverse Gaussian's draw that is taken wrongly."""
    torch.manual_seed(0)
    scale = torch.tensor([0.4, 2.0]).double()
    codes = torch.tensor([0.7, 1.5]).double()
    found = sparse_gibbs._variances((codes * scale).expand(200_000, 2), scale, None)
    inverse = 1 / found
    ppgen.testing.check_mean(inverse, 1 / (scale * codes), "1 / tau^2")  # the mean of an inverse Gaussian
    ppgen.testing.check_mean((inverse - 1 / (scale * codes)).square(), 1 / (scale * codes**3), "its variance")
    at_zero = sparse_gibbs._variances(torch.zeros(200_000, 2).double(), scale, None)
    assert (at_zero > 0).all()
    ppgen.testing.check_mean(at_zero, scale.square(), "tau^2 at a code of zero")  # b^2 times a chi-square of 1
    tiny = sparse_gibbs._variances(torch.full((1000,), 1e-300).double(), scale[0], None)
    assert tiny.isfinite().all() and (tiny > 0).all()


def test_float32_codes_of_zero_move():
    """Catches chains that stay where a point guide has exact zeros, and float32 codes without a number in them."""
    x = X.float()
    found = inference.sample_posterior(
        coder(guide="point", dtype=torch.float32), x, num_samples=5, warmup_steps=0, kernel=inference.SparseGibbs()
    )
    codes = found.draws["codes"]
    assert codes.dtype == torch.float32 and codes.isfinite().all() and (codes != 0).all()


@pytest.mark.parametrize("kernel", [inference.HMC(num_steps=3), inference.SparseGibbs()])
def test_positive_codes_start_inside(kernel):
    """Catches chains of positive codes that start at the zeros of a point guide, where log a has no value, and a
    negative point taken for such a zero."""
    pair = coder(positive=True, guide="point")
    found = inference.sample_posterior(pair, X, num_samples=3, warmup_steps=3, num_chains=2, kernel=kernel)
    assert (found.draws["codes"] > 0).all()
    negative = ppgen.Pair(pair.model, lambda x: _points(x - 5))
    with pytest.raises(ValueError, match="'codes' .*within the support"):
        inference.sample_posterior(negative, X, num_samples=3, kernel=kernel)


def _points(x):
    with pyro.plate("data", len(x)):
        pyro.sample("codes", dist.Delta(x[..., :3], event_dim=1))


def _with_covariates(x, weights):
    """A matrix and a noise level of each datum, a location, two sites of codes of which one is in a plate."""
    data = pyro.plate("data", len(x), dim=-1)
    with data:
        wide = pyro.sample("wide", dist.Laplace(torch.tensor([0.5, -1.0]), torch.tensor([0.3, 2.0])).to_event(1))
        with pyro.plate("narrow_codes", 2, dim=-2):
            narrow = pyro.sample("narrow", dist.Laplace(0.2, 0.7))
        mean = (weights * wide.unsqueeze(-2)).sum(-1) + 0.3
        mean = mean + narrow.movedim(-2, -1).unsqueeze(-3) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, -0.3, 0.8]])
        pyro.sample("x", dist.Normal(mean, 0.3 + x.abs()).to_event(1), obs=x)


def _guide_with_covariates(x, weights):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("wide", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("narrow_codes", 2, dim=-2):
            pyro.sample("narrow", dist.Normal(0.0, 1.0))


def _lasso(x, y):
    """The Bayesian Lasso: coefficients that are common to all data."""
    slopes = pyro.sample("slopes", dist.Laplace(torch.zeros(2), 1.5).to_event(1))
    offset = pyro.sample("offset", dist.Laplace(0.0, 3.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal((slopes * x).sum(-1) + offset, 0.5), obs=y)


def _lasso_guide(x, y):
    pyro.sample("slopes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("offset", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("pair", "batch"),
    [
        (ppgen.Pair(_with_covariates, _guide_with_covariates), (torch.randn(4, 3), torch.randn(4, 3, 2))),
        (ppgen.Pair(_lasso, _lasso_guide), (torch.randn(6, 2), torch.randn(6))),
    ],
    ids=["covariates", "common to all data"],
)
def test_programs_are_read(pair, batch):
    """Catches a matrix, an offset, a scale or a noise level read for the wrong site, plate or datum: the density that
    the sampler steps in is that of the program, and chains of HMC agree in mean."""
    density = inference.LatentDensity(pair, batch, num_chains=3)
    kernel, position = inference.SparseGibbs(), density.draw("prior")
    state = kernel.init(density, position)
    torch.testing.assert_close(state.log_density, density(position), rtol=1e-4, atol=1e-3)
    for _ in range(3):
        state, _ = kernel.step(density, state, torch.Generator().manual_seed(0))
    torch.testing.assert_close(state.log_density, density(state.position), rtol=1e-4, atol=1e-3)
    settings = {"num_samples": 40, "warmup_steps": 20, "num_chains": 40}
    draws = [
        inference.sample_posterior(pair, batch, kernel=each, **settings).draws
        for each in (kernel, inference.HMC(num_steps=5))
    ]
    for name in draws[0]:
        ours, theirs = (found[name].mean(1) for found in draws)
        error = (ours.var(0) / len(ours) + theirs.var(0) / len(theirs)).sqrt()
        assert ((ours.mean(0) - theirs.mean(0)).abs() < 4.5 * error).all()


def program(prior=None, law=None, mean=None, mask=None, scale=1.0, second=False):
    """Sparse coding with one thing otherwise."""

    def model(x):
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=scale):
            codes = pyro.sample("codes", prior or dist.Laplace(torch.zeros(3), 1.0).to_event(1))
            centre = codes @ DICTIONARY.float().mT if mean is None else mean(codes)
            with pyro.poutine.mask(mask=True if mask is None else x[:, 0] > mask):
                pyro.sample("x", (law or dist.Normal)(centre, 0.5).to_event(1), obs=x)
            if second:
                pyro.sample("label", dist.Normal(codes.sum(-1), 1.0), obs=x[:, 0])

    def guide(x):
        with pyro.plate("data", len(x)), pyro.poutine.scale(scale=scale):
            pyro.sample("codes", dist.Normal(torch.zeros(3), 1.0).to_event(1))

    return ppgen.Pair(model, guide)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": dist.StudentT(3.0, torch.zeros(3), 1.0).to_event(1)}, "'codes': its prior is StudentT"),
        ({"law": dist.Laplace}, "'x': the law of the data is Laplace"),
        ({"mean": lambda a: (a @ DICTIONARY.float().mT).tanh()}, "'x': its mean is not linear"),
        ({"mean": lambda a: (a @ DICTIONARY.float().mT).relu()}, "'x': its mean is not linear"),
        ({"mean": lambda a: a.abs() @ DICTIONARY.float().mT}, "'x': its mean is not linear"),
        ({"law": lambda m, s: dist.Normal(m, s + m.abs())}, "'x': the noise of its law depends on the latents"),
        ({"mask": 0.0}, "'x': it stands under a mask"),
        ({"scale": 0.5}, "'codes': it carries a scale"),
        ({"second": True}, r"one observed site; got the latents \['codes'\] and the observed sites \['x', 'label'\]"),
    ],
)
def test_other_programs_are_refused(changes, message):
    """Catches a Gibbs step for a program whose conditional laws are others: wrong draws without a word."""
    with pytest.raises(ValueError, match=f"SparseGibbs .*{message}.*HMC"):
        inference.sample_posterior(program(**changes), X.float(), num_samples=2, kernel=inference.SparseGibbs())


def test_chains_leave_the_random_state_and_follow_the_seed():
    """Catches draws from the global random state, and a reading of the program that moves it."""
    before = torch.get_rng_state()
    runs = [
        inference.sample_posterior(coder(), X, num_samples=3, warmup_steps=2, kernel=inference.SparseGibbs(), seed=seed)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(before, torch.get_rng_state())
    first, again, other = (found.draws["codes"] for found in runs)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_many_rows_are_drawn_in_blocks(monkeypatch):
    """Catches draws that depend on how many rows are factorised at once."""
    settings = {"num_samples": 2, "warmup_steps": 2, "num_chains": 2, "kernel": inference.SparseGibbs()}
    x = X.repeat(4, 1)
    whole = inference.sample_posterior(coder(), x, **settings).draws["codes"]
    monkeypatch.setattr(sparse_gibbs, "_BLOCK", 40)
    torch.testing.assert_close(inference.sample_posterior(coder(), x, **settings).draws["codes"], whole)


def test_arviz_reads_the_draws():
    """Catches sample statistics that only Hamiltonian chains have, and another kernel's name on the tree."""
    chains = inference.sample_posterior(
        coder(), X, num_samples=4, warmup_steps=2, num_chains=2, kernel=inference.SparseGibbs()
    )
    tree = diagnostics.from_chains(chains, coder(), X)
    assert tree.attrs["kernel"] == "SparseGibbs"
    assert sorted(tree.sample_stats) == ["acceptance_rate", "log_p", "lp"]
    assert tree.posterior["codes"].shape == (2, 4, 2, 3)
