"""Speed benchmark: pairs under disturbance, peers that are not there, floors, references that compute the same."""

import importlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import record
from benchmarks.speed import floors, measure, ours, pairing, report, rows, scaling, synthetic, table
from benchmarks.speed.workers import MissingError, Worker
from ppgen import evaluation, inference, models
from ppgen.inference.annealing.annealing import make_betas


def _timer(*values: float) -> Any:
    numbers: Iterator[float] = iter(values)
    return lambda: next(numbers)


def test_a_disturbed_pair_is_repeated() -> None:
    """Sees a pair that counts although the machine changed under it."""
    rate = _timer(100.0, 101.0, 60.0, 61.0, 62.0)  # the second pair ends on a machine that became slower
    found = pairing.measure_pairs(_timer(2.0, 9.0, 2.2, 2.4), _timer(4.0, 1.0, 4.0, 4.0), rate, repeats=3)
    assert (found["repeats"], found["repeated"], found["disturbed"]) == (3, 1, 0)
    assert len(found["pairs"]) == 4
    assert found["ratio"] == pytest.approx(0.55)
    assert (found["low"], found["high"]) == pytest.approx((0.5, 0.6))


def test_the_ratio_is_the_median_of_paired_ratios() -> None:
    """Sees a ratio of medians, or a mean, which a drifting machine would move."""
    found = pairing.measure_pairs(_timer(1.0, 10.0, 30.0), _timer(30.0, 5.0, 20.0), lambda: 1.0, repeats=3)
    assert found["ratio"] == pytest.approx(1.5)  # of 1/30, 2 and 3/2; the ratio of medians is 1/2, of means 0.75
    assert found["ours_ms"] == 10.0 and found["peer_ms"] == 20.0


def test_turns_alternate_and_who_begins_changes() -> None:
    """Sees one contender measured in a row, or always on the machine that the other has warmed."""
    order: list[str] = []

    def turn(name: str) -> Any:
        return lambda: (order.append(name), 1.0)[1]

    pairing.measure_pairs(turn("ours"), turn("peer"), lambda: 1.0, repeats=4)
    assert order == ["ours", "peer", "peer", "ours"] * 2


def test_a_machine_without_rest_ends_the_measurement() -> None:
    """Sees a loop without end, and disturbed pairs that are passed off as quiet ones."""
    rate = _timer(1.0, 2.0, 4.0, 5.0, 10.0)  # moved by 1, 1, 0.25 and 1
    found = pairing.measure_pairs(_timer(1.0, 2.0, 3.0, 4.0), lambda: 1.0, rate, repeats=2, max_pairs=4)
    assert (len(found["pairs"]), found["repeats"], found["disturbed"]) == (4, 2, 2)
    assert 3.0 in (found["low"], found["high"])


def test_a_missing_peer_is_reported_and_the_rest_measured(tmp_path: Path) -> None:
    """Sees a benchmark that stops because one library cannot be imported, or hides that it was not there."""
    row = _tiny_row()
    options = measure.Options(tmp_path / "no" / "python", repeats=1, turn_seconds=1e-4, threads=1, quick=True)
    said: list[str] = []
    found = measure.measure_row(row, options, said.append)
    eager, absent, broken = found["comparisons"]
    assert eager["ratio"] > 0 and len(eager["pairs"]) >= 1
    assert "make bench" in absent["missing"] and absent["reached"] is None
    assert "ModuleNotFoundError" in broken["missing"]
    assert (
        found["contenders"]["ppgen"]["memory_mib"]["whole"] > found["contenders"]["ppgen"]["memory_mib"]["imports"] / 2
    )
    content = report.new(1) | {"rows": {"tiny": found}}
    report.check(content)
    text = table.page(content, None)
    assert "not measured" in text and "No GPU" in text and "ModuleNotFoundError" in text


def _tiny_row() -> rows.Row:
    loop = "benchmarks.speed.peers.reference_rbm:gibbs"
    contenders = {
        "ppgen": rows.Contender("ppgen", loop, {"num_chains": 2}),
        "eager": rows.Contender("eager", loop, {"num_chains": 2}),
        "absent": rows.Contender("absent", loop, peers=True),
        "broken": rows.Contender("broken", loop, libraries=("a_library_that_nobody_wrote",)),
    }
    compared = (("ppgen", "eager", 1e9), ("ppgen", "absent", 0.5), ("ppgen", "broken", None))
    return rows.Row("tiny", "a tiny row", contenders, compared, floors.gibbs(2), "eager", "sweep")


def test_a_worker_that_fails_says_why() -> None:
    """Sees a coordinator that hangs, or ends with a traceback, when a contender's job raises."""
    with pytest.raises(MissingError, match="TypeError"):
        Worker(measure.here(), "benchmarks.speed.peers.reference_rbm:gibbs", {"chains": 2}, 1)


