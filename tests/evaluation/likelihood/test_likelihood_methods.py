"""Methods of a likelihood as objects: which is taken, and that a new one is a class and a line."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from ppgen import evaluation, models
from ppgen.evaluation.likelihood import methods
from ppgen.evaluation.likelihood.hidden_layers import WORTH_ENUMERATING, HiddenEnumeration
from ppgen.evaluation.likelihood.importance import ImportanceSampling
from ppgen.evaluation.likelihood.method import Advance, Annealing, LikelihoodMethod, Subject
from ppgen.evaluation.per_datum import PerDatum
from ppgen.evaluation.program import Program, examine
from ppgen.evaluation.rows import CheckedRows

ROWS = (torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) < 0.4).float()


def program_of(pair: Any) -> Program:
    """What one run tells."""
    return examine(pair, CheckedRows(ROWS, pair))


def test_each_kind_of_pair_takes_the_method_that_serves_it() -> None:
    """Catches a class that takes what another one is for, and another order of them."""
    torch.manual_seed(0)
    found = {}
    for pair in (models.RBM(6, 3), models.VAE(6, 2, (4,)), models.DBM(6, (4, 3))):
        program = program_of(pair)
        for asked in ("auto", "exact", "importance", "elbo", "bound", "ais", "raise"):
            try:
                found[type(pair).__name__, asked] = methods.choose(asked, program, 5).__name__
            except ValueError as error:
                assert f"method='{asked}'" in str(error) or "not the exact posterior" in str(error)
    rbm = {"auto": "Exact", "exact": "Exact", "bound": "MeanFieldBound", "ais": "Exact", "raise": "ReverseAnnealing"}
    vae = {"auto": "ImportanceSampling", "ais": "LatentAnnealing"}
    dbm = {"auto": "HiddenEnumeration", "exact": "HiddenEnumeration", "ais": "HiddenAnnealing"}
    dbm |= {"bound": "MeanFieldBound", "raise": "ReverseAnnealing"}
    both = {"importance": "ImportanceSampling", "elbo": "Elbo"}
    expected = {"RBM": rbm | both, "VAE": vae | both, "DBM": dbm | both}
    assert found == {(name, asked): way for name, ways in expected.items() for asked, way in ways.items()}


def test_auto_sums_over_hidden_layers_where_that_takes_seconds() -> None:
    """Catches a sum over all states of all rows that takes hours."""
    program = program_of(models.DBM(6, (4, 3)))
    most = WORTH_ENUMERATING // 2**3
    assert methods.choose("auto", program, most) is HiddenEnumeration
    assert methods.choose("auto", program, most + 1) is ImportanceSampling


class Uniform(LikelihoodMethod):
    """A method of the tests: every row as likely as all others."""

    name = "uniform"
    kind = "estimate"
    note = "of no use"
    weighted = False

    @classmethod
    def applies(cls, program: Program, asked: str, num_data: int) -> bool:
        """Where it is asked for."""
        return asked == cls.name

    @classmethod
    def check(cls, program: Program, asked: str, log_partition: object = None) -> None:
        """Refuse machines."""
        if program.energies:
            raise ValueError("method='uniform' needs a directed pair.")

    def run(self, subject: Subject, advance: Advance = None) -> PerDatum:
        """Minus 6 log 2."""
        values = np.full(len(subject.rows), -6 * np.log(2)) + np.arange(len(subject.rows)) * 0
        return PerDatum(values, np.zeros(len(values)), np.zeros(len(values)), None)

    def describe(self) -> str:
        """Its seed."""
        return f"uniform (seed {self.seed})"


def test_a_new_method_is_a_class_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a list of names somewhere, by which a new method is not known or is told as another one."""
    monkeypatch.setattr(methods, "CLASSES", (*methods.CLASSES, Uniform))
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, Uniform.name))
    found = evaluation.log_likelihood(models.VAE(6, 2, (4,)), ROWS, method="uniform", seed=3)
    assert (found.kind, found.method, found.note, found.ess) == ("estimate", "uniform (seed 3)", "of no use", None)
    assert found.value == pytest.approx(-6 * np.log(2)) and found.se == 0
    with pytest.raises(ValueError, match="'uniform' needs a directed pair"):
        evaluation.log_likelihood(models.RBM(6, 3), ROWS, method="uniform")


def test_annealing_is_a_frozen_value_that_says_what_it_is() -> None:
    """Catches more runs at once than the memory was given for, and another text than estimates print."""
    annealing = Annealing((0.0, 0.5, 1.0), num_chains=30, chunk=100)
    assert annealing.describe() == "(30 chains x 2 betas)"
    assert [annealing.block(rows) for rows in (1, 2, 3, 40)] == [1, 2, 3, 3]
    assert dataclasses.replace(annealing, chunk=5).block(40) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        annealing.chunk = 1  # type: ignore[misc]
