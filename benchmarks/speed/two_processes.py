"""ppgen's steps shared by processes of one thread each, as `torchrun` would start them.

This worker is process 0 and starts the others as workers like itself: "run N" goes on to them. Since every step ends in
a reduction, the seconds of process 0 are those of all.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.speed import ours
from ppgen.training import environment
from ppgen.training.processes import world as processes

TARGET = "benchmarks.speed.two_processes:vae_step"


def vae_step(count: int = 2, batch_size: int = 128, rank: int = 0, port: int | None = None) -> Callable[[int], None]:
    """Steps of the VAE on batches that `count` processes share."""
    torch.set_num_threads(1)
    port = port or _free_port()
    arguments = {"count": count, "batch_size": batch_size, "port": port}
    others = [_start({**arguments, "rank": other}) for other in range(1, count)] if rank == 0 else []
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    world = processes.join(environment.resolve_device("cpu"))
    step = ours.vae_step(batch_size=batch_size, world=world)
    for other in others:
        _answer(other)

    def run(steps: int) -> None:
        for other in others:
            other.stdin.write(f"run {steps}\n")  # type: ignore[union-attr]
            other.stdin.flush()  # type: ignore[union-attr]
        step(steps)
        for other in others:
            _answer(other)

    return run


def _start(arguments: dict[str, Any]) -> subprocess.Popen[str]:
    """A process that ends when this one does, because its input ends then."""
    command = [sys.executable, "-m", "benchmarks.speed.worker", TARGET, json.dumps(arguments)]
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)


def _answer(process: subprocess.Popen[str]) -> None:
    found = json.loads(process.stdout.readline() or '{"error": "it ended"}')  # type: ignore[union-attr]
    if "error" in found:
        raise RuntimeError(f"another process failed: {found['error']}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
