"""The command as a process: signals, resumed runs, pipes, and what its start-up costs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ppgen
from ppgen.cli import main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}


def command(*words: str) -> list[str]:
    """A process of ppgen."""
    return [sys.executable, "-m", "ppgen", *words]


@pytest.fixture
def line(tmp_path: Path) -> list[str]:
    """Training that lasts for some seconds."""
    np.save(tmp_path / "bits.npy", (np.random.default_rng(0).random((400, 16)) < 0.3).astype(np.float32))
    options = "--hidden 4 --epochs 30 --batch-size 8 --lr-schedule constant --report false --compile false"
    return ["fit", "rbm", "--data", str(tmp_path / "bits.npy"), *options.split()]


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_stopped_run_says_how_to_go_on_and_does(
    number: int, code: int, word: str, line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Catches a signal that loses the run, a wrong exit code, a traceback, and a continuation that starts again."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(*line, "--folder", str(folder)),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for printed in process.stdout:
        if printed.startswith("epoch 3"):
            break
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert word in err and err.count("\n") == 1 and "\x1b" not in out
    again = err.split("Go on with: ")[1].split()
    assert again[0] == "ppgen" and not ppgen.load(folder).state["finished"]
    assert main(again[1:]) == 0 and "going on with the run" in capsys.readouterr().out
    run = ppgen.load(folder)
    assert run.state["finished"] and [row["epoch"] for row in run.metrics] == list(range(1, 31))


def test_list_starts_fast_and_survives_a_closed_pipe() -> None:
    """Catches PyTorch imported to print a table, and a traceback under `| head`."""
    code = (
        "import sys, ppgen.cli; code = ppgen.cli.main(['list']);"
        "sys.exit(code or 10 * any(name in sys.modules for name in ('torch', 'jsonargparse')))"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - started < 5
    process = subprocess.Popen(command("list"), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0
