"""Prefixes of the corpora of random programs and machines, and that they see what is wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from few_examples import few
from fuzz import machines, objectives, program_parts, programs
from fuzz.verdicts import Silent, Traceback, attempt
from hypothesis import given
from hypothesis import strategies as st

from ppgen.evaluation.likelihood import importance


def specs(choices: Mapping[str, Sequence[Any]], make: Callable[..., Any]) -> st.SearchStrategy[Any]:
    drawn = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in choices.items()})
    return drawn.map(lambda chosen: make(**chosen))


@few(10)
@given(specs(program_parts.CHOICES, program_parts.Spec))
def test_programs(spec: program_parts.Spec) -> None:
    """Catches an evaluation that is off by more than its error, on the wrong side, or another in other chunks."""
    programs.check(spec)


@few(10)
@given(specs(objectives.CHOICES, objectives.Spec.of))
def test_objectives(spec: objectives.Spec) -> None:
    """Catches an objective whose value or gradient is not that of the sum over states."""
    objectives.check(spec)


@few(6)
@given(specs(machines.CHOICES, machines.Spec))
def test_machines(spec: machines.Spec) -> None:
    """Catches a log Z or a log p(x) of a machine that the sum over all states does not give."""
    machines.check(spec)


PLAIN = program_parts.Spec(
    ("bernoulli",), "scalar", "bernoulli", "none", "mean field", False, torch.float64, 3, 0.7, None, 0
)


def test_wrong_weights_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a corpus that would pass estimates which are a nat off."""
    right = importance.summarise

    def wrong(log_weights: torch.Tensor, **options: Any) -> Any:
        return right(log_weights + 1.0, **options)

    programs.check(PLAIN)
    monkeypatch.setattr(importance, "summarise", wrong)
    with pytest.raises(Silent, match="importance"):
        programs.check(PLAIN)


def test_wrong_gradients_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a corpus that would pass a gradient without the term of the guide's law."""
    spec = objectives.Spec("elbo, score function", PLAIN)
    objectives.check(spec)
    right = objectives._expected

    def other(*arguments: Any) -> Any:
        value, gradients = right(*arguments)
        return value, {name: 0.8 * each if "guide" in name else each for name, each in gradients.items()}

    monkeypatch.setattr(objectives, "_expected", other)
    with pytest.raises(Silent, match=r"tables\.guide"):
        objectives.check(spec)


def test_a_run_counts() -> None:
    """Catches a corpus that counts nothing, or whose cases depend on more than the seed."""
    first, again = programs.run(3, 5), programs.run(3, 5)
    assert first == again and first.tried == 3
    assert (first.lost, first.tracebacks, first.silent) == (0, 0, 0), first.failures


def test_other_errors_are_seen() -> None:
    """Catches a corpus that takes any error for a refusal."""
    with pytest.raises(Traceback, match="KeyError: 'z'"):
        attempt("a case", lambda: {}["z"])
    with pytest.raises(Traceback, match="without a message"):
        attempt("a case", lambda: (_ for _ in ()).throw(ValueError()))
