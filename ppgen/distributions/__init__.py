"""Distributions that Pyro does not have: Boltzmann machines of layered units, autoregressive bits, smooth images."""

from ppgen.distributions.autoregressive import AutoregressiveBernoulli
from ppgen.distributions.bernoulli import Bernoulli
from ppgen.distributions.boltzmann import BoltzmannMachine, BoltzmannMarginal
from ppgen.distributions.categorical import Categorical
from ppgen.distributions.clamped import Clamped
from ppgen.distributions.conditional import LayerConditional
from ppgen.distributions.convolutional import Convolutional
from ppgen.distributions.couplings import Coupling, Dense, Replicated
from ppgen.distributions.gaussian import Gaussian
from ppgen.distributions.markov_field import GaussianMarkovField
from ppgen.distributions.max_pooled import MaxPooled
from ppgen.distributions.multinomial import Multinomial
from ppgen.distributions.ordinal import Ordinal
from ppgen.distributions.precision_gaussian import PrecisionGaussian
from ppgen.distributions.pseudo_likelihood import pseudo_log_likelihood
from ppgen.distributions.rectified_gaussian import RectifiedGaussian
from ppgen.distributions.samplers import ExactSampler, GibbsSampler
from ppgen.distributions.spin import Spin
from ppgen.distributions.tempering import BaseRatePath
from ppgen.distributions.truncated_exponential import TruncatedExponential
from ppgen.distributions.undirected import UndirectedDistribution
from ppgen.distributions.units import Units

__all__ = [
    "AutoregressiveBernoulli",
    "BaseRatePath",
    "Bernoulli",
    "BoltzmannMachine",
    "BoltzmannMarginal",
    "Categorical",
    "Clamped",
    "Convolutional",
    "Coupling",
    "Dense",
    "ExactSampler",
    "Gaussian",
    "GaussianMarkovField",
    "GibbsSampler",
    "LayerConditional",
    "MaxPooled",
    "Multinomial",
    "Ordinal",
    "PrecisionGaussian",
    "RectifiedGaussian",
    "Replicated",
    "Spin",
    "TruncatedExponential",
    "UndirectedDistribution",
    "Units",
    "pseudo_log_likelihood",
]
