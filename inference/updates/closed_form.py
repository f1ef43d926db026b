"""Parameters in closed form from statistics that are averaged over batches: EM, online EM, dictionary learning."""

from dataclasses import dataclass

from torch import Tensor

from ppgen.inference.updates.update import ParameterUpdate


@dataclass(frozen=True)
class ClosedForm(ParameterUpdate):
    r"""Parameters set to their best values given statistics of the data, by stochastic approximation over batches.

    .. math:: \hat s_t = (1 - \gamma_t) \, \hat s_{t-1} + \gamma_t \, s_t, \qquad \gamma_t = t^{-\kappa}

    Where all rows are one batch, :math:`\gamma_t = 1`: then it is EM if the guide is the exact posterior, and block
    coordinate ascent if it is the best of its kind. Another fit of a pair to the same data goes on from the averages
    that the last one left in `pair.inference_state`; a fit to other data starts at the parameters and gathers its own.

    References:
        | Online EM Algorithm for Latent Data Models (Cappé and Moulines, 2009), https://arxiv.org/abs/0712.4273
        | Online Learning for Matrix Factorization and Sparse Coding (Mairal, Bach, Ponce and Sapiro, 2010),
          https://arxiv.org/abs/0908.0050

    Args:
        forgetting_rate: :math:`\kappa`, above 0 and up to 1: how quickly batches of the past, with their latents of
            worse parameters, are forgotten; 1 weighs all batches alike. Short runs do best below 0.6; that the averages
            of endless ones settle for sure is known above 1/2.
        warmup_steps: Batches whose statistics are gathered before parameters are set from them, where one batch alone
            says too little: fewer rows than a covariance has dimensions, a component that no row is from.

    Raises:
        ValueError: If the rate or the number is out of its range.
        TypeError: If the rate is no number.

    Example:
        >>> from ppgen import inference
        >>> inference.Inference(inference.ELBO(), update=inference.ClosedForm()).update.forgetting_rate
        0.5
    """

    forgetting_rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        rate = self.forgetting_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise TypeError(f"forgetting_rate must be a number, got {type(rate).__name__}.")
        if not 0 < rate <= 1:
            raise ValueError(
                f"forgetting_rate must lie above 0, which keeps the last batch alone, and be at most 1, which forgets "
                f"nothing; got {rate!r}."
            )

    def step_size(self, step: Tensor) -> Tensor:
        return step.pow(-float(self.forgetting_rate))
