"""Observation models of the directed models, by name."""

from collections.abc import Sequence

from ppgen.nn import BernoulliConditional, CategoricalConditional, Conditional, NormalConditional


def likelihood_conditional(
    likelihood: str, inputs: int, hidden: Sequence[int], features: int, categories: int = 256
) -> Conditional:
    """Network from a latent to the law of the data.

    Args:
        likelihood: `"bernoulli"`, `"gaussian"` (or `"normal"`) or `"categorical"`.
        inputs: Variables conditioned on.
        hidden: Units of the hidden layers.
        features: Observed variables.
        categories: Levels of each variable under `"categorical"`.

    Raises:
        ValueError: If the likelihood is unknown; the message lists the known ones.
    """
    if likelihood == "bernoulli":
        return BernoulliConditional(inputs, hidden, features)
    if likelihood in ("gaussian", "normal"):
        return NormalConditional(inputs, hidden, features)
    if likelihood == "categorical":
        return CategoricalConditional(inputs, hidden, features, categories)
    raise ValueError(f"likelihood must be 'bernoulli', 'gaussian' or 'categorical', got {likelihood!r}.")
