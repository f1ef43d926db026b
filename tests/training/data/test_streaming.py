"""Training rows on disk: the same run as in memory, never read whole, and read ahead of the steps."""

import gc
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import ppgen
from benchmarks.streaming import measure
from ppgen import datasets, evaluation, models, seeds
from ppgen.batch import parts_of
from ppgen.datasets.rows import Rows, is_mapped
from ppgen.training.data import batch_source as batches
from ppgen.training.data import streaming
from ppgen.training.data.batch_source import BatchSource
from ppgen.training.data.streaming import Mapped, Stream

_RANDOM = np.random.default_rng(5)
BITS = (_RANDOM.random((90, 6)) < [0.1, 0.2, 0.4, 0.5, 0.7, 0.9]).astype(np.uint8)
GREY = _RANDOM.random((90, 6)).astype(np.float32)
OPTIONS = {"epochs": 3, "batch_size": 16, "lr": 0.01, "seed": 2, "compile": False, "progress": False}


def _on_disk(array, path):
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def _vae(seed=0):
    torch.manual_seed(seed)
    return models.VAE(features=6, latent=2, hidden=(4,))


def _same(first, second):
    kept = [
        [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
        for run in (first, second)
    ]
    assert str(kept[0]) == str(kept[1])
    weights = [run.pair.state_dict() for run in (first, second)]
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize("stored", [BITS, BITS.astype(bool), BITS.astype(np.float64), GREY], ids=lambda x: str(x.dtype))
def test_a_fit_on_a_mapped_array_is_the_fit_on_the_array(stored, tmp_path):
    """Catches another order, another conversion of the rows, or a reader that draws from the run's random state."""
    likelihood = {} if stored is not GREY else {"likelihood": "gaussian"}
    runs = []
    for train in (stored, _on_disk(stored, tmp_path / "x.npy")):
        torch.manual_seed(0)
        pair = models.VAE(features=6, latent=2, hidden=(4,), **likelihood)
        runs.append(ppgen.fit(pair, {"train": train, "valid": stored[:30]}, **OPTIONS))
    _same(*runs)


@pytest.mark.parametrize("killed_at", [None, 3, 5, 6, 10])
def test_dynamic_bits_of_a_mapped_file_are_those_of_memory_also_after_a_stop(killed_at, tmp_path):
    """Catches bits drawn by the reader, ahead of the steps, whose state a checkpoint would then hold; and a resumed
    run that reads from the start of its epoch (of 5 steps)."""
    np.save(tmp_path / "x.npy", GREY)
    data = {mapped: datasets.load(tmp_path / "x.npy", "dynamic", memory_map=mapped) for mapped in (False, True)}
    assert isinstance(data[True].train_probabilities, Rows)
    whole = ppgen.fit(_vae(), data[False], **OPTIONS)

    def stop(event):
        if event.kind == "checkpoint" and event.step == killed_at:
            raise InterruptedError

    options = OPTIONS | {"folder": tmp_path / "run", "checkpoint_minutes": 0, "resume": "auto"}
    if killed_at is not None:
        with pytest.raises(InterruptedError):
            ppgen.fit(_vae(), data[True], callbacks=[stop], **options)
    _same(ppgen.fit(_vae(3 if killed_at else 0), data[True], **options), whole)


@pytest.mark.parametrize("kind", ["alone", "tuple", "mapping"])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_pair_gets_mapped_arrays_in_their_own_shape_and_type(kind, mode, tmp_path):
    """Catches a mapped array that is refused, copied whole, flattened or made float32; a checksum that tells a file
    from the array in it; and rows of two arrays that no longer belong together."""
    array = np.arange(90 * 6, dtype=np.float64).reshape(90, 2, 3)
    np.save(tmp_path / "x.npy", array)
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    number = torch.arange(90)
    wrap = {"alone": lambda x: x, "tuple": lambda x: (x, number), "mapping": lambda x: {"x": x, "y": number}}[kind]
    seen = []

    def model(x, y=None):
        seen.append((x, y))
        loc = pyro.param("loc", torch.zeros((), dtype=torch.float64))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 100.0).expand(x.shape[1:]).to_event(2), obs=x)

    runs, configs = [], []
    for data in (torch.from_numpy(array), mapped):
        runs.append(ppgen.fit(ppgen.Pair(model, lambda x, y=None: None), wrap(data), **OPTIONS))
        configs.append(runs[-1].config["data"])
    _same(*runs)
    assert configs[0] == configs[1]
    assert all(x.dtype == torch.float64 and x.shape[1:] == (2, 3) for x, _ in seen)
    assert kind == "alone" or all(torch.equal(x[:, 0, 0], 6.0 * y) for x, y in seen[-5:])


