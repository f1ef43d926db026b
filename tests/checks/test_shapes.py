"""Shapes that are broadcast together, as torch finds them."""

import itertools

import pytest
import torch

from ppgen.checks.shapes import broadcast_shapes


def test_shapes_are_those_of_torch() -> None:
    """Catches another shape, or another error, than torch's, also of sizes of zero and of nothing."""
    some = [(), (1,), (3,), (0,), (2, 1), (2, 3), (4, 1, 1), (0, 1), (-1,)]
    for shapes in [
        (),
        *itertools.product(some, repeat=1),
        *itertools.product(some, repeat=2),
        ((2, 1), (3,), (4, 1, 1)),
    ]:
        try:
            expected = torch.broadcast_shapes(*shapes)
        except (RuntimeError, ValueError) as error:
            with pytest.raises(type(error)) as raised:
                broadcast_shapes(*shapes)
            assert str(raised.value) == str(error)
            continue
        assert broadcast_shapes(*shapes) == expected
        assert isinstance(broadcast_shapes(*shapes), torch.Size)


@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:FutureWarning")
def test_sizes_are_recorded_by_a_trace() -> None:
    """Catches sizes that `torch.jit.trace` takes for constants, so that another batch has the shape of the first."""

    def program(x: torch.Tensor) -> torch.Tensor:
        return torch.ones(1, 3).expand(broadcast_shapes(x.shape, (1, 3)))

    traced = torch.jit.trace(program, torch.zeros(2, 3))
    assert traced(torch.zeros(5, 3)).shape == (5, 3)
