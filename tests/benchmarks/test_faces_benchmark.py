"""Edges and parts of faces: what is measured of the features, the figure, and a page that is what the record says."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import record
from benchmarks.faces import features, images, measure, page
from ppgen import models


def test_the_page_is_what_the_record_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a figure of the page changed by hand, or a record not rendered."""
    assert measure.main(["--check"]) == 0, capsys.readouterr().err


def test_edges_are_oriented_and_blobs_are_not() -> None:
    """Sees an angle that is not doubled, in which opposite frequencies cancel, and a mean taken for an orientation."""
    orientation = features.orientation
    rows, columns = np.mgrid[-4:5, -4:5]
    window = np.exp(-(rows**2 + columns**2) / 6)
    edges = [np.sin(rows * np.sin(angle) + columns * np.cos(angle)) * window for angle in (0.0, 0.7, 2.1)]
    blob = window - 0.5 * np.exp(-(rows**2 + columns**2) / 12)
    found = orientation(np.stack([*edges, blob, blob + 5]))
    assert (found[:3] > 0.65).all() and (found[3:] < 0.05).all()


def test_whitening_flattens_the_spectrum_of_natural_images() -> None:
    """Sees frequencies weighted by their square, or the contrast left as it is."""
    generator, size = np.random.default_rng(0), 64
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1
    noise = np.fft.fft2(generator.normal(size=(60, size, size))) / frequency
    white = images.whitened(np.fft.ifft2(noise).real, cutoff=0.4)
    power = (np.abs(np.fft.fft2(white)) ** 2).mean(0)
    low, high = (
        power[(frequency > 0.05) & (frequency < 0.1)].mean(),
        power[(frequency > 0.15) & (frequency < 0.2)].mean(),
    )
    assert 0.6 < low / high < 1.6  # 5.4 without whitening
    uneven = generator.normal(size=(40, size, size)) * np.where(np.arange(size) < size // 2, 1.0, 3.0)
    even = images.equalised(uneven, spread=4.0)
    ratios = [each[:, :, 44:].std() / each[:, :, :20].std() for each in (uneven, even)]
    assert ratios[0] > 2.8 and ratios[1] < 2.2


def test_patches_are_those_that_a_unit_sees() -> None:
    """Sees rows taken for columns, steps of the wrong layer, weak responses among the strongest."""
    dbn = SimpleNamespace(specification=((2, 4, 2), (1, 3, 2)))  # patches of 2 x 3 + 3 = 9 pixels, steps of 2
    grey = np.random.default_rng(0).normal(size=(features.STRONGEST, 19, 19))
    grey = (grey - grey.mean((1, 2), keepdims=True)) / grey.std((1, 2), keepdims=True)
    responses = np.zeros((len(grey), 1, 6, 6))
    responses[:, 0, 0, 2] = 1
    found = features.seen_by(dbn, responses, grey)
    np.testing.assert_allclose(found[0], grey[:, 0:9, 4:13].mean(0), atol=1e-12)


def test_scatter_is_that_of_the_strongest_response() -> None:
    """Sees the place averaged over responses, or over units."""
    responses = np.full((4, 2, 5, 7), 0.5)
    for image in range(4):
        responses[image, 0, 2, 3] = 1  # always at the same place
        responses[image, 1, image, 1] = 0.6  # row 0 to 3
    np.testing.assert_allclose(features.scatter(responses), [0, np.sqrt(1.25 / 2)])


def test_a_trial_trains_draws_and_writes(tmp_path: Path) -> None:
    """Sees a script that cannot run, a record taken for one of a trained model, a page that cannot be rendered."""
    np.save(tmp_path / "faces25.npy", np.random.default_rng(0).random((110, 25, 25)))
    where = tmp_path / "results"
    arguments = ["--epochs", "1", "--data-dir", str(tmp_path), "--results", str(where)]
    assert measure.main(arguments) == 0
    found = json.loads((where / "faces.json").read_text(encoding="utf-8"))
    assert [each["epochs"] for each in found["layers"]] == [1, 1] and found["data"]["others"] == 10
    assert np.isfinite([*found["orientation"]["filters"], *found["scatter"]["no faces"]]).all()
    assert (where / "faces.png").stat().st_size > 10_000
    assert found["command"] in page.page(found)
    assert record.read_all(where) == {}
    with pytest.raises(SystemExit):
        measure.main(["--epochs", "0"])


def test_responses_are_inputs_of_the_uppermost_units() -> None:
    """Sees responses of another layer, or rows and columns of the maps exchanged."""
    dbn = models.ConvolutionalDBN(625, (3, 2), (6, 5), (2, 2), units="gaussian")
    images = np.random.default_rng(0).normal(size=(4, 25, 25)).astype(np.float32)
    found = features.responses(dbn, images)
    assert found.shape == (4, 2, 6, 6)
    blocks = np.exp(found.reshape(4, 2, 3, 2, 3, 2)).sum((3, 5))
    pooled = dbn.recognition_network()(torch.from_numpy(images).flatten(1)).detach().numpy()
    np.testing.assert_allclose(pooled, (blocks / (1 + blocks)).reshape(4, -1), rtol=1e-4)
