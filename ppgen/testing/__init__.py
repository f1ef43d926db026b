"""Contracts as functions: what pairs, parts of an inference, kernels, units and machines must hold.

Users hold their own models to them. Each `check_...` returns None, or raises `AssertionError` with a
sentence that says what is wrong.
"""

from ppgen.testing.causal import check_causal
from ppgen.testing.conditional_models import check_conditional
from ppgen.testing.draw_objectives import check_draw_objective, check_implicit
from ppgen.testing.estimators import check_estimator
from ppgen.testing.examples import boltzmann_machine, conjugate_pair, enumerated
from ppgen.testing.kernels import check_kernel
from ppgen.testing.machines import check_coupling, check_machine
from ppgen.testing.negative_phases import check_negative_phase
from ppgen.testing.objectives import check_objective
from ppgen.testing.pairs import check_gradient, check_pair
from ppgen.testing.posterior_kernels import check_posterior_kernel
from ppgen.testing.simulated_device import Count, counting, lacking, make_room, second_device
from ppgen.testing.statistics import check_close, check_frequencies, check_mean
from ppgen.testing.units import check_units
from ppgen.testing.updates import check_update

__all__ = [
    "Count",
    "boltzmann_machine",
    "check_causal",
    "check_close",
    "check_conditional",
    "check_coupling",
    "check_draw_objective",
    "check_estimator",
    "check_frequencies",
    "check_gradient",
    "check_implicit",
    "check_kernel",
    "check_machine",
    "check_mean",
    "check_negative_phase",
    "check_objective",
    "check_pair",
    "check_posterior_kernel",
    "check_units",
    "check_update",
    "conjugate_pair",
    "counting",
    "enumerated",
    "lacking",
    "make_room",
    "second_device",
]
