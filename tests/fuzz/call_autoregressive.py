"""Sound calls of autoregressive laws: networks, laws of an entry, models."""

from fuzz.call_table import built
from ppgen import distributions, models, nn


def law() -> distributions.Autoregressive:
    return distributions.Autoregressive(nn.CausalLinear(3), distributions.BernoulliOutput())


AUTOREGRESSIVE = [
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
]
