"""A part of the corpora of damaged run folders and of killed runs; `make fuzz` runs the whole."""

from random import Random

import pytest
from few_examples import few
from fuzz import folders, kills, mutations
from fuzz.verdicts import Tally
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def sound():
    """Runs of which damaged copies are made."""
    with folders.sound_runs() as made:
        yield made


def test_damaged_folders_are_refused_by_name_or_give_the_same_numbers(sound):
    """Catches a file of a run that is believed though it was damaged, mixed up or forged, and raw errors of parsers."""
    count = 2 * len(mutations.MUTATIONS)
    tally = folders.run(count, made=sound)
    assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (count, 0, 0, 0), "\n".join(tally.failures)


def test_any_damage_is_refused_by_name_or_gives_the_same_numbers(sound):
    """Catches damage that the corpus has not met; Hypothesis makes what fails as small as it can."""

    @few(20)
    @given(st.sampled_from(mutations.MUTATIONS), st.randoms())
    def examine(mutation: mutations.Mutation, random: Random) -> None:
        tally = Tally("a folder")
        folders.judge(sound, mutation, random, tally, mutation.__name__)
        assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (1, 0, 0, 0), tally.failures

    examine()


def test_a_number_believed_in_a_damaged_folder_is_found(sound, monkeypatch):
    """Catches a property that holds because nobody looks: loads that tell other numbers are seen in every case."""
    right = folders.numbers
    monkeypatch.setattr(folders, "numbers", lambda run: right(run) + " and more")
    tally = Tally("a folder")
    folders.judge(sound, mutations.leftovers, Random(0), tally, "a folder")
    assert tally.silent > 0


def test_killed_runs_go_on_as_if_nothing_had_happened():
    """Catches a checkpoint lost or half written, state missing in it, and files that killed writers leave."""
    tally = kills.run(5)
    assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (5, 0, 0, 0), "\n".join(tally.failures)
