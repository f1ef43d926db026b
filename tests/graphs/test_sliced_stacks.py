"""Parts of a tensor that are stacked again, and nodes without a reader."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ppgen.graphs.passes import functional, pruned, simplify
from ppgen.graphs.stacks import sliced_stacks

X = torch.arange(240.0).reshape(4, 12, 5)


def counts(program: Callable[[Tensor], Tensor]) -> Counter[str]:
    """Operations after the rewrite, which gives what the program gives."""
    module = sliced_stacks(simplify(functional(program, [X])))
    found, expected = module(X), program(X)
    assert torch.equal(found, expected) and found.stride() == expected.stride()
    return Counter(str(node.target) for node in module.graph.nodes)


PROGRAMS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns": lambda x: torch.stack([x[:, t] for t in range(12)]),
    "backwards from the end": lambda x: torch.stack([x[:, t] for t in range(-9, 0)], -1),
    "in between": lambda x: torch.stack([x[:, 1 + t] for t in range(10)], 1),
    "every second": lambda x: torch.stack([x.reshape(4, 60)[:, 2 * t + 1] for t in range(30)]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_stack_of_parts_is_one_slice(name: str) -> None:
    """Catches parts put along another dimension, in another order, or left as one operation each."""
    found = counts(PROGRAMS[name])
    assert found["aten.slice.Tensor"] == 1 and not found["aten.stack.default"] and not found["aten.select.int"]


UNEVEN: dict[str, Callable[[Tensor], Tensor]] = {
    "downwards": lambda x: torch.stack([x[:, 11 - t] for t in range(12)]),
    "a part twice": lambda x: torch.stack([x[:, t // 2] for t in range(12)]),
    "two tensors": lambda x: torch.stack([(x if t % 2 else 2 * x)[:, t] for t in range(12)]),
    "two dimensions": lambda x: torch.stack([x.reshape(12, 4, 5)[t] for t in range(4)] + [x[0, :4]] * 8),
    "other parts": lambda x: torch.stack([x[:, t] + t for t in range(12)]),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_other_stacks_stay(name: str) -> None:
    """Catches parts that are no even row of one tensor taken for one."""
    assert counts(UNEVEN[name])["aten.stack.default"] == 1


def test_parts_with_another_reader_stay() -> None:
    """Catches a part thrown away that is read elsewhere."""
    found = counts(lambda x: torch.stack([x[:, t] for t in range(12)]) + x[:, 3])
    assert found["aten.select.int"] == 1 and found["aten.slice.Tensor"] == 1


def test_a_pruned_graph_keeps_its_draws_and_writes() -> None:
    """Catches numbers that change because a draw before them is gone, and a write that nobody sees."""

    def program(x: Tensor) -> Tensor:
        torch.rand(3), x.sin(), x.cos()  # noqa: B018 - unread on purpose
        y = x.clone()
        y.add_(1)
        return torch.rand(2) + y[0, 0, 0]

    module = torch.fx.experimental.proxy_tensor.make_fx(program)(X)
    kept = Counter(str(node.target) for node in pruned(module).graph.nodes)
    assert kept["aten.rand.default"] == 2 and kept["aten.add_.Tensor"] == 1
    assert not kept["aten.sin.default"] and not kept["aten.cos.default"]
    torch.manual_seed(0)
    expected = program(X)
    torch.manual_seed(0)
    assert torch.equal(module(X), expected)
