"""Documents of unequal length under a replicated softmax: sums over ordered words, one log Z for each length."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, evaluation, inference, models, testing
from ppgen.inference.negative_phases.centring import centred_gradients
from ppgen.testing.examples import bit_vectors
from ppgen.training.steps.traced_step import TracedStep


def random_model(vocabulary: int, hidden: int, seed: int = 0) -> models.ReplicatedSoftmax:
    torch.manual_seed(seed)
    model = models.ReplicatedSoftmax(vocabulary, hidden)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape))
    return model.double()


def log_weight(model: models.ReplicatedSoftmax, counts: Tensor) -> Tensor:
    """log of the sum over hidden states of exp(-E), written out: (documents, V) -> (documents,)."""
    h = bit_vectors(len(model.hidden_bias))
    joined = counts @ model.weight @ h.T + counts.sum(-1, keepdim=True) * (h @ model.hidden_bias)
    return (counts @ model.visible_bias + joined.logsumexp(-1)).detach()


def ordered(vocabulary: int, length: int) -> Tensor:
    """Counts of every sequence of words."""
    words = torch.tensor(list(itertools.product(range(vocabulary), repeat=length)))
    return torch.nn.functional.one_hot(words, vocabulary).sum(1).double()


def brute_force(model: models.ReplicatedSoftmax, length: int) -> float:
    return float(log_weight(model, ordered(model.num_features, length)).logsumexp(0))


DOCUMENTS = torch.tensor([[1.0, 0, 2, 0], [0, 1, 0, 0], [2, 2, 1, 0], [0, 0, 1, 2], [1, 1, 0, 1]], dtype=torch.float64)


def test_log_z_of_each_length_is_the_sum_over_sequences() -> None:
    """Catches a hidden bias that does not carry the length, and rows that take the log Z of another's length."""
    model = random_model(4, 3)
    found = evaluation.log_partition(model, x=DOCUMENTS)
    expected = [brute_force(model, int(length)) for length in DOCUMENTS.sum(1)]
    np.testing.assert_allclose(found.per_datum["log_partition"], expected, atol=1e-9)
    assert found.value == pytest.approx(np.mean(expected)) and found.kind == "exact" and found.num_data == 5
    exact = evaluation.log_likelihood(model, DOCUMENTS)
    np.testing.assert_allclose(
        exact.per_datum["log_likelihood"], log_weight(model, DOCUMENTS).numpy() - expected, atol=1e-9
    )
    assert exact.kind == "exact" and exact.method == "auto: exact"
    sequences = ordered(4, 3)  # every sequence of three words, which are alternatives
    total = np.exp(evaluation.log_likelihood(model, sequences).per_datum["log_likelihood"]).sum()
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("method", ["ais", "reverse_ais", "sandwich"])
def test_annealing_each_length(method) -> None:
    """Catches weights of one row in the mean of another, and errors that do not tell how far off a row is."""
    model = random_model(4, 3, seed=1)
    truth = evaluation.log_partition(model, x=DOCUMENTS).per_datum["log_partition"]
    found = evaluation.log_partition(model, x=DOCUMENTS, method=method, num_chains=2000, betas=30)
    sides = [found.lower, found.upper] if method == "sandwich" else [found]
    for side in sides:
        difference = side.per_datum["log_partition"] - truth
        assert (np.abs(difference) < 4 * side.per_datum["se"] + 1e-3).all()
        assert 0 < side.per_datum["se"].max() < 0.1
        assert side.per_datum["log_partition"][0] == side.per_datum["log_partition"][3]  # one length, found once
        lengths = DOCUMENTS.sum(1).numpy()
        shares = [(lengths == length).mean() * side.per_datum["se"][lengths == length][0] for length in set(lengths)]
        assert side.se == pytest.approx(math.sqrt(np.square(shares).sum()))


