"""Jobs of conditional models: each as a trial, the example's own programs, and their page."""

import json
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine

from benchmarks.conditional import attributes, page, pyro_example, quadrants, sections
from ppgen import datasets


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Records of trials by name, and under "folder" where they lie."""
    folder = tmp_path_factory.mktemp("results")
    asked = ["--quick", "--results", str(folder)]
    assert quadrants.main([*asked, "--rows", "3 quadrants"]) == 0
    assert attributes.main([*asked, "--rows", "prior apart"]) == 0
    names = ("quadrants", "attributes")
    return {"folder": folder} | {
        name: json.loads((folder / f"conditional-{name}-quick.json").read_text()) for name in names
    }


def test_the_page_is_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a figure of the page changed by hand, and a record that was not rendered."""
    assert page.main(["--check"]) == 0, capsys.readouterr().err


def test_the_page_of_the_trials(trials: dict[str, Any], tmp_path: Path) -> None:
    """Catches a row that cannot be told, one that is measured under a name that the page does not know, and gaps."""
    for name in ("quadrants", "attributes"):
        (tmp_path / f"conditional-{name}.json").write_text(json.dumps(trials[name]))
    told, empty = page.page(tmp_path), page.page(tmp_path / "nothing")
    assert empty.count(sections.NOT_RUN) - told.count(sections.NOT_RUN) == 3
    ours = trials["quadrants"]["rows"]["3 quadrants, ours"]
    assert f"{ours['nats']['value']:.2f} ± {ours['nats']['data_se']:.2f} ({ours['bound']:.2f}" in told
    other = trials["quadrants"]["rows"][f"3 quadrants, {quadrants.EXAMPLE}"]
    assert f"ours {ours['nats']['value'] - other['nats']['value']:+.2f}" in told
    assert set(trials["quadrants"]["rows"]) == set(quadrants.rows_of(3))


def test_a_row_that_was_measured_is_not_measured_again(trials: dict[str, Any]) -> None:
    """Catches a job that begins anew when it is given again."""
    path = trials["folder"] / "conditional-quadrants-quick.json"
    assert quadrants.main(["--quick", "--results", str(trials["folder"]), "--rows", "3 quadrants"]) == 0
    assert json.loads(path.read_text())["rows"] == trials["quadrants"]["rows"]


def test_the_example_sees_each_pixel_where_it_is() -> None:
    """Catches parts of an image put in another order, a decoder of given pixels, and a guess with a gradient."""
    data = datasets.load("digits", binarize="threshold").split_quadrants(2)
    torch.manual_seed(0)
    net = pyro_example.Example(data, latent=2, hidden=4)
    x, y = (part[:3] for part in data.test)
    torch.testing.assert_close(net.image(x, y), data.rows.test[:3])
    whole = torch.arange(64.0).expand(1, 64)
    rest = whole[:, net.others]
    assert net.image(whole[:, torch.ones(64).index_fill(0, net.others, 0).bool()], rest).equal(whole)
    pyro.set_rng_seed(0)
    with net.running():
        guided = poutine.trace(net.guide).get_trace(x, y)
        trace = poutine.trace(poutine.replay(net.model, guided)).get_trace(x, y)
    trace.log_prob_sum().backward()
    assert all(each.grad is None for each in net.baseline.parameters())
    assert all(each.grad is not None for each in (*net.prior.parameters(), *net.decoder.parameters()))


def test_the_example_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    """Catches an epoch that is trained twice, and weights that are not those of the best validation epoch."""
    data = datasets.load("digits", binarize="threshold").split_quadrants(3)
    net, about = pyro_example.train(data, 0.2, tmp_path, hidden=16)
    again, same = pyro_example.train(data, 0.2, tmp_path, hidden=16)
    assert same == about and about["baseline epochs"] >= 1
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
