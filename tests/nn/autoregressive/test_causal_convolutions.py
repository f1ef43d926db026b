"""Convolutions of the pixels before, plain and gated: exact laws, receptive fields, steps from cached rows."""

import re
from typing import Any

import pytest
import torch

from ppgen import nn, testing
from ppgen.distributions import Autoregressive, BernoulliOutput, CategoricalOutput, LogisticMixtureOutput
from ppgen.testing.causal import check_field, seen_entries

NETWORKS = {"plain": nn.CausalConvolutions, "gated": nn.GatedCausalConvolutions}
GIVEN = torch.tensor([[1.0, 0.0], [0.3, -0.5]])


def network(kind: str, shape: tuple[int, int], outputs: int = 1, layers: int = 2, **options: Any) -> Any:
    return NETWORKS[kind](shape, outputs, **{"channels": 4, "layers": layers, "first_size": 3, **options})


def in_float64(net: Any) -> Any:
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.double().eval()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("shape", "output", "options"),
    [
        ((3, 3), BernoulliOutput(), {}),
        ((2, 4), BernoulliOutput(), {"coordinates": False, "first_size": 5}),
        ((1, 4), CategoricalOutput(3), {}),
        ((4, 1), CategoricalOutput(3), {"given": 2}),
        ((2, 3), LogisticMixtureOutput(2, 3), {}),
        ((2, 2), BernoulliOutput(), {"image_channels": 3}),
        ((1, 2), LogisticMixtureOutput(2, 3), {"image_channels": 3, "given": 2}),
    ],
    ids=["3x3", "2x4", "row", "column", "logistic", "colours", "logistic colours"],
)
def test_laws_are_exact(kind: str, shape: tuple[int, int], output: Any, options: dict[str, Any]) -> None:
    """Catches a mask off by one, a colour that sees a later one, and rows of the cache that are mixed up."""
    net = network(kind, shape, output.num_parameters, **options)
    testing.check_causal(net, output, given=GIVEN if options.get("given") else None, field=net.field)


def test_the_blind_spot() -> None:
    """Catches a plain network that claims to see all, a gated one with a blind spot, and a wrong field."""
    plain, gated = (in_float64(network(kind, (5, 5), layers=5, coordinates=False)) for kind in ("plain", "gated"))
    with pytest.raises(AssertionError, match="is blind to entry"):
        check_field(plain, BernoulliOutput())
    check_field(plain, BernoulliOutput(), field=plain.field)
    check_field(gated, BernoulliOutput())
    unseen = seen_entries(plain)[17].logical_not()[:17].reshape(-1).nonzero().flatten().tolist()  # row 3, column 2
    # Each step up goes one column to the right, no step along a row does.
    assert unseen == [14], unseen
    assert gated.field.equal(torch.ones(25, 25, dtype=torch.bool).tril(-1))


@pytest.mark.parametrize("kind", NETWORKS)
def test_colours_see_those_before(kind: str) -> None:
    """Catches a green that does not see the red of its own pixel, and a red that sees the green."""
    net = in_float64(network(kind, (2, 2), image_channels=3, coordinates=False))
    seen = seen_entries(net)
    within = seen[3:6, 3:6]
    assert within.equal(torch.ones(3, 3, dtype=torch.bool).tril(-1)), within
    assert seen.equal(net.field)


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_layer_hears_what_is_given(kind: str) -> None:
    """Catches a layer that does not hear the class: all of them have weights of it, each of which moves the law."""
    net = in_float64(network(kind, (3, 3), layers=3, given=2))
    x = torch.randn(2, 9, dtype=torch.float64)
    heard = [parameter for name, parameter in net.named_parameters() if name.endswith("given_weight")]
    assert len(heard) == (4 if kind == "plain" else 6)  # the first layer and three blocks, or both stacks of three
    slopes = torch.autograd.grad((net(x, GIVEN.double()) * torch.randn(2, 9, 1).double()).sum(), heard)
    assert all(slope.abs().amax() > 0 for slope in slopes)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_larger_image_by_steps(kind: str) -> None:
    """Catches a ring of rows that is too short, or is read where an old row stands, which small images do not show."""
    net = in_float64(network(kind, (9, 7), layers=3, first_size=7, size=5))
    x = torch.randn(3, 63, dtype=torch.float64)
    with torch.no_grad():
        expected, state, previous = net(x), net.start((3,)), torch.zeros(3, dtype=torch.float64)
        for position in range(63):
            found, state = net.step(state, previous)
            testing.statistics.check_close(found, expected[:, position], f"step {position}")
            previous = x[:, position]


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_step_keeps_a_few_rows_only(kind: str) -> None:
    """Catches caches that grow with the image, and a step whose work does: draws would cost many passes."""
    small, large = (network(kind, shape, layers=2) for shape in ((6, 6), (24, 6)))
    sizes = [
        {name: value.shape for name, value in net.start((2,)).items() if name.endswith("cache")}
        for net in (small, large)
    ]
    assert sizes[0] == sizes[1]


def test_dropout_is_for_training_alone() -> None:
    """Catches draws and likelihoods with numbers left out, and training without."""
    net = network("plain", (3, 3), dropout=0.5)
    x = torch.randn(2, 9)
    assert not net(x).equal(net(x))
    net.eval()
    assert net(x).equal(net(x))


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_given_is_broadcast(kind: str) -> None:
    """Catches particles of a latent, (particles, rows, numbers), that are not met with each row's image."""
    net = in_float64(network(kind, (2, 2), given=2))
    x, z = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 3, 2, dtype=torch.float64)
    found = net(x, z)
    assert found.shape == (5, 3, 4, 1)
    torch.testing.assert_close(found[4, 1:2], net(x[1:2], z[4, 1:2]))
    law = Autoregressive(net, BernoulliOutput(), given=z)
    assert law.sample((2,)).shape == (2, 5, 3, 4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_where_the_bias_starts(kind: str) -> None:
    """Catches channels exchanged where the output's bias starts, and a trained bias that is overwritten."""
    net = network(kind, (2, 2), 2, image_channels=2)
    bias = torch.arange(4.0).reshape(2, 2).repeat(4, 1)  # of channel 0: 0 and 1, of channel 1: 2 and 3
    net.initialise(bias)
    with torch.no_grad():
        net.head.last.weight.zero_()
    assert net(torch.randn(1, 8)).squeeze(0).equal(bias)
    net.initialise(bias + 1)
    assert net(torch.randn(1, 8)).squeeze(0).equal(bias)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.CausalConvolutions((0, 3)), "rows must be at least 1, got 0"),
        (lambda: nn.CausalConvolutions((2, 3), channels=0), "channels must be at least 1, got 0"),
        (lambda: nn.GatedCausalConvolutions((2, 3), layers=0), "layers must be at least 1, got 0"),
        (lambda: nn.GatedCausalConvolutions((2, 3), given=-1), "given must be 0 or more, got -1"),
        (lambda: nn.CausalConvolutions((2, 3), dropout=1.0), "dropout must lie in [0, 1), got 1.0"),
        (lambda: nn.CausalConvolutions((2, 2), given=2)(torch.zeros(1, 4)), "given must have shape (..., 2)"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    """Catches a size or a condition that fails deep inside."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
