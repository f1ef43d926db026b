"""What is measured: rows of contenders, whom they are compared with, and the targets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from benchmarks.speed import floors

BASE = "benchmarks.speed"
THROUGHPUT = 0.85  # of two processes, at least, as a share of that of one


@dataclass(frozen=True)
class Contender:
    """One way to take a step, in a process of its own."""

    title: str
    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()
    peers: bool = False  # whether it runs in the peers' environment


@dataclass(frozen=True)
class Row:
    """A job: ours and others by short names, pairs to compare with the largest ratio wanted, and the floor."""

    name: str
    title: str
    contenders: Mapping[str, Contender]
    comparisons: tuple[tuple[str, str, float | None], ...]
    floor: floors.Floor | None
    baseline: str | None = None  # the eager loop whose memory is the measure
    step: str = "step"
    device: str = "cpu"
    floor_share: float | None = None  # share of the floor's rate that ours shall reach
    single: bool = False  # whether a turn is one step, because one takes seconds


def rows(quick: bool = False, device: str = "cpu") -> dict[str, Row]:
    """Every row for a device, by name."""
    made = [vae(device), iwae(device), sbn(device), rbm(device), dbm(device)]
    made += [annealing(quick, device), gibbs(quick, device)]
    if device == "cpu":
        made.append(posteriors(quick))
    if device == "cpu" and find_spec("ppgen.training.processes.world"):
        made.append(processes())
    return {row.name: row for row in made}


def vae(device: str) -> Row:
    """ELBO step of the VAE."""
    where, cuda = {"device": device}, device != "cpu"
    contenders = _directed(1, 128, where) | {
        "pyro-unchecked": _pyro("Pyro SVI, validation off", {"validation": False, **where})
    }
    targets = {"pyro": 0.1, "eager": 0.3, "numpyro": 1.0} if cuda else {"pyro": 0.40, "eager": 0.80, "numpyro": 0.95}
    others = ("pyro", "pyro-unchecked", "eager", "compiled", "numpyro")
    compared = [("ppgen", other, targets.get(other)) for other in others]
    compared += [("ppgen-bf16", other, 0.6 if other == "numpyro" and not cuda else None) for other in others]
    title = "VAE 784-200-200-50, ELBO, batch 128, Adam"
    floor = floors.vae(128)
    return Row(_name("vae", device), title, contenders, tuple(compared), floor, "eager", device=device)


def iwae(device: str) -> Row:
    """IWAE step with 50 particles."""
    where, cuda = {"device": device}, device != "cpu"
    contenders = _directed(50, 100, where)
    targets = {} if cuda else {"pyro": 0.45, "eager": 0.85}
    bf16 = {} if cuda else {"pyro": 0.2, "eager": 0.4}
    others = ("pyro", "eager", "compiled", "numpyro")
    compared = [("ppgen", other, targets.get(other)) for other in others]
    compared += [("ppgen-bf16", other, bf16.get(other)) for other in others]
    title = "IWAE K=50, 784-200-200-50, batch 100, Adam"
    return Row(_name("iwae", device), title, contenders, tuple(compared), floors.vae(100, 50), "eager", device=device)


def sbn(device: str) -> Row:
    """VIMCO step of the sigmoid belief network, beside the same step as the program runs."""
    where, target = {"device": device}, f"{BASE}.ours:sbn_step"
    contenders = {
        "ppgen": Contender("ppgen", target, where),
        "ppgen-bf16": Contender("ppgen, bf16 products", target, {"precision": "bf16", **where}),
        "eager": Contender("ppgen, compile=False", target, {"compile": False, **where}),
    }
    compared = (("ppgen", "eager", None if device != "cpu" else 0.5), ("ppgen-bf16", "eager", None))
    title = "SBN 784-200-200, VIMCO K=10, batch 100, Adam"
    return Row(_name("sbn", device), title, contenders, compared, floors.sbn(100, 10), "eager", device=device)


def dbm(device: str) -> Row:
    """Step of the deep Boltzmann machine, beside the same step as the program runs."""
    where, target = {"device": device}, f"{BASE}.ours:dbm_step"
    contenders = {
        "ppgen": Contender("ppgen", target, where),
        "ppgen-bf16": Contender("ppgen, bf16 products", target, {"precision": "bf16", **where}),
        "eager": Contender("ppgen, compile=False", target, {"compile": False, **where}),
    }
    compared = (("ppgen", "eager", None if device != "cpu" else 0.7), ("ppgen-bf16", "eager", None))
    title = "DBM 784-500-1000, 10 mean-field sweeps, PCD-5, batch 100, 100 chains, momentum"
    floor = floors.dbm(100, 100, sweeps=5, mean_field=10)
    return Row(_name("dbm", device), title, contenders, compared, floor, "eager", device=device)


def rbm(device: str) -> Row:
    """PCD-1 step of the RBM."""
    where, cuda = {"device": device}, device != "cpu"
    ours = f"{BASE}.ours:rbm_step"
    contenders = {
        "ppgen": Contender("ppgen", ours, where),
        "ppgen-bf16": Contender("ppgen, bf16 products", ours, {"precision": "bf16", **where}),
        "ppgen-centred": Contender("ppgen, centred", ours, {"centred": True, **where}),
        "eager": Contender("PyTorch eager, shortest loop", f"{BASE}.peers.reference_rbm:pcd_step", where),
    }
    targets = {} if cuda else {"eager": 0.85, "sklearn": 0.5, "rbms": 0.4}
    bf16 = {} if cuda else {"eager": 0.65}
    others = ["eager"]
    if not cuda:
        contenders |= {
            "sklearn": _peer("scikit-learn partial_fit", "peer_rbm:sklearn_step", "sklearn.neural_network"),
            "rbms": _peer("rbms, uncentred", "peer_rbm:rbms_step", "rbms.training.pcd"),
            "rbms-centred": _peer(
                "rbms, centred", "peer_rbm:rbms_step", "rbms.training.pcd", arguments={"centred": True}
            ),
            "learnergy": _peer("learnergy, CD-1", "peer_rbm:learnergy_step", "learnergy.models.bernoulli"),
        }
        others += ["sklearn", "rbms", "learnergy"]
    compared = [("ppgen", other, targets.get(other)) for other in others]
    compared += [("ppgen-bf16", other, bf16.get(other)) for other in others]
    compared += [("ppgen-centred", other, None) for other in ("eager", *(() if cuda else ("rbms-centred",)))]
    title = "RBM 784-500, PCD-1, batch 128, 128 chains, momentum"
    floor = floors.rbm(128, 128)
    return Row(_name("rbm", device), title, contenders, tuple(compared), floor, "eager", device=device)


def annealing(quick: bool, device: str) -> Row:
    """log Z of a random machine."""
    betas: int | str = 500 if quick else "salakhutdinov-2008"
    levels = 500 if quick else 14_500
    arguments = {"num_chains": 100, "betas": betas, "device": device}
    contenders = {
        "ppgen": Contender("ppgen", f"{BASE}.ours:annealing", arguments),
        "eager": Contender("PyTorch eager loop", f"{BASE}.peers.reference_rbm:annealing", arguments),
    }
    compared = (("ppgen", "eager", 0.5 if device == "cpu" else None),)
    title = f"AIS, 100 chains x {levels:,} betas, RBM 784-500"
    floor = floors.annealing(100, levels)
    return Row(
        _name("ais", device), title, contenders, compared, floor, "eager", "estimate", device=device, single=True
    )


def gibbs(quick: bool, device: str) -> Row:
    """Sweeps of many chains."""
    chains = 1_000 if quick else 10_000
    arguments = {"num_chains": chains, "device": device}
    contenders = {
        "ppgen": Contender("ppgen", f"{BASE}.ours:gibbs", arguments),
        "eager": Contender("PyTorch eager loop", f"{BASE}.peers.reference_rbm:gibbs", arguments),
    }
    title = f"Gibbs sweep of {chains:,} chains, RBM 784-500"
    share = None if device == "cpu" else 0.5
    return Row(
        _name("gibbs", device),
        title,
        contenders,
        (("ppgen", "eager", None),),
        floors.gibbs(chains),
        "eager",
        "sweep",
        device,
        share,
    )


def posteriors(quick: bool) -> Row:
    """Posteriors of a VAE by Hamiltonian Monte Carlo: all data at once, and one by one with NUTS."""
    rows, draws = (100, 30) if quick else (1000, 200)
    length = {"num_samples": draws, "warmup_steps": draws}
    contenders = {
        "ppgen": Contender("ppgen, all data at once", f"{BASE}.posteriors:batched", {"num_rows": rows, **length}),
        "pyro": Contender("Pyro NUTS, one datum at a time", f"{BASE}.posteriors:one_by_one", length),
    }
    title = f"HMC, posteriors of {rows:,} data under a VAE 64-64-8, {draws} draws after {draws} of warm-up"
    compared = (("ppgen", "pyro", 0.01),)
    return Row("posteriors", title, contenders, compared, None, step="effective sample", single=True)


def processes() -> Row:
    """The same batches shared by two processes of one thread, beside one process of two threads."""
    contenders = {
        "two": Contender("ppgen, two gloo processes of one thread", f"{BASE}.two_processes:vae_step"),
        "one": Contender("ppgen, one process of two threads", f"{BASE}.ours:vae_step"),
    }
    title = "VAE 784-200-200-50, ELBO, batch 128, Adam, in two processes"
    return Row("processes", title, contenders, (("two", "one", 1 / THROUGHPUT),), floors.vae(128))


def _directed(particles: int, batch_size: int, arguments: Mapping[str, Any]) -> dict[str, Contender]:
    ours, torch = f"{BASE}.ours:vae_step", f"{BASE}.peers.reference_vae:vae_step"
    arguments = {"particles": particles, "batch_size": batch_size, **arguments}
    estimator = "RenyiELBO, vectorised" if particles > 1 else "SVI"
    return {
        "ppgen": Contender("ppgen", ours, arguments),
        "ppgen-bf16": Contender("ppgen, bf16 products", ours, {"precision": "bf16", **arguments}),
        "pyro": _pyro(f"Pyro {estimator}", arguments),
        "eager": Contender("PyTorch eager", torch, arguments),
        "compiled": Contender("PyTorch compiled", torch, {"compiled": True, **arguments}),
        "numpyro": _peer("NumPyro, jit fori_loop", "peer_numpyro:vae_step", "numpyro", arguments=arguments),
    }


def _pyro(title: str, arguments: Mapping[str, Any]) -> Contender:
    return Contender(title, f"{BASE}.peers.peer_pyro:vae_step", arguments)


def _peer(title: str, target: str, *libraries: str, arguments: Mapping[str, Any] | None = None) -> Contender:
    return Contender(title, f"{BASE}.peers.{target}", arguments or {}, libraries, peers=True)


def _name(name: str, device: str) -> str:
    return name if device == "cpu" else f"{name}-{device}"
