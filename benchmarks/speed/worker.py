"""One contender in a process of its own: it prepares its job, then runs as many steps as it is told.

    python -m benchmarks.speed.worker MODULE:FUNCTION '{"argument": 1}' [LIBRARY ...]

It answers each line on its input with one line of JSON: at first how it is prepared, then `run N` with the seconds of N
steps. Between two lines it waits in a read, so that it takes no processor from the others. Only the standard library
is imported here: the peers' environment has no ppgen.
"""

import importlib
import json
import os
import sys
import time
from typing import Any


def main() -> int:
    """Prepare, then serve until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    target, arguments = sys.argv[1], json.loads(sys.argv[2])
    try:
        ready, run = _prepare(target, arguments, sys.argv[3:])
    except Exception as error:  # whatever stops a peer is a line of the table
        answers.write(json.dumps({"error": _reason(error)}) + "\n")
        return 0
    answers.write(json.dumps(ready) + "\n")
    for line in sys.stdin:
        try:
            answers.write(json.dumps(_measure(run, int(line.split()[1]))) + "\n")
        except Exception as error:
            answers.write(json.dumps({"error": _reason(error)}) + "\n")
            return 0
    return 0


def _prepare(target: str, arguments: dict[str, Any], libraries: list[str]) -> tuple[dict[str, Any], Any]:
    module, _, name = target.partition(":")
    start = time.perf_counter()
    for library in libraries:
        importlib.import_module(library)
    loaded = importlib.import_module(module)
    imported, imports_mib = time.perf_counter(), peak_mib()
    run = getattr(loaded, name)(**arguments)
    prepared = time.perf_counter()
    ready = {
        "import_seconds": imported - start,
        "prepare_seconds": prepared - imported,
        "imports_mib": imports_mib,
        "versions": _versions(),
    }
    return ready, run


def _measure(run: Any, steps: int) -> dict[str, Any]:
    start = time.perf_counter()
    extra = run(steps) or {}
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "steps": steps, "peak_mib": peak_mib(), "resident_mib": resident_mib(), **extra}


def peak_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; on CUDA, of its tensors on the device."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    # Before `getrusage`, which on Linux begins with the peak of the process that started this one.
    if (peak := _status("VmHWM")) is not None:
        return peak
    try:
        import resource
    except ImportError:  # not a Unix system
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def resident_mib() -> float | None:
    """Memory that is resident now, in MiB, where Linux tells: without what compiling took and gave back."""
    return _status("VmRSS")


def _status(field: str) -> float | None:
    try:
        with open("/proc/self/status") as file:
            lines = [line.split() for line in file if line.startswith(f"{field}:")]
    except OSError:
        return None
    return int(lines[0][1]) / 2**10 if lines else None


def _versions() -> dict[str, str]:
    names = ("torch", "pyro", "numpyro", "jax", "sklearn", "rbms", "learnergy", "ppgen")
    loaded = {name: sys.modules[name] for name in names if name in sys.modules}
    return {name: str(getattr(module, "__version__", "") or _installed(name)) for name, module in loaded.items()}


def _installed(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _reason(error: Exception) -> str:
    first = f"{error}".strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}"[:200]


if __name__ == "__main__":
    sys.exit(main())
