"""Jobs of autoregressive models: each as a trial, choices by validation rows, costs that are ratios, and their page."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.autoregressive import classes, fixed_bits, grey, page, patches, pixel_rnn, rows, sampling, training
from ppgen import models

JOBS = {
    "fixed_bits": fixed_bits,
    "grey": grey,
    "classes": classes,
    "pixel_rnn": pixel_rnn,
    "patches": patches,
    "sampling": sampling,
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Records of all trials by name, and under "folder" where they lie."""
    folder = tmp_path_factory.mktemp("results")
    for job in JOBS.values():
        assert job.main(["--quick", "--results", str(folder)]) == 0
    read = {name: json.loads((folder / f"autoregressive-{name}-quick.json").read_text()) for name in JOBS}
    return {**read, "folder": folder}


def test_the_page_is_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a figure of the page changed by hand, and a record that was not rendered."""
    assert page.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_of_the_trials(trials: dict[str, Any], tmp_path: Path) -> None:
    """Catches a row that cannot be told, one that is measured under a name that the page does not know, and gaps."""
    for name in JOBS:
        (tmp_path / f"autoregressive-{name}.json").write_text(json.dumps(trials[name]))
    told, empty = page.page(tmp_path), page.page(tmp_path / "nothing")
    listed = {name: {row.name for row in listed} for name, (_, listed, _) in page.SECTIONS.items()}
    assert empty.count(page.NOT_RUN) == sum(map(len, listed.values())) > told.count(page.NOT_RUN) > 0
    for name in JOBS:
        measured = {row.partition(", seed ")[0] for row in trials[name]["rows"] if not row_of_another(row)}
        assert measured <= listed[name], name
    wanted = {
        "fixed_bits": fixed_bits.FAMILIES,
        "grey": grey.FAMILIES,
        "classes": classes.FAMILIES,
        "pixel_rnn": pixel_rnn.FAMILIES,
    }
    assert all(set(families) == listed[name] for name, families in wanted.items())
    value = trials["fixed_bits"]["rows"]["NADE"]["nats"]
    assert f"{value['value']:.2f} ± {value['data_se']:.2f}" in told


def row_of_another(name: str) -> bool:
    """Whether a row is a trial of another, or a difference of two."""
    return ", trial, " in name or " less " in name


def test_choices_are_by_validation_rows(trials: dict[str, Any]) -> None:
    """Catches settings chosen by test rows, or the worst of the candidates."""
    held = trials["fixed_bits"]["rows"]
    tried = {name: held[f"FVBN, trial, {name}"]["valid nats"] for name in fixed_bits.RATES}
    assert held["FVBN"]["chosen"] == max(tried, key=lambda name: tried[name])
    assert "nats" not in held["FVBN, trial, step size 0.001"]
    assert held["FVBN"]["settings"]["training"]["lr"] == fixed_bits.RATES[held["FVBN"]["chosen"]]["lr"]


def test_a_row_is_the_same_again(trials: dict[str, Any]) -> None:
    """Catches rows that depend on those before them, and --again that forgets others."""
    path, before = trials["folder"] / "autoregressive-fixed_bits-quick.json", trials["fixed_bits"]["rows"]
    again = ["--quick", "--results", str(trials["folder"]), "--again", "--rows", "NADE"]
    assert fixed_bits.main(again) == 0
    after = json.loads(path.read_text())["rows"]
    assert after.keys() == before.keys() and after["NADE"]["nats"] == before["NADE"]["nats"]
    assert after["FVBN"] == before["FVBN"]


def test_differences_and_bits(trials: dict[str, Any]) -> None:
    """Catches bits of the wrong number of pixels, a difference with the wrong sign, and one that is not paired."""
    held = trials["grey"]["rows"]["digits, PixelCNN"]
    assert held["bits"]["value"] == pytest.approx(-held["nats"]["value"] / (64 * np.log(2)))
    ours, theirs = np.array([1.0, 5.0, 9.0]), np.array([0.0, 3.0, 8.0])
    assert training.difference(ours, theirs)["nats more"] == pytest.approx(4 / 3)
    assert training.difference(ours, theirs)["se"] == pytest.approx(1 / 3)
    found = trials["patches"]["rows"]
    apart = found["patches, RNADE, normal"]["nats"]["value"] - found["patches, Gaussian"]["nats"]["value"]
    assert found["patches, RNADE, normal, less Gaussian"]["nats more"] == pytest.approx(apart, abs=1e-3)


def test_costs_are_of_equal_results(trials: dict[str, Any]) -> None:
    """Catches a comparison of draws, gradients or networks that are not the same, and ratios upside down."""
    held = trials["sampling"]["rows"]
    assert all(row["same draws"] for name, row in held.items() if name.startswith("draws"))
    assert held["op, NADE"]["same gradients"]
    assert sampling.ratios([4.0, 9.0, 2.0], [2.0, 3.0, 2.0]) == {"median": 2.0, "least": 1.0, "most": 3.0}
    by_hand, x = sampling.HandMADE(6, 5), torch.rand(6, requires_grad=True)
    jacobian = torch.stack([torch.autograd.grad(logit, x, retain_graph=True)[0] for logit in by_hand(x)])
    assert not jacobian.triu().any() and jacobian.tril(-1).any()


def test_a_gaussian_is_the_best_of_its_kind(tmp_path: Path) -> None:
    """Catches a rival that is handicapped: the Gaussian of most likelihood of its training rows, in closed form."""
    rows = np.random.default_rng(0).normal(size=(50, 3)) @ np.diag([1.0, 2.0, 0.5])
    found = patches.gaussian({"train": rows, "test": rows})["each"].mean()
    log_det = np.linalg.slogdet(np.cov(rows.T, bias=True))[1]
    assert found == pytest.approx(-0.5 * (3 * np.log(2 * np.pi) + log_det + 3))


def test_networks_of_equal_size() -> None:
    """Catches widths that give one of the networks more parameters: PixelCNN has the most."""
    sizes = {
        name: [
            sum(each.numel() for each in getattr(models, model)((8, 8), **sizes).parameters())
            for sizes in widths.values()
        ]
        for name, (model, widths) in pixel_rnn.WIDTHS.items()
    }
    least = min(sizes.pop("PixelCNN"))
    assert all(17_000 <= count <= least for counts in sizes.values() for count in counts)


def test_each_row_can_be_asked_for() -> None:
    """Catches a section without a job, and rows whose names begin like another's, which `--rows` would take too."""
    assert set(page.SECTIONS) == set(JOBS)
    names = [row.name for row in rows.FIXED_BITS]
    assert not [(one, other) for one in names for other in names if one != other and other.startswith(one)]