_SCRIPT = """
    import os, resource, sys
    import numpy as np, pyro, pyro.distributions as dist, torch
    import ppgen
    from ppgen import models

    torch.set_num_threads(1)
    options = {"device": "cpu", "compile": False, "progress": False}
    path = sys.argv[1]

    def make(dtype):
        size = 160 * 2**20 // (4096 * np.dtype(dtype).itemsize)
        rows = np.lib.format.open_memmap(path, "w+", dtype, (size, 4096))
        rows[::97, ::2] = 1
        rows.flush()
        return np.load(path, mmap_mode="r")

    def model(x):
        loc = pyro.param("loc", torch.zeros(4096))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(loc, 1.0).expand(x.shape).to_event(1), obs=x.float())

    def fit(kind, rows):
        zoo = kind == "zoo"
        pair = models.VAE(features=4096, latent=2, hidden=(4,)) if zoo else ppgen.Pair(model, lambda x: None)
        data = {"zoo": {"train": rows, "valid": rows[:9]}, "alone": rows, "tuple": (rows,), "mapping": {"x": rows}}
        print(kind, ppgen.fit(pair, data[kind], steps=4, **options).state["step"], flush=True)

    rows = np.load(path, mmap_mode="r")
    for kind in ("zoo", "alone"):
        fit(kind, rows)  # libraries take what they need of memory
    status = open("/proc/self/status").read()
    used = int(status.partition("VmData:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + 110 * 2**20,) * 2)  # the pages of a file do not count
    for kind, dtype in (("zoo", "uint8"), ("alone", "uint8"), ("tuple", "uint8"), ("mapping", "float32")):
        os.unlink(path)
        rows = make(dtype)
        fit(kind, rows)
    try:
        np.array(rows)
    except MemoryError:
        print("limited")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory are those of Linux")
def test_a_file_larger_than_the_memory_is_trained_on(tmp_path):
    """Catches any whole copy on the way: a checksum's, a conversion's, a check's, an initialisation's."""
    script, path = tmp_path / "train.py", tmp_path / "x.npy"
    script.write_text(textwrap.dedent(_SCRIPT))
    np.save(path, np.ones((20, 4096), dtype=np.uint8))
    done = subprocess.run([sys.executable, str(script), str(path)], capture_output=True, text=True, timeout=120)
    path.unlink(missing_ok=True)
    runs = ["zoo", "alone", "zoo", "alone", "tuple", "mapping"]
    assert done.stdout.split() == [word for kind in runs for word in (kind, "4")] + ["limited"], done.stderr


class _Watched:
    """Rows 0, 1, ...; keeps what was asked for, and by which thread."""

    shape, dtype = torch.Size([40]), torch.int64

    def __init__(self):
        self.asked, self.threads = [], set()

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.asked.append(index.tolist())
        self.threads.add(threading.current_thread())
        return index.clone()


def test_the_next_batches_are_read_while_a_step_runs():
    """Catches a step that waits for the disk, and a reader that fills the memory with a whole epoch."""
    rows, order = _Watched(), torch.randperm(40)
    stream = Stream([rows], order, 4, 4, torch.device("cpu"))
    assert torch.equal(stream.take()[0], order[4:8])
    expected = [part.tolist() for part in order[4:].split(4)]
    deadline = time.monotonic() + 20
    while len(rows.asked) < 1 + streaming.AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # for one more, which must not come
    assert rows.asked == expected[: 1 + streaming.AHEAD]
    assert threading.current_thread() not in rows.threads
    assert [stream.take()[0].tolist() for _ in expected[1:]] == expected[1:]


def test_a_stream_starts_anew_where_it_is_asked_to(monkeypatch):
    """Catches a batch of the place before: after a divergence the same batch is taken again, and an epoch later another
    order may be a tensor at the same address."""
    source = BatchSource((torch.zeros(40),), torch.device("cpu"))
    source.tensors = (_Watched(),)
    first, second = torch.randperm(40), torch.randperm(40)
    for order, start, size in [(first, 0, 8), (first, 8, 8), (first, 8, 8), (second, 16, 8), (second, 24, 4)]:
        assert torch.equal(source.along(order, start, size)[0], order[start : start + size])


def test_an_error_of_the_reader_is_raised_by_fit_and_no_thread_is_left(tmp_path, monkeypatch):
    """Catches a disk that fails unheard on another thread, a run that then waits for ever, and threads that pile up."""
    mapped = _on_disk(BITS, tmp_path / "x.npy")
    stored = Rows.stored

    def failing(self, positions):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is gone")
        return stored(self, positions)

    ppgen.fit(_vae(), mapped, **OPTIONS)
    monkeypatch.setattr(Rows, "stored", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        ppgen.fit(_vae(), mapped, **OPTIONS)
    gc.collect()
    deadline = time.monotonic() + 20
    while any(each.name.startswith("ppgen-reader") for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_view_of_a_mapped_array_is_mapped_and_a_copy_is_not(tmp_path):
    """Catches a map that is copied because it lost its type on the way, and a copy in memory read row by row."""
    mapped = _on_disk(BITS, tmp_path / "x.npy")
    for view in (mapped, mapped[10:], np.asarray(mapped), mapped.reshape(90, 2, 3), np.asarray(mapped)[:5].view()):
        assert is_mapped(view)
        assert isinstance(datasets.as_dataset(view).train, Rows)
    for copy in (BITS, BITS[3:], mapped.copy(), mapped + 1, np.array(mapped), mapped[[1, 2]], torch.ones(2), [1]):
        assert not is_mapped(copy)


@pytest.mark.parametrize("room", [0, 2**40])
@pytest.mark.parametrize("kind", ["data set", "dynamic", "mapped", "tensor", "tuple", "mapping", "mixed"])
def test_batches_are_the_same_whether_they_lie_on_the_device_or_not(kind, room, device, tmp_path, monkeypatch):
    """Catches data of another value, type or order after a move to the device, data left on the host although they fit,
    and bits drawn elsewhere."""
    monkeypatch.setattr(batches, "_room", lambda device: room)
    mapped = _on_disk(GREY, tmp_path / "x.npy")
    given = {
        "data set": lambda: datasets.load(GREY),
        "dynamic": lambda: datasets.load(GREY, "dynamic"),
        "mapped": lambda: datasets.load(mapped, "dynamic"),
        "tensor": lambda: torch.from_numpy(GREY),
        "tuple": lambda: (torch.from_numpy(GREY), torch.arange(90)),
        "mapping": lambda: {"x": torch.from_numpy(GREY), "n": torch.arange(90)},
        "mixed": lambda: (mapped, torch.arange(90)),
    }[kind]()
    alone = kind == "tensor"
    reference, source = BatchSource(given, torch.device("cpu"), alone), BatchSource(given, device, alone)
    fits = device.type != "cpu" and room > 0
    assert source.streamed == ((device.type != "cpu" and not fits) or (kind in ("mapped", "mixed") and not fits))
    order = torch.randperm(source.num_train)
    generators = [seeds.generator(0, "data") for _ in range(2)]
    for start in range(0, source.num_train, 16):
        expected = reference.batch("train", order[start : start + 16], generators[0])
        batch = source.along(order, start, 16, generators[1])
        for one, other in zip(parts_of(batch), parts_of(expected), strict=True):
            assert one.device.type == device.type
            assert one.dtype == other.dtype
            assert torch.equal(one.cpu(), other)
    assert source.to_config() == reference.to_config()


def test_all_rows_are_gone_through_in_bounded_pieces(monkeypatch):
    """Catches a move to the device that holds the file in memory, and rows that are left out or read twice."""
    leaf = Mapped(np.arange(50, dtype=np.int32).reshape(25, 2))
    monkeypatch.setattr(streaming, "CHUNK_BYTES", 56)
    assert [len(piece) for piece in streaming.pieces(leaf)] == [7, 7, 7, 4]
    assert torch.equal(streaming.held(leaf, torch.device("cpu")), torch.arange(50, dtype=torch.int32).reshape(25, 2))


def test_a_split_of_a_mapped_file_is_evaluated(tmp_path):
    """Catches a data set that is trained on and then, with `data.test` at hand, asked for in vain."""
    data = datasets.load(_on_disk(BITS, tmp_path / "x.npy"), test_size=20)
    assert isinstance(data.test, Rows)
    estimates = [evaluation.log_likelihood(_vae(), x, num_particles=50, seed=1) for x in (data.test, data.test[:])]
    assert estimates[0].value == estimates[1].value


def test_the_benchmark_measures_all_ways_and_cleans_up(tmp_path, capsys):
    """Catches a benchmark that no longer runs with the library, and files of its that stay behind."""
    options = ["--rows", "300", "--batches", "2", "--repeats", "2", "--device", "cpu"]
    assert measure.main([*options, "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for line in ("gather, memory", "gather, file", "step, memory", "step, file", "step, file / memory"):
        assert f"\n{line}  " in printed
    assert not list(tmp_path.iterdir())
