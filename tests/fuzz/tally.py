"""What a corpus of hostile input counted."""

from dataclasses import dataclass, field


@dataclass
class Tally:
    """How many cases were tried, and which of them went wrong in which way.

    Args:
        name: Name of the corpus.
        tried: Cases that were run.
        lost: Cases after which work that was on the disk could not be read or gone on with.
        tracebacks: Cases that ended in an error of another type than the stated ones.
        silent: Cases that gave other numbers than they should, without a word.
        failures: One line for each case that went wrong: how to run it again, and what it did.
    """

    name: str
    tried: int = 0
    lost: int = 0
    tracebacks: int = 0
    silent: int = 0
    failures: list[str] = field(default_factory=list)
