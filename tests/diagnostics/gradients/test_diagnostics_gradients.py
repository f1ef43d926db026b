"""Gradients side by side, held against closed forms: one Bernoulli latent, one score, one known bias."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppgen
from ppgen import diagnostics, inference, models
from ppgen.diagnostics.gradients.reference import exact_gradient, reference_for
from ppgen.diagnostics.gradients.statistics import GradientDraws, draw_in_batches, statistics
from ppgen.inference.structure.layout import find_layout
from ppgen.testing.enumeration import enumerated

LOGIT, PRIOR = 0.7, -0.4
GIVEN = {"vimco": inference.VIMCO(2), "rws": inference.RWS(2)}
BASELINE = inference.InputDependent(hidden=4, lr=0.05, normalise=False)
X = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])


class Coin(ppgen.GenerativeModel):
    """z ~ Bernoulli with a fixed logit, x ~ Normal(3 z, 1); the guide has one logit for every datum."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(LOGIT))

    @pyro.nn.pyro_method
    def model(self, x=None, num_rows=None):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=torch.tensor(PRIOR)))
            pyro.sample("x", dist.Normal(3 * z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    @pyro.nn.pyro_method
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.logit))


def coin_moments(x: torch.Tensor) -> tuple[float, float]:
    """Mean and variance of the score-function gradient of minus the ELBO in the logit, from the two states of z."""
    q = 1 / (1 + math.exp(-LOGIT))
    p = 1 / (1 + math.exp(-PRIOR))
    mean, variance = 0.0, 0.0
    for row in x[:, 0].tolist():
        weights = {1: math.log(p / q), 0: math.log((1 - p) / (1 - q))}
        terms = {z: -(w - 0.5 * (row - 3 * z) ** 2 - 0.5 * math.log(2 * math.pi)) * (z - q) for z, w in weights.items()}
        first = q * terms[1] + (1 - q) * terms[0]
        mean += first / len(x)
        variance += (q * terms[1] ** 2 + (1 - q) * terms[0] ** 2 - first**2) / len(x) ** 2
    return mean, variance


def score(num_particles: int = 1) -> inference.Inference:
    return inference.Inference(inference.ELBO(num_particles), inference.ScoreFunction(None))


def small_sbn() -> models.SigmoidBeliefNet:
    torch.manual_seed(3)
    sbn = models.SigmoidBeliefNet(sizes=(2, 3, 2))
    with torch.no_grad():
        for parameter in sbn.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return sbn


def test_a_score_function_has_the_variance_of_the_closed_form() -> None:
    """Catches a variance of the mean instead of one step, of batches instead of draws, and a wrong norm of the data."""
    x = X[:, :1]
    mean, variance = coin_moments(x)
    found = diagnostics.compare_estimators(Coin(), x, {"score": score()}, num_draws=1500).sel(inference="score")
    cell = found.sel(parameter="logit")
    assert float(cell.reference_norm) == pytest.approx(abs(mean), rel=1e-4)
    assert abs(float(cell.variance) - variance) < 4 * float(cell.variance_se)
    assert 0.2 * variance > float(cell.variance_se) > 0.002 * variance
    assert abs(float(cell.snr) - abs(mean) / math.sqrt(variance)) < 4 * float(cell.snr_se)
    assert float(cell.bias_p) > 1e-4 and float(cell.bias) < 4 * float(cell.bias_se)


def test_particles_divide_the_variance() -> None:
    """Catches particles that are summed, or a variance per particle."""
    given = {str(k): score(k) for k in (1, 4, 16)}
    found = diagnostics.compare_estimators(Coin(), X[:, :1], given, num_draws=500).isel(parameter=0)
    scaled = [int(k) * float(found.variance.sel(inference=k)) for k in given]
    errors = [int(k) * float(found.variance_se.sel(inference=k)) for k in given]
    for value, error in zip(scaled[1:], errors[1:], strict=True):
        assert abs(value - scaled[0]) < 4 * math.hypot(error, errors[0])


def test_unbiased_estimators_are_called_unbiased_and_biased_ones_are_found() -> None:
    """Catches noise taken for bias, bias lost in noise, and a reference of another objective."""
    given = {"vimco": inference.VIMCO(2), "rws": inference.RWS(2), "nvil": "nvil", "sleep": inference.WakeSleep()}
    found = diagnostics.compare_estimators(small_sbn(), X, given, num_draws=200, by="module")
    p = found.bias_p.to_pandas()
    assert (p.loc["vimco"] > 1e-4).all()
    assert (p.loc[["rws", "sleep"], ["encoders.0"]] < 1e-6).all().all()
    own = ["prior", "decoders.0", "decoders.1"]
    assert (p.loc[["rws", "nvil", "sleep"], own] > 1e-4).all().all()  # the model's gradient is that of the bound
    assert [text.split(",")[0] for text in found.reference.values] == [
        "IWELBO(num_particles=2)", "IWELBO(num_particles=2)", "ELBO(num_particles=10)", "ELBO(num_particles=10)",
    ]  # fmt: skip