def test_many_rows_are_worked_on_in_blocks(monkeypatch) -> None:
    """Catches blocks that are joined in another order, or are given one random stream and so one error."""
    model = random_model(4, 2)
    whole = evaluation.log_partition(model, x=DOCUMENTS, method="ais", num_chains=400, betas=20)
    monkeypatch.setattr("ppgen.evaluation.partition.per_row._AT_ONCE", 1)
    parts = evaluation.log_partition(model, x=DOCUMENTS, method="ais", num_chains=400, betas=20)
    truth = evaluation.log_partition(model, x=DOCUMENTS).per_datum["log_partition"]
    for found in (whole, parts):
        assert (np.abs(found.per_datum["log_partition"] - truth) < 4 * found.per_datum["se"] + 1e-3).all()
    one_kind = DOCUMENTS[[0, 3]]
    assert evaluation.log_partition(model, x=one_kind, method="ais", num_chains=9, betas=3).num_data == 2


def test_log_likelihood_carries_the_errors_of_log_z() -> None:
    """Catches the mean log Z subtracted from every row, and an error said to be common to rows of unequal length."""
    model = random_model(4, 3, seed=2)
    exact = evaluation.log_likelihood(model, DOCUMENTS)
    partition = evaluation.log_partition(model, x=DOCUMENTS, method="ais", num_chains=500, betas=20)
    found = evaluation.log_likelihood(model, DOCUMENTS, log_partition=partition)
    difference = found.per_datum["log_likelihood"] - exact.per_datum["log_likelihood"]
    np.testing.assert_allclose(
        difference,
        evaluation.log_partition(model, x=DOCUMENTS).per_datum["log_partition"] - partition.per_datum["log_partition"],
        atol=1e-9,
    )
    assert found.se == pytest.approx(partition.se) and found.log_partition_se is None
    np.testing.assert_allclose(found.per_datum["se"], partition.per_datum["se"])
    assert found.kind == "estimate" and "errs high" in repr(found) and "common to all rows" not in repr(found)
    bound = evaluation.log_likelihood(model, DOCUMENTS, method="raise", num_chains=500, betas=20)
    assert bound.kind == "estimate" and bound.value < exact.value + 4 * bound.se
    with pytest.raises(ValueError, match="Give a number of betas"):
        evaluation.log_partition(model, x=DOCUMENTS, method="ais", betas="adaptive")
    annealed = evaluation.log_likelihood(model, DOCUMENTS, method="ais", num_chains=500, betas=20)
    assert abs(annealed.value - exact.value) < 4 * annealed.se + 1e-3
    with pytest.raises(ValueError, match="for other weights than the machine has now, or for other rows"):
        evaluation.log_likelihood(model, DOCUMENTS[:4], log_partition=partition)
    with pytest.raises(ValueError, match="has a log Z for each row"):
        evaluation.log_likelihood(model, DOCUMENTS, log_partition=3.0)
    with model.running(), inference.attach(log_partition=partition):
        weights = inference.log_weights(model, DOCUMENTS).local[0]
        testing.check_close(weights.detach(), torch.from_numpy(found.per_datum["log_likelihood"]), "attached log Z")
        with pytest.raises(ValueError, match="or for other data"):
            inference.log_weights(model, DOCUMENTS.flip(0))


def test_perplexity() -> None:
    """Catches a perplexity of documents and not of words: a uniform model hesitates between all words."""
    model = models.ReplicatedSoftmax(4, 2).double()
    with torch.no_grad():
        model.weight.zero_()
    found = evaluation.log_likelihood(model, DOCUMENTS)
    assert evaluation.perplexity(found, DOCUMENTS) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="5 rows"):
        evaluation.perplexity(found, DOCUMENTS[:2])
    with pytest.raises(TypeError, match="estimate must be the evaluation.log_likelihood.*got ReplicatedSoftmax"):
        evaluation.perplexity(models.ReplicatedSoftmax(4, 2), DOCUMENTS)


def test_a_sweep_leaves_each_length_alone() -> None:
    """Catches documents that grow in a chain, and rows drawn with each other's lengths."""
    model = random_model(4, 2)
    drawn = ppgen.sample(model, 5, like=DOCUMENTS, warmup_steps=20)
    assert torch.equal(drawn.samples.sum(1), DOCUMENTS.sum(1)) and drawn.rhat is None
    assert ppgen.sample(model, 3, warmup_steps=2, sweeps=1).samples.sum(1).tolist() == [100.0] * 3


