"""The process that starts those of the cells: this file as a script of `python -P`, by `run_in_processes`.

It reads a line of JSON and the pickled cells from the pipe at its input, and writes a line of JSON for each cell that
ended. When its input ends, because all is done or because the process at the other end is gone, it stops what runs.

Nothing that lies in the current folder is run in the place of a library: neither that folder nor PYTHONPATH is looked
through before everything of ours is imported. Modules that the caller had imported are taken from where it had them.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from multiprocessing.connection import Connection, wait
from typing import Any, TextIO

from ppgen import registry

PRELOADED = (
    "ppgen.diagnostics.comparison.cell",
    "ppgen.diagnostics.gradients.noise",
    "ppgen.evaluation",
    "ppgen.models",
    "ppgen.training",
    "arviz_stats",
    "filelock",
    "safetensors.torch",
    "torch._dynamo",  # which every optimiser imports
    "torch.fx.experimental.proxy_tensor",
    "torch.utils.tensorboard",
)
PATIENCE = 45.0  # seconds that a cell has for its last step and checkpoint


def main() -> int:
    """Serve one comparison."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a user's model prints is not taken for an answer
    source = sys.stdin.buffer
    head = json.loads(source.readline())
    payload = source.read(head["bytes"])
    sys.meta_path.insert(0, Places(head["modules"]))
    try:
        preload()
    except ModuleNotFoundError:  # a library that the caller finds by PYTHONPATH alone
        look_in(head["path"])
        preload()
    look_in(head["path"])
    os.environ.update(head["environment"])
    Server(payload, head["cells"], head["processes"], channel, head["modules"]).run()
    return 0


class Places(MetaPathFinder):
    """Finds the modules that the caller had imported where it had found them: the same ppgen, the user's own modules.

    Args:
        modules: File of each, and the folders of a package or None.
    """

    def __init__(self, modules: Mapping[str, tuple[str, Sequence[str] | None]]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> ModuleSpec | None:
        if path is not None or fullname not in self.modules:
            return None
        file, folders = self.modules[fullname]
        return spec_from_file_location(
            fullname, file, submodule_search_locations=None if folders is None else list(folders)
        )


def preload() -> None:
    """Import what cells need. Nothing is computed, so no thread of torch is there when processes fork."""
    for name in PRELOADED:
        importlib.import_module(name)


def look_in(path: Sequence[str]) -> None:
    """Let modules be found in the caller's folders, too, after those of the libraries."""
    sys.path += [entry for entry in path if entry not in sys.path]


class Server:
    """Runs cells, several at a time, each in a process of its own.

    Args:
        payload: Pickled cells and study.
        num_cells: Cells in it.
        processes: How many run at the same time.
        channel: Where results go.
        modules: As `Places` takes them.
    """

    def __init__(
        self, payload: bytes, num_cells: int, processes: int, channel: TextIO, modules: Mapping[str, Any]
    ) -> None:
        self.payload, self.processes, self.channel, self.modules = payload, processes, channel, modules
        self.waiting = deque(range(num_cells))
        self.running: dict[Connection, tuple[Any, int]] = {}
        # Elsewhere than on Linux a process that has imported everything cannot be forked safely.
        self.context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

    def run(self) -> None:
        """Run all cells, or those that there is time for."""
        told: list[Any] = [sys.stdin.buffer] if os.name == "posix" else []  # pipes are waited for on POSIX alone
        while self.waiting or self.running:
            while self.waiting and len(self.running) < self.processes:
                self._start(self.waiting.popleft())
            ready = wait([*self.running, *told])
            if any(each in ready for each in told):
                self._stop()
                return
            for connection in ready:
                self._finish(connection)

    def _start(self, index: int) -> None:
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=work, args=(self.payload, index, sender, self.modules))
        process.start()
        sender.close()  # so that the end of the process is the end of the pipe
        self.running[receiver] = (process, index)

    def _finish(self, connection: Any) -> None:
        process, index = self.running.pop(connection)
        try:
            result, error = connection.recv(), None
        except EOFError:
            result, error = None, ""
        connection.close()
        process.join()
        if result is None:
            code = process.exitcode
            killed = f"was killed by signal {-code}, as for want of memory" if code < 0 else f"ended with code {code}"
            error = f"its process {killed}"
        print(json.dumps({"cell": index, "result": result, "error": error}), file=self.channel, flush=True)

    def _stop(self) -> None:
        for process, _ in self.running.values():
            process.terminate()
        for process, _ in self.running.values():
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()


def work(payload: bytes, index: int, sender: Any, modules: Mapping[str, Any]) -> None:
    """Run one cell and send its result; ends when the server is gone."""
    import pickle

    if not any(isinstance(each, Places) for each in sys.meta_path):  # this process was not forked
        sys.meta_path.insert(0, Places(modules))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        cells, study, registrations = pickle.loads(payload)
        registry.adopt(registrations)
    except Exception as error:  # a module that is not found, a class that cannot be made again
        sender.send({"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": ""})
        return
    from ppgen.diagnostics.comparison.cell import run_cell

    sender.send(run_cell(cells[index], study))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)  # training writes a checkpoint first


if __name__ == "__main__":
    raise SystemExit(main())
