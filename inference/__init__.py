"""Objectives, gradient estimators and negative phases: what turns a model/guide pair into gradients."""

if __name__ == "inference":
    raise ImportError("Import this package as ppgen.inference; a second copy of its classes would not be recognised.")

from ppgen.inference.baselines.input_dependent import InputDependent
from ppgen.inference.baselines.moving_average import MovingAverage
from ppgen.inference.engine.algorithms import (
    EM,
    IWAE,
    NVIL,
    RLOO,
    RWS,
    STL,
    VIMCO,
    Alternating,
    DReG,
    FreeBits,
    SemiSupervised,
)
from ppgen.inference.engine.bound_inference import BoundInference
from ppgen.inference.engine.legality import Rule, legality
from ppgen.inference.engine.specification import Inference, describe, from_config, resolve, to_config
from ppgen.inference.engine.step_result import StepResult
from ppgen.inference.estimators.analytic_elbo import AnalyticELBO
from ppgen.inference.estimators.analytic_kl import AnalyticKL
from ppgen.inference.estimators.disarm import DisARM
from ppgen.inference.estimators.enumerate import Enumerate
from ppgen.inference.estimators.estimator import Estimator
from ppgen.inference.estimators.mean_field import MeanField
from ppgen.inference.estimators.pathwise import Pathwise
from ppgen.inference.estimators.relaxed import Relaxed
from ppgen.inference.estimators.score_function import LeaveOneOut, ScoreFunction
from ppgen.inference.estimators.stick_the_landing import DoublyReparameterized, StickTheLanding
from ppgen.inference.estimators.straight_through import StraightThrough
from ppgen.inference.kernels.block_gibbs import BlockGibbs, BlockGibbsInfo, BlockGibbsState
from ppgen.inference.kernels.draws_of_chains import sample
from ppgen.inference.kernels.hmc import HMC, HMCInfo, HMCState
from ppgen.inference.kernels.latent_density import LatentDensity, LatentTerms
from ppgen.inference.kernels.machine_kernel import MachineKernel
from ppgen.inference.kernels.parallel_tempering import (
    ParallelTempering,
    ParallelTemperingInfo,
    ParallelTemperingState,
    round_trips,
)
from ppgen.inference.kernels.posterior import PosteriorSamples, sample_posterior
from ppgen.inference.kernels.posterior_kernel import PosteriorKernel, TemperableKernel
from ppgen.inference.kernels.sparse_gibbs import SparseGibbs, SparseGibbsInfo, SparseGibbsState
from ppgen.inference.kernels.trajectory_tempering import TrajectoryTempering, TrajectoryTemperingState
from ppgen.inference.negative_phases.contrastive_divergence import CD, PCD
from ppgen.inference.negative_phases.exact_partition import ExactPartition
from ppgen.inference.negative_phases.negative_phase import NegativePhase
from ppgen.inference.negative_phases.pseudo_likelihood import PseudoLikelihood
from ppgen.inference.negative_phases.tempered_pcd import TemperedPCD
from ppgen.inference.objectives.adversarial import Adversarial
from ppgen.inference.objectives.cubo import CUBO
from ppgen.inference.objectives.draw_objective import Compared, DrawObjective
from ppgen.inference.objectives.elbo import ELBO
from ppgen.inference.objectives.iwelbo import IWELBO
from ppgen.inference.objectives.maximum_likelihood import MaximumLikelihood
from ppgen.inference.objectives.maximum_mean_discrepancy import MaximumMeanDiscrepancy
from ppgen.inference.objectives.objective import Objective
from ppgen.inference.objectives.own_gradient import OwnGradient
from ppgen.inference.objectives.renyi import Renyi
from ppgen.inference.objectives.wake_sleep import ReweightedWakeSleep, WakeSleep
from ppgen.inference.particles.log_weights import LogWeights, log_weights
from ppgen.inference.schedules import Linear, Stages
from ppgen.inference.structure.attach import attach
from ppgen.inference.structure.layout import Layout, find_layout
from ppgen.inference.updates.closed_form import ClosedForm
from ppgen.inference.updates.update import ParameterUpdate

__all__ = [
    "CD",
    "CUBO",
    "ELBO",
    "EM",
    "HMC",
    "IWAE",
    "IWELBO",
    "NVIL",
    "PCD",
    "RLOO",
    "RWS",
    "STL",
    "VIMCO",
    "Adversarial",
    "Alternating",
    "AnalyticELBO",
    "AnalyticKL",
    "BlockGibbs",
    "BlockGibbsInfo",
    "BlockGibbsState",
    "BoundInference",
    "ClosedForm",
    "Compared",
    "DReG",
    "DisARM",
    "DoublyReparameterized",
    "DrawObjective",
    "Enumerate",
    "Estimator",
    "ExactPartition",
    "FreeBits",
    "HMCInfo",
    "HMCState",
    "Inference",
    "InputDependent",
    "LatentDensity",
    "LatentTerms",
    "Layout",
    "LeaveOneOut",
    "Linear",
    "LogWeights",
    "MachineKernel",
    "MaximumLikelihood",
    "MaximumMeanDiscrepancy",
    "MeanField",
    "MovingAverage",
    "NegativePhase",
    "Objective",
    "OwnGradient",
    "ParallelTempering",
    "ParallelTemperingInfo",
    "ParallelTemperingState",
    "ParameterUpdate",
    "Pathwise",
    "PosteriorKernel",
    "PosteriorSamples",
    "PseudoLikelihood",
    "Relaxed",
    "Renyi",
    "ReweightedWakeSleep",
    "Rule",
    "ScoreFunction",
    "SemiSupervised",
    "SparseGibbs",
    "SparseGibbsInfo",
    "SparseGibbsState",
    "Stages",
    "StepResult",
    "StickTheLanding",
    "StraightThrough",
    "TemperableKernel",
    "TemperedPCD",
    "TrajectoryTempering",
    "TrajectoryTemperingState",
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
