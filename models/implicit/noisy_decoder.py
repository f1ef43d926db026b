"""A decoder as a density: a Normal law around what a model draws, or around the mean of its data."""

from collections.abc import Sequence
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.nn.module import pyro_method
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppgen.checks.arguments import check_number
from ppgen.models.parts.arguments import positive_sizes
from ppgen.models.parts.programs import rows
from ppgen.nn import NormalConditional
from ppgen.pair import GenerativeModel, as_pair
from ppgen.undisturbed import forked


class NoisyDecoder(GenerativeModel):
    """A model of the zoo with the law of its data replaced by N(mean, sd^2), as `with_noise` makes it.

    Sites are those of the model. The guide is the prior, or an encoder.

    Args:
        pair: A model of the zoo: an implicit one, whose G(z) is the mean, or one whose law of the data has a mean.
        sd: Standard deviation of every variable.
        encoder: Units of the hidden layers of q(z | x), for a model that draws `z` of `latent` variables alone; None
            takes the prior for the guide.

    Raises:
        TypeError: If `pair` is no model of the zoo.
        ValueError: If `sd` is not positive, or the model's data have no mean, or an encoder has nothing to draw.

    Example:
        >>> from ppgen import models
        >>> models.NoisyDecoder(models.Generator(features=4, latent=2, hidden=(3,)), sd=0.1).num_features
        4
    """

    def __init__(self, pair: GenerativeModel, sd: float, encoder: Sequence[int] | None = None) -> None:
        super().__init__()
        check_number("sd", sd, "be positive: it is the standard deviation of the noise", lambda number: number > 0)
        if not isinstance(pair, GenerativeModel):
            raise TypeError(
                f"pair must be a model of ppgen.models or a run of one, got {type(pair).__name__}: write the law "
                "Normal(mean, sd) into a program of your own."
            )
        self.decoder, self.sd, self.plate = pair, float(sd), pair.plate
        self.site, latents = _data_site(pair)
        if encoder is not None and (latents != ["z"] or not hasattr(pair, "latent")):
            raise ValueError(
                f"encoder draws a site 'z' of `latent` variables, and {type(pair).__name__} draws {latents}. Leave it "
                "out, which takes the prior for the guide."
            )
        layers = None if encoder is None else positive_sizes("encoder", encoder)
        self.encoder = None if layers is None else NormalConditional(self.num_features, layers, int(pair.latent))

    @classmethod
    def example(cls) -> tuple["NoisyDecoder", Tensor]:
        """A small instance with six rows, to try things on."""
        from ppgen.models.implicit.generator import Generator

        return cls(Generator(features=5, latent=2, hidden=(4,)), sd=0.5), torch.rand(6, 5)

    @property
    def num_features(self) -> int:
        """Number of observed variables: the features of a datum."""
        return int(self.decoder.num_features)

    @pyro_method
    def model(self, x: Tensor | None = None, num_rows: int | None = None) -> Tensor:
        """Joint density of latents and data.

        Args:
            x: Data, shape (rows, features); None draws it.
            num_rows: Rows to draw when there are no data; 1 by default.
        """
        with _Noise(self.site, self.sd, x):
            drawn: Tensor = self.decoder.model(num_rows=rows(x, num_rows))
        return drawn

    @pyro_method
    def guide(self, x: Tensor) -> Any:
        """The prior of the latents; or q(z | x) of data of shape (rows, features)."""
        if self.encoder is None:
            with poutine.block(hide=[self.site]):
                return self.decoder.model(num_rows=len(x))
        encoder = self.encoder
        with pyro.plate(self.plate, len(x)):
            return pyro.sample("z", encoder(x))

    def initialise(self, data: Any) -> None:
        """Start the decoder as it starts by itself, unless it is trained."""
        if not self.decoder.initialised:
            self.decoder.initialise(data)
            self.decoder.initialised = True


def with_noise(pair: Any, sd: float, encoder: Sequence[int] | None = None) -> NoisyDecoder:
    r"""The decoder of a model as a density: a Normal law around what it draws, or around the mean of its data.

    .. math:: z \sim p(z), \quad x \sim N(G(z), \sigma^2 I)

    A model that was trained without a likelihood, as generative adversarial networks are, so has the one that this law
    gives it, and is scored beside others at one sd: `evaluation.log_likelihood(..., method="ais")` estimates it, and
    `evaluation.bdmc` says how far that may be off. The value depends on sd, which is chosen on validation rows, and
    it is a density of real values: nats of it are not those of bits. The model's parameters are shared, not copied.

    The guide is the prior, from which annealing starts, and which is no good proposal. With `encoder` it is a network,
    so that the same decoder can be trained by `inference.ELBO` too.

    References:
        | On the Quantitative Analysis of Decoder-Based Generative Models (Wu et al., 2017),
          https://arxiv.org/abs/1611.04273

    Args:
        pair: A model of the zoo or a run: an implicit one, or one whose law of the data has a mean.
        sd: Standard deviation of every variable; positive.
        encoder: Units of the hidden layers of q(z | x); None takes the prior for the guide.

    Raises:
        TypeError: If `pair` is no model of the zoo.
        ValueError: If `sd` is not positive, or the model's data have no mean.

    Example:
        >>> from ppgen import datasets, evaluation, models
        >>> digits = datasets.load("digits")
        >>> scored = models.with_noise(models.Generator(features=64, latent=2, hidden=(8,)), sd=0.3)
        >>> evaluation.log_likelihood(scored, digits.test[:5], method="ais", betas=10).num_data
        5
    """
    return NoisyDecoder(as_pair(pair), sd, encoder)  # type: ignore[arg-type]


class _Noise(Messenger):
    """Handler under which a site draws, or observes, Normal noise around its mean."""

    def __init__(self, site: str, sd: float, x: Tensor | None) -> None:
        super().__init__()
        self.site, self.sd, self.x = site, sd, x

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] != self.site:
            return
        mean = _mean(msg)
        msg["fn"] = dist.Normal(mean, mean.new_full((), self.sd).expand_as(mean)).to_event(len(msg["fn"].event_shape))
        msg["value"], msg["is_observed"], msg["infer"] = self.x, self.x is not None, {}


def _mean(site: Any) -> Tensor:
    computed = site["infer"].get("_deterministic")
    value: Tensor = site["value"] if computed else site["fn"].mean
    return value


def _data_site(pair: Any) -> tuple[str, list[str]]:
    """Name of the site whose value the model returns, and those of its latents."""
    with forked(pair.device), torch.no_grad(), pair.running():
        trace = poutine.trace(pair.model).get_trace(num_rows=1)
    found = {
        name: node for name, node in trace.nodes.items() if node["type"] == "sample" and not site_is_subsample(node)
    }
    site = next((name for name, node in found.items() if node["value"] is trace.nodes["_RETURN"]["value"]), None)
    if site is None:
        raise ValueError(f"The model of {type(pair).__name__} must return the value of the site of its data.")
    try:
        _mean(found[site])
    except (NotImplementedError, AttributeError):
        law = type(found[site]["fn"]).__name__
        raise ValueError(f"The law of site {site!r} ({law}) has no mean that noise could be put around.") from None
    return site, [name for name in found if name != site]
