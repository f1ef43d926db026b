"""A cell run over positions: as a loop, as one operator of a graph, and as machine code."""

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import ppgen
from ppgen.graphs.scanned_cells import num_scans
from ppgen.nn import scan
from ppgen.nn.recurrent.lstm import lstm_update

LENGTH, ROWS, UNITS = 7, 3, 4


def lstm(states: Any, x: Any, parameters: Any) -> Any:
    """An LSTM that also counts positions and reads words, which are whole numbers."""
    (hidden, cells, count), (numbers, words), (weight, table) = states, x, parameters
    gates = torch.cat([hidden, numbers, table[words]], -1) @ weight
    hidden, cells = lstm_update(gates, cells)
    return (hidden, cells, count + 1), (hidden, cells.sum(-1), words + count)


def inputs(length: int = LENGTH) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """States, inputs and parameters of `lstm` in float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    init = [normal(ROWS, UNITS), normal(ROWS, UNITS), torch.zeros(ROWS, dtype=torch.long)]
    words = torch.randint(5, (length, ROWS), generator=generator)
    return init, [normal(length, ROWS, 2), words], [normal(2 * UNITS + 2, 4 * UNITS), normal(5, UNITS)]


def loop(cell: Any, init: Any, xs: Any, parameters: Any) -> Any:
    """The plain loop that a scan is compared to."""
    states, rows = init, []
    for t in range(len(xs[0])):
        states, outputs = cell(states, [x[t] for x in xs], parameters)
        rows.append(outputs)
    return states, [torch.stack(each) for each in zip(*rows, strict=True)]


def values_and_gradients(run: Callable[..., Any]) -> Callable[..., list[Tensor]]:
    """All that a run returns, and gradients of a function of it in all that has one."""

    def program(*flat: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            leaves = [each.detach().requires_grad_(each.is_floating_point()) for each in flat]
            states, outputs = run(lstm, leaves[:3], leaves[3:5], leaves[5:])
            loss = (states[0] * states[1]).sum() + (outputs[0] ** 2).sum() + outputs[1].cos().sum()
            gradients = torch.autograd.grad(loss, [leaf for leaf in leaves if leaf.requires_grad])
        return [each.detach() for each in (*states, *outputs, *gradients)]

    return program


def traced(program: Any, *arguments: Any) -> Any:
    return make_fx(program, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)


def test_values_and_gradients_are_those_of_a_loop() -> None:
    """Catches states of the wrong position in the gradient, one that is not summed, positions in reverse."""
    flat = [each for group in inputs() for each in group]
    expected = values_and_gradients(loop)(*flat)
    graph = traced(values_and_gradients(scan), *flat)
    assert num_scans(graph) == 1
    for found in (values_and_gradients(scan)(*flat), graph(*flat)):
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == other.dtype
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_graph_does_not_grow_with_its_length() -> None:
    """Catches a run that is unrolled, whose compilation takes minutes; and a cell kept anew each time it is traced."""
    from ppgen.graphs import cell_text

    graphs = [traced(values_and_gradients(scan), *(each for group in inputs(n) for each in group)) for n in (7, 50)]
    assert len({len(graph.graph.nodes) for graph in graphs}) == 1
    kept = len(cell_text._TEXTS)
    traced(values_and_gradients(scan), *(each for group in inputs(9) for each in group))
    assert len(cell_text._TEXTS) == kept


def test_only_a_last_state_and_only_some_gradients() -> None:
    """Catches gradients of what is not used, or not wanted, that are taken for others."""
    init, xs, parameters = inputs()

    def program(weight: Tensor, start: Tensor) -> list[Tensor]:
        with torch.enable_grad():
            weight, start = weight.detach().requires_grad_(), start.detach().requires_grad_()
            states, _ = scan(lstm, [start, *init[1:]], xs, [weight, parameters[1]])
            return list(torch.autograd.grad(states[0].sum(), [weight, start]))

    found = traced(program, parameters[0], init[0])(parameters[0], init[0])
    for one, other in zip(found, program(parameters[0], init[0]), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


class Recurrent(nn.Module):
    """A net without inputs from outside but x: what `functional_call` gives new weights to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3).double())

    def forward(self, x: Tensor) -> Tensor:
        def cell(states: Any, x: Any, parameters: Any) -> Any:
            hidden = torch.tanh(states[0] @ parameters[0] + x[0])
            return [hidden], [hidden]

        return scan(cell, [torch.zeros_like(x[0])], [x], [self.weight])[1][0]


