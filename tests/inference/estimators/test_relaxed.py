"""Relaxed and straight-through gradients against quadrature in the noise of the draws."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference, models
from ppgen.training.steps.traced_step import TracedStep

ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
BITS = (torch.rand(30, 8, generator=torch.Generator().manual_seed(2)) < 0.4).float()
COPIES, STEPS, SIGMAS = 1400, 24, 4.5


class Program(ppgen.GenerativeModel):
    """One latent vector, of two bits or one-hot of three, with weights without symmetry."""

    def __init__(self, one_hot: bool) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        size = 3 if one_hot else 2

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.one_hot = one_hot
        self.prior, self.visible, self.bias = weights(size), weights(size, 2), weights(2)
        self.up, self.up_bias = weights(2, size), weights(size)

    def law(self, logits: Tensor) -> dist.TorchDistribution:
        return dist.OneHotCategorical(logits=logits) if self.one_hot else dist.Bernoulli(logits=logits).to_event(1)

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.law(self.prior))
            pyro.sample("x", dist.Bernoulli(logits=z @ self.visible + self.bias).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.law(x @ self.up + self.up_bias))


def log_weight(pair: Program, z: Tensor, logits: Tensor, kept: Tensor | float = 1.0) -> Tensor:
    """log p(x | z) + kept (log p(z) - log q(z | x)) by hand, linear in z: (points, rows, size) -> (points, rows)."""

    def linear(scores: Tensor) -> Tensor:
        if pair.one_hot:
            return (z * scores.log_softmax(-1)).sum(-1)
        return (z * scores - nn.functional.softplus(scores)).sum(-1)

    scores = z @ pair.visible + pair.bias
    data = (ROWS * scores - nn.functional.softplus(scores)).sum(-1)
    return data + kept * (linear(pair.prior) - linear(logits))


def noise(one_hot: bool) -> tuple[Tensor, Tensor]:
    """Points (points, size) of the noise on an equidistant grid, and their weights, which sum to 1."""
    if one_hot:
        axis = torch.linspace(-4, 25, 90, dtype=torch.float64)
        log_mass, size = -axis - (-axis).exp(), 3
    else:
        axis = torch.linspace(-30, 30, 500, dtype=torch.float64)
        log_mass, size = -axis - 2 * nn.functional.softplus(-axis), 2
    log_mass = log_mass + math.log(float(axis[1] - axis[0]))
    points = torch.cartesian_prod(*[axis] * size)
    mass = torch.cartesian_prod(*[log_mass] * size).sum(-1).exp()
    assert abs(float(mass.sum()) - 1) < 1e-6
    return points[mass > 1e-12], mass[mass > 1e-12]


def gradients(pair: Program, total: Tensor) -> dict[str, Tensor]:
    named = dict(pair.named_parameters())
    return dict(zip(named, torch.autograd.grad(-total, list(named.values())), strict=True))


def exact(pair: Program, temperature: float, straight: bool = False) -> tuple[float, dict[str, Tensor]]:
    """Value and gradient of minus the objective of relaxed draws; of hard ones with the relaxation's derivative."""
    points, mass = noise(pair.one_hot)
    logits = ROWS @ pair.up + pair.up_bias
    noisy = logits + points.unsqueeze(1)
    if pair.one_hot:
        noisy = noisy - logits.logsumexp(-1, keepdim=True)
        z = (noisy / temperature).softmax(-1)
        hard = nn.functional.one_hot(noisy.argmax(-1), 3).double()
    else:
        z, hard = (noisy / temperature).sigmoid(), (noisy > 0).double()
    if straight:
        z = hard + z - z.detach()
    total = (mass.unsqueeze(1) * log_weight(pair, z, logits)).sum(0).mean()
    return float(total.detach()), gradients(pair, total)


def discrete(pair: Program) -> tuple[float, dict[str, Tensor]]:
    """Value and gradient of minus the ELBO by a sum over all values."""
    bits = torch.tensor([0.0, 1.0], dtype=torch.float64)
    states = torch.eye(3, dtype=torch.float64) if pair.one_hot else torch.cartesian_prod(bits, bits)
    logits = ROWS @ pair.up + pair.up_bias
    mass = torch.stack([pair.law(logits).log_prob(state) for state in states])
    total = (mass.exp() * log_weight(pair, states.unsqueeze(1), logits)).sum(0).mean()
    return float(total.detach()), gradients(pair, total)


