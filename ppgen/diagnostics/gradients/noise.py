"""How noisy the gradient of one step is, without a reference to hold it against."""

from typing import Any

from ppgen.diagnostics.gradients.compare import check_gradient_alone, drawing, step_mode
from ppgen.diagnostics.gradients.statistics import MAX_BATCHES, draw_in_batches, statistics
from ppgen.inference import Inference
from ppgen.pair import AnyPair


def gradient_noise(
    pair: AnyPair, batch: Any, inference: Inference, *, num_data: int, num_draws: int, warmup_steps: int, seed: int
) -> dict[str, float]:
    r"""Variance and signal-to-noise ratio of one step's gradient, all parameters together.

    .. math:: \text{variance} = E|g - E[g]|^2, \qquad \text{snr} = \frac{|E[g]|}{\sqrt{E|g - E[g]|^2}}

    The same as in `ppgen.diagnostics.compare_estimators`, but for every inference and any size of a machine, because
    nothing is said of a bias. No parameter moves.

    Args:
        pair: A pair, prepared.
        batch: A batch; what another draw of the latents changes about its gradient is measured.
        inference: The whole inference.
        num_data: Rows of the whole data set.
        num_draws: Gradients, rounded up to full batches.
        warmup_steps: Steps of an inference with a state before its gradients are drawn.
        seed: Seed of the draws.

    Returns:
        `variance` in nats^2 per datum^2, `variance_se` and `snr`.

    Raises:
        ValueError: If the inference has an update, which sets parameters without a gradient.

    Example:
        >>> import torch
        >>> from ppgen import inference, models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> exact = inference.Inference(inference.MaximumLikelihood(), negative_phase=inference.ExactPartition())
        >>> budget = {"num_data": 5, "num_draws": 20, "warmup_steps": 1, "seed": 0}
        >>> gradient_noise(rbm, torch.ones(5, 4), exact, **budget)["variance"] < 1e-9
        True
    """
    check_gradient_alone("inference", inference)
    blocks = {"all": [name for name, parameter in pair.named_parameters() if parameter.requires_grad]}
    bound = inference.bind(pair, batch, num_data)
    with step_mode(pair, seed, 0):
        draw = drawing(bound, batch, warmup_steps)
        draws = draw_in_batches(draw, blocks, num_draws, min(MAX_BATCHES, num_draws // 2))
    means = draws.means["all"]
    found = statistics(means, draws.variances["all"], means)
    return {name: found[name] for name in ("variance", "variance_se", "snr")}
