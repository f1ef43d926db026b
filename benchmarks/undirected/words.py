"""Replicated softmax beside a unigram model and latent Dirichlet allocation: perplexity of held-out text.

Of 250 articles 170 are for training, 30 for validation and 50 for the test; the vocabulary is that of the training
articles. They are modelled twice: as whole articles, and cut into passages of 50 words.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import gammaln, logsumexp
from sklearn.decomposition import LatentDirichletAllocation

import ppgen
from benchmarks.undirected.rows import best, row
from ppgen import evaluation, inference, models

VOCABULARY, TOPICS, PASSAGE, TEST_PASSAGES = 2000, 50, 50, 300
SHARES = (0.68, 0.12)  # of the articles: training, validation
MACHINES = {
    "articles": {"60 epochs": (60, 0.003, 10)},
    "passages": {"10 epochs": (10, 0.003, 50), "20 epochs": (20, 0.003, 50)},
}
PRIORS = (0.02, 0.3)  # of a topic's words
QUICK_ANNEALING = {"articles": (5, 50), "passages": (20, 200)}  # chains and levels: for validation
ANNEALING = {"articles": (10, 100), "passages": (100, 1000)}  # and for the test
SAMPLES = 1000  # topic proportions drawn for a document


class Split(NamedTuple):
    """Counts of the words of documents, (documents, vocabulary)."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def articles(path: Path, quick: bool) -> dict[str, Any]:
    """Test perplexities of all three models of whole articles."""
    return _measure("articles", path, quick)


def passages(path: Path, quick: bool) -> dict[str, Any]:
    """Test perplexities of all three models of passages."""
    return _measure("passages", path, quick)


def _measure(name: str, path: Path, quick: bool) -> dict[str, Any]:
    texts = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    vocabulary, splits = counted(texts)
    shared = {"topics": 3 if quick else TOPICS, "vocabulary": len(vocabulary), "samples": SAMPLES}
    return {**shared, **compare(name, splits[name], vocabulary, quick)}


def counted(articles: list[list[str]]) -> tuple[list[str], dict[str, Split]]:
    """The vocabulary of the training articles, and counts of articles and of passages."""
    order = np.random.default_rng(0).permutation(len(articles))
    first, second = (round(len(articles) * share) for share in (SHARES[0], sum(SHARES)))
    groups = [[articles[index] for index in part] for part in np.split(order, [first, second])]
    frequency = Counter(word for article in groups[0] for word in article)
    vocabulary = [word for word, _ in frequency.most_common(VOCABULARY)]
    index = {word: i for i, word in enumerate(vocabulary)}
    known = [[[index[word] for word in article if word in index] for article in group] for group in groups]
    cut = [
        [each[at : at + PASSAGE] for each in group for at in range(0, len(each) - PASSAGE + 1, PASSAGE)]
        for group in known
    ]
    cut[1], cut[2] = (_some(group) for group in cut[1:])
    return vocabulary, {
        name: Split(*(_counts(group, len(vocabulary)) for group in groups))
        for name, groups in (("articles", known), ("passages", cut))
    }


def _counts(documents: list[list[int]], size: int) -> np.ndarray:
    return np.stack([np.bincount(words, minlength=size) for words in documents]).astype(np.float64)


def _some(group: list[Any]) -> list[Any]:
    return [group[i] for i in np.random.default_rng(1).permutation(len(group))[:TEST_PASSAGES]]


