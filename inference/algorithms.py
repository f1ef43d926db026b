"""Known algorithms by name: functions that return the inference they stand for."""

from ppgen.inference.iwelbo import IWELBO
from ppgen.inference.pathwise import Pathwise
from ppgen.inference.specification import Inference


def IWAE(num_particles: int = 50) -> Inference:  # noqa: N802 - named as the paper does
    """Importance weighted autoencoder: the importance-weighted bound with pathwise gradients.

    References:
        | Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016)
        | https://arxiv.org/abs/1509.00519

    Args:
        num_particles: Draws of the guide for each datum.

    Raises:
        ValueError: If there is no particle.

    Example:
        >>> from ppgen import inference
        >>> inference.IWAE(num_particles=10).objective
        IWELBO(num_particles=10, vectorize_particles=True)
    """
    return Inference(IWELBO(num_particles=num_particles), Pathwise())