def measured(pair: Program, estimator: inference.Estimator) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients and values of independent steps."""
    batch = ROWS.repeat(COPIES, 1)
    torch.manual_seed(3)
    bound = inference.Inference(inference.ELBO(), estimator).bind(pair, batch, num_data=len(batch))
    results = [bound.step(batch) for _ in range(STEPS)]
    return {name: torch.stack([r.gradients[name] for r in results]) for name in results[0].gradients}, torch.stack(
        [r.value for r in results]
    )


def worst(draws: Tensor, expected: Tensor | float) -> float:
    """Largest distance of a mean from what is expected, in standard errors."""
    return float(((draws.mean(0) - expected).abs() / (draws.std(0) / math.sqrt(len(draws)) + 1e-12)).max())


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float((first[name] - second[name]).square().sum()) for name in first))


@pytest.mark.parametrize("one_hot", [False, True], ids=["bits", "one-hot"])
@pytest.mark.parametrize("straight", [False, True], ids=["relaxed", "straight-through"])
def test_gradient_is_that_of_the_relaxed_objective(one_hot: bool, straight: bool) -> None:
    """Catches noise of another law, a temperature that divides half of it, densities cut off from the value."""
    pair = Program(one_hot)
    estimator = inference.StraightThrough(0.7) if straight else inference.Relaxed(0.7)
    found, values = measured(pair, estimator)
    value, expected = exact(pair, 0.7, straight)
    tolerance = 1e-2 if straight else 0.0  # the grid cuts the jump of hard draws
    assert set(found) == set(expected)
    for name, draws in found.items():
        error = (draws.mean(0) - expected[name]).abs() - tolerance
        assert bool((error < SIGMAS * draws.std(0) / math.sqrt(STEPS) + 1e-9).all()), name
    assert abs(float(values.mean()) - value) < SIGMAS * float(values.std()) / math.sqrt(STEPS) + tolerance
    if straight:  # in value they are draws of the discrete program
        assert worst(values, discrete(pair)[0]) < SIGMAS


@pytest.mark.parametrize("one_hot", [False, True], ids=["bits", "one-hot"])
def test_bias_falls_with_the_temperature(one_hot: bool) -> None:
    """Catches a relaxation that does not go to the discrete program, and one that is taken for unbiased."""
    pair = Program(one_hot)
    truth = discrete(pair)[1]
    biases = [distance(exact(pair, temperature)[1], truth) for temperature in (1.0, 0.5, 0.25)]
    assert biases[0] > 1.5 * biases[1] > 2 * biases[2] > 0
    found, _ = measured(pair, inference.Relaxed(1.0))
    assert max(worst(found[name], truth[name]) for name in truth) > 3 * SIGMAS
    cooler, _ = measured(pair, inference.Relaxed(0.25))
    means = [{name: draws.mean(0) for name, draws in each.items()} for each in (found, cooler)]
    assert distance(means[1], truth) < distance(means[0], truth)


class Watch(pyro.poutine.messenger.Messenger):
    """Keeps the values at the latent site, of the guide and then of the model."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Tensor] = []

    def _pyro_post_sample(self, msg) -> None:
        if msg["name"] == "z":
            self.values.append(msg["value"])


@pytest.mark.parametrize("one_hot", [False, True], ids=["bits", "one-hot"])
def test_values_at_the_site(one_hot: bool) -> None:
    """Catches straight-through draws that are not discrete, relaxed ones that are, and a model given other values."""
    pair = Program(one_hot)
    for estimator, is_discrete in ((inference.StraightThrough(), True), (inference.Relaxed(), False)):
        bound = inference.Inference(inference.ELBO(3), estimator).bind(pair, ROWS, num_data=3)
        with Watch() as watch:
            bound.step(ROWS)
        guide, model = watch.values
        assert guide is model and guide.requires_grad
        assert bool(((guide == 0) | (guide == 1)).all()) is is_discrete
        if one_hot:
            torch.testing.assert_close(guide.sum(-1), torch.ones_like(guide[..., 0]))
        with Watch() as watch:
            bound.value(ROWS)
        assert bool(((watch.values[0] == 0) | (watch.values[0] == 1)).all())


