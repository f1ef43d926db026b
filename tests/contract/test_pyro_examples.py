"""The programs by which Pyro is taught: fitted, checked and exported, as they are written."""

import math
from typing import Any

import pyro
import pytest
import torch
from pyro_examples import autoencoders, chains, mixtures, regressions
from pyro_examples.example import Example

import ppgen
from ppgen import diagnostics

EXAMPLES = [*regressions.EXAMPLES, *mixtures.EXAMPLES, *chains.EXAMPLES, *autoencoders.EXAMPLES]


@pytest.mark.parametrize(
    "example",
    [pytest.param(each, id=each.name, marks=() if each.quick else pytest.mark.pyro_programs) for each in EXAMPLES],
)
@pytest.mark.filterwarnings("ignore:.*run one by one")
def test_examples(example: Example) -> None:
    """Catches a program of Pyro's teaching that cannot be fitted, checked or exported as it is."""
    torch.manual_seed(0)
    pair, data = example.make()
    run: Any = ppgen.fit(pair, data, example.inference, steps=4, compile=False, progress=False, **example.options)
    assert math.isfinite(run.curve("train_value")[-1])
    assert str(run.check(data, num_particles=100, num_samples=100))
    at_once = "one by one" not in example.name  # whose sequences take no dimension of draws
    tree = diagnostics.from_pyro_svi(pair, data, num_samples=20, vectorize_particles=at_once)
    assert "posterior" in tree.children
    assert not list(pyro.get_param_store().keys())
