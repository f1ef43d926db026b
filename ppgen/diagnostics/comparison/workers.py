"""Cells in processes of their own: a server that has imported everything forks one for each cell.

So a cell's peak memory is its own, a cell that runs out of memory takes no other with it, and a script needs no
`if __name__ == "__main__"`. Models, which may be lambdas, go there as bytes through a pipe; nothing is read from disk.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from ppgen import extension
from ppgen.diagnostics.comparison.cell import Cell, Study, failure

SERVER = Path(__file__).with_name("server.py")
PYTHONPATH = "PYTHONPATH"
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
    head = {"bytes": len(payload), "cells": len(cells), "processes": processes, **_surroundings()}
    server = subprocess.Popen(
        [sys.executable, *_flags(), str(SERVER)],
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
    count = str(threads)
    threaded = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": "1"}
    return {name: value for name, value in os.environ.items() if name != PYTHONPATH} | threaded


def _flags() -> list[str]:
    """No folder is searched that the user did not name; what this process leaves out of its path stays out."""
    flags = {"-s": sys.flags.no_user_site, "-E": sys.flags.ignore_environment}
    return ["-P", *(flag for flag, given in flags.items() if given)]


def _surroundings() -> dict[str, Any]:
    """Where this process finds modules, for the time when the other one has imported all that it needs itself."""
    return {
        "path": [os.path.abspath(entry) for entry in sys.path],  # "" is the current folder
        "modules": _modules(),
        "environment": {name: os.environ[name] for name in (PYTHONPATH,) if name in os.environ},
    }


def _modules() -> dict[str, tuple[str, list[str] | None]]:
    """File of each imported module that is not Python's own, and the folders of a package."""
    found = {}
    for name, module in list(sys.modules.items()):
        if "." in name or name in sys.stdlib_module_names:
            continue
        spec = getattr(module, "__spec__", None)
        if isinstance(spec, ModuleSpec) and spec.name == name and spec.origin and os.path.isfile(spec.origin):
            folders = spec.submodule_search_locations
            found[name] = (os.path.abspath(spec.origin), None if folders is None else list(folders))
    return found


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
