"""Objectives of draws, bound to a pair: which models they serve, their state in a run, and their traced step."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import diagnostics, evaluation, inference, models
from ppgen.training.steps.traced_step import TracedStep

OBJECTIVES = [
    inference.MaximumMeanDiscrepancy((1.0, 4.0)),
    inference.Adversarial(hidden=(6,)),
    inference.Adversarial(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), discriminator_steps=2),
    inference.Adversarial(loss="wasserstein-gp", hidden=(6,)),
]


def generator() -> models.Generator:
    torch.manual_seed(0)
    return models.Generator(features=5, latent=2, hidden=(4,))


def bound(objective: Any, pair: Any, x: Any, **parts: Any) -> Any:
    return inference.Inference(objective, **parts).bind(pair, x, num_data=len(x))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=["mmd", "adversarial", "module", "wasserstein"])
def test_the_traced_step_is_the_eager_one(objective: Any) -> None:
    """Catches a step that reads a tensor's value, and a graph in which the discriminator stands still."""
    x, pair = torch.rand(8, 5), generator()
    step = bound(objective, pair, x)
    step.step(x)
    traced = TracedStep(step, dict(pair.named_parameters()))
    assert traced.check(x) is None
    start = step.state
    with ppgen.undisturbed.forked(x.device, 3), step.undisturbed():
        eager, after = step.step(x), step.state
    with ppgen.undisturbed.forked(x.device, 3):
        found = traced(x)
    torch.testing.assert_close(found.value, eager.value)
    for name, value in step.state.items():
        torch.testing.assert_close(value, after[name])
        assert objective.loss is None or not name.endswith("weight0") or not torch.equal(value, start[name])


@pytest.mark.parametrize("objective", OBJECTIVES[:3], ids=["mmd", "adversarial", "module"])
def test_a_resumed_run_is_the_same_run(objective: Any, tmp_path: Any) -> None:
    """Catches a discriminator, or its optimiser, that begins anew when a run is resumed."""
    x = torch.rand(20, 5)
    options: dict[str, Any] = {"batch_size": 8, "compile": False, "progress": False}
    whole = ppgen.fit(generator(), x, objective, epochs=4, **options)
    first = tmp_path / "run"
    ppgen.fit(generator(), x, objective, epochs=2, folder=first, **options)
    resumed = ppgen.fit(generator(), x, objective, epochs=4, folder=first, resume=True, **options)
    for name, value in whole.pair.state_dict().items():
        assert torch.equal(resumed.pair.state_dict()[name], value)
    assert (whole.inference_state is None) == isinstance(objective, inference.MaximumMeanDiscrepancy)
    for name, value in (whole.inference_state or {}).items():
        assert torch.equal(resumed.inference_state[name], value)


def test_values_are_named_by_what_they_are() -> None:
    """Catches a divergence that is reported as nats of x, and one of a discriminator that chooses the best epoch."""
    x = torch.rand(30, 5)
    for objective, told in ((OBJECTIVES[0], "values are the MMD,"), (OBJECTIVES[1], "at most log 2")):
        run = ppgen.fit(generator(), x, objective, epochs=1, progress=False)
        assert told in repr(run) and "say nothing of log p(x)" in repr(run)
        assert diagnostics.figures.curve(run).axes[0].get_ylabel() == objective.value_name
    assert ppgen.fit(generator(), x, OBJECTIVES[0], epochs=1, progress=False).state["monitor"] == "train_value"
    with pytest.raises(ValueError, match=r"monitor cannot be 'train_value': values are the Jensen-Shannon"):
        ppgen.fit(generator(), x, OBJECTIVES[1], epochs=1, progress=False, monitor="train_value")


def test_one_decoder_under_three_objectives() -> None:
    """Catches an encoder that is run, or moved, where draws are compared; and a mean that is not the decoder's."""
    x = torch.rand(16, 5)
    for objective in (inference.MaximumMeanDiscrepancy(compared="mean"), inference.Adversarial(compared="mean")):
        vae = models.VAE(features=5, latent=2, hidden=(4,))
        step = bound(objective, vae, x)  # grey data, which the Bernoulli law itself would refuse
        gradients = step.step(x).gradients
        assert gradients and all(name.startswith("decoder.") for name in gradients)
    assert bound(inference.ELBO(), vae, (x > 0.5).float()).step((x > 0.5).float()).gradients.keys() > gradients.keys()


def discrete(x: Tensor) -> Tensor:
    probs = pyro.param("probs", torch.full((5,), 0.3))
    with pyro.plate("data", len(x)):
        return pyro.sample("x", dist.Bernoulli(probs).to_event(1), obs=x)


def discrete_latent(x: Tensor) -> Tensor:
    loc = pyro.param("loc", torch.zeros(5))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Bernoulli(torch.tensor(0.3)))
        return pyro.sample("x", dist.Normal(loc + z[:, None], 1.0).to_event(1), obs=x)