def test_exact_draws_of_unequal_documents() -> None:
    """Catches a sampler that draws all rows from the law of the first."""
    model = random_model(3, 2)
    lengths = torch.tensor([1, 2]).repeat(10_000)
    x = torch.zeros(20_000, 3, dtype=torch.float64)
    x[:, 0] = lengths
    machine = model.machine(x).with_sampler("exact")
    drawn = machine.marginal("visible").sample()
    assert torch.equal(drawn.sum(1).long(), lengths)
    for length in (1, 2):
        sequences = ordered(3, length)
        law = torch.softmax(log_weight(model, sequences), 0)
        own = drawn[lengths == length]
        testing.check_mean(own, law @ sequences, f"mean counts of documents of {length} words")
        outer = (sequences.unsqueeze(-1) * sequences.unsqueeze(-2)).flatten(1)
        found = (own.unsqueeze(-1) * own.unsqueeze(-2)).flatten(1)
        testing.check_mean(found, law @ outer, f"second moments of documents of {length} words")


def test_centred_gradient_is_that_of_words_at_their_frequencies() -> None:
    """Catches a centred bias that forgets the length: the change of parameters must leave the energy as it is."""
    model = random_model(4, 3)
    mu, lam = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64), torch.tensor([0.3, 0.6, 0.5]).double()
    state = {"even_offset": 7.0 * mu, "odd_offset": lam}
    value = -(log_weight_of := model.machine(DOCUMENTS).base_energy).free_energy(DOCUMENTS, 0).mean()
    parameters = [model.visible_bias, model.weight, model.hidden_bias]
    gradients = dict(zip(map(id, parameters), torch.autograd.grad(value, parameters), strict=True))
    found = centred_gradients(log_weight_of, state, gradients)
    # b = b' - W' lambda and c = c' - W'^T mu, with the derivative in (b', W', c') carried back by the same map.
    b, weight, c = (each.detach().clone().requires_grad_() for each in parameters)

    def plain(b_, weight_, c_):
        return b_ - weight_ @ lam, weight_, c_ - weight_.T @ mu

    with torch.no_grad():
        start = (b + weight @ lam, weight, c + weight.T @ mu)
    primed = [each.detach().clone().requires_grad_() for each in start]
    own = plain(*primed)
    with torch.no_grad():
        replaced = models.ReplicatedSoftmax(4, 3).double()
    energy = replaced.machine(DOCUMENTS).base_energy
    for target, source in zip((energy.units[0], energy.couplings[0], energy.couplings[0]), own, strict=True):
        name = "bias" if source.dim() == 1 else "weight"
        setattr(target, name, source)
    slopes = torch.autograd.grad(-energy.free_energy(DOCUMENTS, 0).mean(), primed)
    expected = (slopes[0] - slopes[1] @ lam, slopes[1], slopes[2] - slopes[1].T @ mu)
    for parameter, each in zip(parameters, expected, strict=True):
        testing.check_close(found[id(parameter)], each, "centred gradient")


