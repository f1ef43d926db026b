"""Random command lines of every command: each works as it says, or is refused in one clear line and changes nothing.

Run in this process by `ppgen.cli.main`, the last ones in processes of their own.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from fuzz import lines
from fuzz.line_parts import FEATURES, Line
from fuzz.verdicts import Tally
from ppgen import datasets
from ppgen.cli import main

NUM_LINES, NUM_PROCESSES = 300, 6
SECONDS = 90  # after which a line counts as one that never ends
RUNS = ("rbm", "vae", "kept")
INTERNAL = ("Traceback", "KeyError", "AttributeError", "NoneType", " object at 0x", "<class ")
FIT = "--data bits.npy --epochs 1 --report false --quiet --compile false --batch-size 20 --folder"


def run(count: int | None, seed: int, made: "Files | None" = None) -> Tally:
    """Run the first lines of the corpus, or all; those of all are `NUM_LINES` and `NUM_PROCESSES` processes.

    In a workplace of their own, or in the one that is there.
    """
    tally = Tally("command lines")
    with workplace() if made is None else contextlib.nullcontext(made) as files:
        for index in range(NUM_LINES if count is None else count):
            judge(lines.line(seed, index), files, tally, here)
        if count is None:
            for index in range(NUM_LINES, NUM_LINES + NUM_PROCESSES):
                judge(lines.line(seed, index), files, tally, apart)
    return tally


@contextlib.contextmanager
def workplace() -> Iterator["Files"]:
    """The current folder is one with data, good and bad, and three trained runs."""
    before = os.getcwd()
    variables = {name: os.environ.pop(name) for name in ("PPGEN_DATA", "PPGEN_ROOT") if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            write_files()
            for words in (f"fit rbm --hidden 3 {FIT} rbm", f"fit vae --latent 2 --hidden 4 {FIT} vae",
                          f"fit rbm --hidden 3 {FIT} kept"):  # fmt: skip
                code, _, err = here(tuple(words.split()))
                if code:
                    raise RuntimeError(f"{words}: {err}")
            Path("torn").mkdir()
            Path("torn/config.json").write_text("{")
            yield Files()
        finally:
            os.chdir(before)
            os.environ.update(variables)


def write_files() -> None:
    """Data and configurations, good and bad."""
    random = np.random.default_rng(0)
    bits = (random.random((60, FEATURES)) < np.linspace(0.1, 0.8, FEATURES)).astype(np.float32)
    holes = bits.copy()
    holes[7, 3] = np.nan
    arrays = {"bits": bits, "holes": holes, "bright": 255 * bits, "cube": np.zeros((4, 3, 3, 2, 1), np.float32),
              "texts": np.array([["a", "b"]]), "none": bits[:0]}  # fmt: skip
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.save("objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.savez("bits.npz", train=bits)
    whole = Path("bits.npy").read_bytes()
    Path("lying.npy").write_bytes(whole.replace(b"(60, 9)", b"(9999999999, 9)", 1))
    Path("junk.npy").write_text("no array")
    Path("numbers.txt").write_text("1 0 1\n")
    Path("folder.npy").mkdir()
    texts = {
        "broken": "a: [1",
        "typo": "data: bits.npy\nepoch: 3\n",
        "list": "- 1\n- 2\n",
        "keys": "1: 2\n? [a]\n: 3\n",
        "kinds": "data: [bits.npy]\nepochs: {a: 1}\nhidden: null\n",
    }
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)


class Files:
    """The runs that are there, by which it is seen what a line changed, and copies of them."""

    def __init__(self) -> None:
        self.copies = {name: shutil.copytree(name, f".copies/{name}") for name in RUNS}
        self.digests = {name: digest(name) for name in RUNS}
        weights, data = load_file("rbm/model.safetensors"), datasets.load("bits.npy")
        self.exact = {name: enumerated(weights, data.split(name)[:]) for name in ("train", "test")}

    def changed(self) -> list[str]:
        """Runs that are not as they were, which are put back."""
        names = [name for name in RUNS if digest(name) != self.digests[name]]
        for name in names:
            shutil.rmtree(name, ignore_errors=True)
            shutil.copytree(self.copies[name], name)
        return names


def digest(name: str) -> str:
    """Of what a run wrote while it was trained."""
    found = hashlib.sha256()
    for path in ("config.json", "model.safetensors", "checkpoint/last.safetensors", "metrics.csv", "command.yaml"):
        found.update(Path(name, path).read_bytes() if Path(name, path).exists() else b"missing")
    return found.hexdigest()


def enumerated(weights: dict[str, torch.Tensor], rows: Any) -> float:
    """Mean log-likelihood of rows under an RBM, by a sum over all states, in nats."""
    weight, visible, hidden = (weights[name].double() for name in ("weight", "visible_bias", "hidden_bias"))
    states = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * len(visible))
    weight = weight if weight.shape == (len(visible), len(hidden)) else weight.T

    def score(bits: torch.Tensor) -> torch.Tensor:
        return bits @ visible + torch.nn.functional.softplus(hidden + bits @ weight).sum(-1)

    return float((score(torch.as_tensor(rows).double()) - score(states).logsumexp(0)).mean())


def here(words: tuple[str, ...]) -> tuple[int | str, str, str]:
    """Exit code, or a traceback; what was printed and what was said, in this process."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no end after {SECONDS} s")

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return main(list(words)), out.getvalue(), err.getvalue()
    except Exception:
        return traceback.format_exc(limit=-3), out.getvalue(), err.getvalue()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def apart(words: tuple[str, ...]) -> tuple[int | str, str, str]:
    """The same in a process of its own."""
    library = str(Path(sys.modules["ppgen"].__file__ or "").parents[1])
    environment = {**os.environ, "PYTHONPATH": library, "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-P", "-m", "ppgen", *words]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=2 * SECONDS)
    return done.returncode, done.stdout, done.stderr


