"""Steps in which sites are summed out beside Pyro's `TraceEnum_ELBO`: value and gradients, in turns, as a ratio.

    python -m benchmarks.speed.elimination                       # a chain of 3 states, 40 steps, 50 sequences
    python -m benchmarks.speed.elimination --steps 400 --repeats 2
    python -m benchmarks.speed.elimination topics --steps 64     # 8 topics, 64 words, 50 documents

It prints the milliseconds of both, what tracing and compiling ours cost, and how far value and gradients differ.
Seconds of the processor, with those of the C++ compiler, stand beside those of the clock: a machine that does other
things too changes them less. The first run of a machine tries its instructions, and fills Inductor's cache, which later
runs use; an empty folder as TORCHINDUCTOR_CACHE_DIR measures it again.
"""

import argparse
import time
from collections.abc import Callable
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.training.steps.traced_step import TracedStep

STATES, TOPICS, VOCABULARY, ROWS = 3, 8, 100, 50


class Summed(ppgen.GenerativeModel):
    """A model of which nothing is left to the guide."""

    @pyro.nn.module.pyro_method
    def guide(self, y: Tensor) -> None:
        """Nothing: all latents are summed out."""


class HiddenMarkov(Summed):
    """A chain of categories with Normal emissions."""

    plate = "sequence"

    def __init__(self) -> None:
        super().__init__()
        self.transition = nn.Parameter((torch.eye(STATES) * 0.7 + 0.1).log().double())
        self.loc = nn.Parameter(torch.linspace(-3.0, 3.0, STATES).double())

    @staticmethod
    def data(steps: int) -> Tensor:
        """Sequences of numbers."""
        return torch.randn(ROWS, steps, dtype=torch.float64)

    @pyro.nn.module.pyro_method
    def model(self, y: Tensor) -> None:
        """Hidden states, one a step, and what they emit."""
        probs, loc = self.transition.softmax(-1), self.loc
        with pyro.plate(self.plate, len(y), dim=-1):
            z: int | Tensor = 0
            for t in pyro.markov(range(y.shape[1])):
                z = pyro.sample(f"z{t}", dist.Categorical(probs[z]), infer={"enumerate": "parallel"})
                pyro.sample(f"y{t}", dist.Normal(loc[z], 1.0), obs=y[:, t])


class Topics(Summed):
    """Documents whose words come from topics, in proportions that are parameters."""

    plate = "document"

    def __init__(self) -> None:
        super().__init__()
        self.shares = nn.Parameter(torch.randn(ROWS, TOPICS).double())
        self.words = nn.Parameter(torch.randn(TOPICS, VOCABULARY).double())

    @staticmethod
    def data(steps: int) -> Tensor:
        """Words of documents."""
        return torch.randint(VOCABULARY, (ROWS, steps))

    @pyro.nn.module.pyro_method
    def model(self, y: Tensor) -> None:
        """A topic for each word, and the word."""
        shares, words = self.shares.softmax(-1), self.words.softmax(-1)
        with pyro.plate(self.plate, len(y), dim=-1), pyro.plate("word", y.shape[1], dim=-2):
            topic = pyro.sample("topic", dist.Categorical(shares), infer={"enumerate": "parallel"})
            pyro.sample("y", dist.Categorical(words[topic]), obs=y.T)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", choices=["chain", "topics"], default="chain", help="what is summed out")
    parser.add_argument("--steps", type=int, default=40, help="steps of the chain, or words (default: 40)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default: 7)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    torch.manual_seed(0)
    pair: HiddenMarkov | Topics = HiddenMarkov() if chosen.program == "chain" else Topics()
    y = pair.data(chosen.steps)
    parameters = dict(pair.named_parameters())
    bound = inference.Inference(inference.MaximumLikelihood()).bind(pair, y, num_data=ROWS)
    bound.step(y)
    step = TracedStep(bound, parameters)
    print(f"{chosen.program}, {chosen.steps} steps, {ROWS} rows")
    print(f"traced in {_cost(lambda: step.graph(y))}, compiled in {_cost(lambda: step.compile(y))}")
    loss = TraceEnum_ELBO(max_plate_nesting=2)

    def theirs() -> tuple[Tensor, ...]:
        value = loss.differentiable_loss(pair.model, pair.guide, y) / ROWS
        return (value, *torch.autograd.grad(value, list(parameters.values())))

    ours = step(y, compiled=True)
    peer = theirs()
    apart = [float((peer[0] + ours.value).detach().abs())]
    apart += [float((g - ours.gradients[n]).abs().max()) for n, g in zip(parameters, peer[1:], strict=True)]
    turns = [(_seconds(lambda: step(y, compiled=True), 5), _seconds(theirs)) for _ in range(chosen.repeats)]
    print(f"ours {1e3 * median(o for o, _ in turns):.2f} ms, Pyro {1e3 * median(p for _, p in turns):.1f} ms")
    print(f"ratio {median(o / p for o, p in turns):.3f}; value and gradients apart by {max(apart):.1e}")
    return 0


def _seconds(what: Callable[[], object], times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        what()
    return (time.perf_counter() - start) / times


def _cost(what: Callable[[], object]) -> str:
    used = -_processor_seconds()
    seconds = _seconds(what)
    return f"{seconds:.1f} s ({used + _processor_seconds():.1f} s of the processor)"


def _processor_seconds() -> float:
    own, others = getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


if __name__ == "__main__":
    raise SystemExit(main())
