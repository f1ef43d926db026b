"""Networks that return distributions, and the solver of sparse codes."""

from ppgen.nn.conditionals import BernoulliConditional, CategoricalConditional, Conditional, NormalConditional
from ppgen.nn.fista import Lasso
from ppgen.nn.mlp import MLP

__all__ = ["MLP", "BernoulliConditional", "CategoricalConditional", "Conditional", "Lasso", "NormalConditional"]
