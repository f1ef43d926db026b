"""Programs of hard structures (plates, global latents, masks, scales, mixed sites) with their exact objectives."""

import contextlib
import math

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.inference.objectives.objective import average_in_log
from ppgen.testing.enumeration import enumerated, jointly, particles

ROWS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
SIGMAS, NODES = 4.5, 8


class Structure(ppgen.GenerativeModel):
    """One program of every structure; `normal` chooses the law of the latents inside the data plate."""

    def __init__(self, structure: str, normal: bool, size: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.structure, self.normal, self.size = structure, normal, size
        self.prior, self.weight, self.bias = weights(2), weights(2), weights(2)
        self.up, self.up_bias, self.top_prior, self.down = weights(2), weights(2), weights(1), weights(2)
        self.high_weight, self.high_bias, self.across = weights(2), weights(1), weights(2)

    def law(self, logits: Tensor, scale: float) -> dist.TorchDistribution:
        if self.normal:
            return dist.Normal(0.5 * logits, scale * torch.ones_like(logits))
        return dist.Bernoulli(logits=logits)

    def rows(self, x: Tensor, dim: int = -1) -> pyro.plate:
        if self.size is None:
            return pyro.plate("data", len(x), dim=dim)
        return pyro.plate("data", self.size, subsample=x, dim=dim)

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        getattr(self, f"{self.structure}_model")(x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        getattr(self, f"{self.structure}_guide")(x)

    def inner_model(self, x: Tensor) -> None:
        with self.rows(x, -2):
            top = pyro.sample("top", dist.Bernoulli(logits=self.top_prior))
            with pyro.plate("column", 2, dim=-1):
                low = pyro.sample("low", self.law(self.prior + top * self.down, 1.2))
                pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias), obs=x)

    def inner_guide(self, x: Tensor) -> None:
        with self.rows(x, -2):
            top = pyro.sample("top", dist.Bernoulli(logits=(x @ self.high_weight).unsqueeze(-1) + self.high_bias))
            with pyro.plate("column", 2, dim=-1):
                pyro.sample("low", self.law(x * self.up + self.up_bias + top * self.across, 0.7))

    def global_model(self, x: Tensor) -> None:
        top = pyro.sample("top", dist.Bernoulli(logits=self.top_prior[0]))
        with self.rows(x):
            low = pyro.sample("low", self.law(self.prior[0] + top * self.down[0], 1.2))
            logits = low.unsqueeze(-1) * self.weight + self.bias + 0.3 * top.unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def global_guide(self, x: Tensor) -> None:
        top = pyro.sample("top", dist.Bernoulli(logits=self.high_bias[0]))
        with self.rows(x):
            pyro.sample("low", self.law(x @ self.up + self.up_bias[0] + top * self.across[0], 0.7))

    def mask_model(self, x: Tensor) -> None:
        with self.rows(x):
            with poutine.mask(mask=x[..., 0] > 0.5):
                low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            with poutine.mask(mask=x[..., 1] > 0.5):
                logits = low * self.weight + self.bias + low.sum(-1, keepdim=True)
                pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def mask_guide(self, x: Tensor) -> None:
        with self.rows(x), poutine.mask(mask=x[..., 0] > 0.5):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def law_mask_model(self, x: Tensor) -> None:
        with self.rows(x):
            bits = (x[..., :1] > 0.5).expand(x.shape)
            low = pyro.sample("low", self.law(self.prior, 1.2).mask(bits).to_event(1))
            seen = (x[..., 1:] > 0.5).expand(x.shape)
            logits = low * self.weight + self.bias + low.sum(-1, keepdim=True)
            pyro.sample("x", dist.Bernoulli(logits=logits).mask(seen).to_event(1), obs=x)

    def law_mask_guide(self, x: Tensor) -> None:
        with self.rows(x):
            bits = (x[..., :1] > 0.5).expand(x.shape)
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).mask(bits).to_event(1))

    def scale_model(self, x: Tensor) -> None:
        with self.rows(x):
            with poutine.scale(scale=0.3):
                low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias).to_event(1), obs=x)

    def scale_guide(self, x: Tensor) -> None:
        with self.rows(x), poutine.scale(scale=0.3):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def plain_model(self, x: Tensor) -> None:
        with self.rows(x):
            low = pyro.sample("low", self.law(self.prior, 1.2).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=low * self.weight + self.bias).to_event(1), obs=x)

    def plain_guide(self, x: Tensor) -> None:
        with self.rows(x):
            pyro.sample("low", self.law(x * self.up + self.up_bias, 0.7).to_event(1))

    def lone_scale_model(self, x: Tensor) -> None:
        self.plain_model(x)

    def lone_scale_guide(self, x: Tensor) -> None:
        self.scale_guide(x)

    def lone_mask_model(self, x: Tensor) -> None:
        self.mask_model(x)

    def lone_mask_guide(self, x: Tensor) -> None:
        self.plain_guide(x)

    def mixed_model(self, x: Tensor) -> None:
        with self.rows(x):
            high = pyro.sample("high", dist.Bernoulli(logits=self.top_prior[0]))
            low = pyro.sample("low", dist.Normal(self.prior + high.unsqueeze(-1) * self.down, 1.2).to_event(1))
            logits = low * self.weight + self.bias + high.unsqueeze(-1)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def mixed_guide(self, x: Tensor) -> None:
        with self.rows(x):
            if self.normal:  # the continuous site first
                low = pyro.sample("low", dist.Normal(x * self.up + self.up_bias, 0.7).to_event(1))
                pyro.sample("high", dist.Bernoulli(logits=low @ self.high_weight + self.high_bias[0]))
            else:
                high = pyro.sample("high", dist.Bernoulli(logits=x @ self.high_weight + self.high_bias[0]))
                mean = x * self.up + self.up_bias + high.unsqueeze(-1) * self.across
                pyro.sample("low", dist.Normal(mean, 0.7).to_event(1))


