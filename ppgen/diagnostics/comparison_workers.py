"""Cells in processes of their own: a server that has imported everything forks one for each cell.

So a cell's peak memory is its own, a cell that runs out of memory takes no other with it, and a script needs no
`if __name__ == "__main__"`. Models, which may be lambdas, go there as bytes through a pipe; nothing is read from disk.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ppgen import extension
from ppgen.diagnostics.comparison_cell import Cell, Study, failure

SERVER = "ppgen.diagnostics.comparison_server"
PATIENCE = 60.0  # seconds that cells have to write a checkpoint when they are told to stop


def run_in_processes(
    cells: Sequence[Cell], study: Study, processes: int, threads: int, done: Callable[[Cell, dict[str, Any]], None]
) -> None:
    """Run cells, several at a time; when this call ends, however it ends, no process of it is left.

    Args:
        cells: The cells.
        study: What they share.
        processes: How many run at the same time.
        threads: Threads of each.
        done: Called in this process with each cell that ended and its result.

    Raises:
        ValueError: If a model, the data or an inference cannot be sent to another process.
        RuntimeError: If the server ends before the cells did.
    """
    payload = _pickled(cells, study)
    head = {"bytes": len(payload), "cells": len(cells), "processes": processes}
    server = subprocess.Popen(
        [sys.executable, "-m", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(threads),
        start_new_session=True,  # Ctrl-C comes to this process alone, which tells the others
    )
    if server.stdin is None or server.stdout is None:
        raise RuntimeError("The processes of the comparison have no pipes.")
    waiting = set(range(len(cells)))
    try:
        server.stdin.write(json.dumps(head).encode() + b"\n")
        server.stdin.write(payload)
        server.stdin.flush()
        for line in server.stdout:
            said = json.loads(line)
            cell, result = cells[said["cell"]], said["result"]
            waiting.discard(said["cell"])
            done(cell, failure(cell, said["error"]) if result is None else {**result, "config": cell.config})
    except BrokenPipeError:
        pass  # the server has ended, which is told below
    finally:
        _stop(server)
    if waiting:
        raise RuntimeError(
            f"The processes of the comparison ended with exit code {server.returncode} before {len(waiting)} cells "
            "did; what they said is above. With processes=0 the cells run in this process."
        )


def _pickled(cells: Sequence[Cell], study: Study) -> bytes:
    import cloudpickle

    try:
        return cloudpickle.dumps((list(cells), study, extension.registrations()))
    except Exception as error:  # whatever an object says when it is pickled
        raise ValueError(
            f"model_factory, data and inferences must be things that can be sent to another process, and one cannot "
            f"({type(error).__name__}: {error}). Pass processes=0 to run in this process."
        ) from error


def _environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    count = str(threads)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server: at the end of its input it stops what still runs, with a checkpoint."""
    try:
        try:
            if server.stdin is not None:
                server.stdin.close()
        except BrokenPipeError:
            pass
        server.wait(PATIENCE)
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()