def test_the_size_of_a_bias_is_the_difference_of_exact_gradients() -> None:
    """Catches a bias in other units, of a mean over elements, or inflated by the noise of the draws."""
    sbn = small_sbn()
    found = diagnostics.compare_estimators(
        sbn, X, {"elbo": inference.RLOO(4)}, objective=inference.IWELBO(2), num_draws=400, by=lambda name: "all"
    )
    layout = find_layout(sbn, X)
    exact = [exact_gradient(sbn, X, each, layout, len(X)) for each in (inference.ELBO(), inference.IWELBO(2))]
    wanted = math.sqrt(sum(float((exact[0][name] - exact[1][name]).square().sum()) for name in exact[0]))
    cell = found.isel(inference=0, parameter=0)
    assert abs(float(cell.bias) - wanted) < 4 * float(cell.bias_se)
    assert float(cell.bias_se) < 0.25 * wanted
    assert float(cell.num_elements) == sum(p.numel() for p in sbn.parameters())


@pytest.mark.parametrize(
    "objective", [inference.ELBO(), inference.IWELBO(2), inference.Renyi(num_particles=2, alpha=0.5)], ids=repr
)
def test_the_exact_gradient_is_that_of_the_enumerated_objective(objective: inference.Objective) -> None:
    """Catches states that are not all combinations, a site's columns swapped, a lost dependence of q on phi."""
    sbn, x = small_sbn().double(), X.double()
    found = exact_gradient(sbn, x, objective, find_layout(sbn, x), len(x))
    weights, mass = enumerated(sbn, x)
    bound, probability = weights.local, mass.exp()
    if objective.num_particles == 2:
        left, right = torch.broadcast_tensors(weights.local[:, None], weights.local[None])
        bound = objective.average(torch.stack([left, right]))
        probability = (mass[:, None] + mass[None]).exp()
    value = -(probability * bound).sum() / len(x)
    names, parameters = zip(*sbn.named_parameters(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(value, parameters), strict=True):
        torch.testing.assert_close(found[name], gradient)


def test_a_reference_of_draws_is_as_good_as_an_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a reference whose own error is left out of that of the bias."""
    sbn, given = small_sbn(), {"rloo": inference.RLOO(2), "rws": inference.RWS(2)}
    exact = diagnostics.compare_estimators(sbn, X, given, num_draws=100, by="module")
    monkeypatch.setattr("ppgen.diagnostics.gradients.reference.MAX_STATES", 1)
    drawn = diagnostics.compare_estimators(sbn, X, given, num_draws=100, by="module", num_reference_draws=60)
    assert "100 draws" in drawn.reference.values[1] and "enumerated" in exact.reference.values[0]
    assert (drawn.bias_p.sel(inference="rloo") > 1e-4).all()
    assert (drawn.bias_se.sel(inference="rws") > exact.bias_se.sel(inference="rws")).all()
    difference = np.abs(drawn.reference_norm - exact.reference_norm).sel(inference="rloo")
    assert (difference < 0.3 * exact.reference_norm.sel(inference="rloo")).all()


def test_nothing_moves() -> None:
    """Catches a step that trains, a gradient left behind, a seed that the caller notices, a lost training flag."""
    sbn = small_sbn()
    sbn.eval()
    before = {name: tensor.clone() for name, tensor in sbn.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = diagnostics.compare_estimators(sbn, X, ["nvil"], num_draws=20, by="module")
    assert torch.equal(torch.get_rng_state(), state)
    assert not sbn.training and all(parameter.grad is None for parameter in sbn.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in sbn.state_dict().items())
    again = diagnostics.compare_estimators(sbn, X, ["nvil"], num_draws=20, by="module")
    assert first.equals(again)
    other = diagnostics.compare_estimators(sbn, X, ["nvil"], num_draws=20, by="module", seed=1)
    assert not first.equals(other)


def test_baselines_are_those_of_the_warm_up_for_every_draw() -> None:
    """Catches a baseline that learns while it is measured, and a state that cannot be loaded again."""
    given = inference.Inference(inference.ELBO(), inference.ScoreFunction(BASELINE))
    sbn = small_sbn()
    bound = given.bind(sbn, X, len(X))
    bound.step(X)
    bound.load_state(bound.state)
    bound.step(X)
    short = diagnostics.compare_estimators(sbn, X, [given], num_draws=100, by="module", warmup_steps=1)
    long = diagnostics.compare_estimators(sbn, X, [given], num_draws=100, by="module", warmup_steps=150)
    before, after = (float(found.variance.sel(parameter="encoders.0")[0]) for found in (short, long))
    assert after < 0.8 * before


def test_a_machine_under_chains_is_held_against_its_enumerated_log_z() -> None:
    """Catches a reference with chains of its own, and rounding taken for a bias where the gradient has no noise."""
    torch.manual_seed(0)
    rbm = models.RBM(visible=2, hidden=3)
    with torch.no_grad():
        rbm.weight.copy_(torch.randn_like(rbm.weight))
    given = {"exact": inference.ExactPartition(), "cd": inference.CD(1)}
    found = diagnostics.compare_estimators(rbm, X, given, num_draws=60)
    assert float(found.variance.sel(inference="exact").max()) < 1e-10
    assert (found.bias_p.sel(inference="exact") == 1).all()
    assert float(found.bias_p.sel(inference="cd", parameter="weight")) < 1e-4


def test_a_table_and_a_figure_tell_what_was_found() -> None:
    """Catches a bias within its error printed as one, panels without units, two inferences of one colour."""
    from matplotlib.colors import to_hex

    found = diagnostics.compare_estimators(small_sbn(), X, GIVEN, num_draws=200, by="module")
    lines = [line.split() for line in diagnostics.gradient_table(found).splitlines()]
    cells = {(line[0], line[1]): line[2] for line in lines[1:-1]}
    assert cells[("encoders.0", "vimco")] == "0" and float(cells[("encoders.0", "rws")]) > 0
    assert len(cells) == found.bias.size
    figure = diagnostics.figures.estimators(found)
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]
    assert "nats" in figure.axes[1].get_ylabel()
    handles = figure.legends[0].legend_handles
    assert len({to_hex(handle.get_color()) for handle in handles}) == len(handles) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["vimco", "rws", "open: biased"]


@pytest.mark.parametrize(
    ("given", "options", "error", "message"),
    [
        ([], {}, ValueError, "at least one"),
        ("vimco", {}, TypeError, "sequence"),
        (["vimco", "vimco"], {}, ValueError, "twice"),
        (["vimco"], {"num_draws": 5}, ValueError, "num_draws"),
        (["vimco"], {"num_reference_draws": 2.5}, ValueError, "num_reference_draws"),
        (["vimco"], {"warmup_steps": 0}, ValueError, "warmup_steps"),
        (["vimco"], {"objective": "elbo"}, TypeError, "objective"),
        (["vimco"], {"by": "layer"}, ValueError, "by must be"),
        (["iwae"], {}, ValueError, "z1"),
        ([3], {}, TypeError, "inference must be"),
    ],
)
def test_bad_input_is_refused(given: object, options: dict, error: type[Exception], message: str) -> None:
    """Catches an error that comes after the draws, or names nothing that the caller wrote."""
    with pytest.raises(error, match=message):
        diagnostics.compare_estimators(small_sbn(), X, given, **options)


def test_an_objective_without_an_estimator_is_named() -> None:
    """Catches wake-sleep held against its own biased gradient."""
    assert reference_for(inference.Inference(inference.WakeSleep())).objective == inference.ELBO(10)
    assert reference_for(inference.RWS(1)).objective == inference.ELBO(10)
    assert reference_for(inference.RWS(3)).objective == inference.IWELBO(3)
    weighted = inference.ELBO(2, kl_weight=0.5)
    assert reference_for(inference.Inference(weighted)).objective == weighted


def test_p_values_are_uniform_without_a_bias() -> None:
    """Catches a law of the noise with the wrong degrees of freedom: correlated elements, few and many of them."""
    generator = torch.Generator().manual_seed(0)
    for elements in (1, 7, 300):
        mixing = torch.randn(elements, elements, generator=generator)
        p = []
        for _ in range(200):
            means = torch.randn(50, elements, generator=generator) @ mixing + 2
            p.append(statistics(means, torch.ones(50), torch.full((1, elements), 2.0))["bias_p"])
        below = [np.mean(np.array(p) < level) for level in (0.05, 0.5)]
        assert abs(below[0] - 0.05) < 0.07 and abs(below[1] - 0.5) < 0.15, (elements, below)


def test_draws_in_batches_keep_mean_and_variance_of_large_numbers() -> None:
    """Catches squares that cancel where the mean is far larger than the spread."""
    values = iter(1e4 + torch.linspace(-1, 1, 40, dtype=torch.float64)[torch.randperm(40)])
    found = draw_in_batches(lambda: {"a": next(values).reshape(1)}, {"a": ["a"]}, 40, 10)
    assert isinstance(found, GradientDraws) and found.num_draws == 40
    assert float(found.means["a"].mean()) == pytest.approx(1e4, abs=1e-9)
    assert 0.05 < float(found.variances["a"].mean()) < 0.8
