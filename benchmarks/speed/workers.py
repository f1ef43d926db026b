"""Workers seen from the coordinator: started, told to run, asked for what they measured, ended."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class MissingError(RuntimeError):
    """A contender cannot run here; the message says why."""


def environment(threads: int) -> dict[str, str]:
    """Variables under which every worker runs: the same number of threads, and their own ways of waiting."""
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else a pool of processes stays beside each compiled worker
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # else JAX takes most of a GPU for itself
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }


def confine(threads: int) -> None:
    """Keep this process and those that it starts on so many processors, for libraries that count them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


class Worker:
    """A contender in its own process, prepared and waiting.

    Args:
        python: Interpreter of its environment.
        target: `module:function` that prepares the job and returns a function of the number of steps.
        arguments: Keyword arguments of that function.
        threads: Threads that it may use.
        libraries: What it needs, imported before its memory is first looked at.

    Raises:
        MissingError: If the interpreter, a library or the job itself is not there or fails.
    """

    def __init__(
        self,
        python: str | Path,
        target: str,
        arguments: Mapping[str, Any],
        threads: int,
        libraries: Sequence[str] = (),
    ) -> None:
        command = [str(python), "-m", "benchmarks.speed.worker", target, json.dumps(dict(arguments)), *libraries]
        try:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if not os.environ.get("BENCH_VERBOSE") else None,
                text=True,
            )
        except OSError as error:
            raise MissingError(f"no interpreter for it here ({error.strerror})") from error
        self.last: dict[str, Any] = {}
        self.ready = self._answer()

    def run(self, steps: int) -> dict[str, Any]:
        """Let it take so many steps; the answer holds `seconds` and `peak_mib`.

        Raises:
            MissingError: If it fails or has ended.
        """
        try:
            self.process.stdin.write(f"run {steps}\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]
        except OSError as error:
            raise MissingError("its process has ended") from error
        self.last = self._answer()
        return self.last

    def memory(self) -> dict[str, float | None]:
        """MiB after the imports, at the peak of the whole process, and resident after the last turn."""
        return {
            "imports": self.ready["imports_mib"],
            "whole": self.last.get("peak_mib"),
            "resident": self.last.get("resident_mib"),
        }

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            code = self.process.wait()
            raise MissingError(f"its process ended with code {code} and no answer")
        answer = json.loads(line)
        if "error" in answer:
            self.close()
            raise MissingError(answer["error"])
        return answer


def here() -> str:
    """The interpreter that runs this."""
    return sys.executable
