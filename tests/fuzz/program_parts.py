"""Random small programs, and what they are worth by sums over all states and quadrature, without Pyro and ppgen."""

import contextlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from ppgen.pair import Pair

VALUES = {"bernoulli": 2, "categorical": 3, "normal": 1}  # entries of a variable's features; of a bit one is left out

# From the plainest on, so that what fails shrinks to the front.
CHOICES: dict[str, Sequence[Any]] = {
    "latents": (
        ("bernoulli",),
        ("normal",),
        ("categorical",),
        ("bernoulli", "bernoulli"),
        ("bernoulli", "normal"),
        ("normal", "bernoulli"),
        ("categorical", "bernoulli"),
        ("normal", "normal"),
        ("normal", "categorical"),
        ("bernoulli", "categorical", "bernoulli"),
        ("bernoulli", "normal", "bernoulli"),
    ),
    "layout": ("scalar", "event", "columns", "left"),
    "observed": ("bernoulli", "normal", "categorical", "poisson"),
    "mask": ("none", "handler", "law"),
    "guide": ("mean field", "structured", "exact", "off"),
    "summed": (False, True),
    "dtype": (torch.float64, torch.float32),
    "rows": (3, 1, 4),
    "strength": (0.7, 1.5),
    "chunk": (None, 64, 1000),
    "seed": tuple(range(20)),
}


@dataclass(frozen=True)
class Spec:
    """What a random program is made of.

    Args:
        latents: Laws of its latent sites, in order; each depends on all before it.
        layout: `"scalar"`: one variable a row; `"event"`: vectors, by `to_event`; `"columns"`: a plate within the data
            plate, which then is at dim -2; `"left"`: the data plate at dim -2 and nothing right of it.
        observed: Law of the observed site.
        mask: How some values are left out: not at all, by `poutine.mask`, by `law.mask`.
        guide: Its form; what cannot be exact is of mean field.
        summed: Whether the last latent, if it is discrete, is marked to be enumerated and left out of the guide.
        dtype: Of parameters and data.
        rows: Rows of data.
        strength: Standard deviation of the weights.
        chunk: Of evaluations.
        seed: Of parameters and data.
    """

    latents: tuple[str, ...]
    layout: str
    observed: str
    mask: str
    guide: str
    summed: bool
    dtype: torch.dtype
    rows: int
    strength: float
    chunk: int | None
    seed: int

    @classmethod
    def random(cls, source: random.Random) -> "Spec":
        return cls(**{name: source.choice(values) for name, values in CHOICES.items()})

    @property
    def continuous(self) -> bool:
        return all(kind == "normal" for kind in self.latents)

    @property
    def sums_out(self) -> bool:
        return self.summed and self.latents[-1] != "normal" and self.layout != "event" and self.guide != "exact"

    @property
    def exact(self) -> bool:
        return self.guide == "exact" and "normal" not in self.latents and self.layout in ("scalar", "left")


class Unresolved(Exception):
    """Quadrature with other nodes tells another number: the program is no test."""


