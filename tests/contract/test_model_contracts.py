"""Every model of the zoo is a pair that can be trained, evaluated and saved."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from batches import moved
from examples import instances
from examples.models import MODELS

from ppgen import distributions, inference, registry, testing
from ppgen.inference.structure.machine_sites import undirected_sites


@pytest.mark.parametrize(("name", "make"), instances("model", MODELS, default=False))
def test_pairs(name: str, make: Callable[[], tuple[Any, Any]], device: torch.device) -> None:
    """Catches a model with a parameter that never moves, a wrong gradient, coupled rows, a bad save."""
    pair, x = make()
    assert registry.name_of("model", type(pair)) == name
    testing.check_pair(pair.to(device, torch.float64), moved(x, device, torch.float64))


@pytest.mark.parametrize(("name", "make"), instances("model", MODELS, default=False))
def test_no_tensor_is_born_on_the_default_device(name: str, make: Callable[[], tuple[Any, Any]]) -> None:
    """Catches a constant made without a device, on any machine: here the default device holds no data at all."""
    pair, batch = make()
    x = moved(batch, torch.float32)
    if not pair.has_likelihood:
        for objective in (inference.MaximumMeanDiscrepancy(), inference.Adversarial()):
            with torch.device("meta"):
                bound = inference.Inference(objective).bind(pair, x, num_data=len(x))
                values = [bound.step(x).value, bound.value(x), *bound.state.values()]
            assert {value.device.type for value in values} == {"cpu"}
        return
    layout = inference.find_layout(pair, x)
    phases = (
        [registry.lookup("negative phase", each)() for each in registry.TABLES["negative phase"]]
        if layout.undirected
        else [None]
    )
    for phase in phases:
        for objective in (inference.ELBO(num_particles=2), inference.IWELBO(num_particles=3)):
            refused = refusal(phase, layout, list(undirected_sites(pair, x).values()))
            if refused:
                with pytest.raises(ValueError, match=refused):
                    inference.Inference(objective, negative_phase=phase).bind(pair, x, num_data=len(x))
                continue
            with torch.device("meta"):
                bound = inference.Inference(objective, negative_phase=phase).bind(pair, x, num_data=len(x))
                results = [bound.step(x) for _ in range(2)]
                values = [bound.value(x), *bound.state.values(), *results[1].gradients.values()]
            assert {value.device.type for value in values} == {"cpu"}
    inputs = {"x": x[0]} if isinstance(x, tuple) else {"num_rows": 3}
    with torch.device("meta"), pair.running(), inference.attach(log_partition=0.0, sampler="exact"):
        assert inference.log_weights(pair, x, num_particles=2).local.device.type == "cpu"
        if layout.improper:  # nothing is drawn where the prior is flat
            with pytest.raises(ValueError, match="has no law"):
                pair.model(**inputs)
            return
        assert pair.model(**inputs).device.type == "cpu"


def refusal(phase: Any, layout: inference.Layout, energies: list[Any]) -> str:
    """What a negative phase says to machines that it cannot serve; empty for the others."""
    if isinstance(phase, inference.PCD) and any(energy.batch_shape for energy in energies):
        return "energy of this machine depends on the datum"
    if isinstance(phase, inference.ExactPartition) and any(
        energy.num_states(energy.smaller_side) == float("inf") for energy in energies
    ):
        return "Exact enumeration needs"
    if isinstance(phase, inference.PseudoLikelihood):
        if any(layout.latent[site] != "exact posterior" for site in layout.undirected):
            return "drawn by the guide, and not from their exact posterior"
        discrete = (distributions.Bernoulli, distributions.Categorical)
        if any(not isinstance(energy.units[0], discrete) for energy in energies):
            return "The pseudo-likelihood needs"
    return ""
