"""Small programs of binary latents, all of whose values can be gone through, with sites that not all depends on."""

from typing import Any, NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

DATA = torch.tensor([0.5, -1.2], dtype=torch.float64)
TABLE = torch.tensor([[0.5, -1.2], [0.1, 2.0]], dtype=torch.float64)


class Program(NamedTuple):
    """A model, its guide and the data."""

    model: Any
    guide: Any
    data: Tensor


def logit(name: str, *shape: int) -> Any:
    """A parameter of a guide."""
    size = torch.Size(shape).numel()
    return pyro.param(name, lambda: torch.linspace(-0.8, 0.7, size, dtype=torch.float64).reshape(shape))


def bits(name: str, chance: Any = None, logits: Any = None) -> Any:
    """Draw of a binary site."""
    probs = None if chance is None else torch.as_tensor(chance, dtype=torch.float64)
    return pyro.sample(name, dist.Bernoulli(probs=probs, logits=logits))


def seen(name: str, loc: Any, x: Any) -> None:
    """An observed site."""
    pyro.sample(name, dist.Normal(torch.as_tensor(loc, dtype=torch.float64), 1.0), obs=x)


def plates(x: Tensor) -> tuple[Any, Any]:
    """The data plate, and one inside of it."""
    return pyro.plate("data", x.shape[-1], dim=-1), pyro.plate("inner", x.shape[0], dim=-2)


def inner_model(x: Tensor) -> None:
    data, inner = plates(x)
    with data, inner:
        seen("x", 2 * bits("z", 0.3) - 0.5, x)


def inner_guide(x: Tensor) -> None:
    data, inner = plates(x)
    strength = logit("strength")
    with data, inner:
        bits("z", logits=strength)


def tied_model(x: Tensor) -> None:  # of each datum, a draw outside of the inner plate and one site that sees all of it
    data, inner = plates(x)
    with data:
        top = bits("top", 0.4)
        with inner:
            z = bits("z", 0.2 + 0.5 * top)
            seen("x", 2 * z - 0.5, x)
        seen("y", z.sum(-2, keepdim=True), x[0])


def tied_guide(x: Tensor) -> None:
    data, inner = plates(x)
    strength, shift = logit("strength", 2), logit("shift")
    with data:
        top = bits("top", logits=shift + x[0])
        with inner:
            bits("z", logits=strength[0] * top + strength[1] + x)


def chain_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        first = bits("first", 0.3)
        seen("x", 2 * bits("second", 0.2 + 0.5 * first) - 1, x)


def forward_guide(x: Tensor) -> None:
    strength, shift = logit("strength", 2), logit("shift")
    with pyro.plate("data", len(x)):
        bits("second", logits=strength[0] * bits("first", logits=shift) + strength[1])


def backward_guide(x: Tensor) -> None:
    strength, shift = logit("strength", 2), logit("shift")
    with pyro.plate("data", len(x)):
        bits("first", logits=strength[0] * bits("second", logits=shift + x) + strength[1])


def lone_guide(x: Tensor) -> None:
    strength, shift = logit("strength"), logit("shift")
    with pyro.plate("data", len(x)):
        bits("first", logits=shift + x)
        bits("second", logits=strength - x)


def sibling_model(x: Tensor) -> None:
    with pyro.plate("data", 1, dim=-1):
        with pyro.plate("left", 2, dim=-2):
            left = bits("left_z", 0.3)
            seen("left_x", 2 * left, x[0].reshape(2, 1))
        with pyro.plate("right", 2, dim=-2):
            right = bits("right_z", 0.6)
            seen("right_x", 1 - right, x[1].reshape(2, 1))
        seen("both", left.sum(-2, keepdim=True) - right.sum(-2, keepdim=True), x[0, :1])


def sibling_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    with pyro.plate("data", 1, dim=-1):
        with pyro.plate("left", 2, dim=-2):
            bits("left_z", logits=strength[0])
        with pyro.plate("right", 2, dim=-2):
            bits("right_z", logits=strength[1])


def global_model(x: Tensor) -> None:
    top = bits("top", 0.4)
    with pyro.plate("data", 6, subsample=x):
        seen("x", 2 * bits("z", 0.2 + 0.5 * top) - 1, x)


