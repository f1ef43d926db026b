"""Which draws tensors were computed from: every way that a value can take through a program."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen.inference.structure.dependencies import Dependencies


class Square(torch.autograd.Function):
    """A function with a gradient of its own, whose operations Python's calls do not show."""

    @staticmethod
    def forward(ctx, value):
        return value.square()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def _written(value):
    table = torch.zeros(3)
    table[1] = value[0]
    return table


def _written_at(value):
    table = torch.zeros(3)
    table[[value[0].long(), 1],] = 1.0
    return table


def _copied(value):
    table = torch.zeros(3)
    view = table.view(1, 3)
    view.copy_(value)
    return table


def _out(value):
    table = torch.zeros(3)
    torch.mul(value, 2, out=table)
    return table


def _many(value):
    tables = [torch.zeros(3)]
    torch._foreach_add_(tables, [value])
    return tables[0]


def _slope(value):
    end = value.clone().requires_grad_()
    return torch.autograd.grad(end.square().sum(), end)[0]


PATHS = {
    "product": lambda z: 2 * z,
    "view": lambda z: z.detach().view(1, 3)[:, 1:],
    "data": lambda z: z.data,
    "written": _written,
    "written at": _written_at,
    "copied": _copied,
    "out": _out,
    "many at once": _many,
    "gradient": _slope,
    "own function": Square.apply,
    "vmap": torch.func.vmap(torch.sin),
    "chosen": lambda z: torch.where(z > 0, 1.0, 2.0),
    "index": lambda z: torch.randn(4, 2)[z.long()],
    "number as index": lambda z: torch.randn(4, 2)[z[0].long()],
    "list as index": lambda z: torch.randn(4, 2)[[z[0].long(), 1],],
    "drawn": lambda z: torch.bernoulli(torch.sigmoid(z)),
    "law": lambda z: dist.Gamma(z.exp(), 1.0).sample(),
    "list": lambda z: torch.tensor([z[0], 1.0]),
    "network": torch.nn.Linear(3, 2),
    "sparse": lambda z: torch.diag(z).to_sparse().to_dense(),
    "packed": lambda z: torch.nn.utils.rnn.pack_sequence([z, z[:2]]).data,
}


@pytest.mark.parametrize("name", PATHS)
def test_a_value_is_followed(name):
    """Catches a way through views, writing in place, indices or functions of C++ on which a draw is lost."""
    z, x = torch.rand(3), torch.rand(3)
    dependencies = Dependencies()
    with dependencies.following():
        dependencies.mark("z", z)
        follows, other = PATHS[name](z), PATHS[name](x)
    assert dependencies.of(follows) == {"z"}
    assert name == "sparse" or dependencies.of(other) == frozenset()
    assert dependencies.of(torch.zeros(2)) is None


READS = {
    "branch": lambda z: bool((z > 0).all()),
    "item": lambda z: z[0].item(),
    "float": lambda z: float(z[0]),
    "list": lambda z: z.tolist(),
    "numpy": lambda z: np.asarray(z.numpy()).sum(),
    "array": np.asarray,
    "loop": lambda z: [step for step in range(z[0].long())],
    "mask": lambda z: z[z > 0],
    "where": lambda z: torch.nonzero(z > 0),
    "end of a slice": lambda z: torch.zeros(3)[: z[0].long()],
    "equal": lambda z: torch.equal(z, z + 1),
    "size": lambda z: torch.zeros(3).new_zeros(int(z[0])),
    "printed": lambda z: f"{z[0]:.3f}",
}


@pytest.mark.parametrize("name", READS)
def test_what_python_reads_is_known(name):
    """Catches control flow by a drawn value after which sites seem to be independent of it."""
    z, x = torch.rand(3), torch.rand(3)
    dependencies = Dependencies()
    with dependencies.following():
        dependencies.mark("z", z)
        READS[name](x)
        before = dependencies.has_read
        READS[name](z)
    assert before == frozenset()
    assert dependencies.has_read == {"z"}


@pytest.mark.parametrize("name", ["index", "number as index", "product", "drawn", "own function"])
def test_following_is_no_reading(name):
    """Catches a look-up by a drawn index that makes all later sites depend on it."""
    z = torch.rand(3)
    dependencies = Dependencies()
    with dependencies.following():
        dependencies.mark("z", z)
        PATHS[name](z)
    assert dependencies.has_read == frozenset()


def test_draws_of_programs():
    """Catches draws that are not marked, or whose own sources are forgotten when the model draws them again."""

    def guide():
        a = pyro.sample("a", dist.Bernoulli(0.5))
        b = pyro.sample("b", dist.Bernoulli(0.5))
        pyro.sample("c", dist.Bernoulli(0.2 + 0.5 * a))
        return b

    dependencies = Dependencies()
    with dependencies.following():
        drawn = pyro.poutine.trace(guide).get_trace()
        pyro.poutine.trace(pyro.poutine.replay(guide, trace=drawn)).get_trace()
        density = drawn.nodes["c"]["fn"].log_prob(drawn.nodes["c"]["value"])
    assert dependencies.upstream("c") == {"a"}
    assert dependencies.upstream("b") == frozenset()
    assert dependencies.of(density) == {"a", "c"}


def test_while_a_step_is_traced():
    """Catches operations on fake tensors that are not followed, or that stay behind in the graph."""
    found = []

    def program(z, x):
        dependencies = Dependencies()
        with dependencies.following():
            dependencies.mark("z", z)
            follows, other = _written(z) + 1, x * 2
        found.append((dependencies.of(follows), dependencies.of(other), dependencies.has_read))
        return follows + other

    plain = make_fx(lambda z, x: _written(z) + 1 + x * 2, tracing_mode="fake", _allow_non_fake_inputs=True)
    traced = make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)
    inputs = torch.rand(3), torch.rand(3)
    graphs = [make(*inputs) for make in (plain, traced)]
    assert found[0] == ({"z"}, frozenset(), frozenset())
    assert str(graphs[0].graph) == str(graphs[1].graph)