def average(objective: inference.Objective, log_weights: Tensor) -> Tensor:
    """The objective of (particles, ...) log-weights."""
    if isinstance(objective, inference.ELBO):
        return log_weights.mean(0)
    power = getattr(objective, "power", 1.0)
    return average_in_log(power * log_weights) / power


def expected(
    pair: Structure, objective: inference.Objective, num_data: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Exact objective per datum and the gradient of minus it."""
    weights, mass = enumerated(pair, ROWS, nodes=NODES)
    if pair.structure == "global" and not isinstance(objective, inference.ELBO):
        outer = weights.guide_terms["top"].squeeze(1)
        table, probability = jointly(weights, mass, outer)
        local, probability = particles(table, probability, objective.num_particles)
        value = (probability.exp() * average(objective, local)).sum() / len(ROWS)
    else:
        count = 1 if isinstance(objective, inference.ELBO) else objective.num_particles
        local, probability = particles(weights.local, mass, count)
        value = (probability.exp() * average(objective, local)).sum(0).mean()
        if weights.outside is not None:
            value = value + (mass.exp()[:, 0] * weights.outside).sum() / (num_data or len(ROWS))
    named = dict(pair.named_parameters())
    gradients = torch.autograd.grad(-value, list(named.values()), allow_unused=True)
    return value.detach(), {name: g for name, g in zip(named, gradients, strict=True) if g is not None}


def measured(
    pair: Structure, what: inference.Inference, batch: Tensor, steps: int, num_data: int | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Values and gradients of independent steps: (steps, ...)."""
    torch.manual_seed(11)
    bound = what.bind(pair, batch, num_data=num_data or len(batch))
    results = [bound.step(batch) for _ in range(steps + 5)][5:]  # baselines have settled, unbiased as they are
    names = results[0].gradients
    values = torch.stack([result.value for result in results])
    return values, {name: torch.stack([r.gradients[name] for r in results]) for name in names}


def check(found: tuple[Tensor, dict[str, Tensor]], exact: tuple[Tensor, dict[str, Tensor]]) -> None:
    every = {"value": (found[0], exact[0])}
    for name, gradient in exact[1].items():
        if name in found[1]:
            every[name] = (found[1][name], gradient)
        else:
            assert float(gradient.abs().max()) < 1e-8, f"no gradient of {name}"
    for name, (draws, number) in every.items():
        error = draws.std(0) / math.sqrt(len(draws))
        deviation = (draws.mean(0) - number).abs()
        good = (deviation < SIGMAS * error) | (deviation < 1e-5)  # quadrature, where there is no noise
        assert bool(good.all()), (name, draws.mean(0), number, error)


MARK = {"enumerate": "parallel"}
X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0], [0.1, 0.2]], dtype=torch.float64)


