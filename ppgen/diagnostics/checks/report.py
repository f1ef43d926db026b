"""What a check of a fit says: figures in lines, and each warning with what it means and what to try."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is, in a few words.
        text: What was found, with units and errors.
        warning: What is wrong and what that means, or None.
        advice: What to try, or None.
        values: The figures themselves, by name.
    """

    name: str
    text: str
    warning: str | None = None
    advice: str | None = None
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """The result of `ppgen.diagnostics.check`; prints as sentences.

    Attributes:
        subject: The model and the data in a few words.
        findings: What was looked at, in order.
        log_likelihood: Estimate of the log-likelihood that the others stand beside.
        details: Results of the single diagnostics by the names of their functions, for a closer look.

    Example:
        >>> from ppgen.diagnostics import Check, Finding
        >>> found = Check("VAE on 10 rows", (Finding("units", "2 of 4 inactive"),), None)
        >>> print(found)
        Check of VAE on 10 rows
          units  2 of 4 inactive
        No warning.
    """

    subject: str
    findings: tuple[Finding, ...]
    log_likelihood: Any = field(repr=False)
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is no warning."""
        return not self.warnings

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that something is wrong with."""
        return tuple(each for each in self.findings if each.warning)

    def __getitem__(self, name: str) -> Finding:
        """The finding of a name.

        Raises:
            KeyError: If there is none; the message lists the names.
        """
        for each in self.findings:
            if each.name == name:
                return each
        raise KeyError(f"no finding {name!r}; there are {', '.join(each.name for each in self.findings)}")

    def to_dict(self) -> dict[str, Any]:
        """The findings as JSON can hold them."""
        return {
            "subject": self.subject,
            "findings": [
                {
                    "name": each.name,
                    "text": each.text,
                    "warning": each.warning,
                    "advice": each.advice,
                    # NaN and infinity have no place in JSON.
                    "values": {key: value if abs(value) < float("inf") else None for key, value in each.values.items()},
                }
                for each in self.findings
            ],
        }

    def __repr__(self) -> str:
        width = max((len(each.name) for each in self.findings), default=0)
        lines = [f"Check of {self.subject}"]
        for each in self.findings:
            lines += _wrapped(f"  {each.name:<{width}}  ", each.text)
        for number, each in enumerate(self.warnings, 1):
            lines += _wrapped(f"Warning {number}: ", f"{each.warning}.")
            if each.advice:
                lines += _wrapped("  Try: ", each.advice)
        return "\n".join(lines if self.warnings else [*lines, "No warning."])


def _wrapped(head: str, text: str) -> list[str]:
    """Text in lines, the following ones below the beginning of the first."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
