"""A traced step does what the program does, is traced once a shape, and notices what a graph cannot hold."""

import dataclasses
import itertools
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

import ppgen
from ppgen import inference, models, registry
from ppgen.inference.structure.layout import DISCRETE
from ppgen.training.steps import execution, traced_step
from ppgen.training.steps.traced_step import TracedStep, UntraceableError

BITS = (torch.rand(40, 12, generator=torch.Generator().manual_seed(3)) < 0.3).float()
LABELS = torch.arange(40) % 3 - 1  # of two classes, with -1 where a row has none


def _inferences() -> list[tuple[type, tuple, object]]:
    """Every registered objective and algorithm on a VAE and a belief net, every negative phase on an RBM and a DBN."""
    cases: list[tuple[type, tuple, object]] = []
    for name in registry.OBJECTIVES:
        if registry.lookup("objective", name).exact:
            continue
        if registry.lookup("objective", name).compares_draws:
            cases.append((models.Generator, (12, 3, (5,)), registry.lookup("objective", name)()))
            continue
        cases.append((models.VAE, (12, 3, (5,)), registry.lookup("objective", name)(num_particles=3)))
        cases.append((models.HierarchicalVAE, (12, (4, 2), ((5,), (5,))), registry.lookup("objective", name)()))
        cases.append((models.SigmoidBeliefNet, ((12, 5, 3),), registry.lookup("objective", name)(num_particles=3)))
    for name in registry.ALGORITHMS:
        if registry.lookup("algorithm", name)().update is not None:
            continue  # in test_closed_form_runs.py, on pairs for it
        what = registry.lookup("algorithm", name)(num_particles=3)
        if what.label_weight:
            cases.append((models.SemiSupervisedVAE, (12, 2, 3, (5,)), what))
            continue
        cases.append((models.VAE, (12, 3, (5,)), what))
        if what.estimator == "auto" or type(what.estimator).supports(DISCRETE):
            cases.append((models.SigmoidBeliefNet, ((12, 5, 3),), what))
    net = nn.Sequential(nn.Linear(12, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1))
    cases.append((models.SigmoidBeliefNet, ((12, 5, 3),), inference.NVIL(2, net=net)))
    wake = inference.ReweightedWakeSleep(3, sleep=True)
    cases.append((models.VAE, (12, 3, (5,)), inference.Inference(wake, inference.DoublyReparameterized())))
    weighted = inference.ELBO(2, kl_weight=inference.Linear(steps=5), free_bits=0.1)
    cases.append((models.HierarchicalVAE, (12, (4, 2), ((5,), (5,))), weighted))
    for objective in (inference.ELBO(2), inference.MaximumLikelihood()):
        cases.append((models.SigmoidBeliefNet, ((12, 4, 2),), inference.Inference(objective, inference.Enumerate())))
    cases.append((models.ConvolutionalRBM, (12, 2, 1, 2, (2, 6)), inference.PCD(num_chains=5)))
    sparse = inference.ELBO(sparsity_target=0.1)
    cases.append((models.ConvolutionalRBM, (12, 2, 1, 2, (2, 6)), inference.Inference(sparse, "auto", inference.CD())))
    cases.append((models.ConvolutionalDBN, (12, (2, 2), (1, 1), (2, 1), (2, 6)), inference.PCD(num_chains=5)))
    dreaming = inference.Inference(inference.WakeSleep(), negative_phase=inference.CD())
    cases.append((models.ConvolutionalDBN, (12, (2, 2), (1, 1), (2, 1), (2, 6)), dreaming))
    exact = inference.Inference(inference.MaximumLikelihood(), negative_phase=inference.ExactPartition())
    cases.append((models.RBM, (12, 4), exact))
    for name in registry.NEGATIVE_PHASES:
        phase = registry.lookup("negative phase", name)()
        cases.append((models.RBM, (12, 4), phase))
        cases.append((models.ConvolutionalRBM, (12, 2, 2, 1, (3, 4)), phase))
        if phase.of_values:  # no phase for latent units
            continue
        sleeping = inference.Inference(inference.WakeSleep(), negative_phase=phase)
        cases.append((models.DBN, (12, (5, 4)), sleeping))
    return cases


