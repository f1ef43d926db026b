"""Networks: a semi-supervised and a conditional autoencoder, a sparse gamma deep exponential family."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import autoguide
from torch import Tensor, nn
from torch.distributions import constraints

import ppgen
from pyro_examples.example import Example

PIXELS, CLASSES, WIDTH = 6, 3, 2


def images(rows: int) -> Tensor:
    """Some bits."""
    return torch.rand(rows, PIXELS).lt(0.4).float()


def semi_supervised() -> tuple[ppgen.Pair, Any]:
    """Images whose classes are known of some and summed out of the others; those known carry a mask."""
    decoder, encoder, classifier = (
        nn.Linear(WIDTH + CLASSES, PIXELS),
        nn.Linear(PIXELS + CLASSES, 2 * WIDTH),
        nn.Linear(PIXELS, CLASSES),
    )

    def joined(a: Tensor, b: Tensor) -> Tensor:
        rows = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
        return torch.cat([a.expand(*rows, a.shape[-1]), b.expand(*rows, b.shape[-1])], -1)

    def model(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            k = pyro.sample("y", dist.OneHotCategorical(x.new_ones(CLASSES)), obs=y)
            z = pyro.sample("z", dist.Normal(x.new_zeros(WIDTH), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(joined(z, k))).to_event(1), obs=x)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoder", encoder)
        pyro.module("classifier", classifier)
        with pyro.plate("data", len(x)):
            law = dist.OneHotCategorical(logits=classifier(x))
            k = pyro.sample("y", law, infer={"enumerate": "parallel"}) if y is None else y
            loc, scale = encoder(joined(x, k)).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, scale.exp()).to_event(1))

    return ppgen.Pair(model, guide), images(6)


def conditional() -> tuple[ppgen.Pair, Any]:
    """The rest of an image given a part of it, with a learnt prior."""
    prior, decoder, encoder = (
        nn.Linear(3, 2 * WIDTH),
        nn.Linear(WIDTH + 3, 3),
        nn.Linear(PIXELS, 2 * WIDTH),
    )

    def law(parts: Tensor) -> Any:
        loc, scale = parts.chunk(2, -1)
        return dist.Normal(loc, scale.exp()).to_event(1)

    def model(x: Tensor, y: Tensor | None = None) -> Tensor:
        pyro.module("prior", prior)
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", law(prior(x)))
            logits = decoder(torch.cat([z, x.expand(*z.shape[:-1], 3)], -1))
            return pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            if y is None:
                pyro.sample("z", law(prior(x)))
            else:
                pyro.sample("z", law(encoder(torch.cat([x, y], -1))))

    x = images(6)
    return ppgen.Pair(model, guide), (x[:, :3], x[:, 3:])


def counts(x: Tensor) -> None:
    """A deep exponential family of two layers of gamma units and Poisson counts."""
    with pyro.plate("weights_top", 2 * WIDTH):
        top = pyro.sample("w_top", dist.Gamma(0.1, 0.3))
    with pyro.plate("weights_bottom", WIDTH * PIXELS):
        bottom = pyro.sample("w_bottom", dist.Gamma(0.1, 0.3))
    top, bottom = top.reshape(*top.shape[:-1], 2, WIDTH), bottom.reshape(*bottom.shape[:-1], WIDTH, PIXELS)
    with pyro.plate("data", len(x)):
        z2 = pyro.sample("z_top", dist.Gamma(0.1, 0.1).expand([2]).to_event(1))
        mean = z2 @ top
        z1 = pyro.sample("z_bottom", dist.Gamma(0.1, 0.1 / mean.clamp(min=1e-3)).to_event(1))
        rate = z1 @ bottom
        pyro.sample("x", dist.Poisson(rate.clamp(min=1e-3)).to_event(1), obs=x)


def counts_guide(x: Tensor) -> None:
    """Log-normal and gamma laws by hand, one for each row and weight."""

    def positive(name: str, *shape: int) -> Tensor:
        return pyro.param(name, 0.5 * torch.ones(shape), constraint=constraints.positive)

    for name, size in (("top", 2 * WIDTH), ("bottom", WIDTH * PIXELS)):
        with pyro.plate(f"weights_{name}", size):
            pyro.sample(f"w_{name}", dist.Gamma(positive(f"a_{name}", size), positive(f"b_{name}", size)))
    with pyro.plate("data", len(x)):
        for name, size in (("top", 2), ("bottom", WIDTH)):
            law = dist.Gamma(positive(f"za_{name}", len(x), size), positive(f"zb_{name}", len(x), size))
            pyro.sample(f"z_{name}", law.to_event(1))


def gamma_family(by_hand: bool) -> Example:
    """The family with a guide by hand, or an AutoGuide with latents inside of plates."""

    def make() -> tuple[ppgen.Pair, Any]:
        guide = counts_guide if by_hand else autoguide.AutoNormal(counts)
        return ppgen.Pair(counts, guide), torch.randint(0, 4, (5, PIXELS)).float()

    return Example(f"sparse gamma deep exponential family, by hand {by_hand}", make, quick=not by_hand)


EXAMPLES = [
    Example("semi-supervised autoencoder", semi_supervised, options={"batch_size": 3}),
    Example("conditional autoencoder", conditional, options={"batch_size": 3}),
    *(gamma_family(by_hand) for by_hand in (True, False)),
]