def global_guide(x: Tensor) -> None:
    strength, shift = logit("strength"), logit("shift")
    bits("top", logits=shift)
    with pyro.plate("data", 6, subsample=x):
        bits("z", logits=strength + x)


def late_model(x: Tensor) -> None:  # a latent, with data of its own, after the likelihood
    with pyro.plate("data", len(x)):
        seen("x", bits("z", 0.3), x)
        seen("y", 1 - 2 * bits("late", 0.6), x - 1)


def late_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    with pyro.plate("data", len(x)):
        bits("z", logits=strength[0])
        bits("late", logits=strength[1] - x)


def topics_model(x: Tensor) -> None:  # a plate that is not that of the data, around draws of which all rows depend on
    with pyro.plate("topic", 2, dim=-2):
        topics = bits("topics", 0.4)
        seen("prior", topics, torch.tensor([[0.3], [1.4]], dtype=torch.float64))
    with pyro.plate("data", 6, subsample=x):
        seen("x", topics.sum() * bits("z", 0.3), x)


def topics_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    with pyro.plate("topic", 2, dim=-2):
        bits("topics", logits=strength[0])
    with pyro.plate("data", 6, subsample=x):
        bits("z", logits=strength[1] + x)


def smooth_model(x: Tensor) -> None:  # a reparameterised site between
    with pyro.plate("data", len(x)):
        z, other = bits("z", 0.3), bits("other", 0.6)
        y = pyro.sample("y", dist.Normal(2 * z - 1, torch.ones_like(x)))
        seen("x", y, x)
        seen("w", other, x - 1)


def smooth_guide(x: Tensor) -> None:
    strength, shift = logit("strength", 3), logit("shift")
    with pyro.plate("data", len(x)):
        z = bits("z", logits=strength[0] + x)
        pyro.sample("y", dist.Normal(z * strength[1] + shift, torch.ones_like(x)))
        bits("other", logits=strength[2])


def scaled_model(x: Tensor) -> None:  # a subsample of an inner plate, a scale and a mask
    with pyro.plate("data", 6, subsample=x[0], dim=-1), pyro.plate("inner", 5, subsample_size=2, dim=-2):
        z = bits("z", 0.3)
        with pyro.poutine.scale(scale=0.7):
            seen("x", 2 * z, x)
        with pyro.poutine.mask(mask=x > 0):
            seen("y", 1 - z, x)


def scaled_guide(x: Tensor) -> None:
    strength = logit("strength")
    with pyro.plate("data", 6, subsample=x[0], dim=-1), pyro.plate("inner", 5, subsample_size=2, dim=-2):
        bits("z", logits=strength)


def group_model(x: Tensor) -> None:  # no data plate: the plate has fewer elements than the data
    top = bits("top", 0.3)
    with pyro.plate("group", 2):
        z = bits("z", 0.6)
        seen("y", 2 * z - 1, x[1:])
    seen("x", top, x[0])


def group_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    bits("top", logits=strength[0])
    with pyro.plate("group", 2):
        bits("z", logits=strength[1] + x[1:])


AGAINST_PYRO = {
    "no data plate": Program(group_model, group_guide, TABLE.flatten()[:3]),
    "inner plate": Program(inner_model, inner_guide, TABLE),
    "inner plate that meets again": Program(tied_model, tied_guide, TABLE[:, :1]),
    "forward chain": Program(chain_model, forward_guide, DATA[:1]),
    "backward chain": Program(chain_model, backward_guide, DATA),
    "chain, independent guide": Program(chain_model, lone_guide, DATA[:1]),
    "sibling plates": Program(sibling_model, sibling_guide, TABLE),
    "global latent": Program(global_model, global_guide, DATA),
    "after the likelihood": Program(late_model, late_guide, DATA[:1]),
    "plate outside the data": Program(topics_model, topics_guide, DATA),
    "reparameterised between": Program(smooth_model, smooth_guide, DATA[:1]),
    "scales and masks": Program(scaled_model, scaled_guide, TABLE),
}


def branch_model(x: Tensor) -> None:  # control flow by a value: no operation of a tensor joins `first` and `x`
    first, second = bits("first", 0.3), bits("second", 0.6)
    loc = second * 2 if first > 0 else torch.ones((), dtype=torch.float64)
    with pyro.plate("data", len(x)):
        seen("x", loc, x)


