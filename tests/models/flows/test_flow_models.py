"""Flows as guides, priors and densities: every legal inference in mean and in a graph, refusals, run folders."""

import math
from collections.abc import Callable
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import evaluation, inference, models
from ppgen.cli import main
from ppgen.nn import MLP
from ppgen.training.steps.traced_step import TracedStep

BITS = (torch.rand(20, 6, generator=torch.Generator().manual_seed(3)) < 0.3).float()
FAMILIES = ("iaf", "coupling", "spline")
QUIET = {"epochs": 2, "progress": False, "compile": False, "seed": 0}


def small(posterior: str, prior: str = "normal") -> models.VAE:
    torch.manual_seed(1)
    return models.VAE(6, 2, (3,), posterior=posterior, prior=prior, flow_steps=1, flow_hidden=(3,))


def gradients(pair: models.VAE, what: object, x: Tensor, repetitions: int = 20) -> dict[str, Tensor]:
    """Gradients of a step, as many as asked for, by name of the parameter."""
    bound = inference.resolve(what, pair).bind(pair, x, len(x))
    found = [bound.step(x).gradients for _ in range(repetitions)]
    return {key: torch.stack([each[key] for each in found]) for key in found[0]}


@pytest.mark.parametrize("posterior", FAMILIES)
@pytest.mark.parametrize(
    ("plain", "other"),
    [
        (inference.ELBO(), inference.STL()),
        (inference.IWAE(num_particles=3), inference.DReG(num_particles=3)),
    ],
    ids=["STL", "DReG"],
)
def test_gradients_agree_in_mean(posterior: str, plain: object, other: object) -> None:
    """Catches log q at a copy of a draw that loses a part of the chain rule through the flow."""
    pair = small(posterior).double()
    x = BITS[:2].double().repeat(150, 1)
    pair.prepare(x)
    first, second = gradients(pair, plain, x), gradients(pair, other, x)
    assert set(first) == set(second)
    for name in first:
        error = (first[name].var(0) + second[name].var(0)).div(20).sqrt()
        difference = (first[name].mean(0) - second[name].mean(0)).abs()
        assert bool((difference <= 4.5 * error + 1e-9).all()), name


@pytest.mark.parametrize("posterior", FAMILIES)
@pytest.mark.parametrize("name", ["elbo", "stl", "dreg", "rws", "wake-sleep"])
def test_every_legal_step_is_a_graph(posterior: str, name: str) -> None:
    """Catches a flow that a traced step cannot hold, or holds with other gradients."""
    pair = small(posterior, "maf" if posterior == "iaf" else posterior)
    pair.prepare(BITS)
    bound = inference.resolve(name, pair).bind(pair, BITS, len(BITS))
    bound.step(BITS)
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(BITS) is None
    torch.manual_seed(5)
    expected = bound.step(BITS)
    torch.manual_seed(5)
    found = traced(BITS)
    torch.testing.assert_close(found.value, expected.value)
    for key, gradient in expected.gradients.items():
        torch.testing.assert_close(found.gradients[key], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("posterior", "prior"), [("iaf", "normal"), ("diagonal", "maf"), ("coupling", "spline")])
def test_closed_forms_are_refused_in_words(posterior: str, prior: str) -> None:
    """Catches a divergence between flows that ends in somebody else's NotImplementedError."""
    pair = small(posterior, prior)
    with pytest.raises(ValueError, match="AnalyticKL at site 'z': no closed form.*Pathwise"):
        inference.Inference(inference.ELBO(), inference.AnalyticKL()).bind(pair, BITS, len(BITS))


@pytest.mark.parametrize(("posterior", "prior"), [("iaf", "maf"), ("spline", "coupling")])
def test_a_run_is_loaded_and_scored_as_it_was(posterior: str, prior: str, tmp_path: Path) -> None:
    """Catches a flow that is left out of a checkpoint, of samples, or of an estimate."""
    run = ppgen.fit(small(posterior, prior), BITS, "elbo", folder=tmp_path, **QUIET)
    loaded = ppgen.load(tmp_path)
    scores = [evaluation.log_likelihood(each.pair, BITS, num_particles=20, seed=1) for each in (run, loaded)]
    assert float(scores[0]) == float(scores[1]) and scores[0].pareto_k is not None
    with loaded.pair.running():
        assert loaded.pair.model(num_rows=4).shape == (4, 6)
    annealed = evaluation.log_likelihood(loaded.pair, BITS[:4], method="ais", num_chains=8, betas=20, seed=1)
    assert math.isfinite(float(annealed))


def test_importance_sampling_of_a_flow_is_that_of_its_program() -> None:
    """Catches a prior or a guide whose log-density is not the one that it draws from: both estimate one log p(x)."""
    plain = small("diagonal", "coupling").double()
    moved = small("spline", "coupling").double()
    moved.decoder.load_state_dict(plain.decoder.state_dict())
    moved.prior_flow.load_state_dict(plain.prior_flow.state_dict())
    x = BITS[:3].double()
    with torch.no_grad():  # guides wider than the posterior
        for each in (plain, moved):
            each.encoder.log_scale.output.bias.fill_(1.0)
    first, second = (evaluation.log_likelihood(each, x, num_particles=20_000, seed=1) for each in (plain, moved))
    assert abs(float(first) - float(second)) < 4 * math.hypot(first.se, second.se)


