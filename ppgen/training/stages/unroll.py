"""A stack of layers unrolled into a deterministic autoencoder."""

from typing import Any

from ppgen.pair import as_pair
from ppgen.stacks import Unrollable
from ppgen.undisturbed import CPU, forked


def unroll(pair: Any, likelihood: str | None = None) -> Any:
    r"""Autoencoder whose layers start from those of a deep belief network: its recognition up, its generation down.

    .. math:: h_l = \sigma(W_l^\top h_{l-1} + c_l), \quad \hat h_{l-1} = \sigma(W_l \hat h_l + b_l), \quad h_0 = x

    Probabilities take the place of draws. The code is the mean of the uppermost hidden units: linear, c + W'h, where
    they are Gaussian, else logistic. The decoder starts at the transposes, of a network that `training.pretrain`
    trained, and is free afterwards; `ppgen.fit` trains the whole on its reconstructions. The law of the data is that of
    the network's visible units. The network is left as it is.

    Args:
        pair: A `models.DBN`, what `training.pretrain` returned of one, or a run that trained one.
        likelihood: Law of the data in the place of the network's own: of binary units also `"continuous-bernoulli"`, or
            `"cross-entropy"` for grey levels, which is no law.

    Returns:
        A `models.Autoencoder`.

    Raises:
        ValueError: If the pair cannot be unrolled, or the law is none of its visible units.
        TypeError: If `pair` is none.

    References:
        | Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006)

    Example:
        >>> from ppgen import datasets, models, training
        >>> digits = datasets.load("digits", binarize="threshold")
        >>> dbn = models.DBN(visible=64, hidden=(32, 16, 8), top_units="gaussian")
        >>> trained = training.pretrain(dbn, digits, epochs=2, lr=(0.1, 0.1, 0.001), progress=False)
        >>> model = training.unroll(trained)
        >>> model.encode(digits.test).shape
        torch.Size([300, 8])
    """
    pair = as_pair(getattr(pair, "pair", pair))
    if not isinstance(pair, Unrollable):
        raise ValueError(f"unroll takes a deep belief network, a models.DBN, got {type(pair).__name__}.")
    with forked(CPU):  # random weights of the new model, which are replaced
        return pair.unrolled(likelihood)
