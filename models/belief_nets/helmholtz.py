"""Helmholtz machine."""

from collections.abc import Sequence

from ppgen.models.belief_nets.sigmoid_belief_net import SigmoidBeliefNet


class HelmholtzMachine(SigmoidBeliefNet):
    r"""Helmholtz machine: a sigmoid belief network with its recognition network, both affine and factorial.

    .. math:: p(z_L) \prod_{l < L} p(z_l \mid z_{l+1}) \; p(x \mid z_1), \qquad
              q(z \mid x) = q(z_1 \mid x) \prod_l q(z_{l+1} \mid z_l)

    The pair for which wake-sleep learning was made: in the wake phase the generative weights learn from recognised
    data, in the sleep phase the recognition weights learn from fantasies: `model(num_rows=n)` draws n of them. Every
    conditional is a layer of stochastic logistic units, independent given the layer above (or below, in recognition),
    without deterministic units between layers; the units at the top have biases alone. Sites: `z1` (next to the data),
    `z2`, ..., and `x`, in the plate `data`.

    References:
        | The Wake-Sleep Algorithm for Unsupervised Neural Networks (Hinton, Dayan, Frey and Neal, 1995)
        | The Helmholtz Machine (Dayan, Hinton, Neal and Zemel, 1995)

    Args:
        sizes: Units of each layer, from the visible one upwards; two layers or more.

    Raises:
        ValueError: If there are fewer than two layers or a size is not positive.

    Example:
        >>> import ppgen
        >>> from ppgen import models
        >>> ppgen.sample(models.HelmholtzMachine(sizes=(64, 20, 10)), 5)
        Samples(5 x (64,))
    """

    default_inference = "wake-sleep"

    def __init__(self, sizes: Sequence[int] = (784, 200, 200)) -> None:
        super().__init__(sizes)
