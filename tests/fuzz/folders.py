"""Run folders that were damaged, mixed up or forged: refused by a named error, or giving the numbers of the sound one.

For each case a sound folder is copied and changed by one of `mutations.MUTATIONS`; then it is loaded, and gone on with
or evaluated by the command line.
"""

import contextlib
import io
import json
import resource
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

import ppgen
from fuzz import mutations
from fuzz.verdicts import Tally
from ppgen import cli, inference, models
from ppgen.commands.errors import explained

COUNT = 250
_SECONDS, _MEMORY = 30, 2**30
_ROWS = (torch.arange(60 * 6).reshape(60, 6) % 5 < 2).float()


def run(count: int | None = None, seed: int = 0, made: dict[str, "Sound"] | None = None) -> Tally:
    """Try `count` damaged folders, all made from `seed`, of sound ones that may be there."""
    tally = Tally("folders")
    with sound_runs() if made is None else contextlib.nullcontext(made) as sound:
        for case in range(COUNT if count is None else count):
            # every kind of damage in turn, so that a prefix of the corpus has them all
            mutation = mutations.MUTATIONS[case % len(mutations.MUTATIONS)]
            judge(sound, mutation, Random(f"{seed}/{case}"), tally, f"folders, seed {seed}, case {case}")
    return tally


@contextlib.contextmanager
def sound_runs() -> Iterator[dict[str, "Sound"]]:
    """Sound folders of each kind, by name."""
    with tempfile.TemporaryDirectory() as place:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sound = {name: Sound(Path(place), name) for name in ("vae", "rbm", "vae-command", "rbm-command")}
        yield sound


def judge(sound: dict[str, "Sound"], mutation: mutations.Mutation, random: Random, tally: Tally, case: str) -> None:
    """Damage a copy of one of the sound folders, try it and count it."""
    one = sound[random.choice(sorted(sound))]
    folder = one.folder.parent / "case"
    try:
        shutil.copytree(one.folder, folder)
        what = f"{case}, {one.name}: {mutation(folder, one.other, random)}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _try(one, folder, what, mutation in (mutations.derived, mutations.leftovers), tally)
    finally:
        shutil.rmtree(folder)


class Sound:
    """A sound folder, another run like it, and what they give."""

    def __init__(self, root: Path, name: str) -> None:
        self.name, self.folder, self.other = name, root / name, root / f"{name}-other"
        self.command = name.endswith("-command")
        if self.command:
            data = root / "rows.npy"
            np.save(data, _ROWS.numpy())
            size = ["--latent", "2", "--hidden", "4"] if name.startswith("vae") else ["--hidden", "3"]
            for folder, seed in ((self.folder, "3"), (self.other, "4")):
                line = [
                    "fit",
                    name.partition("-")[0],
                    *size,
                    "--data",
                    str(data),
                    "--epochs",
                    "3",
                    "--batch-size",
                    "20",
                ]
                line += ["--compile", "false", "--restore-best", "true", "--report", "false", "--quiet", "--seed", seed]
                with contextlib.redirect_stdout(io.StringIO()):
                    if cli.main([*line, "--folder", str(folder)]):
                        raise RuntimeError(f"ppgen fit {name} did not end well")
        else:
            for folder in (self.folder, self.other):
                fit(name, folder, _stop_at(7))
        self.loaded = numbers(ppgen.load(self.folder))
        copy = root / "whole"
        shutil.copytree(self.folder, copy)
        self.further = self.go_on(copy)
        shutil.rmtree(copy)

    def go_on(self, folder: Path) -> Any:
        """What comes of a folder: the run to its end, or its evaluation by the command line."""
        if not self.command:
            return numbers(fit(self.name, folder, resume="auto"))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = cli.main(["evaluate", str(folder), "--quiet", "--num-particles", "10"])
        if code:
            raise ValueError(said.getvalue())
        return str(json.loads((folder / "evaluation.json").read_text())["estimates"])


def fit(name: str, folder: Path | None, *callbacks: Any, resume: Any = False) -> Any:
    """A short run of a VAE, or of an RBM with persistent chains."""
    torch.manual_seed(1)
    vae = name == "vae"
    pair = models.VAE(features=6, latent=2, hidden=(4,)) if vae else models.RBM(visible=6, hidden=3)
    how = inference.ELBO() if vae else inference.PCD(num_chains=7)
    given = {"epochs": 4, "batch_size": 20, "seed": 3, "restore_best": True, "compile": False, "lr": 0.05}
    given |= {"checkpoint_minutes": 0} if callbacks else {}
    return ppgen.fit(pair, _ROWS, how, folder=folder, resume=resume, callbacks=callbacks, progress=False, **given)


def _stop_at(step: int) -> Callable[[Any], None]:
    def stop(event: Any) -> None:
        if event.kind == "checkpoint" and event.step == step:
            event.stop()

    return stop


def numbers(run: Any) -> str:
    """All that a run says, but for what the clock says."""
    tensors = {
        **run.pair.state_dict(),
        **{f"chains {name}": value for name, value in (run.inference_state or {}).items()},
    }
    values = {name: value.double().reshape(-1).tolist() for name, value in sorted(tensors.items())}
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
    state = {
        name: run.state[name] for name in ("epoch", "step", "finished", "best_epoch", "best_value", "restored_best")
    }
    return repr((values, rows, state))


def _try(one: Sound, folder: Path, what: str, harmless: bool, tally: Tally) -> None:
    tally.tried += 1
    for name, call, expected in (
        ("load", lambda: numbers(ppgen.load(folder)), one.loaded),
        ("going on", lambda: one.go_on(folder), one.further),
    ):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with _in_time():
                found = call()
        except Exception as error:
            if not (isinstance(error, ValueError) and (one.command or explained(error))):
                tally.tracebacks += 1
                tally.failures.append(f"{what}: {name} raised {type(error).__name__}: {error}")
            elif harmless:
                tally.lost += 1
                tally.failures.append(f"{what}: {name} was refused: {error}")
        else:
            if found != expected:
                tally.silent += 1
                tally.failures.append(f"{what}: {name} gave other numbers")
        if 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) > _MEMORY:
            tally.tracebacks += 1
            tally.failures.append(f"{what}: {name} took more than {_MEMORY} bytes of memory")


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"not done after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
