"""Networks that return distributions, layers that all families share, and the solvers of sparse codes."""

from ppgen.nn.autoregressive.categorical_nade import CategoricalNADE
from ppgen.nn.autoregressive.causal import Causal
from ppgen.nn.autoregressive.causal_convolutions import CausalConvolutions
from ppgen.nn.autoregressive.causal_linear import CausalLinear
from ppgen.nn.autoregressive.gated_convolutions import GatedCausalConvolutions
from ppgen.nn.autoregressive.made import MADENetwork
from ppgen.nn.autoregressive.made_in_order import MADEInOrder
from ppgen.nn.autoregressive.nade import NADENetwork
from ppgen.nn.autoregressive.offset_causal import OffsetCausal
from ppgen.nn.autoregressive.orderless_nade import OrderlessNADEInOrder, OrderlessNADENetwork
from ppgen.nn.autoregressive.recurrent_pixels import RecurrentPixels
from ppgen.nn.autoregressive.standardised_mixture import StandardisedMixture
from ppgen.nn.conditionals import BernoulliConditional, CategoricalConditional, Conditional, NormalConditional
from ppgen.nn.convolution import Convolution
from ppgen.nn.fista import Lasso
from ppgen.nn.flows.coupling_flow import CouplingFlow
from ppgen.nn.flows.flow import Flow
from ppgen.nn.flows.flow_conditional import FlowConditional
from ppgen.nn.flows.inverse_autoregressive_flow import InverseAutoregressiveFlow
from ppgen.nn.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow
from ppgen.nn.image_features import ImageFeatures
from ppgen.nn.mirrored_layers import MirroredLayers
from ppgen.nn.mlp import MLP
from ppgen.nn.normal_codes import NormalCodes
from ppgen.nn.pooling import max_pool, switch_bits
from ppgen.nn.recurrent.scan import scan
from ppgen.nn.sparse_encoders import LearnedISTA, SaturatingEncoder
from ppgen.nn.transposed_convolution import TransposedConvolution
from ppgen.nn.unpooling import unpool_by_repetition, unpool_by_switches

__all__ = [
    "MADENetwork",
    "MLP",
    "NADENetwork",
    "BernoulliConditional",
    "CategoricalConditional",
    "CategoricalNADE",
    "Causal",
    "CausalConvolutions",
    "CausalLinear",
    "Conditional",
    "Convolution",
    "CouplingFlow",
    "Flow",
    "FlowConditional",
    "GatedCausalConvolutions",
    "ImageFeatures",
    "InverseAutoregressiveFlow",
    "Lasso",
    "LearnedISTA",
    "MADEInOrder",
    "MaskedAutoregressiveFlow",
    "MirroredLayers",
    "NormalCodes",
    "NormalConditional",
    "OrderlessNADENetwork",
    "OrderlessNADEInOrder",
    "RecurrentPixels",
    "OffsetCausal",
    "SaturatingEncoder",
    "StandardisedMixture",
    "TransposedConvolution",
    "max_pool",
    "scan",
    "switch_bits",
    "unpool_by_repetition",
    "unpool_by_switches",
]
