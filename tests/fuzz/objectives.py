"""Values and gradients of training objectives on random small programs, against sums over states and quadrature."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fuzz import program_parts
from fuzz.program_parts import RandomProgram, Unresolved
from fuzz.verdicts import SIGMAS, Silent, attempt
from ppgen import inference
from ppgen.inference import Inference

STEPS, REPLICAS = 40, 50
LARGEST = 20_000  # points times points of two particles

# By name: the inference, and which exact objective its value and its gradient are those of.
INFERENCES: dict[str, tuple[Callable[[], Inference], str]] = {
    "elbo": (lambda: Inference(inference.ELBO()), "elbo"),
    "elbo, 3 particles": (lambda: Inference(inference.ELBO(num_particles=3)), "elbo"),
    "elbo, score function": (lambda: Inference(inference.ELBO(), inference.ScoreFunction()), "elbo"),
    "elbo, leave one out": (lambda: Inference(inference.ELBO(num_particles=3), inference.LeaveOneOut()), "elbo"),
    "elbo, enumerated": (lambda: Inference(inference.ELBO(), inference.Enumerate()), "elbo"),
    "elbo, analytic": (lambda: Inference(inference.ELBO(), inference.AnalyticKL()), "elbo"),
    "elbo, sticking the landing": (lambda: Inference(inference.ELBO(), inference.StickTheLanding()), "elbo"),
    "elbo, disarm": (lambda: Inference(inference.ELBO(num_particles=2), inference.DisARM()), "elbo"),
    "iwelbo": (lambda: Inference(inference.IWELBO(num_particles=2)), "iwelbo"),
    "iwelbo, doubly reparameterised": (
        lambda: Inference(inference.IWELBO(num_particles=2), inference.DoublyReparameterized()),
        "iwelbo",
    ),
    "renyi": (lambda: Inference(inference.Renyi(num_particles=2, alpha=0.5)), "renyi"),
    "maximum likelihood": (lambda: Inference(inference.MaximumLikelihood(), inference.Enumerate()), "evidence"),
    "reweighted wake-sleep": (lambda: Inference(inference.ReweightedWakeSleep(num_particles=2)), "iwelbo"),
}
ALWAYS = ("elbo", "elbo, 3 particles", "iwelbo", "renyi")  # sound for every program


# In float64, with latents few enough for two particles, under guides whose weights have moments.
CHOICES: dict[str, Sequence[Any]] = {
    "inference": tuple(INFERENCES),
    **program_parts.CHOICES,
    "latents": tuple(each for each in program_parts.CHOICES["latents"] if len(each) < 3),
    "guide": ("mean field", "structured", "exact"),
    "dtype": (torch.float64,),
    "rows": (2,),
    "strength": (0.7,),
}


@dataclass(frozen=True)
class Spec:
    """A program and how it is trained."""

    inference: str
    program: program_parts.Spec

    @classmethod
    def of(cls, inference: str, **program: Any) -> "Spec":
        return cls(inference, program_parts.Spec(**program))

    @classmethod
    def random(cls, source: random.Random) -> "Spec":
        return cls.of(**{name: source.choice(values) for name, values in CHOICES.items()})


def check(spec: Spec) -> None:
    """Raise unless the mean of an objective's draws, and of its gradient's, is the exact one, or it is refused.

    Raises:
        Silent: If a mean is off by more than five standard errors, twice from other draws.
        Traceback: If training ends in an error that is no refusal.
    """
    torch.manual_seed(spec.program.seed)
    pair, program, batch = program_parts.make(spec.program)
    make, exact = INFERENCES[spec.inference]
    many = _repeated(batch)
    count = spec.program.rows * REPLICAS

    def bound() -> Any:
        pair.prepare(batch)
        return make().bind(pair, many, num_data=count)

    bound_to = attempt(spec.inference, bound)
    if bound_to is None:
        if spec.inference in ALWAYS:
            raise Silent(f"{spec.inference} is refused")
        return
    try:
        value, gradients = _expected(program, batch, exact)
    except Unresolved:
        return
    own = bound_to.inference.objective.own_gradient  # then the guide climbs something else
    names = [name for name in gradients if not (own and "guide" in name)]
    off: list[str] = []
    for steps in (STEPS, 4 * STEPS):  # a deviation by chance does not come twice
        results = attempt(spec.inference, lambda steps=steps: [bound_to.step(many) for _ in range(steps)])
        if results is None:
            raise Silent(f"{spec.inference} is refused at a step, after it was bound")
        off = _off("value", torch.stack([each.value for each in results]), value)
        for name in names:
            found = [each.gradients.get(f"model_module.{name}") for each in results]
            if any(each is None for each in found):
                found = [torch.zeros_like(gradients[name])] * len(results)
            off += _off(name, -torch.stack(found), gradients[name])
        if not off:
            return
    raise Silent(f"{spec.inference}: {'; '.join(off[:3])}")


def _repeated(batch: Any) -> Any:
    parts = batch if isinstance(batch, tuple) else (batch,)
    many = tuple(part.repeat(REPLICAS, *(1,) * (part.dim() - 1)) for part in parts)
    return many if isinstance(batch, tuple) else many[0]


def _off(name: str, draws: Tensor, expected: Tensor) -> list[str]:
    """What is more than five standard errors off, in words."""
    error = draws.std(0) / len(draws) ** 0.5
    score = ((draws.mean(0) - expected).abs() / (error + 1e-7)).nan_to_num(1e9).flatten()
    worst = int(score.argmax())
    if score[worst] <= SIGMAS:
        return []
    mean, truth = float(draws.mean(0).flatten()[worst]), float(expected.flatten()[worst])
    return [f"{name} {mean:.4g} for {truth:.4g}, {float(score[worst]):.1f} standard errors"]


def _expected(program: RandomProgram, batch: Any, exact: str) -> tuple[Tensor, dict[str, Tensor]]:
    """The exact objective per datum and its gradient by parameter."""
    x, seen = batch if isinstance(batch, tuple) else (batch, None)
    x, seen = program.lifted(x), None if seen is None else program.lifted(seen)
    program.zero_grad()
    found = []
    for nodes in (24, 17) if exact != "iwelbo" else (16, 12):
        if exact == "evidence" or program.spec.exact or not program.guided:
            value = program.joint(x, seen, nodes)[1].mean()
        else:
            weights, mass = program.bound_terms(x, seen, nodes)
            value = _bound(weights, mass, exact).mean()
        found.append(value)
    if (found[0] - found[1]).abs() > 1e-4:
        raise Unresolved("quadrature")
    found[0].backward()
    gradients = {name: each.grad.clone() for name, each in program.named_parameters() if each.grad is not None}
    program.zero_grad(set_to_none=True)
    return found[0].detach(), gradients


def _bound(weights: Tensor, mass: Tensor, exact: str) -> Tensor:
    """Exact bound of each row from log-weights and log-probabilities of all values: (points, rows) -> (rows,)."""
    if exact == "elbo":
        return (mass.exp() * weights).sum(0)
    if len(weights) ** 2 > LARGEST * 10:
        raise Unresolved("too many states of two particles")
    pairs = torch.stack(torch.broadcast_tensors(weights.unsqueeze(0), weights.unsqueeze(1)))
    power = 1.0 if exact == "iwelbo" else 0.5
    bound = ((power * pairs).logsumexp(0) - torch.log(torch.tensor(2.0))) / power
    return ((mass.unsqueeze(0) + mass.unsqueeze(1)).exp() * bound).sum((0, 1))
