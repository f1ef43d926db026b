"""Chains of a kernel as machine code: the law of the machine, and the same numbers from the same seed."""

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ppgen import inference, models
from ppgen.distributions.machines.layered_energy import EVEN
from ppgen.graphs import compiler
from ppgen.inference.kernels import compiled_steps as compiled_kernel


def machine() -> models.RBM:
    """Five visible and three hidden units with strong weights."""
    torch.manual_seed(2)
    return models.RBM.from_arrays(1.5 * torch.randn(5, 3), torch.randn(5), torch.randn(3))


@pytest.mark.parametrize("make", [inference.BlockGibbs, partial(inference.ParallelTempering, num_temperatures=4)])
def test_compiled_chains_follow_the_enumerated_law(make: Any) -> None:
    """Sees draws that machine code repeats from step to step, fields of the state exchanged, a ladder that is lost."""
    rbm = machine()
    before = torch.random.get_rng_state()
    options: dict[str, Any] = {"num_chains": 400, "warmup_steps": 60, "seed": 3, "compile": True}
    tree = inference.sample(make(rbm), 100, **options)
    if make is inference.BlockGibbs:
        assert tree.posterior.equals(inference.sample(make(rbm), 100, **options).posterior)
    assert torch.equal(before, torch.random.get_rng_state())
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)))
    with torch.no_grad():
        law = (-rbm.machine().base_energy.free_energy(states, EVEN)).softmax(0)
    means = tree.posterior["visible"].values.mean(1)  # of each chain; chains are independent
    error = means.std(0, ddof=1) / np.sqrt(len(means))
    assert (np.abs(means.mean(0) - (law @ states).numpy()) < 4 * error).all()
    eager = inference.sample(make(rbm), 100, **options | {"compile": False})
    for name in eager.sample_stats.data_vars:
        one, other = (each.sample_stats[name].mean("draw").values for each in (tree, eager))
        error = np.sqrt((one.var(0, ddof=1) + other.var(0, ddof=1)) / len(one))
        assert (np.abs(one.mean(0) - other.mean(0)) <= 4.5 * error + 1e-6).all(), name


def test_only_long_runs_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sees a short run that pays for a compiler, and the work of a long one counted without its chains."""
    made: list[int] = []

    def compiled(program: Any, leaves: Any) -> Any:
        made.append(len(leaves))
        raise RuntimeError("no compiler here\nand more")

    monkeypatch.setattr(compiler, "compiled", compiled)
    kernel = inference.BlockGibbs(machine())
    inference.sample(kernel, 20, num_chains=10, warmup_steps=5)
    assert not made
    monkeypatch.setattr(compiled_kernel, "WORTH_COMPILING", 25 * 10 * 15)
    with pytest.warns(UserWarning, match="run uncompiled: RuntimeError: no compiler here$"):
        tree = inference.sample(kernel, 20, num_chains=10, warmup_steps=5)
    assert made == [2]
    assert tree.posterior.sizes["draw"] == 20
    with pytest.raises(ValueError, match="compile must be"):
        inference.sample(kernel, 2, compile="yes")
