"""Sites that are summed out, in plates and loops that depend on each other, beside others that are drawn."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import config_enumerate

from pyro_programs.enumeration import CHOICES, MARKS, PARALLEL, SUMMED, probability
from pyro_programs.program import RUNS, WARNS, Program


def later_dependence(mark: str | None, validated: bool) -> Program:
    """A site outside a plate after summed ones in it."""

    def program(at: Callable[..., Any]) -> Callable[[], None]:
        def body() -> None:
            pyro.sample("w", dist.Bernoulli(at("pw")), infer=PARALLEL)
            with pyro.plate("plate", 10, 5):
                x = pyro.sample("x", dist.Bernoulli(at("px")).expand_by([5]), infer={"enumerate": mark})
            pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * x.mean()))

        return body

    said = WARNS if mark and validated else RUNS
    name = f"a site outside that depends on a plate, {mark}, checks {validated}"
    model, guide = program(lambda name: 0.5), program(probability)
    return Program(name, model, guide, losses=SUMMED, pyro=said, like_pyro=False, validated=validated)


def loops_and_plates(mark: str | None, apart: bool, validated: bool = True) -> Program:
    """A plate within a sequential one, and sites of that or of another sequential plate."""

    def program(at: Callable[..., Any]) -> Callable[[], None]:
        def body() -> None:
            pyro.sample("w", dist.Bernoulli(at("pw")), infer=PARALLEL)
            inner = pyro.plate("plate", 10, 5)
            for i in pyro.plate("loop", 2):
                if not apart:
                    pyro.sample(f"y{i}", dist.Bernoulli(at("py")))
                with inner:
                    pyro.sample(f"x{i}", dist.Bernoulli(at("px")).expand_by([5]), infer={"enumerate": mark})
            if apart:
                for i in pyro.plate("other", 2):
                    pyro.sample(f"y{i}", dist.Bernoulli(at("py")))

        return body

    said = WARNS if mark and apart and validated else RUNS
    name = f"a plate in a loop, {mark}, then another loop {apart}, checks {validated}"
    model, guide = program(lambda name: 0.5), program(probability)
    return Program(name, model, guide, losses=SUMMED, pyro=said, like_pyro=False, validated=validated)


def crossed(mark: str | None) -> Program:
    """Sites of crossed plates."""

    def program(at: Callable[..., Any]) -> Callable[[], None]:
        def body() -> None:
            infer = {"enumerate": mark}
            columns, rows = pyro.plate("columns", 4, 2, dim=-1), pyro.plate("rows", 5, 3, dim=-2)
            pyro.sample("w", dist.Bernoulli(at("pw")), infer=PARALLEL)
            with columns:
                pyro.sample("b", dist.Bernoulli(at("pb")).expand_by([2]), infer=infer)
            with rows:
                pyro.sample("c", dist.Bernoulli(at("pc")).expand_by([3, 1]), infer=infer)
            with columns, rows:
                pyro.sample("d", dist.Bernoulli(at("pd")).expand_by([3, 2]), infer=infer)

        return body

    like = None if mark else False
    model, guide = program(lambda name: 0.5), program(probability)
    return Program(f"crossed plates, {mark}", model, guide, losses=SUMMED, like_pyro=like)


def drawn_then_summed(mark: str | None, drawn: int = 2, summed: int = 3) -> Program:
    """Summed sites in a plate that depend on all draws of another plate."""

    def program(at: Callable[..., Any]) -> Callable[[], None]:
        def body() -> None:
            pyro.sample("w", dist.Bernoulli(at("pw")), infer=PARALLEL)
            with pyro.plate("drawn", drawn):
                a = pyro.sample("a", dist.Bernoulli(at("pa")).expand_by([drawn]))
            p = (1.0 + a.sum(-1)) / 4.0
            with pyro.plate("summed", summed):
                pyro.sample("b", dist.Bernoulli(p * at("pb") * 1.5).expand_by([summed]), infer={"enumerate": mark})

        return body

    model, guide = program(lambda name: 0.5), program(probability)
    return Program(f"drawn, then summed {mark}", model, guide, losses=SUMMED, like_pyro=False)


def with_continuous(mark: str | None, expand: bool, num_samples: int | None, loss: str) -> Program:
    """Continuous latents in one plate, discrete ones in another and in both."""

    def program(model: bool) -> Callable[[], None]:
        def body() -> None:
            columns, rows = pyro.plate("columns", 4, 2, dim=-1), pyro.plate("rows", 5, 3, dim=-2)
            with columns:
                scale = torch.tensor(1.1) if model else pyro.param("scale", torch.tensor(1.3))
                b = pyro.sample("b", dist.Beta(scale, torch.tensor(1.1)))
            with rows:
                pyro.sample("c", dist.Bernoulli(0.5 if model else probability()))
            with columns, rows:
                pyro.sample("d", dist.Bernoulli(b))

        return body

    guide = config_enumerate(program(False), mark, expand, num_samples)
    name = f"continuous beside discrete, {mark}, expand {expand}, samples {num_samples}"
    return Program(name, program(True), guide, losses=(loss,), like_pyro=None if num_samples else False)


def tensor_monte_carlo() -> Program:
    """Several draws of continuous sites, combined with each other."""

    def model() -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        pyro.sample("seen", dist.Normal(b, 1.0), obs=torch.tensor(0.6))

    @config_enumerate(num_samples=3, expand=True)
    def guide() -> None:
        pyro.sample("a", dist.Normal(pyro.param("m", torch.tensor(0.3)), 1.0))
        pyro.sample("b", dist.Normal(pyro.param("n", torch.tensor(-0.3)), 1.0))

    return Program("tensor Monte Carlo", model, guide, losses=("TraceTMC",), like_pyro=False)


def many_beside_rows(subsample: int | None) -> Program:
    """Summed sites of the guide outside of a plate, of more joint values than can be listed, beside rows."""
    x = torch.tensor([0.5, -1.0, 2.0, 0.1])

    def model() -> None:
        a = 0.0
        for t in range(12):
            a = pyro.sample(f"a{t}", dist.Bernoulli(0.3 + 0.2 * a))
        with pyro.plate("data", 4, subsample) as rows:
            pyro.sample("x", dist.Normal(a, 1.0), obs=x[rows])

    @config_enumerate
    def guide() -> None:
        for t in range(12):
            pyro.sample(f"a{t}", dist.Bernoulli(probability(at=0.6)))

    return Program(f"many summed sites beside rows, subsample {subsample}", model, guide, losses=SUMMED)


PROGRAMS: list[Program] = [
    *(later_dependence(mark, validated) for mark in MARKS for validated in (True, False)),
    *(
        loops_and_plates(mark, apart, validated)
        for mark in MARKS
        for apart, validated in ((False, True), (True, True), (True, False))
    ),
    *(crossed(mark) for mark in MARKS),
    *(drawn_then_summed(mark) for mark in MARKS),
    *(with_continuous(*choice, loss) for choice in CHOICES for loss in ("TraceEnum", "TraceEnum, 10 at once")),
    tensor_monte_carlo(),
    *(many_beside_rows(size) for size in (None, 2)),
]
