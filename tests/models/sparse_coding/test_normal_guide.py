"""Sparse coding with a Normal law of codes: its bound, its scales, and log p(x) by several methods."""

import pytest
import torch

import ppgen
from ppgen import diagnostics, evaluation, inference, models
from ppgen.closed_form import Draw
from ppgen.nn import NormalCodes


def coder(**settings):
    torch.manual_seed(0)
    return models.SparseCoding(
        **({"features": 5, "atoms": 3, "penalty": 1.2, "noise": 0.4, "guide": "normal"} | settings)
    )


def data(model, rows):
    torch.manual_seed(1)
    with torch.no_grad(), model.running():
        return model.model(num_rows=rows)


def log_evidence(model, x, points=100):
    """log p(x) of three codes by the rule of midpoints, in float64."""
    scale, noise, reach = float(model.scale), float(model.noise), 12 * float(model.scale)
    axis = -reach + (torch.arange(points, dtype=torch.float64) + 0.5) * 2 * reach / points
    codes = torch.cartesian_prod(axis, axis, axis)
    prior = torch.distributions.Laplace(torch.zeros(()).double(), scale).log_prob(codes).sum(-1)
    mean = codes @ model.dictionary.detach().double().T
    likelihood = torch.stack([torch.distributions.Normal(mean, noise).log_prob(row).sum(-1) for row in x.double()])
    return (prior + likelihood).logsumexp(-1) + 3 * torch.tensor(2 * reach / points).log()


def test_log_evidence_by_quadrature_sampling_and_annealing():
    """Catches a bound that is none, weights of another law, and annealing that starts elsewhere than at the prior."""
    model = coder()
    x = data(model, 4)
    exact = log_evidence(model, x)
    bound = model.normal_codes(x).elbo(*model.normal_codes(x).solve())
    gap = exact - bound
    assert (gap > 0).all() and (gap < 0.5).all()
    sampled = evaluation.log_likelihood(model, x, method="importance", num_particles=4000)
    annealed = evaluation.log_likelihood(
        coder(guide="point"), x, method="ais", num_chains=60, betas=12, kernel=inference.HMC(num_steps=3)
    )
    for found in (sampled, annealed):
        assert abs(found.value - float(exact.mean())) < 4 * found.se + 5e-3
    assert sampled.num_bad_pareto_k is not None


def test_a_point_is_refused_where_a_law_is_not():
    """Catches weights of a point guide, which are densities, and a Normal guide refused with it."""
    x = data(coder(), 20)
    with pytest.raises(ValueError, match="a point and no law"):
        diagnostics.importance_weights(coder(guide="point"), x, num_particles=200)
    found = diagnostics.importance_weights(coder(), x, num_particles=200)
    assert found.dataset.pareto_k.shape == (20,)
    assert "gap of the guide" in [each.name for each in diagnostics.check(coder(), x, num_particles=200).findings]


@pytest.mark.parametrize("posterior", ["guide", "gibbs of codes"])
def test_codes_are_calibrated(posterior):
    """Catches a law of codes of the wrong width: at this noise the Normal one is near the posterior, and Gibbs is it,
    also from the zeros of a point guide."""
    kernel = posterior != "guide"
    model = coder(guide="point" if kernel else "normal", noise=0.1, penalty=0.02, atoms=2)
    found = diagnostics.simulation_based_calibration(
        model,
        num_simulations=200,
        seed=1,
        posterior=inference.SparseGibbs() if kernel else "guide",
        **({"num_samples": 150, "warmup_steps": 20} if kernel else {}),
    )
    assert found.calibrated


def test_exact_alternation_never_lowers_the_bound():
    """Catches an M-step that is not the best: of dictionary, noise or scale given the law of codes."""
    x = data(coder(features=6, atoms=4, noise=0.2), 100)
    model = coder(features=6, atoms=4, learn_scales=True, sweeps=60)
    values = []
    for epochs in range(4):
        ppgen.fit(model, x, epochs=1, batch_size=100, seed=epochs, progress=False)
        with torch.no_grad():
            values.append(float(model.normal_codes(x).elbo(*model.normal_codes(x).solve()).mean()))
    assert values == sorted(values) and values[-1] > values[0] + 0.1
    assert model.penalty == pytest.approx(float((2 * model.noise**2 / model.scale).detach()), rel=1e-5)
    problem = model.normal_codes(x)
    mean, deviation = problem.solve()
    law = torch.distributions.Independent(torch.distributions.Normal(mean, deviation), 1)
    with torch.no_grad():
        best = model.maximise(model.sufficient_statistics({"codes": Draw(law, mean)}, x))
    scale, noise = (best[name].exp().requires_grad_() for name in ("log_scale", "log_noise"))
    raised = NormalCodes(x, best["weight"], scale, noise).elbo(mean, deviation).mean()
    assert raised.item() >= problem.elbo(mean, deviation).mean().item()
    assert all(slope.abs() < 1e-3 for slope in torch.autograd.grad(raised, (scale, noise)))


def test_gradients_have_no_noise_and_find_the_same():
    """Catches draws in the gradient of a bound that is known, and a guide whose parameters are looked for in vain."""
    x = data(coder(), 60)
    model = coder(learn_scales=True)
    bound = inference.Inference(inference.ELBO(), inference.AnalyticELBO()).bind(model, x, num_data=60)
    first, second = bound.step(x).gradients, bound.step(x).gradients
    assert set(first) == {"weight", "log_noise", "log_scale"}
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name])
    run = ppgen.fit(model, x, inference.AnalyticELBO(), epochs=2, seed=0, progress=False)
    assert torch.isfinite(torch.stack([value.sum() for value in run.pair.state_dict().values()])).all()


def test_encoding_gives_the_means_of_the_law():
    """Catches codes of the Lasso for a model with another guide, and a run that cannot be loaded again."""
    model = coder(learn_scales=True)
    x = data(model, 4).detach()
    codes = model.encode(x)
    assert codes.shape == (4, 3) and (codes != 0).all() and not codes.requires_grad
    again = models.SparseCoding(**model.config())
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.encode(x), codes)


def test_one_step_is_traced(tmp_path):
    """Catches a solver that asks for the value of a tensor: a folder holds such a run, and it goes on."""
    x = data(coder(), 40).detach()
    runs = []
    for epochs in ((1, 2), (2,)):
        model = coder(learn_scales=True)
        for count in epochs:
            ppgen.fit(model, x, epochs=count, seed=0, folder=tmp_path / str(len(epochs)), resume="auto", progress=False)
        runs.append(model.state_dict())
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"guide": "laplace"}, ValueError, "guide must be one of 'point', 'normal', got 'laplace'"),
        ({"positive": True}, ValueError, 'guide="normal" is a law of codes of both signs'),
        ({"guide": "point", "learn_scales": True}, ValueError, 'learn_scales=True needs guide="normal"'),
        ({"learn_scales": 1}, TypeError, "learn_scales must be True or False"),
    ],
)
def test_what_cannot_be_is_refused(settings, error, message):
    """Catches a Normal guide of positive codes, and a density that grows without end."""
    with pytest.raises(error, match=message):
        coder(**settings)
