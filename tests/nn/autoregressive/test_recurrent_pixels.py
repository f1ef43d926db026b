"""LSTMs over the rows and the diagonals of an image."""

from typing import Literal

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from ppgen import nn, testing
from ppgen.distributions import BernoulliOutput
from ppgen.graphs.scanned_cells import num_scans
from ppgen.testing.causal import seen_entries

Kind = Literal["row", "diagonal"]


def network(shape: tuple[int, int], kind: Kind, **arguments: int) -> nn.RecurrentPixels:
    """A small network in float64, with weights that leave hardly a unit silent."""
    torch.manual_seed(0)
    net = nn.RecurrentPixels(shape, 2, kind, **{"channels": 3, "layers": 1, **arguments}).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return net


@pytest.mark.parametrize("kind", ["row", "diagonal"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4)])
def test_the_law_is_exact(shape: tuple[int, int], kind: Kind) -> None:
    """Catches a pixel that sees itself, steps that differ from the forward pass, draws of another law."""
    net = nn.RecurrentPixels(shape, 1, kind, channels=2, layers=2, first_size=3)
    testing.check_causal(net, BernoulliOutput(), field=net.field)


def test_the_row_sees_a_triangle() -> None:
    """Catches a filter that is cut on the wrong side, hidden pixels of another row, and a field that is not so."""
    net = network((4, 15), "row", layers=2)
    row, column = torch.arange(60) // 15, torch.arange(60) % 15
    up, right = row[:, None] - row, column - column[:, None]
    # 3 pixels by the first filter, 1 to the left by each layer's filter, 1 to each side by each row.
    triangle = (up > 0) & (right >= -5 - up) & (right <= 2 + up) | (up == 0) & (right >= -5) & (right < 0)
    assert torch.equal(net.field, triangle)
    assert torch.equal(seen_entries(net), triangle)


def test_the_diagonals_see_all_pixels() -> None:
    """Catches the last pixel of the row above that nobody reads, where the image is wider than the first filter."""
    net = network((3, 9), "diagonal", first_size=3)
    assert torch.equal(seen_entries(net), torch.ones(27, 27).tril(-1).bool())
    assert torch.equal(net.field, seen_entries(net))


@pytest.mark.parametrize("kind", ["row", "diagonal"])
def test_graphs_of_it(kind: Kind) -> None:
    """Catches a forward pass that is unrolled in a graph, and a step whose graph is that of one position alone."""
    net, x = network((5, 4), kind, layers=2), torch.randn(3, 20).double()
    with torch.no_grad():
        expected = net(x)
        forward = make_fx(net, tracing_mode="fake", _allow_non_fake_inputs=True)(x)
        assert num_scans(forward) == 2
        torch.testing.assert_close(forward(x), expected)

        state = net.start((3,))

        def one(values: list[torch.Tensor], previous: torch.Tensor) -> list[torch.Tensor]:
            parameters, after = net.step(dict(zip(state, values, strict=True)), previous)
            return [parameters, *after.values()]

        values = list(state.values())
        step = make_fx(one, tracing_mode="fake", _allow_non_fake_inputs=True)(values, x[:, 0])
        for position in range(20):
            parameters, *values = step(values, x[:, position - 1])
            torch.testing.assert_close(parameters, expected[:, position])


def test_forget_gates_start_open() -> None:
    """Catches a start at which cells forget half of what they hold at each row."""
    for kind in ("row", "diagonal"):
        bias = nn.RecurrentPixels((3, 3), kind=kind, channels=2, layers=1).layers[0].inputs.bias
        assert bias.reshape(-1, 4, 2).sum((0, 2)).tolist() == [0, bias.numel() / 4, 0, 0]


def test_bad_arguments_are_refused() -> None:
    """Catches a kind that is taken for another, and sizes that make an empty network."""
    with pytest.raises(ValueError, match='kind must be "row" or "diagonal"'):
        nn.RecurrentPixels((3, 3), kind="column")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layers must be at least 1"):
        nn.RecurrentPixels((3, 3), layers=0)
