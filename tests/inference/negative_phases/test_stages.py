"""Gibbs sweeps whose number grows in stages: the sweeps are made, in every way in which a step is executed."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pyro.infer import SVI
from pyro.optim import SGD
from torch import Tensor

import ppgen
from ppgen import inference, models
from ppgen.commands import fit
from ppgen.training.steps import execution
from ppgen.training.steps.execution import Execution
from ppgen.training.steps.traced_step import TracedStep

BITS = (torch.rand(40, 12, generator=torch.Generator().manual_seed(3)) < 0.3).float()
TABLE = {0: 1, 2: 3, 4: 2}
PHASES = {
    "cd": (inference.CD, {}),
    "pcd": (inference.PCD, {"num_chains": 6}),
    "tempered": (inference.TemperedPCD, {"num_chains": 6, "num_temperatures": 3}),
}


def bound_to(pair: Any, phase: Any) -> inference.BoundInference:
    pair.prepare(BITS)
    return inference.resolve(phase, pair).bind(pair, BITS, len(BITS))


def products(graph: Any) -> int:
    """Matrix products of a traced step."""
    names = ("mm", "addmm", "bmm")
    return sum(getattr(node.target, "_opname", "") in names for node in graph.module.graph.nodes)


@pytest.mark.parametrize("name", PHASES)
@pytest.mark.parametrize("way", ["eager", "graph"])
def test_each_stage_makes_its_sweeps(name: str, way: str) -> None:
    """Catches a number of sweeps that a graph freezes, that moves a step early or late, or that nobody reads."""
    cls, options = PHASES[name]
    pair = models.RBM(12, 4)
    staged = bound_to(pair, cls(k=TABLE, **options))
    traced = TracedStep(staged, dict(pair.named_parameters()))
    fixed = {k: bound_to(pair, cls(k=k, **options)) for k in (1, 2, 3)}
    state: dict[str, Tensor] = {}
    for step in range(6):
        k = inference.Stages(TABLE).at(step)
        fixed[int(k)].load_state(state)
        torch.manual_seed(step)
        expected = fixed[int(k)].step(BITS)
        torch.manual_seed(step)
        found = traced(BITS) if way == "graph" and step else staged.step(BITS)
        for parameter, gradient in expected.gradients.items():
            torch.testing.assert_close(found.gradients[parameter], gradient, rtol=1e-6, atol=1e-7)
        state = fixed[int(k)].state
        for key, value in state.items():
            assert torch.equal(staged.state[key], value), (step, key)
    assert int(staged.state["negative_phase.steps"]) == 6
    if way == "graph":
        assert traced.num_traces == 3
        assert traced.check(BITS) is None
        few, many, middle = (products(graph) for graph in traced.graphs.values())
        assert many - middle == middle - few > 0


def test_stages_go_on_where_a_state_left_off() -> None:
    """Catches a count of steps that is lost with the state, or moved by tracing, checking or looking at a value."""
    pair = models.RBM(12, 4)
    first, second = (bound_to(pair, inference.PCD(k=TABLE, num_chains=6)) for _ in range(2))
    for _ in range(3):
        first.step(BITS)
    traced = TracedStep(first, dict(pair.named_parameters()))
    traced.graph(BITS)
    traced.check(BITS)
    first.value(BITS)
    assert [phase.k for phase in first.phases.values()] == [3] and first.until_change() == 1
    second.load_state(first.state)
    for bound in (first, second):
        torch.manual_seed(0)
        bound.step(BITS)
    assert all(torch.equal(first.state[key], value) for key, value in second.state.items())
    assert [phase.k for phase in second.phases.values()] == [2] and second.until_change() == float("inf")
    second.load_state({})
    assert [phase.k for phase in second.phases.values()] == [1]


def test_a_second_fit_goes_on_in_the_stage_it_had_reached() -> None:
    """Catches a schedule that begins anew although the chains go on."""
    pair = models.RBM(12, 4)
    for steps, expected in ((3, 3), (2, 5)):
        ends = pytest.warns(UserWarning, match="ends after 5 steps") if steps == 3 else contextlib.nullcontext()
        with ends:
            run = ppgen.fit(pair, BITS, inference.CD(k=TABLE), steps=steps, batch_size=20, progress=False)
        assert int(run.inference_state["negative_phase.steps"]) == expected


@pytest.mark.uses_pyro_store
def test_svi_counts_its_own_steps() -> None:
    """Catches a schedule that stands still under `pyro.infer.SVI`, or that looking at the loss moves."""
    pair, phase = models.RBM(12, 4), inference.CD(k=TABLE)
    svi = SVI(pair.model, pair.guide, SGD({"lr": 1e-4}), loss=phase)
    seen = []
    for _ in range(4):
        svi.step(BITS)
        svi.evaluate_loss(BITS)
        with phase._bound(pair.model, pair.guide, (BITS,), {}) as (bound, _):
            seen.append([each.k for each in bound.phases.values()][0])
    assert seen == [1, 3, 3, 2]
    module = phase(pair.model, pair.guide)
    for _ in range(2):
        module(BITS).backward()
    assert [each.k for each in module._bound.phases.values()] == [3]


def test_every_stage_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches machine code of the first stage that runs on in the next, or a next stage that is left uncompiled."""
    weights, runs, made = [], [], []
    monkeypatch.setattr(TracedStep, "faithful", True)
    monkeypatch.setattr(TracedStep, "compile", lambda self, batch: made.append(self) or compile_step(self, batch))
    with torch._inductor.config.patch(fallback_random=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler's own imports
        for compile in (False, True):
            torch.manual_seed(5)
            pair = models.RBM(12, 4)
            phase = inference.CD(k={0: 1, 4: 2})
            runs.append(ppgen.fit(pair, BITS, phase, epochs=4, batch_size=20, compile=compile, progress=False))
            weights.append(list(pair.state_dict().values()))
    assert runs[1].state["execution"]["stage"] == "compiled"
    assert len(made) == 2 and all(graph.compiled is not None for graph in made[0].graphs.values())
    for eager, compiled in zip(*weights, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-5, equal_nan=True)


compile_step = TracedStep.compile


def test_short_stages_are_not_compiled_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches minutes of compiling for a stage of a few steps, and a long one that stays uncompiled."""
    pair = models.RBM(12, 4)
    bound = bound_to(pair, inference.CD(k={0: 1, 2: 2, 5: 3, 1000: 4}))
    runner = Execution(bound, dict(pair.named_parameters()))
    gone: list[int] = []
    monkeypatch.setattr(runner, "_go", lambda stage, batch: gone.append(runner._taken))
    bound.step(BITS)
    runner.stage, runner.settled = "compiled", True
    runner.step_seconds, runner.costs, runner._codes = {"graph": 2.0, "compiled": 1.0}, {"compile_seconds": 10.0}, 1
    runner._phases = bound.phases
    for _ in range(6):
        runner.step(BITS, remaining=500)
    assert gone[0] == 5 and not set(gone) & {2, 3, 4}  # bound was one step ahead: stages begin at 2 and 5
    gone.clear()
    runner._phases = None
    runner.step(BITS, remaining=9)  # nothing that can be won back before the run ends
    assert gone == []


def test_what_was_measured_in_one_stage_decides_nothing_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a graph of five sweeps that is dropped because a step of one sweep took less time without it."""
    monkeypatch.setattr(execution, "MEASURED", 3)
    pair = models.RBM(12, 4)
    bound = bound_to(pair, inference.CD(k={0: 1, 6: 2}))
    runner = Execution(bound, dict(pair.named_parameters()))
    decided: list[int] = []
    monkeypatch.setattr(runner, "_consider", lambda batch, remaining: decided.append(runner._taken))
    for _ in range(8):
        runner.step(BITS, remaining=10**6)
    assert 7 not in decided and len(runner._times) == 2


def test_a_schedule_is_a_number_and_a_tensor() -> None:
    """Catches a table that is read off by one, in Python or in a graph."""
    stages = inference.Stages([(0, 1), ("3", 0.5)])
    expected = [1, 1, 1, 0.5, 0.5]
    assert [stages.at(step) for step in range(5)] == expected
    assert stages.value(torch.arange(5.0)).tolist() == expected
    assert stages == inference.Stages({0: 1, 3: 0.5}) and repr(stages) == "Stages({0: 1, 3: 0.5})"
    assert inference.ELBO(kl_weight=stages).kl_weight == stages


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: inference.Stages({}), "begin with 0"),
        (lambda: inference.Stages({1: 2}), r"begin with 0 and rise.*got \[1\]"),
        (lambda: inference.Stages([(0, 1), (5, 2), (3, 1)]), "rise"),
        (lambda: inference.Stages({0: 1, 2.5: 2}), "such as {0: 1, 1000: 5}"),
        (lambda: inference.Stages(5), "such as {0: 1, 1000: 5}, got 5"),
        (lambda: inference.Stages({0: -1}), "at least 0, got -1"),
        (lambda: inference.CD(k={0: 0}), "at least 1, got 0"),
        (lambda: inference.CD(k={0: 1, 9: 1.5}), "at least 1, got 1.5"),
        (lambda: inference.CD(k=True), "at least 1, got True"),
        (lambda: inference.PCD(k=inference.Linear(9)), r"k cannot follow Linear.*inference.Stages"),
    ],
)
def test_wrong_stages_are_refused(make: Any, message: str) -> None:
    """Catches a table that is wrong and seen only when its step comes."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_phase_of_unknown_step_makes_no_sweeps() -> None:
    """Catches stages that are taken for their first number where nobody counts steps."""
    phase = inference.CD(k=TABLE)
    law = models.RBM(12, 4).machine().marginal("visible")
    with pytest.raises(TypeError, match=r"CD makes Stages.* sweeps: say at which step"):
        phase.surrogate(law, BITS, {})


def test_stages_on_the_command_line(tmp_path: Path) -> None:
    """Catches a schedule that only Python can give, and one that makes `--negative-phase.k 5` unreadable."""
    path = tmp_path / "run.yaml"
    config = {"model": "RBM", "hidden": 3, "data": "digits", "inference": {"name": "CD", "k": {0: 1, 10: 3}}}
    path.write_text(yaml.safe_dump(config))
    for _ in range(2):
        command = fit.read(["--config", str(path)])
        assert command.parts.build(command.values, models.RBM(64, 3)).negative_phase == inference.CD(k={0: 1, 10: 3})
        path.write_text(yaml.safe_dump(command.values))  # as a run records its options
    line = "RBM --hidden 3 --data digits --inference elbo --negative-phase cd --negative-phase.k".split()
    for written, expected in (("5", 5), ("{0: 1, 10: 3}", inference.Stages({0: 1, 10: 3}))):
        command = fit.read([*line, written])
        assert command.parts.build(command.values, models.RBM(64, 3)).negative_phase.k == expected