def test_every_row_is_made_of_functions_that_are_there() -> None:
    """Sees a row whose contender was renamed, a comparison with nobody, a target of a pair that is not measured."""
    for device in ("cpu", "cuda"):
        for name, row in rows.rows(device=device).items():
            assert name == row.name
            assert row.baseline in row.contenders or name in ("processes", "posteriors")
            for first, peer, target in row.comparisons:
                assert first in row.contenders and peer in row.contenders
                assert target is None or 0 < target < 1.2
            for contender in row.contenders.values():
                module, _, function = contender.target.partition(":")
                if module != "benchmarks.speed.peers.peer_numpyro":  # needs JAX
                    assert callable(getattr(importlib.import_module(module), function))


def test_floors_are_those_counted_by_hand() -> None:
    """Sees a product forgotten or counted twice."""
    tiny = floors.vae(batch_size=2, particles=3, features=5, hidden=4, latent=1)
    encoder = 2 * 2 * (5 * 4 + 4 * 4 + 4 * 1 + 4 * 1)
    decoder = 2 * 6 * (1 * 4 + 4 * 4 + 4 * 5)
    assert tiny["flops"] == 3 * (encoder + decoder) - 2 * 2 * 5 * 4
    pair = models.VAE(5, 1, (4, 4))
    assert tiny["bytes"] == 4 * (10 * sum(p.numel() for p in pair.parameters()) + 2 * 5)
    small = models.SigmoidBeliefNet((5, 4, 4))
    assert floors.sbn(2, 3, features=5, hidden=4)["flops"] == 2 * (2 * 2 * 5 * 4 + 2 * 6 * (4 * 4 + 4 * 4 + 4 * 5))
    assert floors.sbn(2, 3, 5, 4)["bytes"] == 4 * (10 * sum(p.numel() for p in small.parameters()) + 2 * 5)
    assert floors.rbm(2, 3, visible=5, hidden=4)["flops"] == 2 * 5 * 4 * (2 * 2 + 3 * 3)
    deep = floors.dbm(2, 3, sweeps=1, mean_field=1, sizes=(5, 4, 6))
    assert deep["flops"] == 2 * (2 * 5 * 4 + 3 * 2 * 4 * 6) + 2 * (2 * 3 + 3 + 2) * (5 * 4 + 4 * 6)
    assert floors.annealing(3, 2, visible=5, hidden=4)["flops"] == 3 * 2 * 3 * 5 * 4
    found = floors.milliseconds({"flops": 2e9, "bytes": 1e6}, {"flops": 1e12, "bandwidth": 1e9})
    assert (found["compute_ms"], found["memory_ms"], found["floor_ms"]) == pytest.approx((2.0, 1.0, 2.0))


def test_the_reference_loop_has_the_gradient_of_the_library() -> None:
    """Sees a reference that is fast because it leaves something out: its direction is ppgen's under PCD-1."""
    from benchmarks.speed.peers import reference_rbm

    weight, visible_bias, hidden_bias = (torch.from_numpy(a) for a in synthetic.random_machine(6, 4))
    rbm = models.RBM.from_arrays(8 * weight, visible_bias, hidden_bias)
    data, start = (torch.from_numpy(synthetic.bits(rows, 6, seed)) for rows, seed in ((5, 3), (20_000, 4)))
    phase = inference.resolve(inference.PCD(k=1, num_chains=len(start), centred=False), rbm)
    bound = phase.bind(rbm, data, 5)
    bound.step(data)
    bound.load_state({"hidden.chains": start})
    ours = bound.step(data).gradients
    hidden = reference_rbm.bits(torch.sigmoid(hidden_bias + start @ (8 * weight)))
    *reference, _ = reference_rbm.pcd_gradient(8 * weight, visible_bias, hidden_bias, data, hidden)
    for name, direction in zip(("weight", "visible_bias", "hidden_bias"), reference, strict=True):
        # Both sides have means of 20,000 chains of numbers in [0, 1]: standard errors of at most 0.5 / 141.
        assert (ours[name] + direction).abs().max() < 4 * 2**0.5 * 0.5 / len(start) ** 0.5
        assert direction.abs().max() > 0.05


def test_the_reference_annealing_is_right() -> None:
    """Sees a peer whose log Z is fast and wrong."""
    from benchmarks.speed.peers import reference_rbm

    machine = synthetic.random_machine(8, 5)
    found = reference_rbm.anneal(
        tuple(torch.from_numpy(a) for a in (10 * machine[0], *machine[1:])),
        torch.linspace(0, 1, 101),
        500,
        torch.Generator().manual_seed(0),
    )
    weights = (found - found.max()).exp()
    error = float(weights.std() / weights.mean()) / len(found) ** 0.5
    exact = evaluation.log_partition(models.RBM.from_arrays(10 * machine[0], *machine[1:])).value
    assert float(weights.mean().log() + found.max()) == pytest.approx(exact, abs=4 * error)
    assert len(reference_rbm.salakhutdinov_2008()) == 14_501
    assert np.allclose(reference_rbm.salakhutdinov_2008(), make_betas("salakhutdinov-2008"))