def _bound(pair, what, batch: Tensor | tuple[Tensor, Tensor] = BITS) -> inference.BoundInference:
    if pair.has_likelihood:  # an implicit model has nothing to prepare
        pair.prepare(batch)
    bound = inference.resolve(what, pair).bind(pair, batch, len(BITS))
    bound.step(batch)  # makes chains and offsets
    return bound


@pytest.mark.parametrize(("cls", "arguments", "what"), _inferences(), ids=str)
def test_the_graph_is_the_program(cls, arguments, what, device) -> None:
    """Catches frozen random draws, lost state and gradients that tracing changes: bit for bit, three steps."""
    torch.manual_seed(1)
    pair, batch = cls(*arguments).to(device), BITS.to(device)
    if cls is models.SemiSupervisedVAE:
        batch = (batch, LABELS.to(device))
    bound = _bound(pair, what, batch)
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(batch) is None
    start, seeds = dict(bound.state), range(3)
    eager = []
    for seed in seeds:
        torch.manual_seed(seed)
        eager.append((bound.step(batch), dict(bound.state)))
    bound.load_state(start)
    for seed, (expected, state) in zip(seeds, eager, strict=True):
        torch.manual_seed(seed)
        result = traced(batch)
        assert torch.equal(result.value, expected.value)
        assert set(result.gradients) == set(expected.gradients)
        for name, gradient in expected.gradients.items():
            torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-6, atol=1e-7)
        for name, value in state.items():
            assert torch.equal(bound.state[name], value), name
    assert traced.num_traces == 1


def test_one_trace_a_shape_and_flag() -> None:
    """Catches a retrace at every step, and a graph of training mode run in evaluation mode."""
    pair = models.VAE(12, 3, (5,))
    bound = _bound(pair, "elbo")
    traced = TracedStep(bound, dict(pair.named_parameters()))
    for size in (40, 40, 7, 40, 7):
        traced(BITS[:size])
    assert traced.num_traces == 2
    pair.eval()
    traced(BITS)
    assert traced.num_traces == 3


def test_tracing_disturbs_nothing() -> None:
    """Catches tracing, checking or compiling that draws from the stream or moves the chains."""
    pair = models.RBM(12, 4)
    bound = _bound(pair, "pcd")
    before, random = dict(bound.state), torch.get_rng_state()
    traced = TracedStep(bound, dict(pair.named_parameters()))
    traced.graph(BITS)
    traced.check(BITS)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(bound.state[name] is value for name, value in before.items())
    assert bound.chain_free_energies().shape == (100,)  # and no tensor of the trace is left behind