@pytest.mark.parametrize("one_hot", [False, True], ids=["bits", "one-hot"])
def test_the_program_is_left_alone(one_hot: bool) -> None:
    """Catches relaxed laws that stay behind: values without training are those of the discrete program."""
    pair = Program(one_hot)
    batch = ROWS.repeat(COPIES, 1)
    bound = inference.Inference(inference.ELBO(), inference.Relaxed(1.0)).bind(pair, batch, num_data=len(batch))
    bound.step(batch)
    torch.manual_seed(1)
    assert worst(torch.stack([bound.value(batch) for _ in range(STEPS)]), discrete(pair)[0]) < SIGMAS
    with pair.running():
        trace = pyro.poutine.trace(pair.guide).get_trace(ROWS)
    law = trace.nodes["z"]["fn"]
    assert type(law) is (dist.OneHotCategorical if one_hot else dist.Independent)
    assert bool(law.support.check(trace.nodes["z"]["value"]).all())


def test_pyro_trains_with_it_under_validation() -> None:
    """Catches laws that check relaxed values against the discrete support."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.3))
            hot = pyro.sample("hot", dist.OneHotCategorical(torch.tensor([0.2, 0.3, 0.5])))
            pyro.sample("x", dist.Normal(z + hot[..., 0], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        logit, logits = pyro.param("logit", torch.tensor(0.5)), pyro.param("logits", torch.tensor([0.1, 0.2, -0.4]))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=logit))
            pyro.sample("hot", dist.OneHotCategorical(logits=logits))

    pyro.clear_param_store()
    loss = inference.Inference(inference.ELBO(2), inference.Relaxed())
    with pyro.validation_enabled(True):
        svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), loss=loss)
        assert math.isfinite(svi.step(torch.tensor([0.2, 1.3, 0.7])))
    assert pyro.param("logit").item() != 0.5 and bool((pyro.param("logits") != torch.tensor([0.1, 0.2, -0.4])).all())
    pyro.clear_param_store()


@pytest.mark.parametrize("name", ["relaxed", "straight-through", "disarm"])
def test_beside_a_negative_phase(name: str) -> None:
    """Catches a Boltzmann machine as prior that refuses relaxed bits, and an encoder that they do not train."""
    dvae = models.DiscreteVAE(8, latent=3, hidden=(4,))
    dvae.prepare(BITS)
    result = inference.resolve(name, dvae).bind(dvae, BITS, num_data=30).step(BITS)
    assert result.value.isfinite() and set(result.gradients) == {key for key, _ in dvae.named_parameters()}
    assert all(bool(g.isfinite().all()) for g in result.gradients.values())
    assert all(bool(g.any()) for key, g in result.gradients.items() if key.startswith("encoder"))


@pytest.mark.parametrize("one_hot", [False, True], ids=["bits", "one-hot"])
def test_masked_laws_keep_their_mask(one_hot: bool) -> None:
    """Catches a mask that is lost when the law at a site is replaced."""
    kept = torch.tensor([True, False, True])
    pair = Program(one_hot)
    plain = pair.law
    pair.law = lambda logits: plain(logits).expand([3]).mask(kept)
    bound = inference.Inference(inference.ELBO(), inference.Relaxed(0.7)).bind(pair, ROWS, num_data=3)
    torch.manual_seed(0)
    result = bound.step(ROWS)
    torch.manual_seed(0)
    logits = ROWS @ pair.up + pair.up_bias
    uniforms = torch.rand(logits.shape, dtype=torch.float64)
    if one_hot:
        z = ((logits - torch.log(-uniforms.log())) / 0.7).softmax(-1)
    else:
        z = ((logits + torch.logit(uniforms)) / 0.7).sigmoid()
    total = log_weight(pair, z.unsqueeze(0), logits, kept.double()).mean()
    torch.testing.assert_close(result.value, total.detach())
    for name, gradient in gradients(pair, total).items():
        torch.testing.assert_close(result.gradients[name], gradient)


def test_schedule_moves_the_temperature_of_a_traced_step() -> None:
    """Catches a temperature that a graph freezes, a count that does not move or is lost on the way to a checkpoint."""
    schedule = inference.Linear(steps=4, start=2.0, end=0.01)
    pair = models.SigmoidBeliefNet((8, 4, 3))
    pair.prepare(BITS)
    what = inference.Inference(inference.ELBO(), inference.Relaxed(schedule))
    assert inference.from_config(inference.to_config(what)) == what
    bound = what.bind(pair, BITS, num_data=30)
    bound.step(BITS)
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(BITS) is None
    results = {}
    for steps in (0.0, 2.0, 4.0):
        bound.load_state({"temperature.steps": torch.tensor(steps)})
        torch.manual_seed(0)
        results[steps] = traced(BITS)
        assert float(bound.state["temperature.steps"]) == steps + 1
    assert traced.num_traces == 1
    for steps, temperature in ((0.0, 2.0), (2.0, 1.005), (4.0, 0.01)):
        fixed = inference.Inference(inference.ELBO(), inference.Relaxed(temperature)).bind(pair, BITS, num_data=30)
        torch.manual_seed(0)
        expected = fixed.step(BITS)
        torch.testing.assert_close(results[steps].value, expected.value)
        for name, gradient in expected.gradients.items():
            torch.testing.assert_close(results[steps].gradients[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "temperature", [0, -1.0, inference.Linear(steps=3), inference.Linear(steps=3, start=1.0, end=0)]
)
@pytest.mark.parametrize("estimator", [inference.Relaxed, inference.StraightThrough])
def test_bad_temperatures(estimator, temperature) -> None:
    """Catches a division by zero in the middle of training."""
    with pytest.raises(ValueError, match="temperature must be a positive number or a schedule"):
        estimator(temperature=temperature)


def pair_of(law, stated=None) -> ppgen.Pair:
    """A pair whose guide draws z from a law, and whose model may state another."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(0.0, 1.0))
            z = pyro.sample("z", stated or law)
            z = z.reshape(len(x), -1).sum(-1) if z.dim() else z
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.tensor(0.3))
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(loc, 1.0))
            pyro.sample("z", law)

    return ppgen.Pair(model, guide)