def test_other_weights_and_transforms() -> None:
    """Catches weights of before that stay in a graph, and a transform that does not see through a run."""
    module, x = Recurrent(), torch.randn(6, 2, 3).double()
    other = {"weight": torch.randn(3, 3).double()}

    def program(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, weights, (x,))

    graph = traced(program, {"weight": module.weight.detach()}, x)
    assert torch.allclose(graph(other, x), program(other, x)) and not torch.allclose(graph(other, x), module(x))
    rows = vmap(program, (None, 1))(other, x)
    assert torch.allclose(rows.transpose(0, 1), program(other, x))
    per_row = vmap(torch.func.grad(lambda weights, row: program(weights, row).sum()), (None, 1))(other, x)
    whole = torch.func.grad(lambda weights: program(weights, x).sum())(other)
    assert torch.allclose(per_row["weight"].sum(0), whole["weight"])
    assert torch.autograd.gradgradcheck(lambda x: module(x), (x[:4].clone().requires_grad_(),))


def test_what_a_graph_cannot_hold_is_refused() -> None:
    """Catches a second derivative that is silently zero, a weight that is frozen, and noise that is drawn anew."""
    weight = nn.Parameter(torch.ones(()).double())
    init, xs = [torch.zeros(()).double()], [torch.ones(5).double()]

    def second(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            total = scan(lambda s, x, p: ([(s[0] + x[0]).sin()], []), init, [x])[0][0]
            (first,) = torch.autograd.grad(total, x, create_graph=True)
            return torch.autograd.grad(first.sum(), x)[0]

    assert second(xs[0]).shape == (5,)
    with pytest.raises(NotImplementedError, match="no second derivatives"):
        traced(second, xs[0])
    with pytest.raises(ValueError, match="give weights and constants among parameters"):
        traced(lambda x: scan(lambda s, x, p: ([s[0] + weight * x[0]], []), init, [x])[0], xs[0])
    with pytest.raises(ValueError, match=r"must not draw random numbers .* among xs"):
        traced(lambda x: scan(lambda s, x, p: ([s[0] + torch.rand_like(x[0])], []), init, [x])[0], xs[0])


def test_bad_arguments_are_refused() -> None:
    """Catches inputs of unequal length that are cut, and a state that changes its shape or type on the way."""
    one = [torch.zeros(2)]
    with pytest.raises(ValueError, match="xs must be one tensor or more"):
        scan(lambda s, x, p: (s, x), one, [])
    with pytest.raises(ValueError, match=r"same positions.*\(3, 1\).*\(4, 1\)"):
        scan(lambda s, x, p: (s, x), one, [torch.zeros(3, 1), torch.zeros(4, 1)])
    with pytest.raises(ValueError, match=r"states like those in init.*\(2,\).*\(3, 2\)"):
        scan(lambda s, x, p: ([s[0] + x[0]], []), one, [torch.zeros(3, 3, 1)])
    with pytest.raises(TypeError, match="init must be a sequence of tensors"):
        scan(lambda s, x, p: (s, x), one[0], [torch.zeros(3)])


def tanh_cell(states: Any, x: Any, parameters: Any) -> Any:
    hidden = torch.tanh(states[0] @ parameters[0] + x[0])
    return [hidden], [hidden]


def chain(x: Tensor) -> None:
    """Five numbers, each about a function of those before it."""
    weight = pyro.param("weight", 0.3 * torch.eye(3))
    hidden = scan(tanh_cell, [x.new_zeros(len(x), 3)], [x.T.unsqueeze(-1).expand(5, len(x), 3)], [weight])[1][0]
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(hidden.sum(-1).roll(1, 0).T, 1.0).to_event(1), obs=x)


def test_fit_runs_it_as_machine_code() -> None:
    """Catches a scan that the compiled step cannot hold, other numbers there, and a fit that does not say so."""
    data, runs = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), []
    for compile in (False, True):
        pyro.clear_param_store()
        pair = ppgen.Pair(chain, lambda x: None)
        runs.append(
            ppgen.fit(pair, data, "maximum-likelihood", epochs=4, batch_size=20, compile=compile, progress=False)
        )
    assert runs[1].state["execution"]["stage"] == "compiled" and runs[1].state["execution"]["scans"] == 1
    assert "1 recurrent cell is run by one scan, as machine code" in repr(runs[1]) and "scan" not in repr(runs[0])
    weights = [dict(run.pair.named_parameters())["captured.weight"] for run in runs]
    assert not torch.equal(weights[0], 0.3 * torch.eye(3))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)
