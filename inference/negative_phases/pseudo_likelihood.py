"""Maximum pseudo-likelihood: machines whose log Z need not be known, as each unit is conditioned on all others."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ppgen.distributions import UndirectedDistribution, pseudo_log_likelihood
from ppgen.distributions.machines.pseudo_likelihood import check_conditionals
from ppgen.inference.negative_phases.negative_phase import NegativePhase, State


@dataclass(frozen=True)
class PseudoLikelihood(NegativePhase):
    r"""Pseudo-likelihood in the place of the likelihood, in closed form and without chains.

    .. math:: \sum_i \log p(v_i \mid v_{-i}) = -F(v) - S(v), \quad
              S(v) = -F(v) + \sum_i \log \sum_k \exp\big(F(v) - F(v_1, \dots, v_i = k, \dots, v_n)\big)

    S stands where log Z would: at values drawn from the machine itself, its gradient is that of log Z in expectation,
    so that what maximises the pseudo-likelihood of all that a machine could say is the machine. Hidden units are summed
    out exactly, groups of one-hot units are one variable, and those that are missing say nothing. The value is the
    pseudo-log-likelihood per datum, in nats, which is no bound on log p(v) and often above it.

    A step computes rows x visible x hidden numbers for binary hidden units (39 million for 100 rows of 784-500), four
    million of them at a time and once more for the gradient, and rows x visible for real ones. The machine must be
    observed, or have its hidden side drawn from the exact posterior, as in any restricted machine of the zoo; its
    visible units are bits or one-hot groups.

    References:
        | Statistical Analysis of Non-Lattice Data (Besag, 1975)
        | Inductive Principles for Restricted Boltzmann Machine Learning (Marlin et al., 2010)

    Raises:
        ValueError: Before the first step, if the guide draws the machine's units from another law (deep machines, a
            machine under a directed program), or if the visible units are real numbers or counts.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> rbm, x = models.RBM(visible=4, hidden=2), torch.eye(4)
        >>> bound = inference.resolve(inference.PseudoLikelihood(), rbm).bind(rbm, x, num_data=4)
        >>> sorted(bound.step(x).gradients)
        ['hidden_bias', 'visible_bias', 'weight']
    """

    of_values: ClassVar[bool] = True

    def check(self, law: UndirectedDistribution) -> None:
        """Raise if the law of a unit given all others is not known."""
        check_conditionals(law)

    def init(self, law: UndirectedDistribution, value: Tensor) -> State:
        """State before the first step: none, as there are no chains."""
        return {}

    def surrogate(self, law: UndirectedDistribution, value: Tensor, state: State) -> tuple[Tensor, State]:
        """Mean over the values at the site of S, what stands in the place of log Z, in nats: a scalar."""
        return self.normaliser(law, value).mean(), state

    def normaliser(self, law: UndirectedDistribution, value: Tensor) -> Tensor:
        """S of each value: (..., units) -> (...,), nats."""
        return law.unnormalised(value) - pseudo_log_likelihood(law, value)
