"""Likelihoods and partition functions, each with its error."""

from ppgen.evaluation.bdmc import Sandwich, bdmc
from ppgen.evaluation.estimate import Estimate
from ppgen.evaluation.likelihood import log_likelihood
from ppgen.evaluation.partition import log_partition
from ppgen.evaluation.sandwich import PartitionSandwich
from ppgen.evaluation.words import perplexity

__all__ = ["Estimate", "PartitionSandwich", "Sandwich", "bdmc", "log_likelihood", "log_partition", "perplexity"]