def compare(name: str, split: Split, vocabulary: list[str], quick: bool) -> dict[str, Any]:
    """The three models on documents of one kind."""
    topics = 3 if quick else TOPICS
    frequency = split.train.sum(0) + 0.1
    unigram = split.test @ np.log(frequency / frequency.sum())
    tried: dict[str, Any] = {
        f"words {prior}": allocation(split.train, topics, prior) for prior in PRIORS[: 1 if quick else 2]
    }
    allocations = {key: perplexity(_evidence(model, split.valid), split.valid) for key, model in tried.items()}
    chosen = tried[best(allocations)]
    lda = _evidence(chosen, split.test)
    candidates = {"1 epoch": (1, 0.003, 10)} if quick else MACHINES[name]
    trained = {key: machine(split.train, topics, *how) for key, how in candidates.items()}
    machines = {
        key: perplexity(_annealed(model, split.valid, *QUICK_ANNEALING[name]), split.valid)
        for key, model in trained.items()
    }
    ours = trained[best(machines)]
    annealing = (QUICK_ANNEALING if quick else ANNEALING)[name]
    found = _annealed(ours, split.test, *annealing)
    lengths = split.test.sum(1)
    print(name, machines, allocations, flush=True)
    return {
        "documents": {part: len(rows) for part, rows in split._asdict().items()},
        "mean_length": float(lengths.mean()),
        "annealing": {"chains": annealing[0], "betas": annealing[1]},
        "rows": [
            {**row("unigram", -unigram / lengths, len(vocabulary)), "perplexity": perplexity(unigram, split.test)},
            {
                **row("LDA", -lda / lengths, topics * len(vocabulary), setting=best(allocations)),
                "perplexity": perplexity(lda, split.test),
                "library": float(chosen.perplexity(split.test)),
            },
            {
                **row("ReplicatedSoftmax", -found / lengths, sum(p.numel() for p in ours.parameters())),
                "setting": best(machines),
                "perplexity": perplexity(found, split.test),
            },
        ],
        "difference": row("ReplicatedSoftmax below LDA", (found - lda) / lengths),
        "validation": {"LDA": allocations, "ReplicatedSoftmax": machines},
        "top_words": ours.top_words(8, vocabulary)[:8],
    }


def perplexity(log_likelihoods: np.ndarray, counts: np.ndarray) -> float:
    """As `evaluation.perplexity`: of a word, each document counting the same."""
    return float(np.exp(-np.mean(log_likelihoods / counts.sum(1))))


def machine(counts: np.ndarray, hidden: int, epochs: int, lr: float, batch_size: int) -> models.ReplicatedSoftmax:
    """A replicated softmax trained by CD-1."""
    torch.manual_seed(0)
    made = models.ReplicatedSoftmax(counts.shape[1], hidden)
    how: Mapping[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "lr_schedule": "linear"}
    ppgen.fit(made, torch.as_tensor(counts).float(), inference.CD(1), optimizer="adam", progress=False, **how)
    return made


def _annealed(model: models.ReplicatedSoftmax, counts: np.ndarray, chains: int, betas: int) -> np.ndarray:
    """log p of each document, log Z of each length by annealing."""
    x = torch.as_tensor(counts).float()
    found: Any = evaluation.log_likelihood(model, x, method="ais", num_chains=chains, betas=betas)
    return np.asarray(found.per_datum["log_likelihood"])


def allocation(counts: np.ndarray, topics: int, prior: float) -> LatentDirichletAllocation:
    """scikit-learn's variational allocation."""
    made = LatentDirichletAllocation(
        topics, topic_word_prior=prior, doc_topic_prior=1 / topics, max_iter=30, random_state=0
    )
    return made.fit(counts)


def _evidence(model: LatentDirichletAllocation, counts: np.ndarray) -> np.ndarray:
    return evidence(counts, model.components_, model.doc_topic_prior_, model._unnormalized_transform(counts))


def evidence(counts: np.ndarray, topics: np.ndarray, prior: float, proposal: np.ndarray) -> np.ndarray:
    r"""log p of each document by importance sampling of its topic proportions.

    .. math:: \log \frac1M \sum_m \frac{Dir(\theta_m; \alpha)}{Dir(\theta_m; \gamma)}
              \prod_w (\theta_m \cdot \phi_w)^{n_w}, \quad \theta_m \sim Dir(\gamma)

    Args:
        counts: (documents, vocabulary).
        topics: Weights of words in topics, normalised here, (topics, vocabulary).
        prior: alpha, the same for each topic.
        proposal: gamma, the variational posterior of each document, (documents, topics).
    """
    words = topics / topics.sum(1, keepdims=True)
    generator = np.random.default_rng(0)
    values = []
    for n, gamma in zip(counts, proposal, strict=True):
        seen = n.nonzero()[0]
        theta = generator.dirichlet(gamma, SAMPLES).clip(1e-300)
        log_weights = np.log(theta @ words[:, seen]) @ n[seen]
        log_weights += ((prior - gamma) * np.log(theta)).sum(1)
        log_weights += (
            gammaln(prior * len(gamma)) - len(gamma) * gammaln(prior) - gammaln(gamma.sum()) + gammaln(gamma).sum()
        )
        values.append(logsumexp(log_weights) - np.log(SAMPLES))
    return np.array(values)