def judge(line: Line, files: Files, tally: Tally, way: object) -> None:
    """Run a line and count it."""
    tally.tried += 1
    outputs = [Path(name) for name in ("made.npy", "made.png", "rbm/samples.npy", "vae/samples.npy",
                                       "rbm/evaluation.json", "vae/evaluation.json")]  # fmt: skip
    for path in outputs:
        path.unlink(missing_ok=True)
    code, out, err = way(line.words)  # type: ignore[operator]
    wrong = f"ppgen {' '.join(map(repr, line.words))}"
    changed = files.changed()
    said = [text for text in err.splitlines() if not text.startswith("warning: ")]
    if code not in (0, 1, 2) or any(word in err for word in INTERNAL):
        tally.tracebacks += 1
        tally.failures.append(f"{wrong}: {code} {err}")
    elif code and (len(said) != 1 or not said[0].startswith("ppgen") or len(said[0]) < 20):
        tally.tracebacks += 1
        tally.failures.append(f"{wrong}: not one clear line: {err!r}")
    elif code and not line.faults and not line.open:
        tally.tracebacks += 1
        tally.failures.append(f"{wrong}: refused, though nothing is wrong in it: {err}")
    elif not code and line.faults and not line.open:
        tally.silent += 1
        tally.failures.append(f"{wrong}: done, in spite of {line.faults}: {err}")
    elif not code and not line.open and (fault := result_fault(line, files, out)):
        tally.silent += 1
        tally.failures.append(f"{wrong}: {fault}")
    elif changed and not line.open and (code or changed != [line.makes]):
        tally.lost += 1
        tally.failures.append(f"{wrong}: ended with {code} and changed the run in {changed}")


def result_fault(line: Line, files: Files, out: str) -> str:
    """What is wrong in that which a command left; nothing, if it is as it should be."""
    command, path = line.words[0], Path(line.makes)
    if not out and command != "fit":
        return "nothing was printed"
    if not line.makes:
        return ""
    if not path.exists():
        return f"{path} is missing"
    if command == "fit":
        header, *rows = (path / "metrics.csv").read_text().splitlines()
        values = dict(zip(header.split(","), rows[-1].split(","), strict=True))
        return "" if rows and math.isfinite(float(values["seconds"])) else f"the metrics are {rows}"
    if command == "evaluate":
        return estimate_fault(line, files, path)
    if command == "sample" and path.suffix == ".npy":
        return draws_fault(line, np.load(path))
    return "" if path.is_dir() or path.stat().st_size > 500 else f"{path} is empty"


def estimate_fault(line: Line, files: Files, path: Path) -> str:
    """What is wrong in an estimate of a log-likelihood: that of the RBM is known."""
    found = json.loads(path.read_text())
    estimate = found["estimates"]["log-likelihood"]
    if not math.isfinite(estimate["value"]) or estimate["value"] > 0:
        return f"the log-likelihood of bits is {estimate['value']}"
    exact = files.exact[found["split"]]
    if path.parts[0] == "rbm" and abs(estimate["value"] - exact) > 1e-4:
        return f"the log-likelihood is {estimate['value']}, and {exact} by a sum over all states"
    return ""


def draws_fault(line: Line, draws: np.ndarray) -> str:
    """What is wrong in draws of bits."""
    words = [word.replace("num_samples", "num-samples") for word in line.words]
    joined = [word.partition("=")[2] for word in words if word.startswith("--num-samples=")]
    count = int(joined[0] if joined else words[words.index("--num-samples") + 1])
    if draws.shape != (count, FEATURES):
        return f"{count} draws have the shape {draws.shape}"
    return "" if bool(np.isin(draws, (0.0, 1.0)).all()) else "draws of bits are no bits"
