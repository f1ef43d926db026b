"""What an inference adds to its surrogate where rows tell their class: the weighted log q(y | x) of those rows."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ppgen.batch import split_batch
from ppgen.inference.engine.specification import Inference
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.row_weights import row_mean
from ppgen.pair import Pair


def check_label_weight(inference: Inference, pair: Any) -> None:
    """Raise where labelled rows are weighted and the pair does not say which rows those are.

    Raises:
        ValueError: If neither it nor what its guide is a method of has a method `label_log_prob`.
    """
    if inference.label_weight and method_of(pair, "label_log_prob") is None:
        raise ValueError(
            f"label_weight={inference.label_weight} weighs log q(y | x) of labelled rows, and {type(pair).__name__} "
            "says no such thing: its method label_log_prob(*batch) would give log q(y | x), (rows,), 0 where there is "
            "no label, and which rows have one. Leave label_weight out, or use a model such as "
            "models.SemiSupervisedVAE."
        )


def method_of(pair: Any, name: str) -> Callable[..., Any] | None:
    """Method of a pair, such as `label_log_prob`, or of what its guide is a method of; None if neither has it."""
    if hasattr(pair, name):
        return getattr(pair, name)
    guide = pair.programs[1] if isinstance(pair, Pair) else pair.guide
    owner = getattr(guide, "__self__", guide)
    return method_of(owner, name) if isinstance(owner, Pair) and owner is not pair else getattr(owner, name, None)


def label_term(weight: float, pair: Any, batch: Any, scale: float | None, weights: LogWeights) -> Tensor | None:
    r"""What is added to the surrogate per datum, a scalar; None where nothing is.

    .. math:: \alpha \, \frac{N}{N_l} \, \frac{1}{B} \sum_{b \text{ labelled}} w_b \log q(y_b \mid x_b)

    It is an unbiased estimate of the mean over the labelled rows of the data, times the weight.

    Args:
        weight: :math:`\alpha`.
        pair: A pair that has a method `label_log_prob` (`method_of`).
        batch: A batch of data.
        scale: :math:`N / N_l` of the data; None takes the mean over the labelled rows of the batch.
        weights: Log-weights of the batch, of which the weights of rows are read.
    """
    said = method_of(pair, "label_log_prob") if weight else None
    if said is None:
        return None
    args, kwargs = split_batch(batch)
    with pair.running():
        log_prob, labelled = said(*args, **kwargs)
    counted = labelled.to(log_prob.dtype)
    total = row_mean(weights, counted * log_prob)
    if scale is not None:
        return weight * scale * total
    share = row_mean(weights, counted)
    return weight * total / (share + (share == 0))  # a batch without a label adds nothing
