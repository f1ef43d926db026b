"""Distributions that Pyro does not have: Boltzmann machines of layered units, autoregressive bits, smooth images."""

from ppgen.distributions.autoregressive.autoregressive import Autoregressive
from ppgen.distributions.autoregressive.bernoulli_output import BernoulliOutput
from ppgen.distributions.autoregressive.categorical_output import CategoricalOutput
from ppgen.distributions.autoregressive.laplace_mixture_output import LaplaceMixtureOutput
from ppgen.distributions.autoregressive.logistic_mixture_output import LogisticMixtureOutput
from ppgen.distributions.autoregressive.mixture_output import MixtureOutput
from ppgen.distributions.autoregressive.normal_mixture_output import NormalMixtureOutput
from ppgen.distributions.autoregressive.order_estimate import OrderEstimate
from ppgen.distributions.autoregressive.order_mixture import OrderMixture
from ppgen.distributions.autoregressive.orderless_mixture import OrderlessMixture
from ppgen.distributions.autoregressive.output_law import OutputLaw
from ppgen.distributions.couplings.convolutional import Convolutional
from ppgen.distributions.couplings.dense import Coupling, Dense, Replicated
from ppgen.distributions.couplings.ordinal import Ordinal
from ppgen.distributions.densities.autoregressive import AutoregressiveBernoulli
from ppgen.distributions.densities.linear_normal import LinearNormal
from ppgen.distributions.densities.markov_field import GaussianMarkovField
from ppgen.distributions.flows.affine_coupling import AffineCoupling
from ppgen.distributions.flows.coupling_step import CouplingStep
from ppgen.distributions.flows.flow_step import FlowStep
from ppgen.distributions.flows.inverse_autoregressive import InverseAutoregressive
from ppgen.distributions.flows.masked_autoregressive import MaskedAutoregressive
from ppgen.distributions.flows.spline_coupling import SplineCoupling
from ppgen.distributions.machines.base_rate_path import BaseRatePath
from ppgen.distributions.machines.boltzmann import BoltzmannMachine, BoltzmannMarginal
from ppgen.distributions.machines.layer_conditional import LayerConditional
from ppgen.distributions.machines.layered_energy import EVEN, ODD
from ppgen.distributions.machines.pseudo_likelihood import pseudo_log_likelihood
from ppgen.distributions.machines.samplers import ExactSampler, GibbsSampler
from ppgen.distributions.machines.undirected import UndirectedDistribution
from ppgen.distributions.units.bernoulli import Bernoulli
from ppgen.distributions.units.biased import Biased
from ppgen.distributions.units.categorical import Categorical
from ppgen.distributions.units.clamped import Clamped
from ppgen.distributions.units.gaussian import Gaussian
from ppgen.distributions.units.max_pooled import MaxPooled
from ppgen.distributions.units.multinomial import Multinomial
from ppgen.distributions.units.precision_gaussian import PrecisionGaussian
from ppgen.distributions.units.rectified_gaussian import RectifiedGaussian
from ppgen.distributions.units.spin import Spin
from ppgen.distributions.units.truncated_exponential import TruncatedExponential
from ppgen.distributions.units.units import Units

__all__ = [
    "EVEN",
    "ODD",
    "AffineCoupling",
    "Autoregressive",
    "AutoregressiveBernoulli",
    "BaseRatePath",
    "Bernoulli",
    "BernoulliOutput",
    "Biased",
    "BoltzmannMachine",
    "BoltzmannMarginal",
    "Categorical",
    "CategoricalOutput",
    "Clamped",
    "Convolutional",
    "Coupling",
    "CouplingStep",
    "Dense",
    "ExactSampler",
    "FlowStep",
    "Gaussian",
    "GaussianMarkovField",
    "GibbsSampler",
    "InverseAutoregressive",
    "LaplaceMixtureOutput",
    "LayerConditional",
    "LinearNormal",
    "LogisticMixtureOutput",
    "MaskedAutoregressive",
    "MaxPooled",
    "MixtureOutput",
    "Multinomial",
    "NormalMixtureOutput",
    "OrderEstimate",
    "OrderMixture",
    "OrderlessMixture",
    "Ordinal",
    "OutputLaw",
    "PrecisionGaussian",
    "RectifiedGaussian",
    "Replicated",
    "Spin",
    "SplineCoupling",
    "TruncatedExponential",
    "UndirectedDistribution",
    "Units",
    "pseudo_log_likelihood",
]
