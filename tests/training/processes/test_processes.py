"""Two processes on one machine: equal weights, one writer, decisions taken together, runs that go on."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import processes_worker as worker
import pytest
import torch

import ppgen
from ppgen.training.processes.world import World

ROOT = Path(__file__).parents[3]
Results = list[dict[str, Any]]


def torchrun(*words: str) -> None:
    """Run a program in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, timeout=150, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the two processes left."""
    path = tmp_path_factory.mktemp("processes")
    torchrun(str(ROOT / "tests" / "helpers" / "processes_worker.py"), str(path))
    return path


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    """What each process found."""
    return [torch.load(folder / f"results-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", ["exact", "vae", "whole", "resumed", "tempered", "whole EM", "online EM"])
def test_processes_keep_equal_parameters(name: str, results: Results) -> None:
    """Catches gradients, offsets or buffers that are not shared, and weights that differ from the start."""
    first, second = (result[name] for result in results)
    assert set(first) == set(second)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_sums_through_memory_are_those_through_sockets(results: Results) -> None:
    """Catches a place written again before all have read it, weights left out, and files that stay behind."""
    streams = [torch.Generator().manual_seed(rank) for rank in (0, 1)]
    expected = []
    for _ in range(20):
        drawn = [torch.cat([torch.randn(n, generator=stream) for n in (1500, 70)]) for stream in streams]
        expected.append(0.25 * drawn[0] + 0.75 * drawn[1])
    for result in results:
        for way, found in result["summed"].items():
            torch.testing.assert_close(found["totals"], torch.stack(expected), msg=way)
        assert torch.equal(result["summed"]["memory"]["totals"], results[0]["summed"]["memory"]["totals"])
        assert result["summed"]["memory"]["in_memory"] and not result["summed"]["sockets"]["in_memory"]
        assert not result["left"]


def test_two_processes_train_as_one_does(results: Results) -> None:
    """Catches ragged shares that count as if they were equal, rows seen twice or never, and another order of rows."""
    alone = worker.exact()
    for key, value in alone.items():
        torch.testing.assert_close(results[0]["exact"][key], value, rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize(("name", "batch_size"), [("whole EM", 41), ("online EM", 5)])
def test_two_processes_alternate_as_one_does(name: str, batch_size: int, results: Results) -> None:
    """Catches parameters set from a part of the batch's statistics, and a whole data set that looks like a part."""
    alone = worker.in_closed_form(batch_size)
    assert set(alone) == set(results[0][name])
    for key, value in alone.items():
        torch.testing.assert_close(results[0][name][key], value, rtol=1e-9, atol=1e-9, msg=key)


def test_processes_gather_statistics_anew_of_other_data(results: Results) -> None:
    """Catches processes that go on from averages of other rows, or of which some do."""
    for result in results:
        kept, anew = result["other data"]
        assert set(kept) == set(anew) and int(kept["update.steps"]) < 20
        for key, value in anew.items():
            assert torch.equal(kept[key], value), key


def test_processes_revive_the_same_atoms(results: Results) -> None:
    """Catches dead atoms that each process replaces by rows of its own, and rows that a checkpoint forgets."""
    for name in ("reseeded", "reseeded resumed"):
        first, second = (result[name] for result in results)
        assert torch.equal(first["dictionary"], second["dictionary"])
        assert first["dictionary"][:, -1].norm() > 0.5
        assert not torch.equal(first["candidates.worst"], second["candidates.worst"])
        for key, value in first.items():
            assert torch.equal(value, results[0]["reseeded"][key]), key


def test_chains_are_divided_and_draw_from_streams_of_their_own(results: Results) -> None:
    """Catches the total number of chains in each process, and chains that are copies of those of another process."""
    chains = results[0]["whole"]["hidden.chains"]
    assert chains.shape == (worker.NUM_CHAINS, 8)
    half = worker.NUM_CHAINS // 2
    assert not torch.equal(chains[:half], chains[half:])
    tempered = results[0]["tempered"]
    assert tempered["hidden.hot_chains"].shape == (worker.NUM_CHAINS, 3, 8)
    assert not torch.equal(tempered["hidden.hot_chains"][:half], tempered["hidden.hot_chains"][half:])
    assert tempered["hidden.rejections"].all()
    assert all("num_chains must be a multiple" in result["chains"] for result in results)
    assert all("batch_size" in result["batch"] for result in results)


