"""Networks that return distributions, and the solvers of sparse codes."""

from ppgen.nn.conditionals import BernoulliConditional, CategoricalConditional, Conditional, NormalConditional
from ppgen.nn.fista import Lasso
from ppgen.nn.mlp import MLP
from ppgen.nn.normal_codes import NormalCodes

__all__ = [
    "MLP",
    "BernoulliConditional",
    "CategoricalConditional",
    "Conditional",
    "Lasso",
    "NormalCodes",
    "NormalConditional",
]
