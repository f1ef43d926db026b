"""Classifiers that start from feature maps: convolutional machines and belief networks."""

import pytest
import torch
from torch import Tensor

import ppgen
from ppgen import datasets, inference, models, testing, training
from ppgen.distributions import MaxPooled

QUIET = {"compile": False, "progress": False}


def stack(kind: str) -> ppgen.GenerativeModel:
    """Every number differs, rows and columns too: no symmetry hides a bug."""
    torch.manual_seed(1)
    made: ppgen.GenerativeModel = {
        "bits": lambda: models.ConvolutionalRBM(30, 3, 2, shape=(5, 6)),
        "autoencoder, switches": lambda: models.ConvolutionalAutoencoder((8, 12), (3, 2), 3, 2, "switches", "tanh"),
        "autoencoder, two channels": lambda: models.ConvolutionalAutoencoder((2, 6, 9), (3,), 4, 3, "repetition"),
        "blocks": lambda: models.ConvolutionalRBM(35, 3, 2, pool=2, shape=(5, 7)),
        "real, two channels": lambda: models.ConvolutionalRBM(50, 2, 2, 2, None, 2, "gaussian", learn_variance=True),
        "two layers": lambda: models.ConvolutionalDBN(63, (3, 4), (2, 2), (2, 1), (7, 9)),
        "three layers": lambda: models.ConvolutionalDBN(
            165, (2, 3, 2), (2, 2, 1), (2, 1, 2), (11, 15), 1, "gaussian", True
        ),
    }[kind]()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return made.double()


@torch.no_grad()
def features(pair: ppgen.GenerativeModel, x: Tensor) -> Tensor:
    """Probabilities of the uppermost pooling units as guide and machine give them."""
    if isinstance(pair, models.ConvolutionalAutoencoder):
        return pair.encode(x)[:, : pair.network.num_values]
    if isinstance(pair, models.ConvolutionalRBM):
        return pair.hidden_means(x)
    for layer in pair.layers:
        x = layer.pooling(x).mean
    energy = pair.machine().base_energy
    means, units = energy.mean_opposite(x, 0), energy.units[1]
    return units.pooled(means) if isinstance(units, MaxPooled) else means


KINDS = ["bits", "blocks", "real, two channels", "two layers", "three layers"]


@pytest.mark.parametrize("kind", [*KINDS, "autoencoder, switches", "autoencoder, two channels"])
def test_features_are_those_of_the_stack(kind: str) -> None:
    """Catches filters that are turned round or left out, blocks in another order, a variance that is not heard."""
    pair = stack(kind)
    x = torch.randn(20, pair.num_features).double()
    x = x if "real" in kind or "three" in kind else (x > 0).double()
    labels = torch.tensor([3, 7] * 10)
    before = {name: value.clone() for name, value in pair.named_parameters()}
    # A step size too small to move anything, so that the start is what is seen.
    found = training.finetune_classifier(pair, x, labels, epochs=1, lr=1e-12, **QUIET)
    testing.check_close(found.hidden(x).detach(), features(pair, x), "features", atol=1e-9)
    testing.check_close(found.predict_proba(x), found.output(found.hidden(x)).softmax(-1).detach(), "softmax")
    assert all(torch.equal(value, before[name]) for name, value in pair.named_parameters())
    random = training.finetune_classifier(pair, x, labels, initialise="random", epochs=1, lr=1e-12, **QUIET)
    assert not torch.allclose(random.hidden(x), features(pair, x), atol=0.05)
    # One softmax, two starts below it.
    assert torch.allclose(random.output.output.weight, found.output.output.weight, atol=1e-9)


def bars(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images of 10 x 10 bits with four bars of three pixels, lying or standing by the class, and noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (rows,), generator=generator)
    images = torch.zeros(rows, 10, 10)
    for image, label in zip(images, labels.tolist(), strict=True):
        for i, j in torch.randint(8, (4, 2), generator=generator).tolist():
            if label:
                image[i : i + 3, j] = 1
            else:
                image[i, j : j + 3] = 1
    flipped = torch.rand(images.shape, generator=generator) < 0.04
    return torch.where(flipped, 1 - images, images).flatten(1), labels


def test_trained_filters_need_fewer_labels() -> None:
    """Catches filters that are copied and then drawn anew, features of another layer, and random ones all the same."""
    unlabelled, _ = bars(600, seed=0)
    test, truth = bars(1000, seed=1)
    torch.manual_seed(0)
    machine = models.ConvolutionalRBM(100, filters=8, filter_size=3, pool=2)
    objective = inference.ELBO(sparsity_target=0.03, sparsity_weight=30.0)
    way = inference.Inference(objective, negative_phase=inference.CD(1, centred=False))
    ppgen.fit(machine, unlabelled, way, epochs=25, batch_size=20, lr=0.02, **QUIET)
    gains = []
    for seed in range(3):
        x, labels = bars(30, seed=10 + seed)
        scores = [
            training.finetune_classifier(
                machine, x, labels, initialise=start, epochs=40, lr=0.01, batch_size=10, seed=seed, **QUIET
            ).score(test, truth)
            for start in ("recognition", "random")
        ]
        gains.append(scores[0] - scores[1])
    # Measured: 0.98, 0.83 and 0.89 of the test images against 0.60, 0.52 and 0.64.
    assert sum(gains) / 3 > 0.1 and min(gains) > 0


def test_wrong_arguments_are_named() -> None:
    """Catches images of another shape that have as many pixels, and labels that do not fit."""
    pair = models.ConvolutionalRBM(30, 3, 2, shape=(5, 6))
    labels = torch.arange(4) % 2
    for data, given, options, error, message in (
        (torch.zeros(4, 6, 5), labels, {}, ValueError, r"shape \(6, 5\), the model takes \(1, 5, 6\)"),
        (torch.zeros(4, 25), labels, {}, ValueError, "data must have 30 features.*got 25"),
        (torch.zeros(4, 30), labels[:3], {}, ValueError, "one for each of the 4 rows"),
        (torch.zeros(4, 30), labels.double(), {}, TypeError, "whole numbers"),
        (torch.zeros(4, 30), None, {}, ValueError, "labels are needed"),
        (torch.zeros(4, 30), labels, {"initialise": "zeros"}, ValueError, "initialise must be"),
    ):
        with pytest.raises(error, match=message):
            training.finetune_classifier(pair, data, given, **options, **QUIET)
    coder = models.ConvolutionalAutoencoder((6, 4), (2,))
    with pytest.raises(ValueError, match=r"shape \(4, 6\), the model takes \(1, 6, 4\)"):
        training.finetune_classifier(coder, torch.zeros(4, 4, 6), labels, **QUIET)
    assert datasets.as_dataset(torch.zeros(4, 5, 6)).image_shape == (5, 6)
