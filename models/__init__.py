"""The zoo: one family of deep generative models a file, each a model/guide pair."""

if __name__ == "models":
    raise ImportError("Import this package as ppgen.models; a second copy of its classes would not be recognised.")

from ppgen.models.autoencoders.autoencoder import Autoencoder
from ppgen.models.autoencoders.contractive import ContractiveAutoencoder
from ppgen.models.autoencoders.convolutional import ConvolutionalAutoencoder
from ppgen.models.autoencoders.denoising import DenoisingAutoencoder
from ppgen.models.autoregressive.class_conditional_pixel_cnn import ClassConditionalPixelCNN
from ppgen.models.autoregressive.fully_visible import FullyVisibleBeliefNet
from ppgen.models.autoregressive.gated_pixel_cnn import GatedPixelCNN
from ppgen.models.autoregressive.made import MADE
from ppgen.models.autoregressive.nade import NADE
from ppgen.models.autoregressive.orderless_nade import OrderlessNADE
from ppgen.models.autoregressive.pixel_cnn import PixelCNN
from ppgen.models.autoregressive.pixel_rnn import PixelRNN
from ppgen.models.autoregressive.rnade import RNADE
from ppgen.models.belief_nets.convolutional_dbn import ConvolutionalDBN
from ppgen.models.belief_nets.dbn import DBN
from ppgen.models.belief_nets.helmholtz import HelmholtzMachine
from ppgen.models.belief_nets.sigmoid_belief_net import SigmoidBeliefNet
from ppgen.models.belief_nets.stochastic_feedforward import StochasticFeedforward
from ppgen.models.boltzmann.convolutional_rbm import ConvolutionalRBM
from ppgen.models.boltzmann.dbm import DBM
from ppgen.models.boltzmann.gaussian_rbm import GaussianRBM
from ppgen.models.boltzmann.ratings_rbm import RatingsRBM
from ppgen.models.boltzmann.rbm import RBM
from ppgen.models.boltzmann.replicated_softmax import ReplicatedSoftmax
from ppgen.models.boltzmann.restricted import RestrictedMachine
from ppgen.models.conditional.conditional_vae import ClassConditionalVAE, ConditionalVAE
from ppgen.models.flows.normalizing_flow import NormalizingFlow
from ppgen.models.implicit.convolutional_generator import ConvolutionalDiscriminator, ConvolutionalGenerator
from ppgen.models.implicit.generator import Generator
from ppgen.models.implicit.noisy_decoder import NoisyDecoder, with_noise
from ppgen.models.mixtures.bernoulli_mixture import BernoulliMixture
from ppgen.models.mixtures.gaussian_mixture import GaussianMixture
from ppgen.models.mixtures.starts import kmeans
from ppgen.models.semi_supervised.semi_supervised_vae import SemiSupervisedVAE
from ppgen.models.semi_supervised.stacked import StackedSemiSupervisedVAE
from ppgen.models.sparse_coding.predictive import PredictiveSparseDecomposition
from ppgen.models.sparse_coding.sparse_coding import SparseCoding
from ppgen.models.variational.discrete_vae import DiscreteVAE
from ppgen.models.variational.hierarchical_vae import HierarchicalVAE
from ppgen.models.variational.pixel_vae import PixelVAE
from ppgen.models.variational.vae import VAE
from ppgen.models.variational.vq_vae import VQVAE

__all__ = [
    "DBM",
    "DBN",
    "MADE",
    "NADE",
    "RBM",
    "RNADE",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "BernoulliMixture",
    "ClassConditionalPixelCNN",
    "ClassConditionalVAE",
    "ConditionalVAE",
    "ContractiveAutoencoder",
    "ConvolutionalAutoencoder",
    "ConvolutionalDBN",
    "ConvolutionalDiscriminator",
    "ConvolutionalGenerator",
    "ConvolutionalRBM",
    "DenoisingAutoencoder",
    "DiscreteVAE",
    "FullyVisibleBeliefNet",
    "GatedPixelCNN",
    "GaussianMixture",
    "GaussianRBM",
    "Generator",
    "HelmholtzMachine",
    "HierarchicalVAE",
    "NoisyDecoder",
    "NormalizingFlow",
    "OrderlessNADE",
    "PixelCNN",
    "PixelRNN",
    "PixelVAE",
    "PredictiveSparseDecomposition",
    "RatingsRBM",
    "ReplicatedSoftmax",
    "RestrictedMachine",
    "SemiSupervisedVAE",
    "SigmoidBeliefNet",
    "SparseCoding",
    "StackedSemiSupervisedVAE",
    "StochasticFeedforward",
    "kmeans",
    "with_noise",
]
