"""The sleep phase against exact sums over fantasies, and programs from which no fantasy can be had."""

import itertools
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from structures import ROWS, Structure
from torch import Tensor

import ppgen
from ppgen import inference

X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0]])
SIGMAS, DRAWS = 4.5, 400


def exact(pair: Structure) -> dict[str, Tensor]:
    """Gradient in the guide of minus E_p[log q(z | x)] per datum, over all bits of one row and its latents."""
    values = [torch.tensor(bits, dtype=torch.float64) for bits in itertools.product((0.0, 1.0), repeat=2)]
    bits = values[0].new_tensor([0.0, 1.0])
    tops: Any = bits if pair.structure == "global" else [None]
    total: Any = 0.0
    for top, low, x in itertools.product(tops, bits if pair.structure == "global" else values, values):
        data = {"low": low.expand(1, *low.shape), **({} if top is None else {"top": top})}
        with pair.running():
            model = poutine.trace(poutine.condition(pair.model, data)).get_trace(x.expand(1, 2))
            guide = poutine.trace(poutine.condition(pair.guide, data)).get_trace(x.expand(1, 2))
        guide.compute_log_prob()
        for name, site in guide.nodes.items():
            if site["type"] == "sample" and name in data:
                share = 1 if name == "low" else len(ROWS)  # what lies outside the plate counts once for all rows
                total = total + model.log_prob_sum().exp().detach() * site["log_prob_sum"] / share
    names = {name: p for name, p in pair.named_parameters()}
    found = torch.autograd.grad(-total, list(names.values()), allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


@pytest.mark.filterwarnings("ignore:The guide draws site 'top' without reading")  # it is told below
@pytest.mark.parametrize("structure", ["plain", "global"])
@pytest.mark.parametrize("objective", [inference.WakeSleep(), inference.ReweightedWakeSleep(2, wake=False, sleep=True)])
def test_the_guide_climbs_its_density_of_fantasies(structure: str, objective: Any) -> None:
    """Catches fantasies of another law, a guide that sees the data instead, a global latent that counts once a row."""
    pair = Structure(structure, normal=False)
    torch.manual_seed(4)
    bound = inference.Inference(objective).bind(pair, ROWS, num_data=len(ROWS))
    steps = [bound.step(ROWS).gradients for _ in range(DRAWS)]
    for name, gradient in exact(pair).items():
        draws = torch.stack([step[name] for step in steps])
        error = draws.std(0) / DRAWS**0.5
        assert bool(((draws.mean(0) - gradient).abs() < SIGMAS * error + 1e-9).all()), name


def test_a_global_latent_that_sleep_takes_to_its_prior_is_told() -> None:
    """Catches the prior of what is common to all data, learned in silence beside a guide that reads them."""
    with pytest.warns(UserWarning, match="draws site 'top' without reading its data.*its law that of the prior"):
        inference.Inference(inference.WakeSleep()).bind(Structure("global", normal=False), ROWS, num_data=len(ROWS))


def normal(x: Tensor, y: Tensor | None = None, split: bool = False, factor: bool = False) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        if factor:
            pyro.factor("f", -z.square().sum(-1))
        if y is not None:
            pyro.sample("y", dist.Normal(z[..., 0], 1.0), obs=y)
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x.clone() if split else x)


def guide(x: Tensor, y: Tensor | None = None, **options: bool) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(pyro.param("w", torch.tensor(0.1)) * x, 1.0).to_event(1))


def one_for_all(x: Tensor) -> None:
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(top, 1.0).expand([2]).to_event(1), obs=x)


@pytest.mark.parametrize("objective", [inference.WakeSleep(), inference.ReweightedWakeSleep(2, sleep=True)])
@pytest.mark.parametrize(
    ("model", "guide", "batch", "options", "message"),
    [
        (normal, guide, (X, X[:, 0].clone()), {"split": True}, r"'x' of the model observes no argument.*fantasy="),
        (normal, guide, (X,), {"split": True}, r"'x' of the model observes no argument.*fantasy="),
        (normal, guide, (X,), {"factor": True}, r"pyro.factor 'f' weighs what the model draws"),
        (one_for_all, AutoNormal(poutine.block(one_for_all, hide=["x"])), (X,), {}, "auxiliary site 'top_unc"),
    ],
    ids=["one of two", "none", "factor", "auxiliary"],
)
def test_no_fantasy(objective: Any, model: Callable, guide: Callable, batch: Any, options: dict, message: str) -> None:
    """Catches a guide trained on drawn latents beside real data, and on draws of another law than the model's."""
    pair = ppgen.Pair(model, guide, model_kwargs=options)
    pair.prepare(batch)
    with pytest.raises(ValueError, match=message):
        inference.Inference(objective).bind(pair, batch, num_data=len(X))


def test_a_fantasy_of_the_users_own() -> None:
    """Catches an observation that is made of the argument, refused though it was said how to make the argument."""
    pair = ppgen.Pair(normal, guide, model_kwargs={"split": True})
    pair.prepare(X)
    what = inference.Inference(inference.WakeSleep(fantasy=lambda trace: trace.nodes["x"]["value"]))
    assert what.bind(pair, X, num_data=len(X)).step(X).gradients["captured.w"].isfinite()
