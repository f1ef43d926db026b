"""A deep belief network unrolled into a deterministic autoencoder."""

from typing import Any

import torch

from ppgen.models.autoencoders.autoencoder import Autoencoder

# Laws that an autoencoder may have about the outputs of each kind of visible units; the first is their own.
LAWS = {
    "bernoulli": ("bernoulli", "continuous-bernoulli", "cross-entropy"),
    "gaussian": ("gaussian",),
    "multinomial": ("multinomial",),
}


@torch.no_grad()
def unrolled(dbn: Any, likelihood: str | None = None) -> Autoencoder:
    """The autoencoder whose encoder is the network's recognition, and whose decoder is its generation, by means.

    Args:
        dbn: A `models.DBN`.
        likelihood: Law of the data; that of the visible units by default.

    Raises:
        ValueError: If the visible units have another law.
    """
    known = LAWS[dbn.units]
    law = known[0] if likelihood is None else likelihood
    if law not in known:
        raise ValueError(
            f"likelihood must be {' or '.join(map(repr, known))} above units={dbn.units!r}, got {likelihood!r}."
        )
    code = "linear" if dbn.top_units == "gaussian" else "sigmoid"
    model = Autoencoder(dbn.sizes[0], dbn.sizes[1:], activation="sigmoid", code_activation=code, likelihood=law)
    linears = dbn.linear_maps()
    up = [(encoder.weight.mT, encoder.bias) for _, encoder in linears]
    down = [(decoder.weight.mT, decoder.bias) for decoder, _ in reversed(linears)]
    model.to(dbn.top_weight)
    model.set_layers([*up, (dbn.top_weight, dbn.top_hidden_bias)], [(dbn.top_weight.mT, dbn.top_bias), *down])
    if model.observation.log_scale is not None and dbn.log_variance is not None:
        model.observation.log_scale.copy_(dbn.log_variance.exp().mean().log() / 2)
    model.initialised = True
    return model
