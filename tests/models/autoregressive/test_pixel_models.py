"""PixelCNN, gated and plain, of bits, levels and colours; given a class, and the classifier by Bayes' rule."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import ppgen
from ppgen import datasets, evaluation, models
from ppgen.cli import main
from ppgen.distributions import BernoulliOutput, CategoricalOutput, LogisticMixtureOutput
from ppgen.testing.examples import bit_vectors

KINDS: dict[str, Any] = {"plain": models.PixelCNN, "gated": models.GatedPixelCNN}
SMALL = {"channels": 4, "layers": 1, "first_size": 3}


def with_random_weights(model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    return model.double().eval()


def conditional(gated: bool = True) -> models.ClassConditionalPixelCNN:
    return with_random_weights(models.ClassConditionalPixelCNN((2, 3), 3, gated=gated, **SMALL))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ({}, BernoulliOutput()),
        ({"levels": 17}, CategoricalOutput(17)),
        ({"levels": 2, "outputs": "categorical"}, CategoricalOutput(2)),
        ({"levels": 256, "outputs": "logistic", "components": 3}, LogisticMixtureOutput(3, 256)),
    ],
)
def test_laws_of_a_pixel(kind: str, arguments: dict[str, Any], output: Any) -> None:
    """Catches levels and outputs that give another law than they say."""
    law = KINDS[kind]((3, 3), **SMALL, **arguments).law()
    assert law.output == output and law.network.outputs == output.num_parameters


@pytest.mark.parametrize("kind", KINDS)
def test_colours_are_in_the_order_of_data(kind: str) -> None:
    """Catches channels read as pixels: p(x) sums to 1, and red of the first pixel depends on nothing."""
    model = with_random_weights(KINDS[kind]((1, 2), image_channels=3, **SMALL))
    images = bit_vectors(6).double()  # channels, rows, columns
    law = model.law()
    each = law.conditional_log_prob(images).detach()
    torch.testing.assert_close(each.sum(-1).logsumexp(0), torch.zeros((), dtype=torch.float64), atol=1e-12, rtol=0)
    on = images == 1
    # Entries: red 0 1, green 2 3, blue 4 5. Log p(on) of each given those before it in the order 0 2 4 1 3 5.
    order = [0, 2, 4, 1, 3, 5]
    for place, entry in enumerate(order):
        before = images[:, order[:place]] @ (2.0 ** torch.arange(place, dtype=torch.float64))
        values = each[on[:, entry], entry]
        groups = before[on[:, entry]]
        for group in groups.unique():
            same = values[groups == group]
            torch.testing.assert_close(same, same[:1].expand_as(same))
        assert place == 0 or len(values.round(decimals=9).unique()) > 1


def test_levels_of_data_are_trained_on_and_drawn() -> None:
    """Catches grey levels scaled twice, biases that do not start at their frequencies, and draws off the levels."""
    digits = datasets.load("digits", integers="levels")
    model = models.PixelCNN((8, 8), 4, 1, levels=17, dropout=0.2)
    run = ppgen.fit(model, digits, steps=1, batch_size=20, lr=1e-6, seed=0, compile=False, progress=False)
    counts = torch.bincount(digits.train.flatten(), minlength=17) + 1.0
    expected = (counts / counts.sum()).log()
    bias = run.pair.network.head.last.bias.detach()
    torch.testing.assert_close(bias - bias[0], expected - expected[0], atol=1e-3, rtol=1e-3)
    drawn = ppgen.sample(run.pair, num_samples=2).samples
    assert drawn.shape == (2, 64) and bool(((drawn >= 0) & (drawn <= 16) & (drawn == drawn.round())).all())
    value = evaluation.log_likelihood(run.pair, digits.test[:20], method="exact")
    assert -200 < float(value) < -50


def test_known_rows_are_completed_exactly() -> None:
    """Catches a completion that is not the law given the first rows."""
    model = with_random_weights(models.GatedPixelCNN((2, 3), **SMALL))
    half = torch.tensor([[1.0, 0.0, 1.0, float("nan"), float("nan"), float("nan")]])
    drawn = model.law().condition(half.double()).sample((3000,)).reshape(-1, 6)
    assert drawn[:, :3].equal(half[:, :3].expand(len(drawn), 3).to(drawn))
    rest = torch.cat([half[:, :3].double().expand(8, 3), bit_vectors(3).double()], 1)
    exact = (model.law().log_prob(rest).softmax(0) @ rest).detach()
    error = (exact * (1 - exact) / len(drawn)).sqrt()
    assert bool(((drawn.double().mean(0) - exact).abs() <= 4 * error + 1e-9).all())


@pytest.mark.parametrize("gated", [True, False])
def test_given_a_class(gated: bool) -> None:
    """Catches a class that is not heard, a law given one that does not sum to 1, and Bayes' rule by other terms."""
    model = conditional(gated)
    images = bit_vectors(6).double()
    values = [evaluation.log_likelihood(model, (c.expand(64, 3), images), method="exact") for c in torch.eye(3)]
    joint = torch.stack([torch.as_tensor(value.pointwise.values) for value in values], 1)
    torch.testing.assert_close(joint.logsumexp(0), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert bool((joint[:, 0] - joint[:, 1]).abs().max() > 0.1)
    prior = torch.tensor([0.5, 0.2, 0.3])
    found, even = model.log_class_probabilities(images, prior), model.log_class_probabilities(images)
    torch.testing.assert_close(found.exp(), (joint.exp() * prior) / (joint.exp() * prior).sum(1, keepdim=True))
    torch.testing.assert_close(even, joint - joint.logsumexp(1, keepdim=True))
    assert model.predict(images).equal(joint.argmax(1)) and not model.training
    assert model.predict(images, (0.0, 1.0, 0.0)).eq(1).all()


def test_images_to_classify_may_be_of_any_type_and_number() -> None:
    """Catches images of another type than the weights that fail inside of a layer, and no images at all."""
    model = conditional().float()
    images = bit_vectors(6)
    for same in (images.double(), images.long(), images.bool()):
        assert model.predict(same).equal(model.predict(images.float()))
    assert model.log_class_probabilities(images[:0]).shape == (0, 3)


def test_draws_of_each_class() -> None:
    """Catches draws of another class than the one asked for."""
    model = conditional()
    drawn = ppgen.sample(model, 2000, covariates=torch.eye(3), seed=0).samples.double()
    images = bit_vectors(6).double()
    for number in range(3):
        law = model._law(torch.eye(3, dtype=torch.float64)[number])
        exact = (law.log_prob(images).exp() @ images).detach()
        error = (exact * (1 - exact) / 2000).sqrt()
        assert bool(((drawn[:, number].mean(0) - exact).abs() <= 4 * error).all())


def test_labels_of_data_sets(tmp_path: Path) -> None:
    """Catches labels that are lost or put to other images between a data set, a fit, its folder and a draw."""
    data = datasets.load("digits", binarize="threshold")
    pairs = data.given_labels()
    assert all(
        pairs.split(name)[0].argmax(1).equal(data.labels[name]) and pairs.split(name)[1].equal(data.split(name))
        for name in ("train", "valid", "test")
    )
    assert pairs.batch("train", torch.arange(3))[1].equal(data.train[:3]) and pairs.checksum != data.checksum
    model = models.ClassConditionalPixelCNN((8, 8), 10, 4, 1)
    run = ppgen.fit(model, pairs, steps=2, seed=0, compile=False, progress=False, folder=tmp_path / "run")
    again = ppgen.load(tmp_path / "run").pair
    assert again.predict(data.test[:5]).equal(run.pair.predict(data.test[:5]))
    assert ppgen.sample(again, 2, covariates=torch.eye(10)).samples.shape == (2, 10, 64)


@pytest.mark.parametrize("name", ["PixelCNN", "ClassConditionalPixelCNN"])
def test_on_the_command_line(name: str, tmp_path: Path) -> None:
    """Catches a shape that must be typed though the data know it, and a model of classes not given their labels."""
    folder = tmp_path / "run"
    line = f"fit {name} --data digits --binarize threshold --channels 4 --layers 1 --steps 1 --batch-size 20"
    assert main([*line.split(), "--compile", "false", "--report", "false", "--quiet", "--folder", str(folder)]) == 0
    config = ppgen.load(folder).pair.config()
    assert config["shape"] == [8, 8] and config["layers"] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.PixelCNN((3, 8, 8)), "shape must be (rows, columns), and channels stand in image_channels"),
        (lambda: models.PixelCNN((0, 8)), "each number in shape must be at least 1, got 0"),
        (lambda: models.PixelCNN((8, 8), levels=1), "levels must be at least 2, got 1"),
        (lambda: models.GatedPixelCNN((8, 8), outputs="softmax"), 'outputs must be "bernoulli", "categorical" or'),
        (lambda: models.PixelCNN((8, 8), levels=17, outputs="bernoulli"), 'outputs="bernoulli" is for 2 levels'),
        (lambda: models.ClassConditionalPixelCNN((8, 8), classes=0), "classes must be at least 1, got 0"),
        (lambda: fitted(models.PixelCNN((4, 16), **SMALL)), "images of the data have shape (8, 8)"),
        (lambda: fitted(models.PixelCNN((8, 9), **SMALL)), "data must have 72 features"),
        (lambda: fitted(models.PixelCNN((8, 8), levels=16, **SMALL), integers="levels"), "levels must be 17"),
        (
            lambda: conditional().pairs(torch.zeros(2, 6), torch.tensor([0, 3])),
            "labels must be whole numbers from 0 to",
        ),
        (lambda: conditional().pairs(torch.zeros(2, 6), torch.tensor([0])), "labels must have shape (2,)"),
        (
            lambda: conditional().pairs(torch.zeros(2, 6), torch.tensor([True, False])),
            "labels must be whole numbers from 0 to 2",
        ),
        (lambda: conditional().predict(torch.zeros(6)), "y must be rows of images, (rows, 6), got shape (6,)"),
        (lambda: conditional().predict(torch.zeros(2, 5)), "y must be rows of images, (rows, 6), got shape (2, 5)"),
        (lambda: conditional().predict(torch.zeros(2, 6), (1.0, 2.0)), "prior must be a probability for each of 3"),
        (lambda: outside(), "whole numbers from 0 to 2"),
        (lambda: datasets.load(torch.eye(20)).given_labels(), "given_labels needs labels"),
    ],
)
def test_refusals(make: Any, message: str) -> None:
    """Catches a wrong shape, number of levels, output, label or prior that is taken, or that fails deep inside."""
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def fitted(model: Any, **options: Any) -> Any:
    binarize = None if options else "threshold"
    return ppgen.fit(model, datasets.load("digits", binarize=binarize, **options), steps=1, compile=False)


