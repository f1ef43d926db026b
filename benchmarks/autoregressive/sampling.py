"""Costs: cached draws beside full passes, NADE's operator beside a loop, compiled steps beside eager ones.

    python -m benchmarks.autoregressive.sampling                  # writes results/autoregressive-sampling.json
    python -m benchmarks.autoregressive.sampling --rows draws     # these rows
    python -m benchmarks.autoregressive.sampling --quick          # a trial, seconds

`draws`: 100 vectors of 784 bits from untrained networks, by `Autoregressive.draw`, which steps from entry to entry, and
by as many full passes as there are entries, of which each repeat times a few; that both give the same vectors from the
same uniform numbers is checked on a few whole ones. `op`: value and gradient of NADE's likelihood, 100 rows, by the
operator and by a Python loop over entries with autograd. `step`: a step of `ppgen.fit(compile=True)` beside a loop
written by hand in PyTorch with a fused Adam.

One thread. Contenders take turns; milliseconds are medians, a ratio is the median of the ratios of neighbours with its
smallest and largest. All times are processor times; beside each row stands by how much the wall clock ran ahead of
them, which is about 0 on a machine that does nothing else.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.jobs import Job, begin
from benchmarks.speed import ours, synthetic
from ppgen import distributions, models
from ppgen import nn as networks

SETTINGS: dict[str, Any] = {
    "draws": 100,
    "batch_size": 100,
    "repeats": 7,
    "side": 28,
    "hidden": 500,
    "pixel": {"channels": 16, "layers": 6},
    "passes": 5,
    "steps": 10,
    "checked": 2,
}
QUICK: dict[str, Any] = {
    "draws": 4,
    "batch_size": 4,
    "repeats": 3,
    "side": 4,
    "hidden": 5,
    "pixel": {"channels": 2, "layers": 1},
    "passes": 2,
    "steps": 2,
}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    quick = "--quick" in (sys.argv[1:] if arguments is None else arguments)
    settings = {**SETTINGS, **QUICK} if quick else SETTINGS
    job = begin(__spec__.name, __doc__, settings, arguments)
    torch.set_num_threads(1)
    for name, model in laws(settings).items():
        _row(job, f"draws, {name}", lambda model=model: draws(model().law(), settings))
    _row(job, "op, NADE", lambda: nade(settings))
    if not quick:  # compiles, which takes longer than a trial may
        _row(
            job,
            "step, MADE",
            lambda: steps(models.MADE(784, (settings["hidden"],)), HandMADE(784, settings["hidden"]), settings),
        )
        pixel = models.PixelCNN((28, 28), **settings["pixel"])
        _row(job, "step, PixelCNN", lambda: steps(pixel, Passes(pixel.network), settings))
    return 0


def _row(job: Job, name: str, measure: Callable[[], Mapping[str, Any]]) -> None:
    if job.wants(name):
        torch.manual_seed(0)
        job.row(name, lambda _: measure())


def laws(settings: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """Models that are drawn from, untrained: what they cost does not depend on the weights."""
    side = settings["side"]
    return {
        "MADE": lambda: models.MADE(side**2, (settings["hidden"],)),
        "NADE": lambda: models.NADE(side**2, settings["hidden"]),
        "PixelCNN": lambda: models.PixelCNN((side, side), **settings["pixel"]),
        "gated PixelCNN": lambda: models.GatedPixelCNN((side, side), **settings["pixel"]),
    }


@torch.no_grad()
def draws(law: distributions.Autoregressive, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Cached draws beside full passes."""
    few, many = (law.uniforms(torch.Size([settings[name]])) for name in ("checked", "draws"))
    same = bool(torch.equal(law.draw(few), by_passes(law, few)))
    value, size = law.draw(many), law.event_shape[0]

    def passes() -> None:
        for _ in range(settings["passes"]):
            law.parameters(value)

    cached, one, load = turns(lambda: law.draw(many), passes, settings["repeats"])
    one = [each / settings["passes"] for each in one]
    return {
        "same draws": same,
        "draw, seconds": statistics.median(cached),
        "one pass, seconds": statistics.median(one),
        "in forward passes": ratios(cached, one),
        "over full passes": ratios([size * each for each in one], cached),
        "wall over processor": load,
    }