def test_one_process_writes(folder: Path, results: Results) -> None:
    """Catches a second writer, which tears files, and a run refused in one process while the other waits for it."""
    assert results[0]["replaced"] and not results[1]["replaced"]
    with (folder / "whole" / "metrics.csv").open(encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    assert repr(results[0]["metrics"]) == repr(results[1]["metrics"])  # NaN, too
    assert all("already holds a run" in result["again"] for result in results)
    loaded = ppgen.load(folder / "whole")
    for key, value in {**loaded.pair.state_dict(), **loaded.pair.inference_state}.items():
        assert torch.equal(value, results[0]["whole"][key]), key


@pytest.mark.parametrize("what", ["", "scored "])
def test_a_run_goes_on_bit_for_bit(what: str, results: Results) -> None:
    """Catches a checkpoint without the chains, the baselines or the random states of every process."""
    for result in results:
        for key, value in result[f"{what}whole"].items():
            assert torch.equal(value, result[f"{what}resumed"][key]), key


def test_decisions_are_taken_together(folder: Path, results: Results) -> None:
    """Catches a callback or signal in one process that leaves the others waiting, or stops at different steps."""
    assert all(result["stopped"] == (2, "callback") for result in results)
    assert all(result["killed"] == "SystemExit: 143" for result in results)
    assert ppgen.load(folder / "killed").state["epoch"] == 2


def test_annealing_runs_are_shared_out(results: Results) -> None:
    """Catches processes that repeat each other's runs and runs that stay in their process."""
    first, second = (result["annealed"] for result in results)
    alone = worker.annealed(distributed=False)
    assert first == second != alone
    assert abs(first["value"] - alone["value"]) < 4 * (first["se"] ** 2 + alone["se"] ** 2) ** 0.5
    assert first["se"] == pytest.approx(alone["se"], rel=0.5)
    # One run a process: twice the same one would be an effective number of two. Of so few the error is unknown.
    assert 1 < results[0]["twins"]["ess"] < 2 and math.isnan(results[0]["twins"]["se"])
    with pytest.raises(ValueError, match="process group"):
        worker.annealed(distributed=True)


def test_divergence_in_one_process_is_explained_in_all(results: Results) -> None:
    """Catches a search for the first NaN in which one process stops looking and the other waits for it."""
    assert all("slope' is not finite" in result["diverging"] for result in results)


def test_a_run_goes_on_in_another_number_of_processes(folder: Path) -> None:
    """Catches chains lost, and random states of another number of processes taken over without a word."""
    with pytest.warns(UserWarning, match="saved by 2 processes and goes on in 1"):
        run, state = worker.persistent(folder / "other", resume=True)
    assert run.state["finished"] and [row["epoch"] for row in run.metrics] == [1, 2, 3, 4]
    assert state["hidden.chains"].shape == (worker.NUM_CHAINS, 8)


def test_shares_hold_each_row_once() -> None:
    """Catches rows lost or doubled by batches that the processes do not divide, and weights that do not sum to 1."""
    for size in (1, 2, 3, 5):
        worlds = [World(rank, size) for rank in range(size)]
        for count in (1, 2, 5, 11):
            assert sum(world.weight(count) for world in worlds) == pytest.approx(1)
            shares = [world.share(torch.arange(count)) for world in worlds]
            kept = [share for share, world in zip(shares, worlds, strict=True) if world.weight(count)]
            assert sorted(torch.cat(kept).tolist()) == list(range(count))
            assert all(len(share) for share in shares)


def test_the_command_trains_in_two_processes(tmp_path: Path) -> None:
    """Catches a command that reports, prints or writes in every process, or whose writer waits for one that left."""
    np.save(tmp_path / "bits.npy", worker.ROWS.numpy())
    run = tmp_path / "run"
    options = f"--hidden 3 --epochs 2 --batch-size 20 --num-particles 5 --quiet --folder {run}"
    torchrun("-m", "ppgen", "fit", "rbm", "--data", str(tmp_path / "bits.npy"), *options.split())
    assert ppgen.load(run).state["finished"]
    assert json.loads((run / "evaluation.json").read_text())
    assert not list(run.rglob("*.tmp"))
