"""Likelihoods and partition functions, each with its error."""

from ppgen.evaluation.bits import bits_per_dimension
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.evidence.evidence import log_evidence
from ppgen.evaluation.likelihood.bidirectional import Sandwich, bdmc
from ppgen.evaluation.likelihood.likelihood import log_likelihood
from ppgen.evaluation.likelihood.perplexity import perplexity
from ppgen.evaluation.partition.partition import log_partition
from ppgen.evaluation.partition.sandwich import PartitionSandwich
from ppgen.evaluation.samples.kernel_distance import KernelDistance, kernel_inception_distance
from ppgen.evaluation.samples.modes import Modes, modes_found
from ppgen.evaluation.samples.parzen import ParzenLine, ParzenScore, parzen

__all__ = [
    "Estimate",
    "KernelDistance",
    "Modes",
    "ParzenLine",
    "ParzenScore",
    "PartitionSandwich",
    "Sandwich",
    "bdmc",
    "bits_per_dimension",
    "log_evidence",
    "log_likelihood",
    "kernel_inception_distance",
    "log_partition",
    "modes_found",
    "parzen",
    "perplexity",
]
