"""Models without a likelihood, which can be drawn from and not evaluated."""

from typing import Any


def check_has_likelihood(pair: Any, what: str) -> None:
    """Raise if a model only draws data, and states no density of them.

    Args:
        pair: A pair.
        what: What is asked of it, a plural, as the message begins.

    Raises:
        ValueError: Says what can be done instead.

    Example:
        >>> from ppgen import models
        >>> check_has_likelihood(models.RBM(visible=4, hidden=3), "Bounds")
    """
    if pair.has_likelihood:
        return
    raise ValueError(
        f"{what} need a density of the data, and {type(pair).__name__} is implicit (has_likelihood = False): it draws "
        "data by ppgen.sample and states none. Train it by inference.Adversarial() or "
        "inference.MaximumMeanDiscrepancy(), which compare its draws with data; and put a law around what it draws, "
        "Normal(G(z), sd), by models.with_noise, for evaluation.log_likelihood(..., method='ais') or "
        "evaluation.bdmc, which are then of that law."
    )
