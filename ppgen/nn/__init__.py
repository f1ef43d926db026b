"""Networks that return distributions."""

from ppgen.nn.conditionals import BernoulliConditional, CategoricalConditional, Conditional, NormalConditional
from ppgen.nn.mlp import MLP

__all__ = ["MLP", "BernoulliConditional", "CategoricalConditional", "Conditional", "NormalConditional"]
