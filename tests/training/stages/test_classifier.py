"""Classifiers that start from a stack of layers."""

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, models, training

QUIET = {"compile": False, "progress": False}


def stack(kind: str) -> ppgen.GenerativeModel:
    torch.manual_seed(1)
    made: ppgen.GenerativeModel = {
        "RBM": lambda: models.RBM(6, 4),
        "DBN": lambda: models.DBN(6, (4, 3, 2)),
        "DBM": lambda: models.DBM(6, (4, 3, 2)),
    }[kind]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return made.double()


def bits(rows: int, features: int) -> Tensor:
    return (torch.rand(rows, features) < 0.5).double()


@pytest.mark.parametrize("kind", ["RBM", "DBN", "DBM"])
def test_layers_are_those_of_the_stack(kind: str) -> None:
    """Catches transposed weights, a layer that is left out, and doubling at the wrong layers."""
    pair = stack(kind)
    x, labels = bits(20, 6), torch.tensor([3, 7] * 10)
    before = {name: value.clone() for name, value in pair.named_parameters()}
    # A step size too small to move anything, so that the start is what is seen.
    found = training.finetune_classifier(pair, x, labels, epochs=1, lr=1e-12, **QUIET)
    h = x
    with torch.no_grad():
        if kind == "RBM":
            h = torch.sigmoid(h @ pair.weight + pair.hidden_bias)
        elif kind == "DBN":
            for encoder in pair.encoders:
                h = encoder(h).mean
            h = torch.sigmoid(h @ pair.top_weight + pair.top_hidden_bias)
        else:
            first_pass = pair.machine().mean_field({"visible": x}, sweeps=0)
            h = first_pass["hidden3"]
        assert torch.allclose(found.hidden(x), h, atol=1e-9)
        assert torch.allclose(found.predict_proba(x), found.output(h).softmax(-1), atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in pair.named_parameters())
    random = training.finetune_classifier(pair, x, labels, initialise="random", epochs=1, lr=1e-12, **QUIET)
    assert not torch.allclose(random.hidden(x), h, atol=0.1) and torch.equal(random.classes, found.classes)


def test_labels_are_learnt_under_their_own_names() -> None:
    """Catches labels taken for positions, and a net that the optimiser does not see."""
    x = bits(200, 6)
    labels = torch.where(x[:, 1] > 0, 40, -5)
    found = training.finetune_classifier(stack("DBN"), x, labels, epochs=200, lr=0.02, **QUIET)
    assert found.score(x, labels) == 1.0 == found.score(x.numpy(), labels.numpy())
    assert set(found.predict(x).tolist()) == {40, -5}
    curve = found.run.curve("train_value")
    truth = found.predict_proba(x)[torch.arange(200), (labels == 40).long()].log().mean()
    assert curve[-1] > -0.1 > curve[0] and abs(curve[-1] - float(truth)) < 0.05
    assert found.score(x, torch.where(labels == 40, -5, 40)) == 0.0


def test_a_seed_gives_one_classifier() -> None:
    """Catches a softmax drawn from the caller's random state, and a state that is left moved."""
    pair, x = stack("RBM"), bits(30, 6)
    labels = (x[:, 0] + x[:, 1]).long()
    state = torch.get_rng_state()
    first, second, third = (
        training.finetune_classifier(pair, x, labels, epochs=2, seed=seed, **QUIET) for seed in (1, 1, 2)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first(x), second(x)) and not torch.equal(first(x), third(x))


def test_wrong_arguments_are_named() -> None:
    """Catches labels that do not fit the rows, and models without recognition weights."""
    rbm, x = models.RBM(6, 4), bits(10, 6)
    labels = torch.arange(10) % 2
    for pair, data, given, options, error, message in (
        (models.VAE(6, 2, (3,)), x, labels, {}, ValueError, "models.RBM, models.DBN or models.DBM; got VAE"),
        (torch.nn.Linear(6, 4), x, labels, {}, TypeError, "Linear"),
        (rbm, x, None, {}, ValueError, "labels are needed"),
        (rbm, x, labels[:9], {}, ValueError, "one for each of the 10 rows"),
        (rbm, x, labels.double(), {}, TypeError, "whole numbers"),
        (rbm, x, 0 * labels, {}, ValueError, "two classes or more; all are 0"),
        (rbm, x[:, :5], labels, {}, ValueError, "data must have 6 features.*got 5"),
        (rbm, x, labels, {"initialise": "zeros"}, ValueError, "initialise must be"),
    ):
        with pytest.raises(error, match=message):
            training.finetune_classifier(pair, data, given, **options, **QUIET)


def test_a_pretrained_stack_needs_fewer_labels() -> None:
    """Catches weights that are copied and then drawn anew, or a stack whose layers were not trained."""
    digits = datasets.load("digits", binarize="threshold")
    torch.manual_seed(0)
    dbn = models.DBN(64, (60, 40))
    training.pretrain(dbn, digits, epochs=60, lr=0.1, num_particles=2, num_chains=2, betas=10, **QUIET)
    gains = []
    for seed in range(3):
        rows = torch.randperm(digits.num_train, generator=torch.Generator().manual_seed(seed))[:150]
        labelled = digits.train[rows], digits.labels["train"][rows]
        scores = [
            training.finetune_classifier(
                dbn, *labelled, initialise=start, epochs=20, lr=3e-3, batch_size=30, seed=seed, **QUIET
            ).score(digits.test, digits.labels["test"])
            for start in ("recognition", "random")
        ]
        gains.append(scores[0] - scores[1])
    # Measured: 0.72, 0.72 and 0.76 of the test digits against 0.62, 0.63 and 0.60.
    assert sum(gains) / 3 > 0.02 and min(gains) > -0.05