def branch_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    first = bits("first", logits=strength[0])
    bits("second", logits=strength[1] + (1.0 if first.item() else -0.5))
    with pyro.plate("data", len(x)):
        pass


def numpy_model(x: Tensor) -> None:
    first, second = bits("first", 0.3), bits("second", 0.6)
    with pyro.plate("data", len(x)):
        seen("x", float(first.numpy() * 2 - 1), x)
        seen("y", torch.tensor([second, second.tolist()], dtype=torch.float64).sum(), x)


def numpy_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    bits("first", logits=strength[0])
    bits("second", logits=strength[1])
    with pyro.plate("data", len(x)):
        pass


class Doubled(torch.autograd.Function):
    """A function with a gradient of its own that writes in place."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        kept = torch.zeros_like(value)
        kept.copy_(value).mul_(2)
        return kept

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return 2 * gradient


def written_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        first, second = bits("first", 0.3), bits("second", 0.6)
        table = torch.zeros(2, len(x), dtype=torch.float64)
        table[0], table[1] = Doubled.apply(first), second
        seen("x", table[0] - 1, x)
        seen("y", torch.where(second.bool(), 1.0, -0.5), x)


def convolved_model(x: Tensor) -> None:  # elements of the inner plate that see each other's draws
    data, inner = plates(x)
    with data, inner:
        z = bits("z", 0.3)
        seen("x", 2 * z - z.roll(1, -2), x)


def any_model(x: Tensor) -> None:  # all of them, so that moving some of a draw of few shows nothing
    data, inner = plates(x)
    with data, inner:
        z = bits("z", 0.3)
        seen("x", 2 * z - (1.0 if z.sum() > 4 else 0.0), x)


def around_model(x: Tensor) -> None:  # from the inner plate to the inner plate by a draw outside of it
    data, inner = plates(x)
    with data:
        with inner:
            z = bits("z", 0.3)
        top = bits("top", 0.2 + 0.25 * z.sum(-2, keepdim=True))
        with inner:
            seen("x", 2 * top - 1 + z, x)


def around_guide(x: Tensor) -> None:
    data, inner = plates(x)
    strength = logit("strength", 2)
    with data:
        with inner:
            z = bits("z", logits=strength[0])
        bits("top", logits=strength[1] * z.sum(-2, keepdim=True))


def rows_model(x: Tensor) -> None:  # the same with the data plate
    data = pyro.plate("data", len(x))
    with data:
        z = bits("z", 0.3)
    top = bits("top", 0.2 + 0.25 * z.sum())
    with data:
        seen("x", 2 * top - 1 + z, x)


def rows_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    with pyro.plate("data", len(x)):
        z = bits("z", logits=strength[0])
    bits("top", logits=strength[1] * z.sum())


def auxiliary_guide(x: Tensor) -> None:
    strength, shift = logit("strength", 2), logit("shift")
    with pyro.plate("data", len(x)):
        chosen = pyro.sample("chosen", dist.Bernoulli(logits=shift), infer={"is_auxiliary": True})
        bits("first", logits=strength[0] * chosen)
        bits("second", logits=strength[1] + x)


def loop_model(x: Tensor) -> None:
    with pyro.plate("data", len(x[0])):
        for step in pyro.plate("steps", 2):
            seen(f"x{step}", bits(f"z{step}", 0.3), x[step])


def loop_guide(x: Tensor) -> None:
    strength = logit("strength", 2)
    with pyro.plate("data", len(x[0])):
        for step in pyro.plate("steps", 2):
            bits(f"z{step}", logits=strength[step])


HARD = {
    "branches": Program(branch_model, branch_guide, DATA),
    "numbers": Program(numpy_model, numpy_guide, DATA),
    "written in place": Program(written_model, lone_guide, DATA[:1]),
    "elements that are joined": Program(convolved_model, inner_guide, TABLE[:, :1]),
    "elements joined by a branch": Program(any_model, inner_guide, TABLE.reshape(4, 1)[[0, 1, 2, 3, 0]]),
    "around by a draw outside": Program(around_model, around_guide, TABLE[:, :1]),
    "around the data plate": Program(rows_model, rows_guide, DATA),
    "auxiliary site": Program(chain_model, auxiliary_guide, DATA[:1]),
    "loop over a plate": Program(loop_model, loop_guide, TABLE[:, :1]),
}
