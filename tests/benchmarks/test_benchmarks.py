"""Benchmarks: complete records, tables that are what the records say, runs that go on where they stopped."""

import argparse
import copy
import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import curves, record
from benchmarks.gradients import measure as gradients
from benchmarks.likelihoods import jobs, render, run
from benchmarks.one_to_many import measure as compared
from benchmarks.one_to_many import problems
from benchmarks.pyro_failures import measure as failures
from ppgen import datasets

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def modules() -> dict[str, ModuleType]:
    """The modules that measure and render likelihoods."""
    return {"curves": curves, "jobs": jobs, "record": record, "render": render, "run": run}


def _example() -> dict[str, Any]:
    return {
        "name": "vae-digits",
        "model": "VAE",
        "data": {
            "name": "digits",
            "binarization": "threshold",
            "description": "digits (threshold binarisation)",
            "rows": {"train": 1297, "valid": 200, "test": 300},
            "checksum": "0",
        },
        "inference": "ELBO",
        "training": {"optimizer": {"name": "sgd", "momentum": 0.5}, "lr": 0.1},
        "budget": {"epochs": 3, "target_epochs": 50, "updates": 120, "minutes": 0.1},
        "headline": "log p(x), test",
        "figures": {
            "log p(x), test": {
                "value": -20.12345,
                "se": 0.0123,
                "kind": "lower bound",
                "method": "importance (K=10)",
                "unit": "nats per datum",
                "data_se": 0.4,
            }
        },
        "seed": 0,
        "command": "python -m benchmarks.likelihoods.run vae-digits --minutes 1",
        "seconds": {"training": 6.0, "evaluation": 1.0},
        "peak_memory_mib": {"training": 500, "whole": 600},
        "hardware": {"cpu": "a", "cores": 2, "memory_gib": 4.0, "threads": 2, "device": "cpu"},
        "versions": {"python": "3.11"},
        "commit": None,
        "published": [],
        "curve": {"epoch": [1, 3], "minutes": [0.05, 0.1], "valid_value": [-25.0, -21.0]},
    }


def test_records_are_complete_and_of_known_jobs(modules: dict[str, ModuleType]) -> None:
    """Sees a record typed by hand, one of a job that is gone, and a published figure without its entry."""
    records, published = modules["record"].read_all(), modules["record"].published()
    assert records
    for name, each in records.items():
        job = modules["jobs"].JOBS[name]
        assert (each["model"], each["data"]["binarization"]) == (job.title, job.binarization)
        assert each["published"] == list(job.published)
        assert set(each["published"]) <= set(published)
        assert each["seconds"]["training"] > 0 and each["seconds"]["evaluation"] > 0


def test_published_figures_name_data_estimator_and_source(modules: dict[str, ModuleType]) -> None:
    """Sees a figure of a paper that nobody could compare: no binarisation, estimator, budget or source."""
    keys = {
        "model",
        "data",
        "value",
        "printed",
        "estimator",
        "kind",
        "budget",
        "source",
        "link",
        "read",
    }
    for entry in modules["record"].published().values():
        assert set(entry) == keys
        assert entry["value"] < 0, "a log-likelihood of bits, never its negative"
        digits = [f"{abs(entry['value']):.{places}f}" for places in (1, 2)]
        assert any(re.search(rf"(?<!\d){re.escape(each)}(?!\d)", entry["printed"]) for each in digits)


