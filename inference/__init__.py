"""Objectives, gradient estimators and negative phases: what turns a model/guide pair into gradients."""

if __name__ == "inference":
    raise ImportError("Import this package as ppgen.inference; a second copy of its classes would not be recognised.")

from ppgen.inference.algorithms import IWAE, NVIL, RLOO, RWS, STL, VIMCO, DReG
from ppgen.inference.analytic_kl import AnalyticKL
from ppgen.inference.attach import attach
from ppgen.inference.baselines import MovingAverage
from ppgen.inference.block_gibbs import BlockGibbs, BlockGibbsInfo, BlockGibbsState
from ppgen.inference.bound import BoundInference, StepResult
from ppgen.inference.chains import sample
from ppgen.inference.contrastive_divergence import CD, PCD
from ppgen.inference.disarm import DisARM
from ppgen.inference.elbo import ELBO
from ppgen.inference.enumerate import Enumerate
from ppgen.inference.estimator import Estimator
from ppgen.inference.exact_partition import ExactPartition
from ppgen.inference.hmc import HMC, HMCInfo, HMCState
from ppgen.inference.input_dependent import InputDependent
from ppgen.inference.iwelbo import IWELBO
from ppgen.inference.latent_density import LatentDensity, LatentTerms
from ppgen.inference.layout import Layout, find_layout
from ppgen.inference.legality import Rule, legality
from ppgen.inference.log_weights import LogWeights, log_weights
from ppgen.inference.maximum_likelihood import MaximumLikelihood
from ppgen.inference.mean_field import MeanField
from ppgen.inference.negative_phase import NegativePhase
from ppgen.inference.objective import Objective
from ppgen.inference.parallel_tempering import (
    ParallelTempering,
    ParallelTemperingInfo,
    ParallelTemperingState,
    round_trips,
)
from ppgen.inference.pathwise import Pathwise
from ppgen.inference.posterior import PosteriorSamples, sample_posterior
from ppgen.inference.pseudo_likelihood import PseudoLikelihood
from ppgen.inference.relaxed import Relaxed
from ppgen.inference.renyi import Renyi
from ppgen.inference.schedules import Linear, Stages
from ppgen.inference.score_function import LeaveOneOut, ScoreFunction
from ppgen.inference.specification import Inference, describe, from_config, resolve, to_config
from ppgen.inference.stick_the_landing import DoublyReparameterized, StickTheLanding
from ppgen.inference.straight_through import StraightThrough
from ppgen.inference.tempered import TemperedPCD
from ppgen.inference.trajectory_tempering import TrajectoryTempering, TrajectoryTemperingState
from ppgen.inference.wake_sleep import ReweightedWakeSleep, WakeSleep

__all__ = [
    "TrajectoryTempering",
    "TrajectoryTemperingState",
    "AnalyticKL",
    "BlockGibbs",
    "BlockGibbsInfo",
    "BlockGibbsState",
    "BoundInference",
    "CD",
    "DReG",
    "DisARM",
    "DoublyReparameterized",
    "ELBO",
    "Enumerate",
    "Estimator",
    "ExactPartition",
    "HMC",
    "HMCInfo",
    "HMCState",
    "IWAE",
    "IWELBO",
    "Inference",
    "InputDependent",
    "LatentDensity",
    "LatentTerms",
    "Layout",
    "LeaveOneOut",
    "Linear",
    "LogWeights",
    "MaximumLikelihood",
    "MeanField",
    "MovingAverage",
    "NVIL",
    "NegativePhase",
    "Objective",
    "PCD",
    "ParallelTempering",
    "ParallelTemperingInfo",
    "ParallelTemperingState",
    "Pathwise",
    "PosteriorSamples",
    "PseudoLikelihood",
    "RLOO",
    "RWS",
    "Relaxed",
    "Renyi",
    "ReweightedWakeSleep",
    "Rule",
    "STL",
    "ScoreFunction",
    "Stages",
    "StepResult",
    "StraightThrough",
    "StickTheLanding",
    "TemperedPCD",
    "VIMCO",
    "WakeSleep",
    "attach",
    "describe",
    "find_layout",
    "from_config",
    "legality",
    "log_weights",
    "resolve",
    "round_trips",
    "sample",
    "sample_posterior",
    "to_config",
]
