"""Runs whose parameters are set in closed form: killed and resumed, traced and compiled, gone on from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from closed_form_pairs import Dictionary, FactorAnalysis
from torch.utils._pytree import tree_leaves

import ppgen
from ppgen import inference
from ppgen.testing.mixtures import mixture_pair, two_clusters
from ppgen.training.steps import traced_step
from ppgen.training.steps.traced_step import TracedStep

CASES: dict[str, Any] = {
    "mixture": (mixture_pair, 2, {}),
    "beside a gradient": (lambda: FactorAnalysis(3, 1, encoder=True), 3, {"lr": 0.01, "clip_norm": 1.0}),
    "reseeded": (lambda: Dictionary(3, 4), 3, {"restore_best": True}),
}
OPTIONS: dict[str, Any] = {"batch_size": 16, "epochs": 3, "seed": 3, "progress": False}


class KilledError(Exception):
    """In the middle of an epoch."""


def killed(event: Any) -> None:
    if event.kind == "checkpoint" and event.step == 6:
        raise KilledError


def all_of(run: Any) -> dict[str, Any]:
    metrics = [{name: value for name, value in row.items() if name != "seconds"} for row in run.metrics]
    return {**run.pair.state_dict(), **(run.inference_state or {}), "metrics": metrics}


def same(first: Any, second: Any) -> None:
    found, expected = all_of(first), all_of(second)
    assert set(found) == set(expected) and found.pop("metrics") == expected.pop("metrics")
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_killed_in_an_epoch_and_resumed_is_bit_for_bit_the_same(case: str, tmp_path: Path) -> None:
    """Catches statistics, their count or candidates that a checkpoint does not hold."""
    make, features, own = CASES[case]
    x = two_clusters(40, features)
    whole = ppgen.fit(make(), x, "alternating", **OPTIONS, **own)
    folder: dict[str, Any] = {"folder": tmp_path, "checkpoint_minutes": 0}
    with pytest.raises(KilledError):
        ppgen.fit(make(), x, "alternating", callbacks=[killed], **folder, **OPTIONS, **own)
    other = make()
    for value in other.parameters():
        value.data.add_(0.1)
    resumed = ppgen.fit(other, x, "alternating", resume=True, **folder, **OPTIONS, **own)
    same(resumed, whole)
    assert ("lr" in whole.metrics[0]) == ("lr" in own)
    if not own.get("lr"):
        assert whole.config["training"]["optimizer"] == {"name": "none"} and whole.config["training"]["lr"] is None
    assert int(whole.inference_state["update.steps"]) == 9
    with pytest.raises(ValueError, match="inference"):
        ppgen.fit(make(), x, inference.Alternating(0.9), resume=True, **folder, **OPTIONS, **own)


@pytest.mark.parametrize("case", CASES)
def test_traced_steps_are_those_of_the_program(case: str) -> None:
    """Catches a step size or a statistic that a graph freezes: then its state is another from the second step on."""
    make, features, _ = CASES[case]
    x, pairs = two_clusters(40, features), [make(), make()]
    bounds = [inference.Alternating().bind(pair, x[:16], 40) for pair in pairs]
    step = TracedStep(bounds[1], dict(pairs[1].named_parameters()))
    for turn in range(4):
        rows = x[8 * turn : 8 * turn + 16]
        values = []
        for bound, take in zip(bounds, (bounds[0].step, step if turn else bounds[1].step), strict=True):
            torch.manual_seed(turn)
            values.append(take(rows).value)
            bound.maximise()
        torch.testing.assert_close(values[1], values[0], rtol=1e-12, atol=1e-12)
    assert step.num_traces == 1
    for name, value in bounds[0].state.items():
        torch.testing.assert_close(bounds[1].state[name], value, rtol=1e-12, atol=1e-12, msg=name)
    for (name, value), other in zip(pairs[0].named_parameters(), pairs[1].parameters(), strict=True):
        torch.testing.assert_close(other, value, rtol=1e-12, atol=1e-12, msg=name)
    assert step.check(x[:16]) is None


class Counting(FactorAnalysis):
    """Statistics that depend on how often they were asked for."""

    asked = 0

    def sufficient_statistics(self, guide: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.asked += 1
        found = super().sufficient_statistics(guide, x)
        return {name: value * (1 + 0.01 * self.asked) for name, value in found.items()}


def test_statistics_that_a_graph_freezes_are_noticed() -> None:
    """Catches a comparison of graph and program that looks at values and gradients only."""
    pair, x = Counting(3, 1), two_clusters(40, 3)
    bound = inference.Alternating().bind(pair, x[:16], 40)
    bound.step(x[:16])
    assert "the state 'statistics." in str(TracedStep(bound, dict(pair.named_parameters())).check(x[:16]))


def test_compiled_steps_are_those_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a step with the optimiser in it that leaves out statistics, or after which nothing is set."""

    def as_it_is(program: Any, inputs: Any, **options: Any) -> Any:  # machine code takes half a minute
        return lambda *arguments: tree_leaves(program(*arguments))

    monkeypatch.setattr(traced_step, "compiled", as_it_is)
    make, features, own = CASES["beside a gradient"]
    x = two_clusters(40, features)
    runs = []
    for compiled in (False, True):
        runs.append(ppgen.fit(make(), x, "alternating", compile=compiled, **OPTIONS, **own))
    assert runs[1].state["execution"]["stage"] == "compiled"
    states = [run.pair.state_dict() | run.inference_state for run in runs]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_a_second_fit_goes_on_from_the_statistics() -> None:
    """Catches averages that begin anew with one batch, which throw away what was learned."""
    x, pair = two_clusters(40, 2), mixture_pair()
    first = ppgen.fit(pair, x, "alternating", **OPTIONS)
    second = ppgen.fit(pair, x, "alternating", **OPTIONS)
    assert int(pair.inference_state["update.steps"]) == 18
    assert second.curve("train_value")[0] > first.curve("train_value")[0]
    ppgen.fit(pair, x, "elbo", lr=0.01, **OPTIONS)  # and a gradient takes over
    assert pair.inference_state is None or "update.steps" not in pair.inference_state