def common_latent(x: Tensor) -> Tensor:
    loc = pyro.param("loc", torch.zeros(5))
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        return pyro.sample("x", dist.Normal(loc + z, 1.0).to_event(1), obs=x)


def scaled(x: Tensor) -> Tensor:
    loc = pyro.param("loc", torch.zeros(5))
    with pyro.plate("data", len(x)), pyro.poutine.scale(scale=0.5):
        return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def masked(x: Tensor) -> Tensor:
    loc = pyro.param("loc", torch.zeros(5))
    with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x[:, 0] > 0.5):
        return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def weighed(x: Tensor) -> Tensor:
    loc = pyro.param("loc", torch.zeros(5))
    with pyro.plate("data", len(x)):
        pyro.factor("penalty", loc.sum().expand(len(x)))
        return pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)


def nothing(x: Tensor) -> None:
    """A guide that is never run."""


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (discrete, r"Site 'x' is not reparameterised \(Bernoulli\).*compared=\"mean\".*relaxed law"),
        (discrete_latent, r"Site 'z' is not reparameterised \(Bernoulli\)"),
        (common_latent, "Site 'z' lies outside of plate 'data'"),
        (scaled, "Site 'x' carries a scale of its own"),
        (masked, "Site 'x' stands under a mask"),
        (weighed, "Site 'penalty' is a factor"),
    ],
)
def test_models_that_cannot_be_compared_are_refused(program: Any, message: str) -> None:
    """Catches a draw without a gradient, or with a weight that a comparison does not see, that is trained on."""
    for objective in (inference.MaximumMeanDiscrepancy(), inference.Adversarial()):
        with pytest.raises(ValueError, match=message):
            bound(objective, ppgen.Pair(program, nothing, plate="data"), torch.rand(8, 5))


def test_a_machine_is_refused() -> None:
    """Catches the chains of an undirected site taken for draws with a gradient."""
    with pytest.raises(ValueError, match="is undirected"):
        bound(inference.Adversarial(), models.RBM(visible=5, hidden=2), torch.ones(4, 5), negative_phase=inference.CD())
    with pytest.raises(ValueError, match="is undirected"):
        with inference.attach(sampler="exact"):
            bound(inference.Adversarial(), models.RBM(visible=5, hidden=2), torch.ones(4, 5))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda x: bound(OBJECTIVES[0], generator(), x, estimator=inference.Pathwise()), "estimator=.*no guide is run"),
        (lambda x: bound(OBJECTIVES[0], generator(), x[:1]), "at least 2 rows, got 1"),
        (
            lambda x: ppgen.fit(generator(), x, OBJECTIVES[0], epochs=1, batch_size=7, progress=False),
            "would have one row: 8 rows in batches of 7",
        ),
        (lambda x: bound(inference.Adversarial(nn.Linear(4, 1)), generator(), x), "could not be run on rows"),
        (lambda x: bound(inference.Adversarial(nn.Linear(5, 2)), generator(), x), "one number each"),
        (lambda x: bound(OBJECTIVES[0], generator(), x.log() * 0 / 0), "data must be finite"),
        (lambda x: bound(OBJECTIVES[0], generator(), (x, x)), "covariates"),
        (lambda x: bound(inference.ELBO(), generator(), x), "Generator is implicit"),
        (lambda x: OBJECTIVES[0].loss(discrete, nothing, x), "no loss of pyro.infer.SVI"),
        (lambda x: bound(OBJECTIVES[1], generator(), x).load_state({"z.chains": x}), "which no part"),
    ],
)
def test_what_does_not_go_together_is_refused(ask: Any, message: str) -> None:
    """Catches parts and batches that would be ignored, or fail in the middle of an epoch."""
    with pytest.raises(ValueError, match=message):
        ask(torch.rand(8, 5))


def test_batch_normalisation_is_trained_and_scored_in_evaluation_mode() -> None:
    """Catches a refusal of batch normalisation where no row has a log-weight, and values that depend on the batch."""
    torch.manual_seed(0)
    pair = models.ConvolutionalGenerator(shape=(1, 4, 4), latent=2, width=2)
    objective = inference.Adversarial(models.ConvolutionalDiscriminator(shape=(1, 4, 4), width=2))
    run = ppgen.fit(pair, torch.rand(40, 16), objective, epochs=2, batch_size=8, progress=False, compile=False)
    counted = pair.network[0].num_batches_tracked
    assert int(counted) == 10
    z = torch.rand(6, 2)
    pair.eval()
    torch.testing.assert_close(pair.images(z)[:1], pair.images(z[:1]))
    found = evaluation.log_likelihood(
        models.with_noise(run.pair, sd=0.3), torch.rand(3, 16), method="ais", betas=5, num_chains=2
    )
    assert found.num_data == 3 and int(counted) == 10 and ppgen.sample(run, 4).shape == (4, 16)