ONE_HOT, BIT = dist.OneHotCategorical(torch.ones(3)), dist.Bernoulli(0.4)
REAL = dist.Normal(torch.zeros(3), 1.0).to_event(1)
AUTOREGRESSIVE = ppgen.distributions.AutoregressiveBernoulli(torch.zeros(2), torch.ones(2, 2))


@pytest.mark.parametrize(
    ("law", "stated", "estimator", "message"),
    [
        (dist.Categorical(torch.ones(3)), None, {"z": inference.Relaxed()}, "'z'.*Categorical.*OneHotCategorical"),
        (dist.Poisson(1.0), None, {"z": inference.StraightThrough()}, "'z'.*got Poisson. Use inference.LeaveOneOut"),
        (AUTOREGRESSIVE, None, {"z": inference.Relaxed()}, "'z'.*got AutoregressiveBernoulli. Use"),
        (BIT, dist.Poisson(1.0), {"z": inference.Relaxed()}, "'z'.*the model's law there is Poisson.*Use"),
        (ONE_HOT, REAL, {"z": inference.StraightThrough()}, "'z'.*the model's law there is Normal.*Use"),
        (BIT, None, {"a": inference.StickTheLanding(), "z": inference.Relaxed()}, "'a' leaves out.*Use inference.Path"),
        (BIT, None, inference.Relaxed(), "'a', which is reparameterised.*Use"),
    ],
)
def test_where_it_is_not_sound(law, stated, estimator, message: str) -> None:
    """Catches a relaxation of what cannot be relaxed, and a refusal that names neither site nor way out."""
    pair = pair_of(law, stated)
    batch = torch.tensor([0.3, 1.0])
    pair.prepare(batch)
    with pytest.raises(ValueError, match=message):
        inference.Inference(inference.ELBO(), estimator).bind(pair, batch, num_data=2)