def outside() -> Any:
    """Values of a level that is none."""
    model = models.PixelCNN((1, 2), levels=3, **SMALL)
    return evaluation.log_likelihood(model, torch.tensor([[0.0, 3.0]]), method="exact").pointwise


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lambda x, y: (torch.cat([x[:-1], torch.full((1, 3), 0.5)]), y), "x must be classes, one-hot: .* 1 of 6 rows"),
        (
            lambda x, y: (x.argmax(-1), y),
            r"x must be classes, one-hot, of shape \(rows, 3\); got one number a row.*given_labels",
        ),
        (lambda x, y: y, r"x is missing|y is missing.*given_labels"),
    ],
)
def test_what_is_no_class_is_refused_before_training(batch: Any, message: str) -> None:
    """Catches rows past the first that are no classes and train without a word, and labels with no way out named."""
    model, rows = models.ClassConditionalPixelCNN.example()
    with pytest.raises(ValueError, match=message):
        ppgen.fit(model, batch(*rows), epochs=1, progress=False)


@pytest.mark.parametrize(
    "build",
    [
        lambda: models.PixelRNN((2, 2), "row", 2),
        lambda: models.PixelRNN((2, 2), "diagonal", 2),
        lambda: models.PixelCNN((2, 2), 2, 1, first_size=3),
        lambda: models.GatedPixelCNN((2, 2), 2, 1, first_size=3),
        lambda: models.FullyVisibleBeliefNet(4),
    ],
)
def test_resumed_run_is_the_uninterrupted_one(build: Any, tmp_path: Path) -> None:
    """Catches state outside of a run folder: a resumed run whose weights are not those of one that never stopped."""
    rows, options = bit_vectors(4), {"batch_size": 4, "lr_schedule": "constant", "seed": 0, "progress": False}

    def weights(**more: Any) -> torch.Tensor:
        torch.manual_seed(0)
        run = ppgen.fit(build(), rows, **options, **more)
        return torch.cat([value.flatten() for value in run.pair.state_dict().values() if value.is_floating_point()])

    whole = weights(epochs=2)
    weights(epochs=1, folder=tmp_path / "run")
    assert torch.equal(weights(epochs=2, folder=tmp_path / "run", resume=True), whole)
