"""Comparisons that are killed, interrupted, or lose a process: nothing is lost and nothing goes on by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from filelock import FileLock

import ppgen
from ppgen import models

SCRIPT = """
import ppgen, numpy as np, sys
from ppgen import models
random = np.random.default_rng(0)
data = {"train": np.float32(random.random((40, 9)) < 0.4), "test": np.float32(random.random((20, 9)) < 0.4)}
def model():
    return models.VAE(features=9, latent=2, hidden=(4,))
found = ppgen.compare_inferences(
    model, data, ["elbo", "iwae"], seeds=2, steps=100, folder=sys.argv[1], batch_size=16, num_particles=20,
    gradient_draws=20, compile=False, checkpoint_minutes=0, processes=2,
)
print(found)
"""


def script(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A script without a guard around its main part, as people write them, and its environment."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    here = str(Path(__file__).parents[3])
    return path, {**os.environ, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}


def test_killed_half_way_it_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Catches cells that go on without their parent, a result half written, and a finished cell done twice."""
    path, environment = script(tmp_path)
    path.write_text(path.read_text().replace("processes=2", "processes=1"))
    folder = tmp_path / "runs"
    process = subprocess.Popen([sys.executable, str(path), str(folder)], env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 150
        while not list(folder.glob("vae/*/*/result.json")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    finished = {each: each.stat().st_mtime_ns for each in folder.glob("vae/*/*/result.json")}
    assert 1 <= len(finished) < 4, "killed too late to tell"
    again = subprocess.run([sys.executable, str(path), str(folder)], env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    # One that was at work when its parent was killed may have come to its end.
    lines = [line for line in again.stdout.splitlines() if line.startswith("[")]
    assert len(lines) <= 4 - len(finished)
    assert all(each.stat().st_mtime_ns == at for each, at in finished.items())
    results = [json.loads(each.read_text()) for each in folder.glob("vae/*/*/result.json")]
    assert [result["status"] for result in results] == ["finished"] * 4
    assert "2 seeds" in again.stdout and "failed" not in again.stdout


def test_ctrl_c_stops_the_cells_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Catches workers that outlive Ctrl-C, and a user who is not told that nothing is lost."""
    path, environment = script(tmp_path)
    path.write_text(path.read_text().replace("steps=100,", "steps=100_000,"))
    folder = tmp_path / "runs"
    process = subprocess.Popen(
        [sys.executable, str(path), str(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 150
    while not list(folder.glob("vae/*/*/checkpoint/last.safetensors")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert "0 of 4 cells are finished" in said and "the same call goes on" in said
    for lock in folder.glob("vae/*/*/.cell.lock"):
        with FileLock(lock, timeout=0):  # nobody is left
            pass


def test_a_process_that_is_killed_takes_no_other_with_it() -> None:
    """Catches a pool that breaks as a whole when the system kills one of its processes."""
    parent = os.getpid()

    def model() -> models.VAE:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return models.VAE(features=9, latent=2, hidden=(4,))

    bits = (np.random.default_rng(0).random((40, 9)) < 0.4).astype(np.float32)
    found = ppgen.compare_inferences(
        model, bits, ["elbo"], seeds=1, steps=4, batch_size=16, compile=False, processes=2, progress=False
    )
    assert "1 of 1 cells failed" in repr(found) and "killed by signal 9" in str(found.error.values)
