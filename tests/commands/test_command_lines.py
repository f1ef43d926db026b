"""Random command lines: the first ones of the corpus that `make fuzz` runs whole, and others drawn by Hypothesis."""

import os
from collections.abc import Iterator
from random import Random

import pytest
from few_examples import few
from fuzz import command_lines, lines
from hypothesis import given
from hypothesis import strategies as st

PREFIX = 80


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, command_lines.Files]]:
    """A folder with data and trained runs, and what is known of them."""
    before = os.getcwd()
    with command_lines.workplace() as files:
        folder = os.getcwd()
        os.chdir(before)
        yield folder, files


@pytest.fixture
def files(place: tuple[str, command_lines.Files], monkeypatch: pytest.MonkeyPatch) -> command_lines.Files:
    """The same, while the current folder is that one."""
    monkeypatch.chdir(place[0])
    for name in ("PPGEN_DATA", "PPGEN_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return place[1]


def test_a_line_works_or_is_refused_in_one_line(files: command_lines.Files) -> None:
    """Catches a traceback, a wrong number taken without a word, and a run that a refused line changed."""
    tally = command_lines.run(PREFIX, 0, files)
    assert tally.tried == PREFIX
    assert (tally.lost, tally.tracebacks, tally.silent) == (0, 0, 0), "\n".join(tally.failures)


def test_any_line_works_or_is_refused_in_one_line(files: command_lines.Files) -> None:
    """Catches what the corpus has not met; Hypothesis makes the line that fails as short as it can."""

    @few(20)
    @given(st.randoms(), st.integers(10_000, 99_999))
    def examine(random: Random, index: int) -> None:
        tally = command_lines.Tally("a line")
        command_lines.judge(lines.drawn(random, index), files, tally, command_lines.here)
        assert (tally.tried, tally.lost, tally.tracebacks, tally.silent) == (1, 0, 0, 0), tally.failures

    examine()


def test_the_corpus_is_wide() -> None:
    """Catches a generator that makes one command only, no sound line, or none that is wrong in a single place."""
    made = [lines.line(0, index) for index in range(command_lines.NUM_LINES)]
    assert len({each.words for each in made}) > 0.9 * len(made) >= 250
    for command in ("fit", "evaluate", "sample", "compare", "list", "demo"):
        assert sum(each.words[:1] == (command,) for each in made) >= 5, command
    faults = [len(each.faults) for each in made]
    assert faults.count(0) > 60 and faults.count(1) > 80
    assert lines.line(0, 3) == lines.line(0, 3)


def test_a_judge_sees_each_way_to_go_wrong(files: command_lines.Files) -> None:
    """Catches a corpus that passes because nobody looks: a fake command that fails in each way is found out."""
    answers = {
        "traceback": ("Traceback ...", "", ""),
        "mute": (2, "", ""),
        "talkative": (2, "", "ppgen fit: error: one\nand two more lines\n"),
        "done": (0, "", ""),
        "refused": (2, "", "ppgen fit: error: there is nothing wrong in it\n"),
    }
    for name, answer in answers.items():
        tally = command_lines.Tally(name)
        wrong = () if name == "refused" else ("epochs '0'",)
        line = lines.Line(("fit", "rbm", "--epochs", "0"), wrong, "runs/nowhere")
        command_lines.judge(line, files, tally, lambda words, answer=answer: answer)
        assert (tally.tracebacks, tally.silent) == ((0, 1) if name == "done" else (1, 0)), name
    tally = command_lines.Tally("lost")

    def overwrite(words: tuple[str, ...]) -> tuple[int, str, str]:
        (command_lines.Path("kept") / "config.json").unlink()
        return 2, "", "ppgen fit: error: epochs must be at least 1\n"

    command_lines.judge(lines.Line(("fit", "rbm"), ("epochs '0'",), "kept"), files, tally, overwrite)
    assert tally.lost == 1 and command_lines.Path("kept/config.json").exists()