class RandomProgram(nn.Module):
    """The program of a `Spec`: its parts as laws of plain torch, and the Pyro programs made of them."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.generator = torch.Generator().manual_seed(spec.seed)
        self.width = 2 if spec.layout in ("event", "columns") else 1
        outer = spec.layout == "columns" and len(spec.latents) > 1
        self.sizes = [1 if outer and index == 0 else self.width for index in range(len(spec.latents))]
        self.kinds = [*spec.latents, spec.observed]
        self.names = [f"z{index}" for index in range(len(spec.latents))]
        self.guided = self.names[:-1] if spec.sums_out else self.names
        self.inner = [spec.layout == "columns" and size == self.width for size in [*self.sizes, self.width]]
        tables = nn.ParameterDict()
        for index, kind in enumerate(self.kinds):
            size, outputs = [*self.sizes, self.width][index], 3 if kind == "categorical" else 1
            tables[f"bias{index}"] = self.weights(size, outputs)
            for other in range(index):
                shape = (size, outputs, self.sizes[other], VALUES[self.kinds[other]])
                tables[f"weight{index}{other}"] = self.weights(*shape)
            if index == len(spec.latents):
                continue
            tables[f"guide{index}"] = self.weights(size, outputs, self.width)
            tables[f"guide_bias{index}"] = self.weights(size, outputs)
            if spec.guide == "off":
                tables[f"guide_bias{index}"].data += 3.0
            for other in range(index if spec.guide == "structured" else 0):
                shape = (size, outputs, self.sizes[other], VALUES[self.kinds[other]])
                tables[f"guide_weight{index}{other}"] = self.weights(*shape)
        self.tables = tables

    def weights(self, *shape: int) -> nn.Parameter:
        drawn = torch.randn(*shape, generator=self.generator, dtype=torch.float64) * self.spec.strength
        return nn.Parameter(drawn.to(self.spec.dtype))

    def data(self) -> Any:
        """A batch: values, and where there is a mask what is seen of them."""
        shape = (self.spec.rows, self.width)
        uniforms = torch.rand(shape, generator=self.generator)
        if self.spec.observed == "normal":
            x = torch.randn(shape, generator=self.generator, dtype=torch.float64).mul(1.5)
        else:
            x = (uniforms * {"bernoulli": 2, "categorical": 3, "poisson": 4}[self.spec.observed]).floor()
        seen = torch.rand(shape, generator=self.generator) < 0.7
        seen[0] = True
        if self.spec.layout == "scalar":
            x, seen = x[..., 0], seen[..., 0]
        x = x.long() if self.spec.observed == "categorical" else x.to(self.spec.dtype)
        return x if self.spec.mask == "none" else (x, seen)

    def features(self, index: int, value: Tensor) -> Tensor:
        """What others see of a latent variable: (..., size, entries)."""
        value = value.expand(*value.shape[:-1], self.sizes[index])
        if self.kinds[index] == "normal":
            return value.unsqueeze(-1)
        return nn.functional.one_hot(value.long(), VALUES[self.kinds[index]]).to(self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self.tables["bias0"].dtype

    def joined(self, prefix: str, index: int, values: Sequence[Tensor]) -> Tensor:
        """Contribution of earlier variables to a law: (..., size, outputs)."""
        total: Any = 0.0
        for other, value in enumerate(values):
            weight = self.tables[f"{prefix}{index}{other}"]
            if self.inner[index] and self.inner[other]:  # columns of a plate are independent
                weight = weight * torch.eye(self.width, dtype=weight.dtype)[:, None, :, None]
            total = total + torch.einsum("...sk,tosk->...to", self.features(other, value), weight)
        return total

    def law(self, index: int, values: Sequence[Tensor]) -> Any:
        """Law of a site of the model given the values (..., size) of those before it; elements are the last dim."""
        return self.made(index, self.tables[f"bias{index}"] + self.joined("weight", index, values), 1.0)

    def guide_law(self, index: int, values: Sequence[Tensor], x: Tensor) -> Any:
        """The same for the guide, which sees the data (..., width)."""
        weight = self.tables[f"guide{index}"]
        if self.inner[index]:
            weight = weight * torch.eye(self.width, dtype=weight.dtype)[:, None, :]
        inputs = torch.einsum("...s,tos->...to", x.to(self.dtype).tanh(), weight) + self.tables[f"guide_bias{index}"]
        if self.spec.guide == "structured":
            inputs = inputs + self.joined("guide_weight", index, values)
        return self.made(index, inputs, 0.4 if self.spec.guide == "off" else 0.8)

    def made(self, index: int, inputs: Tensor, scale: float) -> Any:
        kind = self.kinds[index]
        if kind == "bernoulli":
            return dist.Bernoulli(logits=inputs[..., 0])
        if kind == "categorical":
            return dist.Categorical(logits=inputs)
        if kind == "poisson":
            return dist.Poisson(nn.functional.softplus(inputs[..., 0]) + 0.1)
        return dist.Normal(inputs[..., 0], scale * torch.ones_like(inputs[..., 0]))

    # The Pyro programs.

    def rows(self, x: Tensor) -> pyro.plate:
        return pyro.plate("data", len(x), dim=-2 if self.spec.layout in ("columns", "left") else -1)

    def columns(self) -> list[Any]:
        """Plate of each site within that of the data, one and the same, or none."""
        plate = pyro.plate("column", self.width, dim=-1) if any(self.inner) else None
        return [plate if inner else contextlib.nullcontext() for inner in self.inner]

    def shaped(self, index: int, law: Any, seen: Tensor | None = None) -> Any:
        """The law in the shape of its plates and events, masked."""
        if self.spec.layout == "scalar":
            law = _without_last(law)
        law = law if seen is None else law.mask(seen)
        return law.to_event(1) if self.spec.layout == "event" else law

    def lifted(self, value: Tensor) -> Tensor:
        return value.unsqueeze(-1) if self.spec.layout == "scalar" else value

    def model(self, x: Tensor, seen: Tensor | None = None) -> None:
        handler = self.spec.mask == "handler"
        with self.rows(x):
            values: list[Tensor] = []
            placed = self.columns()
            for index, name in enumerate(self.names):
                infer = {"enumerate": "parallel"} if name not in self.guided else {}
                with placed[index]:
                    drawn = pyro.sample(name, self.shaped(index, self.law(index, values)), infer=infer)
                values.append(self.lifted(drawn))
            law = self.law(len(values), values)
            with contextlib.ExitStack() as stack:
                if handler:
                    stack.enter_context(poutine.mask(mask=seen[..., 0] if self.spec.layout == "event" else seen))
                with placed[len(values)]:
                    pyro.sample("x", self.shaped(len(values), law, None if handler else seen), obs=x)

    def guide(self, x: Tensor, seen: Tensor | None = None) -> None:
        with self.rows(x):
            values: list[Tensor] = []
            placed = self.columns()
            for index, name in enumerate(self.guided):
                infer = {"posterior": "exact"} if self.spec.exact else {}
                law = self.posterior(index, values, x, seen) if self.spec.exact else None
                law = self.guide_law(index, values, self.lifted(x)) if law is None else law
                with placed[index]:
                    drawn = pyro.sample(name, self.shaped(index, law), infer=infer)
                values.append(self.lifted(drawn))

    def posterior(self, index: int, values: Sequence[Tensor], x: Tensor, seen: Tensor | None) -> Any:
        """p(z | earlier values, x) of a discrete latent of one element, by the sum over all states."""
        joint, _ = self.joint(self.lifted(x), None if seen is None else self.lifted(seen))
        counts = [VALUES[kind] for kind in self.spec.latents]
        table = joint.reshape(math.prod(counts[:index]), counts[index], -1, joint.shape[-1]).logsumexp(2)
        where: Any = torch.zeros(x.shape[0], dtype=torch.long)
        for value, count in zip(values, counts, strict=False):
            where = where * count + value[..., 0].long()
        logits = table.permute(2, 0, 1)[torch.arange(x.shape[0]), where].unsqueeze(-2)
        if self.kinds[index] == "bernoulli":
            return dist.Bernoulli(logits=logits[..., 1] - logits[..., 0])
        return dist.Categorical(logits=logits)

    # What they are worth.

    def joint(self, x: Tensor, seen: Tensor | None, nodes: int = 40) -> tuple[Tensor, Tensor]:
        """log p(x, z) at each point, the quadrature's weights in it, and log p(x): (points, rows) and (rows,)."""
        values: list[Tensor] = []
        total: Any = 0.0
        for index, (column, constant) in enumerate(self.grid(range(len(self.names)), nodes)):
            law = self.law(index, values)
            normal = self.kinds[index] == "normal"
            values.append(law.loc + law.scale * column if normal else column)
            total = total + (constant if normal else law.log_prob(column).sum(-1))
        total = total + self.seen(self.law(len(values), values).log_prob(x), seen)
        return total, total.logsumexp(0)

    def bound_terms(self, x: Tensor, seen: Tensor | None, nodes: int) -> tuple[Tensor, Tensor]:
        """Log-weights of one particle at each value of the guide's latents, and its log-probability: (points, rows)."""
        guided = range(len(self.guided))
        values: list[Tensor] = []
        mass, weight = torch.zeros(len(x), dtype=self.dtype), torch.zeros(len(x), dtype=self.dtype)
        for index, (column, constant) in enumerate(self.grid(guided, nodes)):
            law, stated = self.guide_law(index, values, x), self.law(index, values)
            normal = self.kinds[index] == "normal"
            value = law.loc + law.scale * column if normal else column
            drawn = law.log_prob(value).sum(-1)
            weight = weight + stated.log_prob(value).sum(-1) - drawn
            mass = mass + (constant if normal else drawn)
            values.append(value)
        last = len(self.names) - 1
        if self.spec.sums_out:
            states = self.states(last, 1)[0].reshape(-1, 1, 1, self.sizes[last])
            law = self.law(last, values)
            inner = self.seen(self.law(last + 1, [*values, states]).log_prob(x), seen)
            weight = weight + (law.log_prob(states).sum(-1) + inner).logsumexp(0)
        else:
            weight = weight + self.seen(self.law(last + 1, values).log_prob(x), seen)
        return weight, mass

    def seen(self, log_prob: Tensor, seen: Tensor | None) -> Tensor:
        """Sum over the elements (..., width) that are seen."""
        if seen is None:
            return log_prob.sum(-1)
        if self.spec.mask == "handler" and self.spec.layout == "event":
            seen = seen[..., :1]
        return log_prob.where(seen, torch.zeros_like(log_prob)).sum(-1)

    def states(self, index: int, nodes: int) -> tuple[Tensor, Tensor]:
        """Values of a site, or of a Normal one's noise, and the weights of those: (states, size), (states,)."""
        size = self.sizes[index]
        if self.kinds[index] == "normal":
            points, weights = np.polynomial.hermite_e.hermegauss(nodes)
            axis = torch.from_numpy(points).to(self.dtype)
            mass = torch.from_numpy(np.log(weights) - 0.5 * math.log(2 * math.pi)).to(self.dtype)
        else:
            axis = torch.arange(VALUES[self.kinds[index]]).to(self.dtype)
            mass = torch.zeros_like(axis)
        place = torch.cartesian_prod(*[torch.arange(len(axis))] * size).reshape(-1, size)
        return axis[place], mass[place].sum(-1)

    def grid(self, which: Sequence[int], nodes: int) -> list[tuple[Tensor, Tensor]]:
        """The same for some sites at every combination: (points, 1, size), (points, 1)."""
        each = [self.states(index, nodes) for index in which]
        place = torch.cartesian_prod(*(torch.arange(len(mass)) for _, mass in each)).reshape(-1, len(each))
        return [
            (values[at].unsqueeze(1), mass[at].unsqueeze(1)) for (values, mass), at in zip(each, place.T, strict=True)
        ]

    @torch.no_grad()
    def log_evidence(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """log p(x) of each row, float64."""
        double = RandomProgram(self.spec).double()
        double.load_state_dict(self.state_dict())
        x = self.lifted(x) if self.spec.observed == "categorical" else self.lifted(x).double()
        seen = None if seen is None else self.lifted(seen)
        found, again = (double.joint(x, seen, nodes)[1] for nodes in (40, 29))
        if (found - again).abs().max() > 1e-4:
            raise Unresolved(f"{float((found - again).abs().max()):.2g} nats between 40 and 29 nodes")
        return found

    @torch.no_grad()
    def weight_variance(self, x: Tensor, seen: Tensor | None, log_evidence: Tensor) -> Tensor:
        """Variance of w / E[w] under the guide, of each row; infinite where quadrature does not find p(x) by it."""
        if self.spec.exact or not self.guided:
            return torch.zeros(len(x), dtype=torch.float64)
        double = RandomProgram(self.spec).double()
        double.load_state_dict(self.state_dict())
        x = self.lifted(x) if self.spec.observed == "categorical" else self.lifted(x).double()
        weights, mass = double.bound_terms(x, None if seen is None else self.lifted(seen), 40)
        first, second = (mass + weights).logsumexp(0), (mass + 2 * weights).logsumexp(0)
        variance = (second - 2 * log_evidence).exp() - 1
        return variance.where((first - log_evidence).abs() < 0.01, torch.inf)


def make(spec: Spec) -> tuple[Pair, RandomProgram, Any]:
    """Pair, its parts and a batch."""
    program = RandomProgram(spec)
    return Pair(program.model, program.guide), program, program.data()


def _without_last(law: Any) -> Any:
    """A law of one element without the dimension of elements."""
    if isinstance(law, dist.Normal):
        return dist.Normal(law.loc[..., 0], law.scale[..., 0])
    if isinstance(law, dist.Categorical):
        return dist.Categorical(logits=law.logits[..., 0, :])
    if isinstance(law, dist.Poisson):
        return dist.Poisson(law.rate[..., 0])
    return dist.Bernoulli(logits=law.logits[..., 0])
