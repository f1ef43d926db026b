"""Sound calls of autoregressive laws: networks, laws of an entry, models."""

from typing import Any

import torch

from fuzz.tables.call import built
from ppgen import distributions, models, nn


def law() -> distributions.Autoregressive:
    return distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())


def leaky(states: Any, x: Any, parameters: Any) -> Any:
    """A cell of one state."""
    total = states[0] + x[0]
    return (total,), (total,)


AUTOREGRESSIVE = [
    built(
        distributions,
        "OrderEstimate",
        lambda: {"law": law(), "estimate": law().log_prob},
        law="kernel",
        estimate="callable",
    ),
    built(
        distributions,
        "OrderlessMixture",
        lambda: {"laws": [law()], "in_order": lambda order: law()},
        laws="sizes",
        in_order="callable",
    ),
    built(
        nn,
        "scan",
        lambda: {"cell": leaky, "init": [torch.zeros(2)], "xs": [torch.ones(3, 2)]},
        cell="callable",
        init="tensors",
        xs="tensors",
        parameters="tensors",
    ),
    built(
        nn,
        "OffsetCausal",
        lambda: {"network": nn.CausalLinear(3), "given": 2},
        network="kernel",
        given="count",
        hidden="sizes",
    ),
    built(
        nn,
        "CategoricalNADE",
        lambda: {"positions": 3, "levels": 3},
        positions="+count",
        levels="count",
        hidden="count",
        given="whole",
    ),
    built(
        nn,
        "RecurrentPixels",
        lambda: {"shape": (2, 2), "channels": 2, "layers": 1},
        shape="sizes",
        outputs="count",
        kind="choice",
        channels="count",
        layers="count",
        given="whole",
        first_size="count",
        coordinates="flag",
        dropout="decay",
    ),
    built(distributions, "OrderMixture", lambda: {"laws": [law()]}, laws="sizes"),
    built(
        distributions,
        "Autoregressive",
        lambda: {"network": nn.CausalLinear(3), "output": distributions.BernoulliOutput()},
        network="kernel",
        output="kernel",
        order="array?",
        given="array?",
    ),
    built(distributions, "BernoulliOutput"),
    built(distributions, "CategoricalOutput", lambda: {"levels": 3}, levels="count"),
    built(
        distributions,
        "LogisticMixtureOutput",
        lambda: {"components": 2, "levels": 3},
        components="count",
        levels="count",
    ),
    *(
        built(
            distributions,
            name,
            lambda: {"components": 2},
            components="count",
            minimum_scale="rate",
            scaled_gradient="flag",
        )
        for name in ("NormalMixtureOutput", "LaplaceMixtureOutput")
    ),
    built(
        models,
        "NADE",
        lambda: {"features": 4, "hidden": 3},
        features="+count",
        hidden="+count",
        levels="count",
        activation="choice",
    ),
    built(
        models,
        "MADE",
        lambda: {"features": 4, "hidden": (3,)},
        features="+count",
        hidden="sizes",
        orders="count",
        levels="count",
        direct="flag",
    ),
    built(
        models,
        "OrderlessNADE",
        lambda: {"features": 4, "hidden": (3,)},
        features="+count",
        hidden="sizes",
        orders="count",
        levels="count",
    ),
    built(
        models,
        "RNADE",
        lambda: {"features": 4, "hidden": 3, "components": 2},
        features="+count",
        hidden="+count",
        components="count",
        law="choice",
        minimum_scale="rate",
        scaled_gradient="flag",
    ),
    *(
        built(
            models,
            name,
            lambda: {"shape": (2, 2), "channels": 2, "layers": 1},
            shape="sizes",
            channels="count",
            layers="count",
            levels="count",
            outputs="choice?",
            components="count",
            image_channels="count",
            first_size="count",
            size="count",
            coordinates="flag",
            dropout="weight",
            **more,
        )
        for name, more in (
            ("PixelCNN", {}),
            ("GatedPixelCNN", {}),
            ("ClassConditionalPixelCNN", {"classes": "count", "gated": "flag"}),
        )
    ),
    built(
        models,
        "PixelRNN",
        lambda: {"shape": (2, 2), "channels": 2, "layers": 1},
        shape="sizes",
        kind="choice",
        channels="count",
        layers="count",
        levels="count",
        outputs="choice?",
        components="count",
        first_size="count",
        coordinates="flag",
        dropout="weight",
    ),
    built(
        models,
        "PixelVAE",
        lambda: {"shape": (2, 2), "latent": 2, "hidden": (3,), "channels": 2, "layers": 1},
        shape="sizes",
        latent="count",
        hidden="sizes",
        channels="count",
        layers="count",
        levels="count",
        outputs="choice?",
        image_channels="count",
        first_size="count",
        size="count",
        prior="choice",
    ),
    built(
        models,
        "VQVAE",
        lambda: {"shape": (4, 4), "codes": 3, "code_size": 2, "channels": 2},
        shape="sizes",
        codes="count",
        code_size="count",
        channels="count",
        halvings="count",
        prior_hidden="count",
        commitment="weight",
        likelihood="choice",
    ),
]
