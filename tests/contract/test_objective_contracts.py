"""Objectives, and the algorithms named after papers, are bounds with the gradient that they say."""

from typing import Any

import pytest
import torch
from examples import instances
from examples.algorithms import ALGORITHMS, tried_on
from examples.objectives import OBJECTIVES
from repetitions import repeated

from ppgen import inference, testing


@pytest.mark.parametrize(("name", "objective"), instances("objective", OBJECTIVES))
def test_objectives(name: str, objective: Any, device: torch.device) -> None:
    """Catches an objective above log p(x), one that couples rows or logs the plate's scale."""
    assert type(objective).__name__ == name
    if objective.exact:  # it takes no continuous latent, and says so
        with pytest.raises(ValueError, match="'z'.*continuous"):
            testing.check_objective(objective, device=device)
        return
    testing.check_objective(objective, device=device, num_draws=repeated(device, 150, 24))


@pytest.mark.parametrize(("name", "algorithm"), instances("algorithm", ALGORITHMS))
def test_algorithms(name: str, algorithm: inference.Inference, device: torch.device) -> None:
    """Catches an algorithm whose parts are no legal inference or do not survive a checkpoint."""
    assert inference.from_config(inference.to_config(algorithm)) == algorithm
    assert type(algorithm.objective).__name__ in OBJECTIVES  # which holds its own contract above
    if algorithm.update is not None:  # for pairs that say what is in closed form
        testing.check_update(algorithm.update, device=device)
        return
    pair, batch = tried_on(algorithm, device)
    num_data = len(batch[0]) if isinstance(batch, tuple) else len(batch)
    result = algorithm.bind(pair, batch, num_data=num_data).step(batch)
    assert set(result.gradients) == {name for name, _ in pair.named_parameters()}