class Mixture(ppgen.GenerativeModel):
    """x ~ sum_c p(c) N(mean_c + z, 1) over two columns; what the guide draws of c and z is chosen."""

    def __init__(self, law: str = "categorical", drawn: str = "c", by_hand: bool = False, mask: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        self.law, self.drawn, self.by_hand, self.mask = law, drawn, by_hand, mask
        self.prior, self.means, self.tilt = weights(3), weights(3, 2), weights(3)
        self.up, self.bias, self.mean, self.mean_bias = weights(2, 3), weights(3), weights(2), weights(1)

    def choice(self, logits: Tensor) -> dist.TorchDistribution:
        return (dist.OneHotCategorical if self.law == "one-hot" else dist.Categorical)(logits=logits)

    def seen(self, x: Tensor) -> contextlib.AbstractContextManager:
        return poutine.mask(mask=x[:, 0] > 0) if self.mask else contextlib.nullcontext()

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)), self.seen(x):
            shift, logits = 0.0, self.prior
            if "z" in self.drawn:
                z = pyro.sample("z", dist.Normal(self.prior.new_tensor(0.2), self.prior.new_tensor(1.0)))
                shift, logits = z[..., None, None], self.prior + z.unsqueeze(-1) * self.tilt
            if self.by_hand:
                parts = dist.Normal(self.means + shift, torch.ones_like(self.means)).to_event(1)
                pyro.sample("x", dist.MixtureSameFamily(dist.Categorical(logits=logits), parts), obs=x)
                return
            c = pyro.sample("c", self.choice(logits), infer={} if "c" in self.drawn else MARK)
            means = c @ self.means if self.law == "one-hot" else self.means[c]
            means = means if isinstance(shift, float) else means + shift.squeeze(-1)
            pyro.sample("x", dist.Normal(means, torch.ones_like(means)).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)), self.seen(x):
            if "z" in self.drawn:
                pyro.sample("z", dist.Normal(x @ self.mean + self.mean_bias[0], self.prior.new_tensor(0.8)))
            if "c" in self.drawn:
                pyro.sample("c", self.choice(x @ self.up + self.bias))

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(c, x) without z: (rows, 3)."""
        law = dist.Normal(self.means, torch.ones_like(self.means)).to_event(1)
        return self.prior.log_softmax(-1) + law.log_prob(x.unsqueeze(1))


def gradients(pair: nn.Module, value: Tensor) -> dict[str, Tensor]:
    named = dict(pair.named_parameters())
    found = torch.autograd.grad(-value, list(named.values()), allow_unused=True, retain_graph=True)
    return {name: g for name, g in zip(named, found, strict=True) if g is not None}


def assert_exact(pair: nn.Module, result: inference.StepResult, value: Tensor) -> None:
    """The step's value and gradients are those of a scalar."""
    torch.testing.assert_close(result.value, value.detach(), rtol=1e-9, atol=1e-10)
    exact = gradients(pair, value)
    for name in set(exact) | set(result.gradients):
        zero = torch.zeros_like(dict(pair.named_parameters())[name])
        found = result.gradients.get(name, zero)
        torch.testing.assert_close(found, exact.get(name, zero), rtol=1e-8, atol=1e-9)
