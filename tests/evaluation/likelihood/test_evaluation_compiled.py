"""Log-likelihoods by machine code: the same estimates as the program's, in blocks of one shape."""

import warnings
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import ppgen
from ppgen import evaluation, inference, models
from ppgen.evaluation.likelihood import compiled_weights as compiled_module
from ppgen.evaluation.likelihood.compiled_weights import compiled_log_weights, traced
from ppgen.evaluation.likelihood.importance import summarise
from ppgen.evaluation.per_datum import PerDatum
from ppgen.graphs import compiler
from ppgen.graphs.draws import vectorised_draws
from ppgen.graphs.passes import functional

LOGITS = torch.tensor([0.5, -1.0, 0.2])
LOADINGS = torch.tensor([[1.5, -2.0, 0.3, 1.0], [-1.0, 0.5, 2.0, 0.1], [0.7, 1.2, -0.4, -1.5]])
BITS = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)


class Bits:
    """Three bits, four observed bits; the guide has other logits, which depend on the data."""

    def __init__(self) -> None:
        self.shapes: list[torch.Size] = []

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(logits=LOGITS).to_event(1))
            self.shapes.append(z.shape)
            pyro.sample("x", dist.Bernoulli(logits=z @ LOADINGS - 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=0.4 * (x - 0.5) @ LOADINGS.T).to_event(1))

    def pair(self) -> ppgen.Pair:
        return ppgen.Pair(self.model, self.guide)


def bits(rows: int) -> Tensor:
    return (torch.rand(rows, 4, generator=torch.Generator().manual_seed(1)) < 0.6).float()


def exact(x: Tensor) -> np.ndarray:
    """log p(x) of each row by enumeration."""
    prior = dist.Bernoulli(logits=LOGITS).log_prob(BITS).sum(-1)
    likelihood = dist.Bernoulli(logits=BITS @ LOADINGS - 0.5).log_prob(x[:, None]).sum(-1)
    return (prior + likelihood).logsumexp(-1).numpy()


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """Runs graphs as they are instead of compiling them; the list of graphs."""
    graphs: list[torch.fx.GraphModule] = []

    def compiled(graph: Any, leaves: Any) -> Any:
        graphs.append(graph)
        return lambda *arguments: [graph(*tree_leaves(arguments))]

    monkeypatch.setattr(compiler, "compiled", compiled)
    return graphs


def test_machine_code_gives_the_likelihood_that_enumeration_gives() -> None:
    """Catches draws that repeat from block to block, a ragged block lost or mixed up, and a program run for every
    block."""
    program, x = Bits(), bits(7)
    torch.manual_seed(8)
    before = torch.get_rng_state()
    found = evaluation.log_likelihood(program.pair(), x, num_particles=400, chunk=1000, seed=3, compile=True)
    assert torch.equal(torch.get_rng_state(), before)
    error = found.per_datum["log_likelihood"] - exact(x)
    assert (abs(error) < 4 * found.per_datum["se"]).all()
    assert len(set(found.per_datum["log_likelihood"])) > 3
    # Two rows at once while it is traced and compared with its graph, then only the last row alone.
    assert [shape for shape in program.shapes if shape[0] == 400] == [(400, 2, 3), (400, 2, 3), (400, 1, 3)]


def test_machine_code_is_the_graph_of_the_program() -> None:
    """Catches outputs dropped or mixed up, rows frozen into the code, draws that are not those of the key, and a
    compilation that moves the random state."""
    torch.manual_seed(4)
    pair, first, second = Bits().pair(), bits(2), 1 - bits(2)
    layout = inference.find_layout(pair, first)
    state = torch.get_rng_state()
    with pyro.validation_enabled(False):
        run = compiled_log_weights(pair, first, 600, layout)
        assert torch.equal(torch.get_rng_state(), state)
        graph = traced(lambda x: inference.log_weights(pair, x, 600, layout=layout).local, [first])
    assert run is not None
    redrawn = vectorised_draws(functional(graph, [first]), [first])
    for seed, batch in enumerate((first, second, second)):
        torch.manual_seed(seed)
        expected = redrawn(batch)
        torch.manual_seed(seed)
        torch.testing.assert_close(run(batch), expected)
    assert not torch.equal(run(second), run(second))


