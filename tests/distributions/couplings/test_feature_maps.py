"""Units that share parameters, and machines of feature maps, against sums over all their states."""

from typing import Any

import pytest
import torch
from feature_maps import feature_maps, parameter

from ppgen import distributions, testing
from ppgen.distributions import Gaussian

MACHINES: dict[str, dict[str, Any]] = {
    "bits": {"image": (1, 2, 4), "size": (2, 2), "pool": 1},
    "blocks": {"image": (1, 3, 3), "size": (2, 2), "pool": 2},
    "channels": {"image": (2, 2, 2), "size": (1, 1), "pool": 2},
    "blocks in a row": {"image": (1, 2, 5), "size": (1, 2), "pool": 2, "maps": 1},
    "real values": {"image": (2, 1, 1), "size": (1, 1), "pool": 1, "maps": 3, "units": Gaussian},
    "three layers": {"image": (1, 2, 3), "size": (1, 2), "pool": 2, "maps": 1, "top": 2},
}
# Parameters that units next to each other share.
SHARED = {
    "Bernoulli": lambda device: distributions.Bernoulli(parameter(2, device=device), positions=3),
    "Gaussian": lambda device: distributions.Gaussian(parameter(2, device=device), parameter(2, device=device), 2),
    "MaxPooled": lambda device: distributions.MaxPooled(parameter(2, device=device), block=3, positions=2),
}


@pytest.mark.parametrize("name", SHARED)
def test_units_that_share_parameters(name: str, device: torch.device) -> None:
    """Catches a parameter at the wrong units, or one that is a copy: here it is changed after the layer was made."""
    units = SHARED[name](device)
    testing.check_units(units)
    own = [each.detach().clone() for each in units.parameters()]
    each_one = [each.repeat_interleave(units.size // len(each)) for each in own]
    if name == "MaxPooled":
        each_one = [each_one[0].reshape(4, 3)]
    whole = type(units)(*each_one)
    value = units.sample(torch.zeros(5, units.size).to(own[0]), torch.rand(5, units.num_uniforms).to(own[0]))
    testing.check_close(units.energy(value), whole.energy(value), "energy")
    with torch.no_grad():
        for each in units.parameters():
            each.fill_(0.3)
    assert not torch.equal(units.log_partition(value), whole.log_partition(value))


@pytest.mark.parametrize("name", MACHINES)
def test_machines_of_feature_maps(name: str, device: torch.device) -> None:
    """Catches a filter at the wrong position, a bias of another map, blocks in another order than their units."""
    testing.check_machine(feature_maps(**MACHINES[name], device=device))
