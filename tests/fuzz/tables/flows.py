"""Sound calls of the steps of flows."""

from typing import Any

import pyro.distributions as dist
import torch

from fuzz.tables.call import built
from ppgen import distributions, models, nn


def base() -> dist.TorchDistribution:
    return dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1)


def autoregressive() -> dict[str, Any]:
    return {"base": base(), "network": nn.CausalLinear(3, outputs=2)}


FLOWS = [
    built(
        distributions,
        "InverseAutoregressive",
        autoregressive,
        base="kernel",
        network="kernel",
        order="array?",
        given="array?",
        gate_bias="number",
    ),
    built(
        distributions,
        "MaskedAutoregressive",
        autoregressive,
        base="kernel",
        network="kernel",
        order="array?",
        given="array?",
    ),
    built(
        distributions,
        "AffineCoupling",
        lambda: {"base": base(), "network": nn.MLP((1, 4))},
        base="kernel",
        network="kernel",
        order="array?",
        given="array?",
    ),
    built(
        distributions,
        "SplineCoupling",
        lambda: {"base": base(), "network": nn.MLP((1, 46))},
        base="kernel",
        network="kernel",
        order="array?",
        given="array?",
        bins="count",
        bound="rate",
    ),
    built(
        models,
        "NormalizingFlow",
        lambda: {"features": 4, "flow_steps": 1, "hidden": (3,)},
        features="+count",
        flow="choice",
        flow_steps="count",
        hidden="sizes",
        bins="count",
    ),
]
