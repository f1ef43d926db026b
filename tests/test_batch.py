"""A batch in its four forms: a tensor, a tuple, a mapping, arguments of both kinds."""

from typing import Any

import pytest
import torch

from ppgen.batch import (
    Arguments,
    all_tensors_of,
    changed,
    num_rows,
    parts_of,
    rebuilt,
    split_batch,
    table_of,
    tensors_of,
    with_tensors,
)

X, Y, SCALE = torch.arange(6.0).view(3, 2), torch.arange(3), torch.tensor(2.0)
FORMS = {
    "tensor": (X, ((X,), {})),
    "tuple": ((X, None, Y), ((X, None, Y), {})),
    "mapping": ({"x": X, "scale": 2.0, "y": Y}, ((), {"x": X, "scale": 2.0, "y": Y})),
    "arguments": (Arguments((X,), {"scale": SCALE, "y": Y}), ((X,), {"scale": SCALE, "y": Y})),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_batch(form: str) -> None:
    """Catches a form whose arguments get lost, change their order or come back as another form."""
    batch, (args, kwargs) = FORMS[form]
    assert split_batch(batch) == (args, kwargs)
    assert parts_of(batch) == [*args, *kwargs.values()]
    again = rebuilt(batch, parts_of(batch))
    assert type(again) is type(batch) and split_batch(again) == (args, kwargs)
    assert tensors_of(batch) == ([X] if form == "tensor" else [X, Y])  # what is None, a number or 0-d has no rows
    assert num_rows(batch) == 3
    again = with_tensors(batch, [3 * tensor for tensor in all_tensors_of(batch)])
    given = [3 * part if isinstance(part, torch.Tensor) else part for part in parts_of(batch)]
    assert all(one is other or torch.equal(one, other) for one, other in zip(parts_of(again), given, strict=True))
    doubled: Any = changed(batch, lambda part: None if part is None else 2 * part)
    assert tensors_of(doubled)[0].equal(2 * X)


def test_table_of_a_batch() -> None:
    """Catches a table with parts that have other rows, or of another type than the log-weights."""
    like = torch.zeros(4, 3, dtype=torch.float64)
    table = table_of((X, Y, torch.zeros(2)), like)
    assert table.dtype == torch.float64 and table.equal(torch.cat([X, Y[:, None]], -1).double())
    assert table_of(torch.tensor(1.0), like).equal(torch.zeros(3, 1, dtype=torch.float64))
    with pytest.raises(ValueError, match="strict|shorter|longer"):
        rebuilt({"x": X}, [X, Y])
