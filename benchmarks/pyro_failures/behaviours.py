"""What is no number: what Pyro's objectives and diagnostics do, and what ours do, as it happens when this runs."""

import warnings
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import MCMC, NUTS, ReweightedWakeSleep, TraceGraph_ELBO
from pyro.infer.importance import psis_diagnostic
from torch import Tensor

from benchmarks.pyro_failures.programs import BITS, K, bits_guide, bits_model, number
from ppgen import diagnostics, inference, testing
from ppgen.pair import Pair

GROWTH = (3, 30, 300, 3000)
DATA = (1, 100, 1000)


def observed() -> dict[str, Any]:
    """Losses as the batch grows, Pareto k as the data grow, and outcomes in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"batch": batch_growth(), "pareto": pareto_growth(), "outcomes": outcomes()}


def batch_growth(draws: int = 200) -> list[dict[str, float]]:
    """Wake-theta loss per datum of copies of three data, which does not depend on how many there are."""
    found = []
    for size in GROWTH:
        batch = BITS.repeat(size // len(BITS))
        pyro.clear_param_store()
        peer = ReweightedWakeSleep(num_particles=K, vectorize_particles=True, max_plate_nesting=1, insomnia=1.0)
        theirs = torch.tensor([float(peer.loss(bits_model, bits_guide, batch)[0]) / size for _ in range(draws)])
        pair = Pair(bits_model, bits_guide)
        pair.prepare(batch)
        bound = inference.Inference(inference.ReweightedWakeSleep(K)).bind(pair, batch, num_data=size)
        own = torch.tensor([-float(bound.value(batch)) for _ in range(draws)])
        errors = [float(values.std()) / draws**0.5 for values in (theirs, own)]
        means = {"pyro": float(theirs.mean()), "ours": float(own.mean())}
        found.append({"size": size, **means, "pyro_se": errors[0], "ours_se": errors[1]})
    pyro.clear_param_store()
    return found


def pareto_growth() -> list[dict[str, float]]:
    """Pareto k of a guide a tenth too wide: one for all data, or one for each datum."""
    found = []
    for size in DATA:
        x = torch.linspace(-2.5, 3.0, max(size, 2), dtype=torch.float64)[:size]
        pair = testing.conjugate_pair()
        known: Any = pair.model_module
        with torch.no_grad():
            noise = (2 * known.log_scale).exp()
            precision = 1 + known.slope**2 / noise
            known.a.copy_(known.slope / noise / precision)
            known.b.copy_(known.loc / precision)
            known.log_s.copy_(-0.5 * precision.log() + 0.1)
        with pair.running():
            theirs = float(psis_diagnostic(pair.model, pair.guide, x, num_particles=400, max_plate_nesting=1))
        own = diagnostics.importance_weights(pair, x, num_particles=400, seed=0)
        shapes = torch.as_tensor(own.dataset.pareto_k.values)
        found.append({"size": size, "pyro": theirs, "ours": float(shapes.median()), "largest": float(shapes.max())})
    return found


def outcomes() -> list[dict[str, str]]:
    """What happens where a number cannot say it."""
    return [
        {
            "what": "Sleep phase of a guide that takes `x` alone",
            "pyro": _happens(_sleep_of_pyro),
            "ours": _happens(_own_sleep),
        },
        {
            "what": "Baseline over a batch of 32 and a last one of 16",
            "pyro": _happens(_baseline_of_pyro),
            "ours": _happens(_own_baseline),
        },
        {
            "what": "Samples of a Bernoulli latent by NUTS, beside Hamiltonian Monte Carlo here",
            "pyro": _happens(_nuts),
            "ours": _happens(_own_samples),
        },
        {
            "what": "One objective, first on a model with one plate, then on one with three",
            "pyro": _happens(_plates_of_pyro),
            "ours": _happens(_own_plates),
        },
    ]


def _happens(run: Callable[[], str]) -> str:
    pyro.clear_param_store()
    try:
        return run()
    except Exception as error:  # whatever it is, it is the outcome
        said = str(error).partition("Trace Shapes")[0]
        return f"raises {type(error).__name__}: {' '.join(said.split())}"
    finally:
        pyro.clear_param_store()


def _sleep_of_pyro() -> str:
    objective = ReweightedWakeSleep(num_particles=K, insomnia=0.5)
    return f"loss {objective.loss_and_grads(bits_model, bits_guide, BITS)[1]:.3f}"


def _bound(what: inference.Inference, batch: Tensor) -> inference.BoundInference:
    pair = Pair(bits_model, bits_guide)
    pair.prepare(batch)
    return what.bind(pair, batch, num_data=len(batch))


def _own_sleep() -> str:
    found = _bound(inference.Inference(inference.ReweightedWakeSleep(K, sleep=True)), BITS).step(BITS).gradients
    return f"gradients of {', '.join(sorted(name.rpartition('.')[2] for name in found))}"


def _baseline_of_pyro() -> str:
    def guide(x: Tensor) -> None:
        infer = {"baseline": {"use_decaying_avg_baseline": True}}
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=pyro.param("q", number(0.5)) + 0 * x), infer=infer)

    objective = TraceGraph_ELBO()
    for size in (32, 16):
        objective.loss_and_grads(bits_model, guide, BITS[0].expand(size))
    return "two steps"


def _own_baseline() -> str:
    batch = BITS[0].expand(32)
    bound = _bound(inference.Inference(inference.ELBO(), inference.ScoreFunction()), batch)
    bound.step(batch)
    bound.step(batch[:16])
    return f"two steps; the baseline's state has {sum(value.numel() for value in bound.state.values())} numbers"


def _nuts() -> str:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=number(-0.4)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Bernoulli(logits=1.7 * z - 0.6), obs=x)

    run = MCMC(NUTS(model, max_plate_nesting=1), num_samples=2, warmup_steps=2, disable_progbar=True)
    run.run(BITS)
    return f"`get_samples()` returns `{run.get_samples()}`"


def _own_samples() -> str:
    pair = Pair(bits_model, bits_guide)
    pair.prepare(BITS)
    found = inference.sample_posterior(pair, BITS, num_samples=2, warmup_steps=2)
    return f"returns {found}"


def _deep() -> tuple[Callable[[Tensor], None], Callable[[Tensor], None]]:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-3), pyro.plate("a", 2, dim=-2), pyro.plate("b", 3, dim=-1):
            z = pyro.sample("z", dist.Normal(pyro.param("m", number(0.5)), number(1.0)))
            pyro.sample("x", dist.Normal(z, number(1.0)), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-3), pyro.plate("a", 2, dim=-2), pyro.plate("b", 3, dim=-1):
            pyro.sample("z", dist.Normal(pyro.param("c", number(0.5)) * x, number(1.0)))

    return model, guide


def _plates_of_pyro() -> str:
    objective = pyro.infer.RenyiELBO(alpha=0.0, num_particles=K, vectorize_particles=True)
    objective.loss_and_grads(bits_model, bits_guide, BITS)
    loss = objective.loss_and_grads(*_deep(), torch.zeros(5, 2, 3, dtype=torch.float64))
    return f"loss {loss:.3f}"


def _own_plates() -> str:
    objective = inference.IWELBO(K)
    _bound(inference.Inference(objective), BITS).step(BITS)
    pair, x = Pair(*_deep()), torch.zeros(5, 2, 3, dtype=torch.float64)
    pair.prepare(x)
    inference.Inference(objective).bind(pair, x, num_data=len(x)).step(x)
    return "two steps"
