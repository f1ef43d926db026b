"""The machine's own rates: matrix products in each precision, and memory."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

SIZE = 1024
PRECISIONS = {"ieee": torch.float32, "bf16": torch.bfloat16}


def rates(device: str = "cpu") -> Callable[[int], dict[str, float]]:
    """A job that measures the float32 rate on every call, and once the bandwidth and the bfloat16 rate."""
    matrices = {name: _matrices(dtype, device) for name, dtype in PRECISIONS.items()}
    once = {"bandwidth": bandwidth(device), "bf16": matmul_rate(*matrices["bf16"], repeats=7)}

    def run(repeats: int) -> dict[str, float]:
        return {"flops": matmul_rate(*matrices["ieee"], repeats=repeats), **once}

    run(2)
    return run


def matmul_rate(first: Tensor, second: Tensor, repeats: int) -> float:
    """Operations per second of a square matrix product: the median of some."""
    times = [_seconds(lambda: first @ second, first.device.type) for _ in range(repeats + 1)]
    return 2 * SIZE**3 / median(times[1:])


def bandwidth(device: str, mebibytes: int = 256) -> float:
    """Bytes per second that a copy between two arrays, larger than any cache, reads and writes."""
    source = torch.ones(mebibytes * 2**18, device=device)
    target = torch.zeros_like(source)
    times = [_seconds(lambda: target.copy_(source), target.device.type) for _ in range(6)]
    return 2 * 4 * source.numel() / median(times[1:])


def _matrices(dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(SIZE, SIZE, generator=generator).to(device, dtype) for _ in range(2))
    return first, second


def _seconds(work: Callable[[], Any], device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