@pytest.mark.parametrize("flow", ["maf", "coupling", "spline"])
def test_densities_of_rows_are_normalised_in_their_own_units(flow: str) -> None:
    """Catches a standardisation that log p forgets, and training that leaves it behind."""
    rows = torch.randn(60, 2).double() * torch.tensor([0.5, 2.0]) + torch.tensor([1.0, -3.0])
    model = models.NormalizingFlow(2, flow=flow, flow_steps=1, hidden=(4,)).double()
    run = ppgen.fit(model, rows, **QUIET)
    assert run.pair.scale[1] > 3 * run.pair.scale[0]
    first = torch.linspace(-5, 7, 301).double()
    second = torch.linspace(-27, 21, 301).double()
    with torch.no_grad():
        density = run.pair.law().log_prob(torch.cartesian_prod(first, second)).exp()
        drawn = run.pair.law().sample((4000,))
    mass = float(density.sum() * (first[1] - first[0]) * (second[1] - second[0]))
    assert abs(mass - 1) < 2e-3
    exact = evaluation.log_likelihood(run.pair, rows)
    assert exact.kind == "exact"
    assert bool(((drawn.mean(0) - rows.mean(0)).abs() < rows.std(0)).all())


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Catches options of flows that the command line does not know."""
    line = ["fit", "vae", "--data", "digits", "--binarize", "threshold", "--latent", "2", "--hidden", "4"]
    options = ["--posterior", "coupling", "--prior", "maf", "--flow_steps", "1", "--flow_hidden", "4"]
    ends = ["--epochs", "1", "--folder", str(tmp_path / "vae"), "--report", "false", "--compile", "false"]
    assert main([*line, *options, *ends]) == 0
    pair = ppgen.load(tmp_path / "vae").pair
    assert len(pair.prior_flow.networks) == 1 and len(pair.encoder.flow.networks) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: models.VAE(4, 2, posterior="flow"), 'posterior must be "diagonal", "iaf", "coupling" or "spline"'),
        (lambda: models.VAE(4, 2, prior="iaf"), 'prior must be "normal", "maf", "coupling" or "spline"'),
        (lambda: models.VAE(4, 1, posterior="coupling"), "at least two latent variables"),
        (lambda: models.VAE(4, 2, posterior="iaf", flow_steps=0), "flow_steps must be at least 1"),
        (lambda: models.VAE(4, 2, flow_steps=0), "flow_steps must be at least 1"),
        (lambda: models.NormalizingFlow(3, hidden=(0,)), "each number in hidden"),
        (lambda: models.NormalizingFlow(3, bins=0), "bins must be at least 1"),
        (lambda: models.NormalizingFlow(1, flow="spline"), "features must be at least 2"),
        (lambda: models.NormalizingFlow(3, flow="iaf"), 'flow must be "maf", "coupling" or "spline"'),
        (lambda: models.NormalizingFlow(3, flow_steps=0), "flow_steps must be at least 1"),
    ],
)
def test_bad_arguments(make: Callable[[], object], said: str) -> None:
    """Catches an unknown family, or halves of nothing, that are found in the middle of training."""
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("kind", ["affine_coupling", "affine_autoregressive"])
def test_transforms_of_pyro_serve_guides(kind: str) -> None:
    """Catches a guide of Pyro's own transforms that a step or its graph cannot hold."""
    torch.manual_seed(0)
    if kind == "affine_coupling":
        moved = dist.transforms.AffineCoupling(1, pyro.nn.DenseNN(1, [4], param_dims=[1, 1]))
    else:
        moved = dist.transforms.AffineAutoregressive(pyro.nn.AutoRegressiveNN(2, [4]))
    encoder, decoder = MLP((6, 4)), MLP((2, 6))

    def model(x: Tensor) -> None:
        made = pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=made(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        made, flow = pyro.module("encoder", encoder), pyro.module("flow", moved)
        with pyro.plate("data", len(x)):
            loc, log_scale = made(x).chunk(2, -1)
            pyro.sample("z", dist.TransformedDistribution(dist.Normal(loc, log_scale.exp()).to_event(1), [flow]))

    pair = ppgen.Pair(model, guide)
    pair.prepare(BITS)
    bound = inference.resolve("elbo", pair).bind(pair, BITS, len(BITS))
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(BITS) is None
    torch.manual_seed(5)
    expected = bound.step(BITS)
    torch.manual_seed(5)
    torch.testing.assert_close(traced(BITS).value, expected.value)
    assert sum("flow" in name and bool(each.any()) for name, each in expected.gradients.items()) >= 2
