"""The classifier of images with a class of none, and the images that are made for that."""

from pathlib import Path

import pytest
import torch

from ppgen import datasets
from ppgen.nn.image_features import ImageFeatures
from ppgen.training import ImageClassifier, fit_image_classifier
from ppgen.training.stages import no_class
from ppgen.training.stages.moved_images import moved_images

QUIET = {"progress": False, "compile": False}
GENERATOR = torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def digits() -> datasets.Dataset:
    return datasets.load("digits")


def test_digits_are_told_apart_and_other_images_are_none(digits: datasets.Dataset, tmp_path: Path) -> None:
    """Catches labels moved against rows, none taken for a class, and weights that are lost in the file."""
    judge = fit_image_classifier(digits, filters=(16,), width=64, epochs=8, lr=8e-3, **QUIET)
    labels = digits.labels["test"]
    assert judge.none == 10 and judge.score(digits.test, labels) > 0.94
    found = judge.predict(digits.test)
    assert (found == 10).double().mean() < 0.03
    fresh = no_class.images_of_no_class(digits.test.reshape(-1, 1, 8, 8), labels, 600, GENERATOR)
    none = (judge.predict(fresh.flatten(1)) == 10).view(6, -1).double().mean(1)
    assert none.mean() > 0.75 and none[[1, 4, 5]].min() > 0.9
    judge.save(tmp_path / "judge.safetensors")
    again = ImageClassifier.load(tmp_path / "judge.safetensors")
    assert torch.equal(again.predict_proba(digits.test), judge.predict_proba(digits.test)) and not again.training
    assert torch.equal(again.features(digits.test), judge.features(digits.test)) and again.none == 10
    logits = judge(digits.test)
    torch.testing.assert_close(judge.predict_proba(digits.test), logits.softmax(-1).detach())
    torch.testing.assert_close(judge.output(judge.features(digits.test)), logits)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(ValueError, match="cannot be read"):
        ImageClassifier.load(tmp_path / "other")


def test_classes_are_the_labels_of_the_rows() -> None:
    """Catches positions for labels, rows without a label that are learnt from, and a none that is also a label."""
    rows = torch.zeros(90, 12)
    labels = torch.arange(90) % 3
    rows[torch.arange(90), labels * 4] = 1.0
    names = torch.tensor([7, 2, -1])[labels]
    settings = {"filters": (4,), "width": 8, "none_share": 0, "copies": 0, "epochs": 40, "lr": 0.02}
    data = datasets.load(rows[:72], valid_size=0, test_size=0)
    judge = fit_image_classifier(data, names[:72], image_shape=(2, 2, 3), **settings, **QUIET)
    assert judge.classes.tolist() == [2, 7, 8] and judge.none == 8 and judge.hidden.image_shape == (3, 2, 2)
    known = names[72:] >= 0
    assert judge.score(rows[72:][known], names[72:][known]) == 1.0


def test_bits_stay_bits(digits: datasets.Dataset) -> None:
    """Catches grey images of no class among bits, by which that class could be told without looking."""
    images = digits.train[:60].reshape(-1, 1, 8, 8).round()
    made = no_class.images_of_no_class(images, digits.labels["train"][:60], 60, GENERATOR)
    assert set(made.unique().tolist()) == {0.0, 1.0}


def test_each_kind_is_made_as_it_says() -> None:
    """Catches halves of one class or of the wrong side, patches that are lost, and a part that is not magnified."""
    labels = torch.arange(40) % 4
    images = ((labels + 1) / 4).reshape(-1, 1, 1, 1).expand(-1, 2, 8, 8).clone()
    halves = no_class.halves(images, images.roll(1, 0), GENERATOR)
    one = (halves[:, :, 0, 0], halves[:, :, -1, -1])
    assert torch.equal(one[0], images[:, :, 0, 0]) and torch.equal(one[1], images.roll(1, 0)[:, :, 0, 0])
    chosen = torch.arange(40).repeat(50)
    other = no_class._of_another_class(labels, chosen, GENERATOR)
    assert (labels[other] != labels[chosen]).all() and len(other.unique()) == 40
    random = torch.rand(5, 3, 9, 8, generator=GENERATOR)
    moved = no_class.disorder(random, random, GENERATOR)
    assert torch.equal(moved.flatten(2).sort()[0], random.flatten(2).sort()[0]) and not torch.equal(moved, random)
    assert torch.equal(moved[:, :, 8], random[:, :, 8])
    blank = no_class.blank(random, random, GENERATOR)
    assert (blank == blank.flatten(1).median(1)[0].view(-1, 1, 1, 1)).double().mean() > 0.9
    blurred = no_class.blurred(random, random, GENERATOR)
    assert (blurred.diff(dim=3).abs().mean() < random.diff(dim=3).abs().mean() / 2) and blurred.amax() <= 1
    ramp = torch.arange(8.0).expand(4, 1, 8, 8)
    slope = no_class.magnified(ramp, ramp, GENERATOR).diff(dim=3)[..., 2:-2]
    assert (slope < 0.45).all() and (slope >= 0).all() and slope.amax() > 0.2


def test_moved_images_are_near_themselves() -> None:
    """Catches an image that is turned too far, and moves that are the same for all."""
    image = torch.zeros(1, 1, 9, 9)
    image[..., 2:7, 3:6] = 1.0
    moved = moved_images(image.expand(200, -1, -1, -1), GENERATOR)
    overlap = (moved * image).flatten(1).sum(1) / 15
    assert overlap.min() > 0.6 and overlap.std() > 0.02 and moved.amin() >= 0
    torch.testing.assert_close(moved.mean(0)[0, 4, 4], torch.tensor(1.0), atol=0.02, rtol=0)


def test_channels_may_stand_last() -> None:
    """Catches colours taken for columns."""
    last, first = ImageFeatures((4, 6, 3), (2,), 5), ImageFeatures((3, 4, 6), (2,), 5)
    first.load_state_dict(last.state_dict())
    images = torch.rand(2, 3, 4, 6)
    assert torch.equal(last(images.movedim(1, -1).flatten(1)), first(images.flatten(1)))
    assert torch.equal(last.rows(images), images.movedim(1, -1).flatten(1)) and torch.equal(
        last.images(last.rows(images)), images
    )


def test_what_is_wrong_is_told(digits: datasets.Dataset) -> None:
    """Catches training that begins with shapes or labels that cannot be right."""
    rows, labels = torch.rand(10, 6), torch.arange(10) % 2
    with pytest.raises(ValueError, match="image_shape must be given"):
        fit_image_classifier(rows, labels[:8])
    with pytest.raises(ValueError, match="of the 6 features"):
        fit_image_classifier(datasets.load(rows, test_size=0, valid_size=0), labels, image_shape=(2, 2))
    with pytest.raises(ValueError, match="of two classes"):
        fit_image_classifier(datasets.load(rows, test_size=0, valid_size=0), labels * 0, image_shape=(2, 3))
    with pytest.raises(ValueError, match="none_share must be"):
        fit_image_classifier(digits, none_share=1.0)
    with pytest.raises(ValueError, match="image_shape must be"):
        ImageClassifier((4,), [0, 1])
    with pytest.raises(ValueError, match="64 pixels"):
        ImageClassifier((8, 8), [0, 1]).predict(torch.zeros(3, 60))
