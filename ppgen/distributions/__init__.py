"""Distributions that Pyro does not have: Boltzmann machines of layered units, autoregressive bits."""

from ppgen.distributions.autoregressive import AutoregressiveBernoulli
from ppgen.distributions.boltzmann import BoltzmannMachine, BoltzmannMarginal
from ppgen.distributions.conditional import LayerConditional
from ppgen.distributions.couplings import Coupling, Dense
from ppgen.distributions.samplers import ExactSampler, GibbsSampler
from ppgen.distributions.tempering import BaseRatePath
from ppgen.distributions.undirected import UndirectedDistribution
from ppgen.distributions.units import Bernoulli, Units

__all__ = [
    "AutoregressiveBernoulli",
    "BaseRatePath",
    "Bernoulli",
    "BoltzmannMachine",
    "BoltzmannMarginal",
    "Coupling",
    "Dense",
    "ExactSampler",
    "GibbsSampler",
    "LayerConditional",
    "UndirectedDistribution",
    "Units",
]
