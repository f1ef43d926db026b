"""Discrete latents that are summed out: a Gaussian mixture, topics, capture and recapture."""

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import autoguide, config_enumerate
from pyro.ops.indexing import Vindex
from torch import Tensor, nn
from torch.distributions import constraints

import ppgen
from pyro_examples.example import Example


@config_enumerate
def mixture(x: Tensor) -> None:
    """A mixture of two Gaussians of one scale, with priors."""
    weights = pyro.sample("weights", dist.Dirichlet(0.5 * torch.ones(2)))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 2.0))
    with pyro.plate("components", 2):
        locs = pyro.sample("locs", dist.Normal(0.0, 10.0))
    with pyro.plate("data", len(x)):
        k = pyro.sample("assignment", dist.Categorical(weights))
        pyro.sample("x", dist.Normal(Vindex(locs)[..., k], scale), obs=x)


def gaussian_mixture(name: str) -> Example:
    """The mixture under an AutoGuide of its global latents."""

    def make() -> tuple[ppgen.Pair, Any]:
        guide = getattr(autoguide, name)(poutine.block(mixture, expose=["weights", "locs", "scale"]))
        return ppgen.Pair(mixture, guide), torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0])

    return Example(f"Gaussian mixture, {name}", make, quick=name == "AutoDelta")


def topics() -> tuple[ppgen.Pair, Any]:
    """Latent Dirichlet allocation: topics of words, mixtures of documents, and an amortised guide of the latter."""
    vocabulary, num_topics, num_words = 10, 3, 12
    network = nn.Sequential(nn.Linear(vocabulary, 8), nn.Sigmoid(), nn.Linear(8, num_topics), nn.Softmax(-1))

    @config_enumerate
    def model(words: Tensor) -> None:
        with pyro.plate("topics", num_topics):
            weight = pyro.sample("topic_weights", dist.Gamma(1.0 / num_topics, 1.0))
            law = pyro.sample("topic_words", dist.Dirichlet(torch.ones(vocabulary) / vocabulary))
        with pyro.plate("documents", len(words), dim=-1):
            mix = pyro.sample("doc_topics", dist.Dirichlet(weight))
            with pyro.plate("words", num_words, dim=-2):
                topic = pyro.sample("word_topics", dist.Categorical(mix))
                pyro.sample("doc_words", dist.Categorical(law[topic]), obs=words.T)

    def guide(words: Tensor) -> None:
        pyro.module("network", network)
        weight = pyro.param("weight_q", torch.ones(num_topics), constraint=constraints.positive)
        law = pyro.param("words_q", torch.ones(num_topics, vocabulary), constraint=constraints.greater_than(0.5))
        with pyro.plate("topics", num_topics):
            pyro.sample("topic_weights", dist.Gamma(weight, 1.0))
            pyro.sample("topic_words", dist.Dirichlet(law))
        counts = nn.functional.one_hot(words, vocabulary).sum(-2).float()
        with pyro.plate("documents", len(words), dim=-1):
            pyro.sample("doc_topics", dist.Delta(network(counts), event_dim=1))

    return ppgen.Pair(model, guide, plate="documents"), torch.randint(0, vocabulary, (6, num_words))


def product_of_experts() -> tuple[ppgen.Pair, Any]:
    """ProdLDA: counts of words by a network of a logistic-normal mixture of topics."""
    vocabulary, num_topics = 10, 3
    decoder, encoder = nn.Linear(num_topics, vocabulary, bias=False), nn.Linear(vocabulary, 2 * num_topics)

    def model(counts: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("documents", len(counts)):
            prior = dist.Normal(counts.new_zeros(len(counts), num_topics), 1.0).to_event(1)
            theta = pyro.sample("logtheta", prior).softmax(-1)
            total = int(counts.sum(-1).max())
            pyro.sample("counts", dist.Multinomial(total, decoder(theta).softmax(-1)), obs=counts)

    def guide(counts: Tensor) -> None:
        pyro.module("encoder", encoder)
        loc, scale = encoder(counts).chunk(2, -1)
        with pyro.plate("documents", len(counts)):
            pyro.sample("logtheta", dist.Normal(loc, (0.5 * scale).exp()).to_event(1))

    words = torch.randint(0, vocabulary, (6, 15))
    return ppgen.Pair(model, guide, plate="documents"), nn.functional.one_hot(words, vocabulary).sum(1).float()


def capture(by_time: bool) -> Example:
    """Animals marked and seen again: survival and detection, of all times or of each."""
    seen = torch.tensor([[1.0, 0, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1]])

    def model(seen: Tensor) -> None:
        if by_time:
            with pyro.plate("times", 3):
                survival = pyro.sample("phi", dist.Uniform(0.0, 1.0))
        else:
            survival = pyro.sample("phi", dist.Uniform(0.0, 1.0))
        detection = pyro.sample("rho", dist.Uniform(0.0, 1.0))
        with pyro.plate("animals", len(seen), dim=-1):
            alive: Any = torch.ones(len(seen))
            marked = seen[:, 0].bool()
            for t in pyro.markov(range(1, 4)):
                with poutine.mask(mask=marked):
                    stays = survival[..., t - 1 : t] if by_time else survival
                    alive = pyro.sample(f"z_{t}", dist.Bernoulli(stays * alive), infer={"enumerate": "parallel"})
                    pyro.sample(f"y_{t}", dist.Bernoulli(detection * alive), obs=seen[:, t])
                marked = marked | seen[:, t].bool()

    def make() -> tuple[ppgen.Pair, Any]:
        guide = autoguide.AutoDiagonalNormal(poutine.block(model, expose=["phi", "rho"]))
        return ppgen.Pair(model, guide, plate="animals"), seen

    return Example(f"capture and recapture, by time {by_time}", make, quick=not by_time)


EXAMPLES = [
    *(gaussian_mixture(name) for name in ("AutoDelta", "AutoNormal")),
    Example("latent Dirichlet allocation", topics),
    Example("ProdLDA", product_of_experts),
    *(capture(by_time) for by_time in (False, True)),
]