class _Annealed(ppgen.GenerativeModel):
    """Has a KL weight that is a Python number, which a graph freezes."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(12))
        self.beta = 1.0

    @pyro.nn.module.pyro_method
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            with pyro.poutine.scale(scale=self.beta):
                z = pyro.sample("z", dist.Normal(torch.zeros(12), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z + self.loc, 1.0).to_event(1), obs=x)

    @pyro.nn.module.pyro_method
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + 1, 0.7).to_event(1))


def test_changed_python_state_is_caught() -> None:
    """Catches an annealing factor that stays at its first value because it is a Python number."""
    pair = _Annealed()
    bound = _bound(pair, "elbo")
    traced = TracedStep(bound, dict(pair.named_parameters()))
    assert traced.check(BITS) is None
    pair.beta = 0.1
    assert "value" in str(traced.check(BITS))
    runner = execution.Execution(bound, dict(pair.named_parameters()))
    runner.traced, runner.stage = traced, "graph"
    with pytest.warns(UserWarning, match="Python state"):
        runner.begin_epoch(BITS)
    assert runner.stage == "eager"


def test_a_tensor_that_wants_a_gradient_raises() -> None:
    """Catches a weight in a closure, which a graph would freeze and never train."""
    weight = torch.zeros(12, requires_grad=True)

    def model(x: Tensor) -> None:
        scale = pyro.param("scale", torch.tensor(1.0), constraint=dist.constraints.positive)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(weight, scale).to_event(1), obs=x)

    pair = ppgen.Pair(model, lambda x: None)
    bound = _bound(pair, "elbo")
    with pytest.raises(ValueError, match="no parameter of the pair"):
        TracedStep(bound, dict(pair.named_parameters())).graph(BITS)


def test_what_cannot_be_traced_runs_eagerly_with_one_warning() -> None:
    """Catches a branch on a tensor's value that is frozen without a word."""

    class Branching(_Annealed):
        @pyro.nn.module.pyro_method
        def guide(self, x: Tensor) -> None:
            shift = 1.0 if x.mean().item() > 0.1 else 0.0
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x / 2 + shift, 0.7).to_event(1))

    pair = Branching()
    bound = _bound(pair, "elbo")
    with pytest.raises(UntraceableError, match=r"value of a tensor in `shift = .*` \(test_traced_step.py, line"):
        TracedStep(bound, dict(pair.named_parameters())).graph(BITS)
    with pytest.warns(UserWarning, match="cannot be traced") as caught:
        run = ppgen.fit(pair, BITS, "elbo", steps=5, compile=True, progress=False)
    assert len(caught) == 1
    assert run.state["execution"]["stage"] == "eager"


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        ({"eager": 1.0, "graph": 1.05, "compiled": 0.7}, "compiled"),
        ({"eager": 1.0, "graph": 0.9, "compiled": 1.3}, "graph"),
        ({"eager": 1.0, "graph": 1.2, "compiled": 1.1}, "eager"),
    ],
)
def test_the_fastest_way_is_kept_of_all_that_pay_to_try(seconds, kept, monkeypatch) -> None:
    """Catches a graph as slow as the program that keeps its code from being tried; and a burst of other load."""
    runner = execution.Execution(None, {}, clock=lambda: next(ticks))

    def passing():
        now = 0.0
        for count in itertools.count():
            yield now
            now += seconds[runner.stage] * (5.0 if count % 7 < 2 else 1.0)  # most steps are disturbed

    ticks = passing()
    monkeypatch.setattr(runner, "_go", lambda stage, batch: setattr(runner, "stage", stage))
    monkeypatch.setattr(runner, "_execute", lambda batch: None)
    for _ in range(100):
        runner.step(BITS, remaining=10**6)
    assert runner.settled and runner.stage == kept
    assert runner.step_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("what", ["iwae", "pcd"])
