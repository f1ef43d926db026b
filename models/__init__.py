"""The zoo: one family of deep generative models a file, each a model/guide pair."""

if __name__ == "models":
    raise ImportError("Import this package as ppgen.models; a second copy of its classes would not be recognised.")

from ppgen.models.convolutional_dbn import ConvolutionalDBN
from ppgen.models.convolutional_rbm import ConvolutionalRBM
from ppgen.models.dbm import DBM
from ppgen.models.dbn import DBN
from ppgen.models.discrete_vae import DiscreteVAE
from ppgen.models.gaussian_rbm import GaussianRBM
from ppgen.models.helmholtz import HelmholtzMachine
from ppgen.models.hierarchical_vae import HierarchicalVAE
from ppgen.models.ratings_rbm import RatingsRBM
from ppgen.models.rbm import RBM
from ppgen.models.replicated_softmax import ReplicatedSoftmax
from ppgen.models.sigmoid_belief_net import SigmoidBeliefNet
from ppgen.models.stochastic_feedforward import StochasticFeedforward
from ppgen.models.vae import VAE

__all__ = [
    "DBM",
    "DBN",
    "RBM",
    "VAE",
    "ConvolutionalDBN",
    "ConvolutionalRBM",
    "DiscreteVAE",
    "GaussianRBM",
    "HelmholtzMachine",
    "HierarchicalVAE",
    "RatingsRBM",
    "ReplicatedSoftmax",
    "SigmoidBeliefNet",
    "StochasticFeedforward",
]
