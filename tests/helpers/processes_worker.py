"""What each of two processes does for `test_processes.py`; started by `torchrun`, it leaves its results in a file."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from closed_form_pairs import Dictionary, FactorAnalysis
from torch import Tensor

import ppgen
from ppgen import datasets, evaluation, inference, models
from ppgen.training.processes import shared_sum
from ppgen.training.processes.world import World

ROWS = (torch.rand(41, 8, generator=torch.Generator().manual_seed(3)) < torch.linspace(0.1, 0.8, 8)).float()
OPTIONS: dict[str, Any] = {"batch_size": 20, "lr": 0.1, "compile": False, "progress": False}
NUM_CHAINS = 6


def exact() -> dict[str, Tensor]:
    """Training in which nothing is random but the order of the rows; batches of odd size, the last one of one row."""
    torch.manual_seed(0)
    rbm = models.RBM(8, 3)
    digits = {"epochs": 3, **OPTIONS, "batch_size": 5}
    run = ppgen.fit(rbm, ROWS, inference.ExactPartition(), **digits)
    return rbm.state_dict() | {"train_value": torch.tensor(run.curve("train_value"))}


def persistent(folder: Path | None, **options: Any) -> tuple[Any, dict[str, Tensor]]:
    """Training under PCD from weights that differ between processes: the run, and its weights and chains."""
    torch.manual_seed(int(os.environ.get("RANK", "0")))
    rbm = models.RBM(8, 3)
    phase = inference.PCD(num_chains=NUM_CHAINS)
    run = ppgen.fit(rbm, ROWS, phase, **{"epochs": 4, "folder": folder, "lr_schedule": "constant"} | OPTIONS | options)
    return run, rbm.state_dict() | (rbm.inference_state or {})


def tempered() -> dict[str, Tensor]:
    """Training with tempered chains: what all processes have in common, and the chains of all."""
    torch.manual_seed(int(os.environ.get("RANK", "0")))
    rbm = models.RBM(8, 3)
    phase = inference.TemperedPCD(num_chains=NUM_CHAINS, num_temperatures=4, ladder_rate=0.1)
    ppgen.fit(rbm, ROWS, phase, epochs=2, **OPTIONS)
    return rbm.state_dict() | (rbm.inference_state or {})


def scored(folder: Path, **options: Any) -> dict[str, Tensor]:
    """Training with a baseline that each process learns for itself: the weights."""
    torch.manual_seed(int(os.environ.get("RANK", "0")))
    net = models.SigmoidBeliefNet((8, 3))
    ppgen.fit(net, ROWS, "nvil", **{"epochs": 4, "folder": folder, "lr_schedule": "constant"} | OPTIONS | options)
    return net.state_dict()


def in_closed_form(batch_size: int) -> dict[str, Tensor]:
    """EM in which nothing is random but the order of the rows, from statistics of all processes."""
    pair = FactorAnalysis(8, 2)
    options = {name: value for name, value in OPTIONS.items() if name != "lr"} | {"batch_size": batch_size}
    run = ppgen.fit(pair, ROWS + 0.3 * ROWS.T.reshape(41, 8), "alternating", epochs=3, **options)
    return pair.state_dict() | (pair.inference_state or {}) | {"train_value": torch.tensor(run.curve("train_value"))}


def reseeded(folder: Path | None, **options: Any) -> dict[str, Tensor]:
    """A dictionary whose dead atoms are revived from rows that each process has of its own."""
    pair = Dictionary(8, 5)
    own = {name: value for name, value in OPTIONS.items() if name != "lr"} | options
    ppgen.fit(pair, ROWS[:40], "alternating", epochs=4, folder=folder, **own)
    return pair.state_dict() | (pair.inference_state or {})


def on_other_data() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A pair trained on some rows, then on others: as it is, and with what the first training left thrown away."""
    options = {name: value for name, value in OPTIONS.items() if name != "lr"}
    kept, anew = FactorAnalysis(8, 2), FactorAnalysis(8, 2)
    x = ROWS + 0.3 * ROWS.T.reshape(41, 8)
    for pair in (kept, anew):
        ppgen.fit(pair, x[:20], "alternating", epochs=2, **options)
    anew.inference_state = None
    for pair in (kept, anew):
        ppgen.fit(pair, x[20:], "alternating", epochs=2, **options)
    return tuple(pair.state_dict() | (pair.inference_state or {}) for pair in (kept, anew))  # type: ignore[return-value]


def variational() -> dict[str, Tensor]:
    """A VAE on bits drawn anew each time, with running means, traced as the clock says."""
    torch.manual_seed(int(os.environ.get("RANK", "0")))
    vae = models.VAE(64, 2, (5,))
    vae.register_buffer("seen", torch.zeros(()))
    digits = datasets.load("digits", binarize="dynamic")
    options = OPTIONS | {"compile": "auto", "batch_size": 101, "clip_norm": 1.0, "callbacks": [moved]}
    ppgen.fit(vae, digits, "elbo", epochs=1, **options)
    return vae.state_dict()


