"""The log-likelihood itself, where it is known."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ppgen.inference.objectives.objective import Objective
from ppgen.inference.particles.log_weights import LogWeights
from ppgen.inference.particles.row_weights import row_mean
from ppgen.inference.structure.layout import Layout


@dataclass(frozen=True)
class MaximumLikelihood(Objective):
    r"""Log-likelihood, for pairs without latents or whose latents are summed out exactly.

    .. math:: \mathcal{L} = \log p(x) = \log \sum_s p(x, s)

    Each latent site must be drawn from its exact posterior (`infer={"posterior": "exact"}`), be summed over by
    `inference.Enumerate()`, or be a discrete site of the model that carries `infer={"enumerate": "parallel"}` and that
    the guide does not draw. The value is per datum, in nats, and has no variance.

    References:
        | On the Mathematical Foundations of Theoretical Statistics (Fisher, 1922)

    Args:
        num_particles: Draws of sites with an exact posterior, which all have the same weight.
        vectorize_particles: Whether they, and the states that are summed over, are run at once.

    Raises:
        ValueError: If there is no particle; before training, if a latent is left to be drawn, lies outside the data
            plate, or carries a scale.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.MaximumLikelihood(), inference.Enumerate()).objective.num_particles
        1
    """

    sense: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True

    def value(self, weights: LogWeights, num_data: int) -> Tensor:
        """Log-likelihood log p(x) per datum, in nats: a scalar."""
        local = weights.local
        if weights.log_mass is not None:
            joint = local + weights.log_mass
            local = joint.reshape(weights.num_states, -1, joint.shape[1]).logsumexp(0)
        mean = row_mean(weights, local)
        return mean if weights.outside is None else mean + weights.outside.mean() / num_data

    def check(self, layout: Layout, num_rows: int, num_data: int) -> None:
        """Raise where a weight is not log p(x) of one datum."""
        if layout.global_latents:
            raise ValueError(
                f"Site {layout.global_latents[0]!r} lies outside plate {layout.plate!r} and joins all rows, so that "
                "log p(x) of a datum is not known by itself. Use inference.ELBO()."
            )
        if layout.coupled:
            raise ValueError(
                f"Site {layout.coupled[0]!r} lies outside plate {layout.plate!r} and depends on latents inside of it, "
                "so that log p(x) of a datum is not known by itself. Use inference.ELBO()."
            )
        if layout.scaled and layout.latent:
            raise ValueError(
                f"Site {layout.scaled[0]!r} carries a scale of its own, under which a latent site does not sum to a "
                "likelihood. Use inference.ELBO(), or take the scale away."
            )