@pytest.mark.parametrize("case", CASES)
def test_a_fit_to_other_data_gathers_statistics_of_its_own(case: str, tmp_path: Path) -> None:
    """Catches averages of other data that count as batches of these, also those that a folder gives back."""
    make, features, own = CASES[case]
    x, other = two_clusters(40, features), 0.5 * two_clusters(32, features).flip(0) + 1
    kept, anew = make(), make()
    first = ppgen.fit(kept, x, "alternating", folder=tmp_path, **OPTIONS, **own)
    anew.load_state_dict(kept.state_dict())
    read = ppgen.load(tmp_path, pair=make()).pair
    unknown = make()
    unknown.load_state_dict(kept.state_dict())
    unknown.inference_state = {name: value for name, value in first.inference_state.items() if name != "update.data"}
    whole = ppgen.fit(anew, other, "alternating", **OPTIONS, **own)
    for pair in (kept, read, unknown):
        assert int(pair.inference_state["update.steps"]) == 9
        same(ppgen.fit(pair, other, "alternating", **OPTIONS, **own), whole)


def test_statistics_go_on_with_the_same_data_from_a_folder(tmp_path: Path) -> None:
    """Catches data that are another thing after a folder was read, and the same rows in another array."""
    x, pair = two_clusters(40, 2), mixture_pair()
    ppgen.fit(pair, x, "alternating", folder=tmp_path, **OPTIONS)
    read = ppgen.load(tmp_path, pair=mixture_pair()).pair
    same(ppgen.fit(read, x.clone(), "alternating", **OPTIONS), ppgen.fit(pair, x, "alternating", **OPTIONS))
    assert int(read.inference_state["update.steps"]) == 18