def test_a_run_by_graph_equals_an_eager_one(what, monkeypatch) -> None:
    """Catches a ragged last batch, a schedule or a check that a traced run treats otherwise: equal weights."""
    monkeypatch.setattr(execution, "TRACE_SECONDS", 0.0)
    monkeypatch.setattr(execution, "COMPILE_SECONDS", float("inf"))
    monkeypatch.setattr(execution, "MEASURED", 3)
    weights = []
    for compile in (False, "auto"):
        torch.manual_seed(5)
        pair = models.VAE(12, 3, (5,)) if what == "iwae" else models.RBM(12, 4)
        run = ppgen.fit(pair, BITS, what, epochs=12, batch_size=16, compile=compile, progress=False)
        weights.append(list(pair.state_dict().values()))
    assert "graph" in run.state["execution"]["step_seconds"]
    for eager, traced in zip(*weights, strict=True):
        torch.testing.assert_close(traced, eager, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_inductor_gives_the_same_gradients() -> None:
    """Catches a compiled step that drops or mixes up outputs; the same uniforms, all of them drawn."""
    pair = models.RBM(12, 4)
    bound = _bound(pair, "pcd")
    traced = TracedStep(bound, dict(pair.named_parameters()))
    traced.faithful = True
    with torch._inductor.config.patch(fallback_random=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        traced.compile(BITS)
        start = dict(bound.state)
        torch.manual_seed(0)
        expected = bound.step(BITS)
        bound.load_state(start)
        torch.manual_seed(0)
        result = traced(BITS, compiled=True)
    torch.testing.assert_close(result.value, expected.value)
    for name, gradient in expected.gradients.items():
        torch.testing.assert_close(result.gradients[name], gradient, rtol=1e-4, atol=1e-6)


class _Mean(nn.Module):
    """Mean of the data: a weight under two names, the second one in a list too, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 1, bias=False), nn.Linear(12, 1, bias=False)
        self.second.weight = self.first.weight
        self.listed = [self.first.weight]
        self.through_list = False
        self.factor = 1.0
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def model(self, x: Tensor) -> None:
        pyro.module("mean", self)
        self.count.add_(1)
        weight = self.listed[0] if self.through_list else self.second.weight
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(self.factor * (self.first.weight + weight)[0], 1.0).to_event(1), obs=x)

    def pair(self) -> ppgen.Pair:
        return ppgen.Pair(self.model, lambda x: None)


def test_a_weight_under_two_names_is_one_parameter() -> None:
    """Catches tied weights that are refused as foreign tensors, and modules left with tensors of the trace."""
    mean = _Mean()
    bound = _bound(mean.pair(), "elbo")
    traced = TracedStep(bound, dict(bound.pair.named_parameters()))
    assert traced.check(BITS) is None
    assert mean.first.weight is mean.second.weight
    assert isinstance(mean.first.weight, nn.Parameter)
    assert type(mean.first.weight.data) is Tensor


def test_a_parameter_read_from_a_list_runs_eagerly() -> None:
    """Catches a program that trains eagerly and stops with an error as soon as it is traced."""
    mean = _Mean()
    mean.through_list = True
    with pytest.warns(UserWarning, match="first.weight' is read from a closure or a list"):
        run = ppgen.fit(mean.pair(), BITS, "elbo", steps=4, compile=True, progress=False)
    assert run.state["execution"]["stage"] == "eager"


def test_tracing_counts_nothing(monkeypatch) -> None:
    """Catches a buffer that counts steps and is moved by tracing or compiling as well."""
    monkeypatch.setattr(traced_step, "compiled", lambda program, inputs, **options: program(*inputs) and _no_code)
    mean = _Mean()
    bound = _bound(mean.pair(), "elbo")
    before = int(mean.count)
    traced = TracedStep(bound, dict(bound.pair.named_parameters()))
    traced.graph(BITS)
    assert int(mean.count) == before
    traced.compile(BITS)
    assert int(mean.count) == before


def _no_code(*arguments) -> list[Tensor]:
    return [torch.zeros(())]


def test_an_inference_that_holds_a_list_can_be_traced() -> None:
    """Catches a user's own objective that runs eagerly and stops with an error as soon as it is traced."""

    @dataclasses.dataclass(frozen=True)
    class Own(inference.ELBO):
        weights: list[float] = dataclasses.field(default_factory=list)

    pair = models.VAE(12, 3, (5,))
    traced = TracedStep(_bound(pair, Own()), dict(pair.named_parameters()))
    traced(BITS)
    traced(BITS)
    assert traced.num_traces == 1


def test_python_state_is_caught_in_runs_of_one_batch_an_epoch(monkeypatch) -> None:
    """Catches comparisons that are made for full batches only, where all rows are fewer than that."""
    monkeypatch.setattr(execution, "TRACE_SECONDS", 0.0)
    monkeypatch.setattr(execution, "COMPILE_SECONDS", float("inf"))
    monkeypatch.setattr(execution, "MEASURED", 3)
    monkeypatch.setattr(execution, "CHECK_STEPS", 1)
    monkeypatch.setattr(execution.Execution, "_consider", lambda self, batch, remaining: self._go("graph", batch))
    mean = _Mean()

    def change(event) -> None:
        if event.kind == "epoch" and event.epoch == 8:
            mean.factor = 2.0

    with pytest.warns(UserWarning, match="Python state"):
        ppgen.fit(mean.pair(), BITS, "elbo", epochs=12, batch_size=128, callbacks=[change], progress=False)


def test_a_run_that_was_left_after_one_step_goes_on_compiled(monkeypatch) -> None:
    """Catches a resumed run whose second step is eager, where that of an uninterrupted one is compiled."""
    gone = []
    mean = _Mean()
    bound = _bound(mean.pair(), "elbo")
    runner = execution.Execution(bound, dict(bound.pair.named_parameters()), compile=True)
    monkeypatch.setattr(runner, "_go", lambda stage, batch: gone.append(stage))
    runner.restore("eager", 1)
    runner.step(BITS, 5)
    assert gone == ["compiled"]
