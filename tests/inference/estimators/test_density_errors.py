"""Guides without a log-density at values cut from their path: flows without an inverse, and points."""

import warnings
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoNormal
from torch import Tensor

import ppgen
from ppgen import inference

X = torch.tensor([[0.3, -1.0], [1.2, 0.4], [-0.7, 2.0]])


def model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def one_for_all(x: Tensor) -> None:
    top = pyro.sample("top", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(top.unsqueeze(-1) + torch.zeros(2), 1.0).to_event(1), obs=x)


def flow(transform: Any) -> ppgen.Pair:
    def guide(x: Tensor) -> None:
        pyro.module("transform", transform)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.TransformedDistribution(dist.Normal(0.1 * x, 1.0).to_event(1), [transform]))

    pair = ppgen.Pair(model, guide)
    pair.prepare(X)
    return pair


def point(auto: Any) -> ppgen.Pair:
    pair = ppgen.Pair(one_for_all, auto(poutine.block(one_for_all, hide=["x"])))
    pair.prepare(X)
    return pair


CUT = [
    inference.STL(),
    inference.DReG(2),
    inference.RWS(2),
    inference.Inference(inference.WakeSleep()),
    inference.Inference(inference.ELBO(2), inference.LeaveOneOut()),
]


@pytest.mark.parametrize("what", CUT, ids=inference.describe)
def test_a_flow_without_an_inverse(what: inference.Inference) -> None:
    """Catches a bare KeyError of a transform's cache in the first step, and a flow with an inverse refused."""
    with pytest.raises(ValueError, match=r"'z' needs the guide's log-density.*no inverse \(Planar\)"):
        what.bind(flow(transforms.planar(2)), X, num_data=len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as Pyro's of modules whose parameters are held constant
        bound = what.bind(flow(transforms.affine_autoregressive(2)), X, num_data=len(X))
        assert bound.step(X).value.isfinite()


@pytest.mark.parametrize("what", [CUT[2], CUT[4]], ids=inference.describe)
def test_a_point_has_no_score(what: inference.Inference) -> None:
    """Catches a point estimate that is never trained under scores, and a transformed draw taken for one."""
    with pytest.raises(ValueError, match="'top' is a point in the guide"):
        what.bind(point(AutoDelta), X, num_data=len(X))
    assert what.bind(point(AutoNormal), X, num_data=len(X)).step(X).value.isfinite()


def test_the_name_of_a_flow() -> None:
    """Catches a flow that a message calls by the name of its base."""
    with pytest.raises(ValueError, match="between TransformedDistribution and Normal"):
        inference.Inference(inference.ELBO(), inference.AnalyticKL()).bind(flow(transforms.planar(2)), X, num_data=3)