def two_topics(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Documents of 5 to 30 words about the first half of ten words or the second, with a little of the other."""
    generator = torch.Generator().manual_seed(seed)
    topic = torch.rand(rows, generator=generator) < 0.4
    law = torch.where(topic.unsqueeze(1), torch.tensor([0.18] * 5 + [0.02] * 5), torch.tensor([0.02] * 5 + [0.18] * 5))
    lengths = torch.randint(5, 31, (rows,), generator=generator)
    words = torch.multinomial(law, 30, replacement=True, generator=generator)
    kept = (torch.arange(30) < lengths.unsqueeze(1)).float()
    return torch.zeros(rows, 10).scatter_add(1, words, kept), topic


def test_training_finds_topics(tmp_path) -> None:
    """Catches a default that does not learn, topics read from the wrong side, and a run that is not read back."""
    x, topic = two_topics(800)
    test, _ = two_topics(300, seed=1)
    model = models.ReplicatedSoftmax(10, 2)
    options = {"epochs": 25, "batch_size": 50, "lr": 0.02, "compile": False, "progress": False}
    run = ppgen.fit(model, x, folder=tmp_path / "run", **options)
    found = evaluation.log_likelihood(run.pair, test)
    frequency = x.sum(0) / x.sum()
    unigram = float((test @ frequency.log()).mean())
    assert found.kind == "exact" and found.value > unigram + 3
    assert evaluation.perplexity(found, test) < 8.5 < math.exp(-float((test @ frequency.log() / test.sum(1)).mean()))
    halves = [set(words) for words in model.top_words(5, list("abcdefghij"))]
    assert set("abcde") in halves or set("fghij") in halves
    query = torch.zeros(1, 10)
    query[0, 0] = 5.0
    law = model.reconstruct(query)[0]
    assert float(law[:5].sum()) > 0.7
    again = ppgen.load(tmp_path / "run").pair
    assert evaluation.log_likelihood(again, test).value == pytest.approx(found.value)
    assert 15 <= again.typical_length <= 20


def test_the_step_can_be_traced() -> None:
    """Catches lengths that are read while a graph is made, and words beyond the longest document of the first batch."""
    x, _ = two_topics(60)
    x = x[x.sum(1).argsort()]
    model = models.ReplicatedSoftmax(10, 2)
    model.prepare(x[:20])
    bound = inference.resolve(None, model).bind(model, x[:20], 60)
    bound.step(x[:20])
    with pytest.raises(RuntimeError, match="longest document must be known"):
        TracedStep(bound, dict(model.named_parameters())).check(x[:20])
    model.inspect_data(datasets.as_dataset(x))
    traced = TracedStep(bound, dict(model.named_parameters()))
    assert int(x[:20].sum(1).max()) < int(x.sum(1).max())
    assert traced.check(x[:20]) is None
    assert traced.check(x[40:]) is None and traced.num_traces == 1


def test_documents_of_bits_have_no_pseudo_likelihood() -> None:
    """Catches a word flipped in a document, which changes its length and so its log Z."""
    x = (two_topics(60)[0] > 0).float()
    run = ppgen.fit(models.ReplicatedSoftmax(10, 2), x, epochs=1, compile=False, progress=False)
    assert not any("pseudo" in name for name in run.metrics[-1])


def test_errors() -> None:
    """Catches documents that are none."""
    for row, value in (([0, 0, 0], "one word or more"), ([1, 0.5, 0], "whole counts"), ([2, -1, 0], "whole counts")):
        x = torch.tensor([[1.0, 2.0, 0.0], row])
        with pytest.raises(ValueError, match=f"(?s){value}.*the first is row 1"):
            ppgen.fit(models.ReplicatedSoftmax(3, 2), x, epochs=1, progress=False)
        with pytest.raises(ValueError, match=value):
            evaluation.log_likelihood(models.ReplicatedSoftmax(3, 2), x)
    empty = torch.ones(300, 3)
    empty[250] = 0.0  # data known to be bits, in a row that is not of the first batch
    with pytest.raises(ValueError, match="the first is row 250"):
        ppgen.fit(models.ReplicatedSoftmax(3, 2), empty, epochs=1, batch_size=10, progress=False)
    with pytest.raises(ValueError, match=r"Use inference\.CD"):
        ppgen.fit(models.ReplicatedSoftmax(3, 2), torch.ones(5, 3), inference.PCD(), epochs=1, progress=False)
    model = models.ReplicatedSoftmax(3, 2)
    with pytest.raises(ValueError, match="from 1 to 3, got 4"):
        model.top_words(4)
    with pytest.raises(ValueError, match="the 3 words of the vocabulary, got 2"):
        model.top_words(1, ["a", "b"])
    with pytest.raises(ValueError, match="vocabulary must be at least 1"):
        models.ReplicatedSoftmax(0, 2)


def test_free_energy_gap_does_not_grow_with_the_length_of_documents():
    """Catches free energies that are compared across rows whose log Z differs: long validation documents would look
    like overfitting by tens of nats."""
    generator = torch.Generator().manual_seed(0)
    words = torch.tensor([0.4, 0.3, 0.2, 0.05, 0.05])

    def documents(count, length):
        drawn = torch.multinomial(words.expand(count, -1), length, replacement=True, generator=generator)
        return torch.nn.functional.one_hot(drawn, 5).sum(1).float().numpy()

    data = datasets.load({"train": documents(400, 10), "valid": documents(100, 60)})
    model = models.ReplicatedSoftmax(vocabulary=5, hidden=3)
    run = ppgen.fit(model, data, inference.CD(), epochs=2, lr=1e-4, progress=False, compile=False)
    # Independent units are the truth here, so that what is left is the machine's untrained difference from them.
    assert abs(run.curve("free_energy_gap")[-1]) < 1.0
