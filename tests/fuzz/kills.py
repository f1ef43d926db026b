"""Runs that are killed: by SIGKILL, SIGTERM or SIGINT, at any moment or in the midst of writing a checkpoint.

After each kill the folder must load, at the last checkpoint that was written or a later one; and at last the run, gone
on with, must be bit for bit the run that nobody disturbed, with nothing left half written beside it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from fuzz.verdicts import Tally

COUNT = 40
ROOT = Path(__file__).parents[2]
MOMENTS = ("half written", "before sync", "before replacing", "after replacing", "any", "any")
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_STATED = (0, 128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)


def run(count: int | None = None, seed: int = 0) -> Tally:
    """Kill runs `count` times, at moments that are made from `seed`; those named "any" are by the clock."""
    tally, number = Tally("kills"), COUNT if count is None else count
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fuzz.kills"]
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(
            command, env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        whole: dict[str, tuple[str, float]] = {}
        case = 0
        while tally.tried < number:
            random = Random(f"{seed}/{case}")
            name = random.choice(["vae", "rbm"])
            if name not in whole:
                started = time.perf_counter()
                done = _ask(server, {"name": name, "folder": f"{place}/whole-{name}", "report": f"{place}/{name}"})
                whole[name] = (str(done["numbers"]), time.perf_counter() - started)
            job = {"name": name, "folder": f"{place}/case", "report": f"{place}/report"}
            what = f"kills, seed {seed}, case {case}, {name}"
            for _ in range(min(random.randint(1, 3), number - tally.tried)):
                kill = _kill(random, whole[name][1])
                what += (
                    f"; signal {kill['signal']}{' twice' if kill['twice'] else ''} {kill['moment']} {kill['at']:.3g}"
                )
                tally.tried += 1
                _judge_kill(_ask(server, {**job, **kill}), _ask(server, {**job, "load": True}), what, tally)
            _judge_end(_ask(server, job), whole[name][0], Path(place) / "case", what, tally)
            shutil.rmtree(f"{place}/case", ignore_errors=True)
            case += 1
        server.stdin.close()  # type: ignore[union-attr]
    return tally


def _kill(random: Random, seconds: float) -> dict[str, Any]:
    moment, number = random.choice(MOMENTS), random.choice(SIGNALS)
    at = random.uniform(0.0, seconds) if moment == "any" else random.randint(1, 40)
    return {"moment": moment, "at": at, "signal": int(number), "twice": random.random() < 0.3}


def _judge_kill(killed: dict[str, Any], loaded: dict[str, Any], what: str, tally: Tally) -> None:
    if killed["status"] not in _STATED:
        tally.tracebacks += 1
        tally.failures.append(f"{what}: ended with {killed['status']}, {killed.get('error')}")
    early = "before its first checkpoint" in str(loaded.get("error")) or "holds no run" in str(loaded.get("error"))
    if "error" in loaded and not early:
        tally.tracebacks += 1
        tally.failures.append(f"{what}: does not load, {loaded['error']}")
    if loaded.get("step", 0) < killed.get("saved", 0):
        tally.lost += 1
        tally.failures.append(f"{what}: step {killed['saved']} was saved, and {loaded.get('step', 0)} is there")


def _judge_end(done: dict[str, Any], whole: str, folder: Path, what: str, tally: Tally) -> None:
    left = [str(path.relative_to(folder)) for path in folder.rglob("*.tmp")]
    if "numbers" not in done or left:
        tally.lost += 1
        tally.failures.append(f"{what}: does not go on, {done.get('error')}; left: {left}")
    elif done["numbers"] != whole:
        tally.silent += 1
        tally.failures.append(f"{what}: gone on with, it gives other numbers")


def _ask(server: "subprocess.Popen[str]", job: dict[str, Any]) -> dict[str, Any]:
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


def serve() -> None:
    """Do one job a line, each in a fork of this process, which has imported everything."""
    import torch

    import ppgen
    from fuzz import folders

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:  # imports all that a run imports, before the forks
        for name in ("vae", "rbm"):
            ppgen.load(folders.fit(name, Path(place) / name).folder)
    for line in sys.stdin:
        job = json.loads(line)
        report = Path(job["report"])
        report.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os._exit(_work(job, report))
        status = _wait(child, job)
        said: dict[str, Any] = {"status": status}
        for text in report.read_text().splitlines() if report.exists() else ():
            said |= json.loads(text)
        print(json.dumps(said), flush=True)


def _wait(child: int, job: dict[str, Any]) -> int:
    if job.get("moment") == "any":
        time.sleep(job["at"])
        for _ in range(1 + job["twice"]):
            os.kill(child, job["signal"])
            time.sleep(0.001)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _work(job: dict[str, Any], report: Path) -> int:
    """Load, or train, in this fork; what is known is written down as soon as it is."""
    import warnings

    import ppgen
    from fuzz import folders

    warnings.simplefilter("ignore")

    def say(**facts: Any) -> None:
        with report.open("a") as file:
            file.write(json.dumps(facts) + "\n")

    def saved(event: Any) -> None:
        if event.kind == "checkpoint":
            say(saved=event.step)

    try:
        if job.get("load"):
            say(step=ppgen.load(job["folder"]).state["step"])
            return 0
        if job.get("moment", "any") != "any":
            _trap(job)
        say(numbers=folders.numbers(folders.fit(job["name"], Path(job["folder"]), saved, resume="auto")))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException as error:  # this process ends here, and the one that forked it tells
        say(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def _trap(job: dict[str, Any]) -> None:
    """Have this process signal itself at the n-th time that a file is written."""
    import safetensors.torch

    count = 0

    def due(moment: str) -> bool:
        nonlocal count
        count += moment == job["moment"]
        return moment == job["moment"] and count == job["at"]

    def strike() -> None:
        for _ in range(1 + job["twice"]):
            os.kill(os.getpid(), job["signal"])

    sync, replace, save = os.fsync, os.replace, safetensors.torch.save_file

    def fsync(descriptor: int) -> None:
        if due("before sync"):
            strike()
        sync(descriptor)

    def replacing(source: Any, target: Any) -> None:
        if due("before replacing"):
            strike()
        replace(source, target)
        if due("after replacing"):
            strike()

    def save_file(tensors: Any, path: str, metadata: Any = None) -> None:
        save(tensors, path, metadata=metadata)
        if due("half written"):
            with open(path, "r+b") as file:
                file.truncate(os.path.getsize(path) // 2)
            strike()
            save(tensors, path, metadata=metadata)

    os.fsync, os.replace, safetensors.torch.save_file = fsync, replacing, save_file


if __name__ == "__main__":
    serve()