@torch.no_grad()
def by_passes(law: distributions.Autoregressive, uniforms: Tensor) -> Tensor:
    """Draws by a full pass for each entry."""
    value = torch.zeros(uniforms.shape[:-1])
    for position in range(value.shape[-1]):
        parameters = law.parameters(value)[..., position, :]
        value[..., position] = law.output.draw(parameters, uniforms[..., position, :])
    return value


def nade(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Value and gradient of NADE's likelihood by the operator and by a loop."""
    size = settings["side"] ** 2
    network = networks.NADENetwork(size, settings["hidden"])
    rows = torch.from_numpy(synthetic.bits(settings["batch_size"], size))
    weights = list(network.parameters())

    def gradients(parameters: Tensor) -> list[Tensor]:
        value = functional.binary_cross_entropy_with_logits(parameters.squeeze(-1), rows, reduction="sum")
        return list(torch.autograd.grad(value, weights))

    def loop() -> Tensor:
        inputs, found = network.hidden_bias.expand(len(rows), -1), []
        for position in range(size):
            found.append(torch.sigmoid(inputs) @ network.readout[position].T)
            inputs = inputs + rows[:, position, None] * network.weight[position]
        return torch.stack(found, 1) + network.bias

    pairs = zip(gradients(network(rows)), gradients(loop()), strict=True)
    close = all(torch.allclose(first, second, rtol=1e-3, atol=1e-4) for first, second in pairs)
    fused, looped, load = turns(lambda: gradients(network(rows)), lambda: gradients(loop()), settings["repeats"])
    return {
        "same gradients": close,
        "op, seconds": statistics.median(fused),
        "loop, seconds": statistics.median(looped),
        "loop over op": ratios(looped, fused),
        "wall over processor": load,
    }


class HandMADE(nn.Module):
    """A masked autoencoder of one hidden layer with direct weights, as its users write it."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.direct = nn.Linear(features, features, bias=False)
        degrees, entries = 1 + torch.arange(hidden) % (features - 1), 1 + torch.arange(features)
        self.register_buffer("before", (degrees[:, None] >= entries).float())
        self.register_buffer("behind", (entries[:, None] > degrees).float())
        self.register_buffer("lower", torch.ones(features, features).tril(-1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of all entries."""
        hidden = functional.linear(x, self.hidden.weight * self.before, self.hidden.bias).relu()
        direct = functional.linear(x, self.direct.weight * self.lower)
        return functional.linear(hidden, self.readout.weight * self.behind, self.readout.bias) + direct


class Passes(nn.Module):
    """A copy of a network of ours, for a loop of one's own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of all entries."""
        found: Tensor = self.network(x).squeeze(-1)
        return found


def steps(model: Any, by_hand: nn.Module, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Compiled steps beside a loop in PyTorch."""
    size, count = settings["batch_size"], settings["steps"]
    table = synthetic.bits(synthetic.BATCHES * size)
    compiled = ours.steps_of(model, table, "maximum-likelihood", "adam", synthetic.LEARNING_RATE, size, "ieee", "cpu")
    rows = torch.from_numpy(table)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=synthetic.LEARNING_RATE, fused=True)

    def eager() -> None:
        for _ in range(count):
            batch = rows[torch.randint(len(rows), (size,))]
            loss = functional.binary_cross_entropy_with_logits(by_hand(batch), batch, reduction="sum") / size
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    eager()
    own, hand, load = turns(lambda: compiled(count), eager, settings["repeats"])
    return {
        "milliseconds": 1e3 * statistics.median(own) / count,
        "by hand, milliseconds": 1e3 * statistics.median(hand) / count,
        "ours over by hand": ratios(own, hand),
        "wall over processor": load,
    }


def turns(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[list[float], list[float], float]:
    """Processor seconds of two contenders that take turns, and by which part the wall clock ran ahead of them."""
    first(), second()
    found: tuple[list[float], list[float]] = [], []
    began, used = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        for run, seconds in zip((first, second), found, strict=True):
            start = time.process_time()
            run()
            seconds.append(time.process_time() - start)
    used = time.process_time() - used
    return *found, round((time.perf_counter() - began) / used - 1, 2)


def ratios(above: list[float], below: list[float]) -> dict[str, float]:
    """Median ratio of neighbours, the smallest and the largest."""
    each = [one / other for one, other in zip(above, below, strict=True)]
    return {"median": statistics.median(each), "least": min(each), "most": max(each)}


if __name__ == "__main__":
    sys.exit(main())
