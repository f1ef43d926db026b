"""A prefix of the corpus of hostile calls, and that it sees what is wrong."""

import pytest
import torch
from fuzz import calls
from fuzz.tables import objects
from fuzz.tables.call import Call
from fuzz.tables.values import VALUES
from fuzz.verdicts import Silent, Traceback

from ppgen import datasets, diagnostics, distributions, evaluation, features, inference, models, training

PREFIX = 250

# What is made by the library and handed out, what only says what a class must answer, and what takes no arguments.
RESULTS = {
    "ApproximationGap", "BlockGibbsInfo", "BlockGibbsState", "BoltzmannMarginal", "BoundInference", "Calibration",
    "Check", "ClassEvidence", "ClassParts",
    "Comparison", "Convergence", "Dataset", "DivergenceError", "EncoderGap", "Estimate", "Event", "Finding",
    "FolderInUseError", "FreeEnergies", "HMCInfo", "HMCState", "ImportanceWeights", "LatentDensity", "LatentTerms",
    "LatentUnits", "LayerBound", "LayerConditional", "Layout", "LogWeights", "Neighbours", "ParallelTemperingInfo",
    "ParallelTemperingState", "PartitionSandwich", "PosteriorSamples", "Pretraining", "Refinement", "Rows", "Rule",
    "Run", "Samples", "Sandwich", "SparseGibbsInfo", "SparseGibbsState", "StepResult", "TrajectoryTemperingState",
    "Compared", "KernelDistance", "Modes", "ParzenLine", "ParzenScore", "UndirectedDistribution", "Whitening",
}  # fmt: skip
KINDS = {
    "Biased",
    "Coupling",
    "CouplingStep",
    "DrawObjective",
    "Estimator",
    "FlowStep",
    "MachineKernel",
    "MixtureOutput",
    "NegativePhase",
    "Objective",
    "OutputLaw",
    "ParameterUpdate",
    "OwnGradient",
    "PosteriorKernel",
    "TemperableKernel",
    "RestrictedMachine",
    "Units",
}
BARE = {
    "AnalyticELBO", "AnalyticKL", "DisARM", "DoublyReparameterized", "LeaveOneOut", "MeanField", "Pathwise",
    "PseudoLikelihood", "SparseGibbs", "StickTheLanding", "available", "figures", "legality",
}  # fmt: skip
VALUES_ALONE = {"EVEN", "ODD"}
CHECKED_ELSEWHERE = {"find_layout", "from_pyro"}  # they take programs and chains of Pyro, not values


def test_calls() -> None:
    """Catches a call that takes what it should refuse, gives another number, or ends in somebody else's error."""
    tally = calls.run(PREFIX, 0)
    assert tally.tried == PREFIX
    assert (tally.silent, tally.tracebacks) == (0, 0), "\n".join(tally.failures)


@pytest.mark.parametrize(
    "module",
    [datasets, diagnostics, distributions, evaluation, features, inference, models, training],
    ids=lambda m: m.__name__,
)
def test_every_public_name_is_called(module) -> None:
    """Catches a new function or class that no hostile call reaches."""
    called = {call.name.partition(".")[2].partition(" ")[0].partition(".")[0] for call in calls.CALLS}
    names = set(module.__all__) - RESULTS - KINDS - BARE - VALUES_ALONE - CHECKED_ELSEWHERE
    assert names <= called, f"give {sorted(names - called)} a line in tests/fuzz/tables/"


@pytest.mark.parametrize("name", sorted({call.name for call in calls.CALLS}))
def test_sound_calls_are_sound(name: str) -> None:
    """Catches a line of the table whose refusals are of something else than its hostile argument."""
    (call,) = [each for each in calls.CALLS if each.name == name]
    assert set(kind.strip("+?") for kind in call.kinds.values()) <= set(VALUES)
    if name == "training.load":  # there is no run to load
        return
    with calls.quiet():
        call.function(**call.make())


def case(function, verdict: str, values: dict) -> calls.Case:
    (argument, hostile), *_ = values.items()
    call = Call("a call", function, lambda: {argument: 1.0}, {}, number=float)
    return calls.Case(call, argument, calls.Hostile("a value", lambda _: hostile, verdict))


def test_faults_are_seen() -> None:
    """Catches a corpus that takes any error for a refusal, and anything that returns for right."""

    def nameless(rate: float) -> float:
        raise ValueError("something is out of its range")

    def naming(rate: float) -> float:
        raise ValueError("rate must be positive")

    with pytest.raises(Silent, match="was taken"):
        calls.check(case(lambda rate: rate, "refused", {"rate": -1.0}))
    with pytest.raises(Silent, match=r"gave \[2.\] for \[1.\]"):
        calls.check(case(lambda rate: rate, "same", {"rate": 2.0}))
    with pytest.raises(Traceback, match="does not name the argument"):
        calls.check(case(nameless, "refused", {"rate": -1.0}))
    with pytest.raises(Traceback, match="KeyError"):
        calls.check(case(lambda rate: {}[rate], "refused", {"rate": -1.0}))
    with pytest.raises(Traceback, match="RuntimeError|memory"):
        calls.check(case(lambda rate: torch.empty(2**45), "refused", {"rate": -1.0}))
    calls.check(case(naming, "refused", {"rate": -1.0}))


def test_a_registered_name_is_called_without_a_line() -> None:
    """Catches a new name that must be listed by hand though its annotations say what it takes."""
    rest = [call for call in objects.OBJECTS if call.name not in ("inference.CUBO", "distributions.Bernoulli")]
    found = {call.name: call for call in objects.from_signatures(rest)}
    assert found.keys() == {"inference.CUBO", "distributions.Bernoulli"}
    assert found["inference.CUBO"].kinds == {"num_particles": "count", "vectorize_particles": "flag", "n": "number"}
    assert found["distributions.Bernoulli"].kinds == {"bias": "array", "positions": "count"}
    for call in found.values():
        call.function(**call.make())