def test_slopes_find_what_grows_faster_than_linear() -> None:
    """Sees a quadratic cost that is not flagged, and a linear one that is."""
    points = [{"size": s, "ms": 1e-3 * s**2 + 1, "peak_mib": 500.0 + s} for s in (1, 10, 100, 1_000, 10_000)]
    assert scaling.slopes(points)["steep"] == ["time"]
    points = [{"size": s, "ms": s + 1.0, "peak_mib": 500.0 + s**1.5} for s in (1, 10, 100, 1_000, 10_000)]
    assert scaling.slopes(points)["steep"] == ["memory"]
    offset = [{"size": s, "ms": 1.0, "peak_mib": 500.0 + s} for s in (100, 200, 400, 800)]
    assert scaling.slopes(offset)["memory_slope"] == pytest.approx(1.0)
    linear = [{"size": s, "ms": 3.0 * s, "peak_mib": 500.0} for s in (1, 10, 100)]
    assert scaling.slopes(linear) == {"time_slope": pytest.approx(1.0), "memory_slope": None, "steep": []}


def test_the_figure_of_growth_is_drawn(tmp_path: Path) -> None:
    """Sees a figure that cannot be drawn when a point is missing, and a sentence without its warning."""
    points = [{"size": s, "ms": 0.1 * s**2, "peak_mib": 500.0 + s} for s in (1, 10)] + [{"size": 100, "missing": "x"}]
    curve = {"title": "t", "label": "rows", "points": points, **scaling.slopes(points), "date": "d", "commit": None}
    found = {"curves": {"rows": curve}}
    scaling.draw(found, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").stat().st_size > 1000
    assert "faster than linear: time" in scaling.sentences(found)[0]


def test_curves_that_are_not_named_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sees a curve lost when another one is measured, and one that was not asked for measured again."""
    asked: list[str] = []

    def point(curve: scaling.Curve, size: int, options: measure.Options) -> dict[str, Any]:
        asked.append(curve.job)
        return {"size": size, "ms": float(size), "peak_mib": 500.0}

    monkeypatch.setattr(scaling, "measure_point", point)
    options = measure.quick(measure.Options(Path("python"), 7, 1.0, 2))
    path = tmp_path / "scaling.json"
    scaling.measure(path, options, ["rows"])
    scaling.measure(path, options, ["betas"])
    assert asked == ["vae_step"] * 2 + ["annealing"] * 2
    assert list(scaling.read(path)["curves"]) == ["betas", "rows"]


def test_curves_that_are_done_outlive_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sees minutes of measurement lost because a later curve was interrupted."""

    def point(curve: scaling.Curve, size: int, options: measure.Options) -> dict[str, Any]:
        if curve.job == "vae_step":
            raise KeyboardInterrupt
        return {"size": size, "ms": float(size), "peak_mib": 500.0}

    monkeypatch.setattr(scaling, "measure_point", point)
    options = measure.quick(measure.Options(Path("python"), 7, 1.0, 2))
    path = tmp_path / "scaling.json"
    with pytest.raises(KeyboardInterrupt):
        scaling.measure(path, options, ["betas", "rows"])
    assert list(scaling.read(path)["curves"]) == ["betas"]


def test_records_of_speed_and_of_quality_are_told_apart(tmp_path: Path) -> None:
    """Sees a results table that stops at a record of speed, and a record of speed without its pairs."""
    content = report.new(2)
    report.write(content, tmp_path / "speed.json")
    assert record.read_all(tmp_path) == {}
    assert report.read(tmp_path / "speed.json") == json.loads(json.dumps(content))
    assert report.read(tmp_path / "none.json") is None
    assert report.begin(tmp_path / "speed.json", threads=1)["rows"] == {}
    row = dict.fromkeys(report.ROW_FIELDS) | {"quick": False, "comparisons": [{"ours": "a", "peer": "b"}]}
    with pytest.raises(ValueError, match="without its pairs"):
        report.write(content | {"rows": {"x": row}}, tmp_path / "broken.json")
    assert not (tmp_path / "broken.json").exists()


def test_the_page_is_what_the_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    """Sees a figure changed by hand in docs/speed.md, a record not rendered, a page that needs a record."""
    assert table.main(["--check"]) == 0, capsys.readouterr().err
    assert "Nothing was measured yet" in table.page(None, None)


def test_effective_samples_are_of_the_worst_variable_of_each_datum() -> None:
    """Sees effective samples summed over variables, or chains and draws swapped, which would flatter long chains."""
    from benchmarks.speed.posteriors import effective_samples

    noise = torch.randn(1, 500, 3, 2, generator=torch.Generator().manual_seed(0))
    whole = effective_samples(noise)
    assert 0.7 * 1500 < whole < 1.3 * 1500
    noise[..., 1] = noise[..., 1].cumsum(1)  # a variable that hardly moves
    assert effective_samples(noise) < 0.1 * whole


def test_rows_in_bfloat16_are_computed_in_it() -> None:
    """Catches a setting that is put back before the first step, so that a row measures float32 twice."""
    before = torch.get_float32_matmul_precision()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own imports
            ours.rbm_step(hidden=4, num_chains=4, batch_size=4, precision="bf16")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
