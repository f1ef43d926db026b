"""docs/conditional.md from whichever records of conditional models, few labels and flows there are.

python -m benchmarks.conditional.page            # writes the page
python -m benchmarks.conditional.page --check    # exit code 1 if it is not what the records say
"""

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import pages, record
from benchmarks.conditional import figures, sections

PAGE = record.ROOT / "docs" / "conditional.md"
PREFACE = """\
# Conditional models, few labels, flows

<!-- Written by benchmarks/conditional/page.py from benchmarks/results; edits are lost. -->

What models of y given x, models of half-labelled rows and flows reach on one core, beside what was wanted, published
figures and rivals that were trained here. Likelihoods are found by importance sampling and never by the bound alone;
what stands behind ± is the standard error of the mean over test rows. Settings and epochs are chosen on validation rows
and never on test rows. Each command goes on where it was stopped.
"""
SECTIONS: tuple[Callable[[Path], str], ...] = (
    sections.quadrants,
    sections.attributes,
    sections.few_labels,
    figures.section,
)
"""Each from the folder of records to its text; a table says which of its rows are not run yet."""


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    return pages.main(PAGE, page, __doc__, "benchmarks.conditional.page", arguments)


def page(folder: Path) -> str:
    """The page, of the records in a folder."""
    return "\n".join([PREFACE, *(section(folder) for section in SECTIONS)]).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