@pytest.mark.parametrize(("num_particles", "chunk"), [(51, 30), (51, 10), (51, 1), (50, 120), (50, 1000)])
def test_blocks_keep_every_particle_and_row(
    uncompiled: list, monkeypatch: pytest.MonkeyPatch, num_particles: int, chunk: int
) -> None:
    """Catches parts of unequal size that would run eagerly, particles too many or too few, a chunk that is no bound,
    and rows out of order."""
    torch.manual_seed(0)
    pair, x = Bits().pair(), bits(5)
    summarised: list[torch.Size] = []

    def recorded(log_weights: Tensor, pareto: bool) -> PerDatum:
        summarised.append(log_weights.shape)
        return summarise(log_weights, pareto=pareto)

    with monkeypatch.context() as patched:
        patched.setattr("ppgen.evaluation.likelihood.importance.summarise", recorded)
        found = evaluation.log_likelihood(pair, x, num_particles=num_particles, chunk=chunk, compile=True)
    assert {particles for particles, _ in summarised} == {num_particles}
    assert sum(rows for _, rows in summarised) == 5
    eager = evaluation.log_likelihood(pair, x, num_particles=4000, seed=1, compile=False)
    spread = np.hypot(found.per_datum["se"], eager.per_datum["se"])
    assert (abs(found.per_datum["log_likelihood"] - eager.per_datum["log_likelihood"]) < 4.5 * spread).all()
    assert f"K={num_particles})" in found.method
    assert len(uncompiled) == 1
    sizes = {node.meta["val"].shape for node in uncompiled[0].graph.nodes if node.op == "output" for node in node.args}
    ((particles, rows),) = sizes
    assert particles * rows <= max(chunk, 1)
    assert particles == -(-num_particles // -(-num_particles // chunk))


def test_every_kind_of_pair_and_data(uncompiled: list) -> None:
    """Catches tuples and mappings taken apart wrongly, log Z left out of the graph, another dtype, and a pair that
    cannot broadcast traced for all particles at once."""
    warnings.simplefilter("error")
    torch.manual_seed(1)
    x = bits(6)

    def model(shift, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.sum(-1) + 2 * shift, 0.5), obs=x)

    def guide(shift, x):
        with pyro.plate("data", len(x)):
            mean = ((x - 2 * shift) / 2.25)[..., None] * x.new_ones(2)
            pyro.sample("z", dist.Normal(mean, 0.9).to_event(1))

    shift, y = torch.linspace(-3, 3, 6).double(), torch.linspace(2, -1, 6).double()
    truth = dist.Normal(2 * shift, 1.5).log_prob(y).numpy()
    for data in ((shift, y), {"x": y, "shift": shift}):
        found = evaluation.log_likelihood(ppgen.Pair(model, guide), data, num_particles=500, compile=True)
        assert (abs(found.per_datum["log_likelihood"] - truth) < 4.5 * found.per_datum["se"]).all()
    rbm = models.RBM.from_arrays(LOADINGS.T.double().numpy(), np.zeros(4), np.ones(3))
    expected = evaluation.log_likelihood(rbm, x, compile=False).value
    for method in ("exact", "importance"):
        found = evaluation.log_likelihood(rbm, x, method=method, num_particles=9, compile=True)
        assert found.value == pytest.approx(expected, abs=1e-9)
    program = Bits()
    found = evaluation.log_likelihood(program.pair(), x, num_particles=90, vectorize_particles=False, compile=True)
    assert (abs(found.per_datum["log_likelihood"] - exact(x)) < 4.5 * found.per_datum["se"]).all()
    assert {shape[1:] for shape in program.shapes} == {(3,)}
    assert len(uncompiled) == 5


def branching(x):
    """A model that asks for the value of a tensor, which a graph has none of."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0 if z.isfinite().all() else 1.5), obs=x[..., 0])


def with_numpy(x):
    """A model whose numbers NumPy draws: frozen into a graph, they would be the same in every block."""
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(float(np.random.default_rng().random()), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x[..., 0])


def simple_guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("model", "message"), [(branching, "GuardOnDataDependent|DataDependent"), (with_numpy, "gives other")]
)
def test_what_no_graph_can_hold_is_said_once_and_runs_eagerly(model: Any, message: str) -> None:
    """Catches a crash, silence, a warning for every block, and wrong numbers from a frozen program."""
    pair, x = ppgen.Pair(model, simple_guide), bits(5)
    with pytest.warns(UserWarning, match=f"Importance sampling could not be compiled.*({message})") as warned:
        found = evaluation.log_likelihood(pair, x, num_particles=20, chunk=40, compile=True)
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert np.isfinite(found.value)


def test_without_a_compiler_the_numbers_are_those_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a failed compilation that moves the random state, and one that is tried again for each block."""

    def broken(*_: Any) -> None:
        torch.rand(3)
        raise RuntimeError("no C++ compiler\nlong story")

    monkeypatch.setattr(compiler, "compiled", broken)
    pair, x = Bits().pair(), bits(5)
    with pytest.warns(UserWarning, match="runs eagerly: RuntimeError: no C.. compiler$") as warned:
        found = evaluation.log_likelihood(pair, x, num_particles=20, chunk=40, compile=True)
    assert len(warned) == 1
    assert found.value == evaluation.log_likelihood(pair, x, num_particles=20, chunk=40, compile=False).value


def test_only_long_runs_of_large_pairs_are_compiled(uncompiled: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a rule that leaves out the data, the particles or the size of the pair."""
    vae = models.VAE(features=4, latent=2, hidden=(3,))
    size = sum(parameter.numel() for parameter in vae.parameters())
    monkeypatch.setattr(compiled_module, "WORTH_COMPILING", 5 * 10 * size)
    for rows, particles, expected in ((5, 9, 0), (4, 10, 0), (5, 10, 1)):
        evaluation.log_likelihood(vae, bits(rows), num_particles=particles)
        assert len(uncompiled) == expected
    with pytest.raises(ValueError, match="compile must be True, False or \"auto\", got 'always'"):
        evaluation.log_likelihood(vae, bits(2), compile="always")  # type: ignore[arg-type]