def moved(event: Any) -> None:
    """A buffer that depends on the process, as running means do."""
    if event.kind == "epoch":
        event.run.pair.seen.add_(float(os.environ.get("RANK", "0")))


def annealed(distributed: bool, num_chains: int = 301) -> dict[str, float | None]:
    """log Z of a fixed machine by annealing: value, error, effective number of runs."""
    torch.manual_seed(5)
    rbm = models.RBM(8, 3)
    rbm.weight.data.normal_(0, 1.5)
    found = evaluation.log_partition(rbm, method="ais", num_chains=num_chains, betas=50, distributed=distributed)
    return {"value": found.value, "se": found.se, "ess": found.ess}


def summed(memory: Path) -> dict[str, Any]:
    """Weighted sums of vectors that differ between processes, many in a row, one process slower than the other."""
    rank = int(os.environ["RANK"])
    world, place = World(rank, 2), shared_sum._MEMORY
    shared_sum._MEMORY = memory
    generator = torch.Generator().manual_seed(rank)
    totals = []
    for turn in range(20):
        if turn % 3 == rank:
            time.sleep(0.002)
        own = [torch.randn(shape, generator=generator) for shape in ((3, 500), (70,))]
        totals.append(torch.cat([total.flatten() for total in world.average(own, 0.25 + 0.5 * rank)]))
    shared_sum._MEMORY = place
    return {"totals": torch.stack(totals), "in_memory": world._sum is not None}


def diverging() -> str:
    """What is said of a gradient that is NaN at one row, which one process alone sees."""
    xs = torch.ones(40)
    xs[35] = 0.0

    def model(x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(0.5))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal((slope * x).abs().sqrt(), 1.0), obs=x)

    try:
        ppgen.fit(ppgen.Pair(model, lambda x: None), xs, "elbo", epochs=1, **OPTIONS)
    except FloatingPointError as error:
        return str(error)
    return "nothing"


def stopped(event: Any) -> None:
    """A wish of process 1 alone."""
    if event.kind == "epoch" and event.epoch == 2 and os.environ.get("RANK") == "1":
        event.stop()


def killed(event: Any) -> None:
    """A signal to process 1 alone."""
    if event.kind == "epoch" and event.epoch == 2 and os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGTERM)


def refused(function: Any) -> str:
    """The error that it raises."""
    try:
        function()
    except (ValueError, SystemExit, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(folder: Path) -> None:
    """Everything that two processes are needed for."""
    results: dict[str, Any] = {"exact": exact(), "vae": variational(), "diverging": diverging()}
    results["tempered"] = tempered()
    results |= {"whole EM": in_closed_form(41), "online EM": in_closed_form(5)}
    results["other data"] = on_other_data()
    results["reseeded"] = reseeded(folder / "reseeded whole")
    reseeded(folder / "reseeded part", callbacks=[stopped])
    results["reseeded resumed"] = reseeded(folder / "reseeded part", resume=True)
    results["summed"] = {name: summed(Path(path)) for name, path in (("memory", "/dev/shm"), ("sockets", "/nowhere"))}
    results["left"] = [path.name for path in Path("/dev/shm").glob("ppgen-*")]
    replaced, replace = [], os.replace

    def counted(source: Any, target: Any) -> None:
        replaced.append(str(target))
        replace(source, target)

    os.replace = counted  # type: ignore[assignment]
    run, results["whole"] = persistent(folder / "whole")
    results["metrics"] = [{name: row[name] for name in row} for row in run.metrics]
    part, _ = persistent(folder / "part", callbacks=[stopped])
    results["stopped"] = (part.state["epoch"], part.state["stopped_by"])
    _, results["resumed"] = persistent(folder / "part", resume=True)
    results["scored whole"] = scored(folder / "scored whole")
    scored(folder / "scored part", callbacks=[stopped])
    results["scored resumed"] = scored(folder / "scored part", resume=True)
    results["annealed"], results["twins"] = annealed(distributed=True), annealed(distributed=True, num_chains=2)
    results["killed"] = refused(lambda: persistent(folder / "killed", callbacks=[killed]))
    results["again"] = refused(lambda: persistent(folder / "whole"))
    results["chains"] = refused(lambda: ppgen.fit(models.RBM(8, 3), ROWS, inference.PCD(num_chains=7), epochs=1))
    results["batch"] = refused(lambda: ppgen.fit(models.RBM(8, 3), ROWS, epochs=1, batch_size=1))
    part, _ = persistent(folder / "other", callbacks=[stopped])
    results["replaced"] = replaced
    torch.save(results, folder / f"results-{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