def test_tables_are_what_the_records_say(modules: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a figure changed by hand in README.md or docs/results.md, or a record not rendered."""
    assert modules["render"].main(["--check"]) == 0, capsys.readouterr().err


def test_every_row_has_a_command_that_runs_its_job(modules: dict[str, ModuleType]) -> None:
    """Sees a figure without the command that measures it again."""
    records = modules["record"].read_all()
    page = modules["render"].page(records, modules["record"].published())
    assert sorted(re.findall(r"^\$ python -m benchmarks\.likelihoods\.run (\S+) --minutes \S+$", page, re.M)) == sorted(
        records
    )
    assert page.count("<details>") == page.count("</details>") == len(records)


def test_commands_of_the_pages_name_what_is_there() -> None:
    """Catches a command in a page, a record or a docstring whose module has moved, and one that is run as a file."""
    folders = [ROOT / name for name in ("docs", "benchmarks", "tutorials")]
    pages = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".md", ".py", ".json")]
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", *pages]
        if "_build" not in path.parts
    )
    named = set(re.findall(r"python -m (benchmarks(?:\.\w+)+)", text))
    assert len(named) > 10 and not [name for name in named if importlib.util.find_spec(name) is None]
    assert not re.findall(r"python benchmarks/\S+", text)


def test_the_readme_shows_ten_rows_and_the_page_all(modules: dict[str, ModuleType]) -> None:
    """Sees a README that grows with every benchmark, a digest of records that are gone, a row that is in no table."""
    records, published = modules["record"].read_all(), modules["record"].published()
    digest = modules["render"].digest(records, published).splitlines()[2:]
    assert len(digest) == len(modules["render"].DIGEST) <= 10
    tables = modules["render"].overview(records, published)
    rows = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith(("| model", "| :"))]
    assert len(rows) == len(records)


def test_a_section_says_each_thing_once(modules: dict[str, ModuleType]) -> None:
    """Sees the seed twice, one threads, and a method named with the request for which it was chosen."""
    example = _example()
    example["training"]["seed"] = 0
    example["hardware"]["threads"] = 1
    example["figures"]["log p(x), test"] |= {"kind": "exact", "method": "auto: exact"}
    text = (
        modules["render"].page({"vae-digits": example}, {}).partition("## Gradients")[0]
    )  # those are records of their own
    assert text.count("seed 0") == 1 and "1 thread;" in text
    assert "log p(x), test: -20.12 (± 0.40), exact\n" in text


def test_a_stale_table_is_reported_and_mended(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sees a check that always passes."""
    record, render = modules["record"], modules["render"]
    records = tmp_path / "results"
    record.write(_example(), records)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    read_all = record.read_all
    monkeypatch.setattr(record, "read_all", lambda: read_all(records))
    monkeypatch.setattr(render, "README", tmp_path / "README.md")
    monkeypatch.setattr(render, "PAGE", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(render, "DIGEST", ("vae-digits",))
    render.README.write_text(f"before\n{render.BEGIN}\n{render.END}\nafter\n", encoding="utf-8")
    assert render.main(["--check"]) == 1
    assert not render.PAGE.exists()
    assert render.main([]) == 0
    assert render.main(["--check"]) == 0
    text = render.README.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "| -20.12 ± 0.01 |" in text
    page = render.PAGE.read_text(encoding="utf-8")
    assert "-20.12 ± 0.01 (± 0.40)" in page and "3 of 50 epochs" in page and "50.0 ms an update" in page
    render.README.write_text(text.replace("-20.12", "-19.12"), encoding="utf-8")
    assert render.main(["--check"]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": None}, "for 'command'"),
        ({"command": "python -m benchmarks.likelihoods.run vae-digits --data-dir /data"}, "absolute path"),
        ({"command": "python -m benchmarks.likelihoods.run rbm-digits --minutes 1"}, "does not run it"),
        ({"headline": "log Z"}, "none of its figures"),
        ({"figures": {"log p(x), test": {"value": -1.0}}}, "lacks"),
        ({"note": "x"}, "unknown"),
    ],
)
def test_an_incomplete_record_is_refused(
    modules: dict[str, ModuleType], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    """Sees a record that is written although nobody could measure it again."""
    broken = copy.deepcopy(_example()) | change
    with pytest.raises(ValueError, match=message):
        modules["record"].write(broken, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_names_no_folder(modules: dict[str, ModuleType]) -> None:
    """Sees a record that tells where somebody's data are."""
    given = modules["record"].command("rbm-mnist", 30.0)
    assert given == "python -m benchmarks.likelihoods.run rbm-mnist --minutes 30"


def test_curves_are_thinned_and_drawn_together(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """Sees the first or last epoch lost by thinning, one model on several panels, records without curves."""

    class Run:
        state = {"monitor": "valid_value"}
        metrics = [{"epoch": i + 1, "seconds": 60.0 * i, "valid_value": -200.0 + i} for i in range(150)]

    found = modules["record"].curve(Run())
    assert (len(found["epoch"]), found["epoch"][0], found["epoch"][-1], found["minutes"][-1]) == (60, 1, 150, 149.0)
    first = _example() | {"model": "SBN 8-4, NVIL", "curve": found}
    second = _example() | {"model": "SBN 8-4, VIMCO K=10"}
    without = _example() | {"curve": None}
    panels = modules["curves"].panels({"a": first, "b": second, "c": without})
    assert [len(group) for group in panels.values()] == [2]
    assert modules["curves"].draw({"a": first, "b": second}, tmp_path / "curves.png").stat().st_size > 5000
    assert modules["curves"].draw({"c": without}, tmp_path / "none.png") is None


def test_list_shows_every_job(modules: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a job that cannot be found from the command line."""
    assert modules["run"].main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in modules["jobs"].JOBS)


def test_an_unknown_job_ends_with_code_2(modules: dict[str, ModuleType], capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a traceback where one line that lists the jobs is enough."""
    with pytest.raises(SystemExit) as stop:
        modules["run"].main(["vae-minst"])
    assert stop.value.code == 2
    assert "vae-mnist" in capsys.readouterr().err


def test_jobs_stand_beside_figures_of_their_own_binarisation(modules: dict[str, ModuleType]) -> None:
    """Sees a figure of dynamic MNIST beside one of fixed bits, which differ by several nats, and an unknown figure."""
    published = modules["record"].published()
    words = {"dynamic": "dynamic binarisation", "threshold": "threshold binarisation", "binary": "fixed binarisation"}
    for name, job in modules["jobs"].JOBS.items():
        assert set(job.published) <= set(published), name
        bits = words[job.binarization] if job.tested_on is None else "bits drawn from grey levels"
        assert all(bits in published[entry]["data"] for entry in job.published), name


def test_the_published_schedule_is_that_of_the_paper(modules: dict[str, ModuleType]) -> None:
    """Sees stages of the wrong length: the paper trains 3^i epochs at 0.001 x 10^(-i/7)."""
    epochs, factor = modules["jobs"].published_iwae_schedule(last=5)
    assert epochs == 364
    assert modules["jobs"].published_iwae_schedule(last=7)[0] == 3280
    by_epoch = [factor((epoch + 0.5) / epochs) for epoch in range(epochs)]
    assert by_epoch[0] == 1.0 and by_epoch[-1] == pytest.approx(10 ** (-5 / 7))
    for stage in range(6):
        assert by_epoch.count(10 ** (-stage / 7)) == 3**stage


def test_packed_bits_are_read_from_the_data_folder(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sees bits unpacked in another order, rows both trained on and held out, a file sought in vain."""
    run = modules["run"]
    job = run.JOBS["sbn-200-200-vimco"]
    job = replace(job, loading={**job.loading, "valid_size": 10})
    for variable in ("PPGEN_DATA", "PPGEN_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(run, "search_folders", lambda folder: [Path(folder)])
    with pytest.raises(SystemExit, match="--data-dir"):
        run.load_data(job, str(tmp_path))
    bits = (np.random.default_rng(0).random((40, 784)) < 0.3).astype(np.uint8)
    packed = np.packbits(bits, axis=1)
    np.savez(tmp_path / job.dataset, train=packed[:30], test=packed[30:])
    data = run.load_data(job, str(tmp_path))
    assert (len(data.train), len(data.valid), len(data.test)) == (20, 10, 10)
    assert np.array_equal(data.test.numpy(), bits[30:])
    assert data.binarization == job.binarization and data.image_shape == (28, 28)


def test_machines_of_fresh_bits_are_tested_on_the_fixed_ones(
    modules: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sees test rows drawn anew, which differ by a nat from the fixed ones, and a record that hides it."""
    run = modules["run"]
    dynamic, fixed = (datasets.load("digits", binarize=how) for how in ("dynamic", "threshold"))
    monkeypatch.setattr(run, "_loaded", lambda name, *_, **how: dynamic if name == "mnist" else fixed)
    data = run.load_data(run.JOBS["rbm-500-fresh-bits"], None)
    assert data.test is fixed.test and data.train_probabilities is dynamic.train_probabilities
    assert fixed.name in data.name and fixed.checksum in data.checksum and dynamic.checksum in data.checksum


@pytest.mark.parametrize("case", ["sbn", "vae"])
def test_gradients_of_several_inferences_are_recorded(
    modules: dict[str, ModuleType], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sees a comparison that cannot be written or drawn, and a record taken for one of a trained model."""
    small = replace(gradients.CASES[case], inferences=dict(list(gradients.CASES[case].inferences.items())[1:3]))
    monkeypatch.setitem(gradients.CASES, case, small)
    assert gradients.main([case, "--quick", "--results", str(tmp_path)]) == 0
    written = json.loads((tmp_path / f"gradients-{case}.json").read_text(encoding="utf-8"))
    assert written["comparison"]["coords"]["inference"]["data"] == list(small.inferences)
    assert written["command"] == f"python -m benchmarks.gradients.measure {case} --quick"
    assert (tmp_path / f"gradients-{case}.png").stat().st_size > 1000
    assert modules["record"].read_all(tmp_path) == {}


def test_the_command_of_a_smaller_comparison_says_so(modules: dict[str, ModuleType]) -> None:
    """Sees a record of few draws whose command would make another one."""
    usual = {"quick": False, "epochs": gradients.EPOCHS, "draws": gradients.DRAWS, "rows": gradients.ROWS, "seed": 0}
    assert gradients._options(argparse.Namespace(**usual)) == ""
    assert gradients._options(argparse.Namespace(**{**usual, "draws": 50, "seed": 3})) == " --draws 50 --seed 3"


def test_pyros_failures_are_measured_beside_ours(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """Sees a case that measures another program than it sums over, a failure that is gone, and one of ours."""
    assert failures.main(["--draws", "300", "--results", str(tmp_path)]) == 0
    found = failures.read(tmp_path)
    for name, case in found["cases"].items():
        for parameter, row in case["rows"].items():
            assert abs(row["ours"]["z"]) < 4.5, (name, parameter, row)
    broken = found["cases"]["discrete"]["rows"]
    assert broken["q"]["pyro"]["mean"] == broken["q"]["pyro"]["se"] == 0 and abs(broken["q"]["exact"]) > 0.05
    assert all(abs(found["cases"][name]["rows"]["loss"]["pyro"]["z"]) > 6 for name in ("minibatch", "subsample"))
    outcomes = found["behaviours"]["outcomes"]
    assert ["raises" in each["pyro"] for each in outcomes] == [True, True, False, True]
    assert ["raises" in each["ours"] for each in outcomes] == [False, False, True, False]
    assert modules["record"].read_all(tmp_path) == {}


def test_the_page_of_pyros_failures_is_what_the_record_says(capsys: pytest.CaptureFixture[str], modules: Any) -> None:
    """Sees a figure of the page changed by hand, or a record not rendered."""
    assert failures.main(["--check"]) == 0, capsys.readouterr().err


def test_networks_of_equal_size_are_compared(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """Sees a rival that has fewer parameters, a likelihood of other rows, a record taken for a trained model's."""
    assert compared.main(["inverse", "--quick", "--results", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "one_to_many.json").read_text(encoding="utf-8"))["problems"]["inverse"]
    assert found["network"]["parameters"] <= found["mixture"]["parameters"] < 1.2 * found["network"]["parameters"]
    assert set(found["mixture"]["validation"]) == set(map(str, compared.COMPONENTS))
    assert found["difference"]["mean"] == pytest.approx(found["network"]["mean"] - found["mixture"]["mean"])
    assert modules["record"].read_all(tmp_path) == {}
    rows = problems.inverse(50, torch.Generator().manual_seed(0))
    net = problems.rival(1, 1, components=3, size=100)
    logits, loc, log_scale = net.head(net.body(rows[0])).split(3, -1)
    parts = torch.distributions.Normal(loc, log_scale.exp()).log_prob(rows[1])
    expected = (logits.log_softmax(-1) + parts).logsumexp(-1).mean()
    assert compared.likelihood(net, rows) == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.mark.parametrize("count", [3, 6])
def test_hands_are_where_the_angles_put_them(modules: dict[str, ModuleType], count: int) -> None:
    """Sees an elbow whose other side is no solution: both must reach the hand."""
    x, y = problems.arms(20_000, torch.Generator().manual_seed(0), count)
    shoulder, elbow = y.split(count, -1)
    reach = torch.stack([shoulder.cos() + (shoulder + elbow).cos(), shoulder.sin() + (shoulder + elbow).sin()])
    assert float((reach - x.reshape(len(x), 2, count).movedim(1, 0)).abs().mean()) < 0.1
    mirrored = torch.cat([shoulder + elbow, -elbow], -1)  # reaches the same hand
    for one, other in zip(y.T, mirrored.T, strict=True):  # and has the same law
        assert abs(float(one.mean() - other.mean())) < 0.1 and abs(float(one.std() / other.std()) - 1) < 0.03


def test_the_page_of_one_to_many_is_what_the_record_says(capsys: pytest.CaptureFixture[str], modules: Any) -> None:
    """Sees a figure of the page changed by hand, or a record not rendered."""
    assert compared.main(["--check"]) == 0, capsys.readouterr().err
