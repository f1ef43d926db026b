"""Random Boltzmann machines of any units under every method of log Z and log p(x), against sums over all states."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from fuzz.verdicts import SIGMAS, Silent, attempt, check_agreement, check_estimate
from ppgen import evaluation
from ppgen.distributions import Bernoulli, BoltzmannMachine, Categorical, Dense, Multinomial, Spin, Units
from ppgen.distributions.machines.layered_energy import ODD
from ppgen.distributions.machines.mean_field import mean_field_inputs
from ppgen.distributions.units.bernoulli import ThresholdBernoulli
from ppgen.pair import Pair

UNITS: dict[str, Callable[..., Units]] = {
    "bernoulli": lambda draw, size: Bernoulli(draw(size)),
    "spin": lambda draw, size: Spin(draw(size)),
    "categorical": lambda draw, size: Categorical(draw(max(size // 2, 1), 3)),
    "multinomial": lambda draw, size: Multinomial(draw(size), 2),
}
CHOICES: dict[str, tuple[Any, ...]] = {
    "kinds": (
        ("bernoulli", "bernoulli"),
        ("bernoulli", "spin"),
        ("spin", "spin"),
        ("categorical", "bernoulli"),
        ("multinomial", "bernoulli"),
        ("bernoulli", "categorical"),
        ("bernoulli", "bernoulli", "bernoulli"),
        ("categorical", "bernoulli", "bernoulli"),
    ),
    "sizes": ((3, 2, 2), (4, 3, 1), (2, 4, 2)),
    "strength": (0.5, 1.0, 2.0),
    "dtype": (torch.float64, torch.float32),
    "rows": (3, 1),
    "seed": tuple(range(20)),
}
SMALL: dict[str, Any] = {"num_chains": 60, "betas": 20, "compile": False}
METHODS = ("auto", "exact", "importance", "elbo", "bound", "ais", "raise")


@dataclass(frozen=True)
class Spec:
    """What a random machine is made of.

    Args:
        kinds: Units of each layer.
        sizes: Units in each; of the first layers.
        strength: Standard deviation of biases and weights.
        dtype: Of the parameters.
        rows: Rows of data, drawn from the machine.
        seed: Of parameters and data.
    """

    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    strength: float
    dtype: torch.dtype
    rows: int
    seed: int

    @classmethod
    def random(cls, source: random.Random) -> "Spec":
        return cls(**{name: source.choice(values) for name, values in CHOICES.items()})


class RandomMachine(torch.nn.Module):
    """The machine of a `Spec`, its programs, and the law of its data by a sum over all joint states."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        generator = torch.Generator().manual_seed(spec.seed)
        drawn: list[torch.nn.Parameter] = []

        def draw(*shape: int) -> Tensor:
            value = spec.strength * torch.randn(*shape, generator=generator, dtype=torch.float64)
            drawn.append(torch.nn.Parameter(value.to(spec.dtype)))
            return drawn[-1]

        self.layers = {
            f"layer{index}": UNITS[kind](draw, size)
            for index, (kind, size) in enumerate(zip(spec.kinds, spec.sizes, strict=False))
        }
        units = list(self.layers.values())
        self.couplings = [Dense(draw(low.size, high.size)) for low, high in zip(units, units[1:], strict=False)]
        self.drawn = torch.nn.ParameterList(drawn)
        self.generator = generator

    def machine(self) -> BoltzmannMachine:
        return BoltzmannMachine(self.layers, self.couplings)

    def model(self, x: Tensor) -> None:
        machine = self.machine()
        with pyro.plate("data", len(x)):
            hidden = pyro.sample("hidden", machine.marginal(machine.names[ODD::2]))
            below = machine.base_energy.split(hidden, ODD)[ODD]
            pyro.sample("x", machine.conditional("layer0", given=below), obs=x)

    def guide(self, x: Tensor) -> None:
        machine = self.machine()
        with pyro.plate("data", len(x)):
            if len(self.layers) == 2:
                law, infer = machine.conditional("layer1", given=x), {"posterior": "exact"}
            else:
                with torch.no_grad():
                    inputs = mean_field_inputs(machine.base_energy, {0: x}, 10)
                    logits = inputs[ODD] + self.layers["layer1"].parameters()[0]
                law = ThresholdBernoulli(logits=logits, validate_args=False).to_event(1)
                infer = {"posterior": "mean field"}
            pyro.sample("hidden", law, infer=infer)

    @torch.no_grad()
    def enumerated(self) -> tuple[float, Tensor, Tensor]:
        """log Z, all values of the first layer, and log p of each: written with the tensors alone, in float64."""
        units = list(self.layers.values())
        each = [unit.states(torch.arange(int(unit.num_states))).double() for unit in units]
        index = torch.cartesian_prod(*(torch.arange(len(states)) for states in each))
        values = [states[at] for states, at in zip(each, index.T, strict=True)]
        total = torch.zeros(len(index), dtype=torch.float64)
        for unit, value in zip(units, values, strict=True):
            total = total + value @ unit.parameters()[0].double().flatten()
        for coupling, low, high in zip(self.couplings, values, values[1:], strict=False):
            total = total + torch.einsum("si,ij,sj->s", low, coupling.parameters()[0].double(), high)
        log_z = total.logsumexp(0)
        # A document is its ordered words, so that several states have the same counts, each with this probability.
        seen, place, counts = torch.unique(each[0], dim=0, return_inverse=True, return_counts=True)
        law = -counts.double().log() - log_z
        for state in range(len(seen)):
            law[state] += total[place[index[:, 0]] == state].logsumexp(0)
        return float(log_z), seen, law


