"""Classifiers that start from encoders, on all labels and on few."""

import pytest
import torch

from ppgen import datasets, models, training

QUIET = {"compile": False, "progress": False}


def encoder(activation: str = "tanh", code: str = "linear") -> models.Autoencoder:
    torch.manual_seed(0)
    return models.Autoencoder(6, (5, 4), activation=activation, code_activation=code, likelihood="bernoulli").double()


def labelled(rows: int = 60) -> datasets.Dataset:
    x = (torch.rand(rows, 6) < 0.5).float()
    labels = 2 + x[:, 0].long() + x[:, 1].long()
    held = {"train": x, "train_labels": labels, "valid": x[:20], "valid_labels": labels[:20]}
    return datasets.load(held, test_size=0)


@pytest.mark.parametrize(("activation", "code"), [("tanh", "linear"), ("sigmoid", "sigmoid")])
def test_layers_are_those_of_the_encoder(activation: str, code: str) -> None:
    """Catches a linear code that is squashed, a decoder among the weights, and an autoencoder that is trained."""
    model, x = encoder(activation, code), torch.rand(20, 6).double().round()
    labels = torch.tensor([3, 7] * 10)
    before = [each.clone() for each in model.parameters()]
    found = training.finetune_classifier(model, x, labels, epochs=1, lr=1e-12, **QUIET)
    assert torch.allclose(found.hidden(x), model.encode(x), atol=1e-9)
    assert len(list(found.parameters())) == 6  # two layers up and the softmax
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
    random = training.finetune_classifier(model, x, labels, initialise="random", epochs=1, lr=1e-12, **QUIET)
    assert not torch.allclose(random.hidden(x), model.encode(x), atol=0.1)
    testable = [each.output.output.weight for each in (found, random)]
    assert torch.allclose(*testable, atol=1e-9)  # one seed: the same softmax


def test_all_layers_learn() -> None:
    """Catches features that stay fixed, and machines of real values that are refused."""
    data = labelled(200)
    for pair in (encoder(), models.GaussianRBM(6, 8, learn_variance=True).double()):
        found = training.finetune_classifier(pair, data, epochs=60, lr=0.02, **QUIET)
        assert found.score(data.train, data.labels["train"]) == 1.0
        start = training.finetune_classifier(pair, data, epochs=1, lr=1e-12, **QUIET)
        assert all(
            not torch.equal(*each) for each in zip(start.hidden.parameters(), found.hidden.parameters(), strict=True)
        )


def test_only_rows_with_a_label_are_learnt_from() -> None:
    """Catches -1 taken for a class, and rows beside the labels of others."""
    data, model = labelled(), encoder()
    few = data.with_labels(keep=6)
    x, y = few.train
    by_hand = training.finetune_classifier(model, x[y >= 0], y[y >= 0], epochs=3, **QUIET)
    found = training.finetune_classifier(model, few, epochs=3, **QUIET)
    assert found.classes.tolist() == [2, 3, 4] and torch.equal(found(x.double()), by_hand(x.double()))


def test_the_best_epoch_is_chosen_on_validation_rows() -> None:
    """Catches a choice on training rows, and labels of validation rows under other names."""
    data, model = labelled(), encoder()
    options = {"epochs": 60, "lr": 0.03, **QUIET}
    found = training.finetune_classifier(model, data, early_stopping=60, **options)
    assert found.run.curve("valid_value")[-1] > -0.1  # the classes of rows that are training rows too
    without = training.finetune_classifier(model, data, **options)
    assert "valid_value" not in without.run.metrics[-1]


def test_what_has_no_labels_is_named() -> None:
    """Catches pairs of features taken for rows with labels, and labels that are all missing."""
    data, model = labelled(), encoder()
    for rows, options, message in (
        (data.split_features(3), {}, "data must be rows with labels"),
        (data.with_labels(keep=6), {"labels": -torch.ones(60).long()}, "two classes or more; there is none"),
    ):
        with pytest.raises(ValueError, match=message):
            training.finetune_classifier(model, rows, **options, **QUIET)


def test_minus_one_is_no_class_wherever_labels_come_in() -> None:
    """Catches rows without a label that are learnt as a class of their own, or count as wrong, outside of pairs."""
    digits = datasets.load("digits")
    few = digits.with_labels(keep=40)
    model = models.Autoencoder(64, (6,), activation="sigmoid", code_activation="sigmoid")
    options = {"epochs": 2, "lr": 0.01, "seed": 1, **QUIET}
    plain = training.finetune_classifier(model, digits, few.labels["train"], **options)
    assert plain.classes.tolist() == list(range(10))
    of_pairs = training.finetune_classifier(model, few, **options)
    for name, value in of_pairs.state_dict().items():
        assert torch.equal(plain.state_dict()[name], value), name
    labels = digits.labels["test"].clone()
    accuracy = plain.score(digits.test[:100], labels[:100])
    labels[100:] = -1
    assert plain.score(digits.test, labels) == accuracy
    with pytest.raises(ValueError, match="must tell the class of some row, got none but -1"):
        plain.score(digits.test, torch.full((300,), -1))
    with pytest.raises(ValueError, match="two classes or more; all are 1, but for .* of -1, rows without a label"):
        training.finetune_classifier(model, digits, 2 * (torch.arange(1297) % 2) - 1)
    with pytest.raises(ValueError, match="classes cannot hold -1"):
        training.Classifier((4, 3), [-1, 1])
