"""What training data on disk cost: batches of a memory-mapped file beside the same rows in memory.

    python -m benchmarks.streaming.measure [--rows 1000000] [--quick]

Writes a file of random bytes (rows x 784) to a temporary folder, which is removed at the end, and measures in turn
gathering batches in memory, taking them from the `DataLoader` that `ppgen.fit` reads a mapped file with, and training
steps of a VAE (784-200-200-50) on either. Ratios are of paired repeats, with their median and range.
The file was just written: unless it is larger than memory, the system has its pages at hand, and what is measured is
the way from those to a batch, not the disk.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

import ppgen
from ppgen import datasets, models, seeds
from ppgen.training.data import batch_source as batches
from ppgen.training.environment import resolve_device

FEATURES = 784
BATCH = 128


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="rows of the file (default: 1000000; 20000 with --quick)")
    parser.add_argument("--repeats", type=int, default=7, help="paired repeats (default: 7)")
    parser.add_argument("--batches", type=int, help="batches of a repeat (default: 200; 30 with --quick)")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto (default)")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--quick", action="store_true", help="a small file and few batches, to see that it works")
    given = parser.parse_args(arguments)
    rows = given.rows or (20_000 if given.quick else 1_000_000)
    count = given.batches or (30 if given.quick else 200)
    if given.repeats < 1 or rows < count * BATCH:
        parser.error(f"--repeats must be positive and --rows at least {count * BATCH} for {count} batches of {BATCH}.")
    device = resolve_device(given.device)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "rows.npy"
        write(path, rows)
        print(
            f"{rows} x {FEATURES} uint8 ({path.stat().st_size / 2**20:.0f} MiB), batches of {BATCH}, {count} a repeat"
        )
        print(
            f"{given.repeats} paired repeats on {device}, {torch.get_num_threads()} threads, torch {torch.__version__}"
        )
        report(measure(path, device, given.repeats, count))
    return 0


def write(path: Path, rows: int) -> None:
    """Random bits, one a byte, a piece at a time."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(rows, FEATURES))
    generator = np.random.default_rng(0)
    for start in range(0, rows, 10_000):
        piece = file[start : start + 10_000]
        piece[:] = generator.integers(0, 2, piece.shape, dtype=np.uint8)
    file.flush()


def measure(path: Path, device: torch.device, repeats: int, count: int) -> dict[str, list[float]]:
    """Seconds of a batch or step in each way: a list of one number a repeat."""
    data = {}
    for place, mode in (("memory", None), ("file", "r")):
        start = time.perf_counter()
        data[place] = datasets.as_dataset(np.load(path, mmap_mode=mode))
        print(f"{place}: read through, checked and digested in {time.perf_counter() - start:.1f} s")
    seconds: dict[str, list[float]] = {}
    for repeat in range(-1, repeats):  # the first is not counted: it warms up
        for place in ("memory", "file") if repeat % 2 else ("file", "memory"):
            # A file that fits on a CUDA device would be held there.
            with mock.patch.object(batches, "_room", lambda _: 0) if place == "file" else nullcontext():
                measured = _gather(data[place], device, count, repeat), _step(data[place], device, count, repeat)
            for name, value in zip(("gather", "step"), measured, strict=True):
                if repeat >= 0:
                    seconds.setdefault(f"{name}, {place}", []).append(value)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    """Print milliseconds and paired ratios."""
    print(f"\n{'ms a batch of ' + str(BATCH):34}{'median':>9}{'least':>9}{'most':>9}")
    for name in ("gather, memory", "gather, file", "step, memory", "step, file"):
        _line(name, [1e3 * value for value in seconds[name]])
    print(f"\n{'paired ratios':34}{'median':>9}{'least':>9}{'most':>9}")
    for name, over, under in (
        ("gather, file / memory", "gather, file", "gather, memory"),
        ("step, file / memory", "step, file", "step, memory"),
        ("gather, memory / step, memory", "gather, memory", "step, memory"),
        ("gather, file / step, memory", "gather, file", "step, memory"),
    ):
        _line(name, [a / b for a, b in zip(seconds[over], seconds[under], strict=True)])


def _line(name: str, values: list[float]) -> None:
    print(f"{name:34}{statistics.median(values):9.3f}{min(values):9.3f}{max(values):9.3f}")


def _gather(data: datasets.Dataset, device: torch.device, count: int, repeat: int) -> float:
    source = batches.BatchSource(data, device)
    order = batches.order(source.num_train, seeds.generator(0, "benchmark", repeat))
    _wait(device)
    start = time.perf_counter()
    for position in range(0, count * BATCH, BATCH):
        source.along(order, position, BATCH)
    _wait(device)
    return (time.perf_counter() - start) / count


def _step(data: datasets.Dataset, device: torch.device, count: int, repeat: int) -> float:
    vae = models.VAE(features=FEATURES, latent=50, hidden=(200, 200))
    options: dict[str, Any] = {"batch_size": BATCH, "compile": False, "progress": False, "device": str(device)}
    return ppgen.fit(vae, data, "elbo", steps=count, seed=repeat + 1, **options).seconds / count


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    raise SystemExit(main())