def check(spec: Spec) -> None:
    """Raise unless log Z and log p(x) of a machine are right by every method, or refused.

    Raises:
        Silent: If a number is wrong.
        Traceback: If one ends in an error that is no refusal.
    """
    torch.manual_seed(spec.seed)
    program = RandomMachine(spec)
    pair = Pair(program.model, program.guide)
    log_z, states, law = program.enumerated()
    index = torch.multinomial(law.exp(), spec.rows, replacement=True, generator=program.generator)
    x, truth = states[index].to(spec.dtype), law[index].numpy()
    tolerance = 1e-6 if spec.dtype == torch.float64 else 2e-4
    attempt("prepare", lambda: pair.prepare(x))
    _check_partitions(pair, x, log_z, tolerance, spec)
    found = {method: _evaluated(pair, x, method, spec) for method in METHODS}
    for method in ("auto", "exact", "ais"):
        if found[method] is None:
            raise Silent(f"log_likelihood(method={method!r}) refuses a small machine")
    if found["exact"].kind != "exact":
        raise Silent(f"enumeration is not called exact: {found['exact']!r}")
    for method, estimate in found.items():
        if estimate is None:
            continue
        # Few draws and coarse ladders need not see a mode of strong weights, and cannot tell: then a bound is a bound.
        doubted = estimate.kind != "exact" and (spec.strength > 1 or len(spec.kinds) > 2)
        check_estimate(f"log_likelihood(method={method!r})", estimate, truth, tolerance, doubted)
        again = _evaluated(pair, x, method, spec, chunk=64)
        if estimate.kind == "exact":
            check_agreement(f"chunk of method={method!r}", estimate, again, tolerance)
    _check_conditioned(program, x, states, law, tolerance)


def _evaluated(pair: Any, x: Tensor, method: str, spec: Spec, chunk: int | None = None) -> Any:
    options = {**SMALL, "num_particles": 300, "chunk": chunk, "seed": spec.seed}
    call = lambda: evaluation.log_likelihood(pair, x, method=method, **options)
    return attempt(f"log_likelihood(method={method!r})", call)


def _check_partitions(pair: Any, x: Tensor, log_z: float, tolerance: float, spec: Spec) -> None:
    for method in ("auto", "exact", "ais", "reverse_ais", "sandwich"):
        what = f"log_partition(method={method!r})"
        call = lambda method=method: evaluation.log_partition(pair, x=x[:1], method=method, seed=spec.seed, **SMALL)
        found = attempt(what, call)
        if found is None:
            raise Silent(f"{what} refuses a small machine")
        _check_partition(what, found, log_z, tolerance, spec)
        if method == "sandwich" and not found.warning:
            _check_partition(f"{what}.upper", found.upper, log_z, tolerance, spec)
    for betas in ("adaptive", [0.0, 0.1, 0.3, 0.6, 1.0]):
        options = {**SMALL, "betas": betas, "seed": spec.seed}
        call = lambda options=options: evaluation.log_partition(pair, x=x[:1], method="ais", **options)
        found = attempt(f"betas={betas!r}", call)
        if found is not None:
            _check_partition(f"log_partition(betas={betas!r})", found, log_z, tolerance, spec)


def _check_partition(what: str, found: Any, log_z: float, tolerance: float, spec: Spec) -> None:
    """As for log p(x); annealing is at least a bound of its side."""
    error, allowed = found.value - log_z, SIGMAS * found.se + tolerance
    note = found.note or ""
    above, below = error > allowed, -error > allowed
    if not found.warning and ("lower bound" in note and above or "upper bound" in note and below):
        raise Silent(f"{what}: {found!r} is on the wrong side of {log_z:.4f}")
    check_estimate(what, found, log_z, tolerance, doubted=found.kind != "exact" and spec.strength > 1)


def _check_conditioned(program: RandomMachine, x: Tensor, states: Tensor, law: Tensor, tolerance: float) -> None:
    """log p of a part of the data given the rest, from two log Z."""
    if program.spec.kinds[0] not in ("bernoulli", "spin"):
        return
    known = torch.zeros(x.shape[-1], dtype=torch.bool)
    known[0] = True
    part = x[0].where(known, torch.nan)

    def difference() -> float:
        whole, rest = (
            evaluation.log_partition(program.machine().condition({"layer0": given}), seed=0) for given in (x[0], part)
        )
        return whole.value - rest.value

    found = attempt("log_partition of a conditioned machine", difference)
    alike = (states[:, known] == x[0, known].double()).all(-1)
    here = (states == x[0].double()).all(-1)
    truth = float(law[here].logsumexp(0) - law[alike].logsumexp(0))
    if found is None or abs(found - truth) > 10 * tolerance:
        raise Silent(f"log p of a part given the rest: {found} for {truth:.5f}")
