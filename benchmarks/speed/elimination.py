"""The step of a hidden Markov model beside Pyro's `TraceEnum_ELBO`: value and gradients, in turns, as a ratio.

    python -m benchmarks.speed.elimination                       # 3 states, 40 steps, 50 sequences
    python -m benchmarks.speed.elimination --steps 400 --repeats 2

It prints the milliseconds of both, the seconds of tracing and compiling ours, and how far value and gradients differ.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

import ppgen
from ppgen import inference
from ppgen.training.steps.traced_step import TracedStep

STATES, SEQUENCES = 3, 50


class HiddenMarkov(ppgen.GenerativeModel):
    """A chain of categories with Normal emissions; nothing is left to the guide."""

    plate = "sequence"

    def __init__(self) -> None:
        super().__init__()
        self.transition = nn.Parameter((torch.eye(STATES) * 0.7 + 0.1).log().double())
        self.loc = nn.Parameter(torch.linspace(-3.0, 3.0, STATES).double())

    @pyro.nn.module.pyro_method
    def model(self, y: Tensor) -> None:
        """Hidden states, one a step, and what they emit."""
        probs, loc = self.transition.softmax(-1), self.loc
        with pyro.plate(self.plate, len(y), dim=-1):
            z: int | Tensor = 0
            for t in pyro.markov(range(y.shape[1])):
                z = pyro.sample(f"z{t}", dist.Categorical(probs[z]), infer={"enumerate": "parallel"})
                pyro.sample(f"y{t}", dist.Normal(loc[z], 1.0), obs=y[:, t])

    @pyro.nn.module.pyro_method
    def guide(self, y: Tensor) -> None:
        """Nothing: all latents are summed out."""


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps of the chain (default: 40)")
    parser.add_argument("--repeats", type=int, default=7, help="turns of each (default: 7)")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    torch.manual_seed(0)
    pair, y = HiddenMarkov(), torch.randn(SEQUENCES, chosen.steps, dtype=torch.float64)
    parameters = dict(pair.named_parameters())
    bound = inference.Inference(inference.MaximumLikelihood()).bind(pair, y, num_data=SEQUENCES)
    bound.step(y)
    step = TracedStep(bound, parameters)
    traced = _seconds(lambda: step.graph(y))
    compiled = _seconds(lambda: step.compile(y))
    loss = TraceEnum_ELBO(max_plate_nesting=1)

    def theirs() -> tuple[Tensor, ...]:
        value = loss.differentiable_loss(pair.model, pair.guide, y) / SEQUENCES
        return (value, *torch.autograd.grad(value, list(parameters.values())))

    ours = step(y, compiled=True)
    peer = theirs()
    apart = [float((peer[0] + ours.value).detach().abs())]
    apart += [float((g - ours.gradients[n]).abs().max()) for n, g in zip(parameters, peer[1:], strict=True)]
    turns = [(_seconds(lambda: step(y, compiled=True), 5), _seconds(theirs)) for _ in range(chosen.repeats)]
    print(
        f"{STATES} states, {chosen.steps} steps, {SEQUENCES} sequences: "
        f"traced in {traced:.1f} s, compiled in {compiled:.1f} s"
    )
    print(f"ours {1e3 * median(o for o, _ in turns):.2f} ms, Pyro {1e3 * median(p for _, p in turns):.1f} ms")
    print(f"ratio {median(o / p for o, p in turns):.3f}; value and gradients apart by {max(apart):.1e}")
    return 0


def _seconds(what: Callable[[], object], times: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(times):
        what()
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    raise SystemExit(main())
