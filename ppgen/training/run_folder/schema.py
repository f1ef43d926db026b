"""What the fields of a run's files must be: the file, the field, what was expected and what was found, in one error."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FieldRule:
    """What the value of a field must be.

    Args:
        expected: In words.
        holds: Whether a value is that.
        fields: Rules of the fields of an object; the names of those that may be missing end in `?`.
        each: Rule of each item of a list, or of each value of an object.
    """

    expected: str
    holds: Callable[[Any], bool]
    fields: "Mapping[str, FieldRule] | None" = None
    each: "FieldRule | None" = None

    def check(self, value: Any, path: Path, name: str = "") -> None:
        """Raise unless a value read from a file keeps the rule.

        Args:
            value: What was read.
            path: The file.
            name: The field, with the names of those that hold it before it.

        Raises:
            ValueError: Names the file, the field, what was expected and what was found.
        """
        if not self.holds(value):
            shown = repr(value)
            found = shown if len(shown) <= 40 else f"{shown[:40]}..."
            raise ValueError(f"{path} is damaged: {_place(name)} must be {self.expected}, found {found}.")
        if value is None:
            return
        for key, rule in (self.fields or {}).items():
            field = key.removesuffix("?")
            if field in value:
                rule.check(value[field], path, f"{name}.{field}".lstrip("."))
            elif field == key:
                inner = _place(f"{name}.{field}".lstrip("."))
                raise ValueError(f"{path} is damaged: {inner} is missing, expected {rule.expected}.")
        if self.each is not None:
            items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, Mapping) else enumerate(value)
            for place, item in items:
                self.each.check(item, path, f"{name}.{place}".lstrip("."))


def _place(name: str) -> str:
    return f"field {name!r}" if name else "its content"


def optional(rule: FieldRule) -> FieldRule:
    """The rule, or null."""
    return replace(rule, expected=f"{rule.expected} or null", holds=lambda value: value is None or rule.holds(value))


def record(fields: Mapping[str, FieldRule]) -> FieldRule:
    """An object with these fields, and any others."""
    return replace(OBJECT, fields=fields)


COUNT = FieldRule("an integer, 0 or more", lambda value: type(value) is int and 0 <= value < 2**63)
POSITIVE = FieldRule("an integer, 1 or more", lambda value: type(value) is int and 0 < value < 2**63)
NUMBER = FieldRule("a number", lambda value: type(value) in (int, float))
SECONDS = FieldRule("a number, 0 or more", lambda value: type(value) in (int, float) and value >= 0)
FLAG = FieldRule("true or false", lambda value: type(value) is bool)
TEXT = FieldRule("a text", lambda value: type(value) is str)
OBJECT = FieldRule("an object", lambda value: type(value) is dict)
LIST = FieldRule("a list", lambda value: type(value) is list)

_SELECTION = record({"monitor": TEXT, "value": NUMBER, "epoch": optional(COUNT), "waited": COUNT})

CONFIG = record(
    {
        "checkpoint_format": POSITIVE,
        "model": record(
            {"name": optional(TEXT), "arguments?": OBJECT, "type?": TEXT, "plate?": optional(TEXT), "example": OBJECT}
        ),
        "inference": OBJECT,
        "training": record(
            {
                "epochs": optional(POSITIVE),
                "steps": optional(POSITIVE),
                "batch_size": POSITIVE,
                "seed": COUNT,
                "restore_best": FLAG,
                "monitor": optional(TEXT),
                "lr": optional(NUMBER),
                "lr_schedule": TEXT,
            }
        ),
        "data": record({"description": TEXT, "name": optional(TEXT), "checksum": TEXT, "rows": COUNT}),
        "environment?": OBJECT,
    }
)
"""`config.json`."""

LAST = record(
    {
        "checkpoint_format": POSITIVE,
        "step": COUNT,
        "epoch": COUNT,
        "position": COUNT,
        "rows": COUNT,
        "optimizer": OBJECT,
        "optimizer_tensors?": replace(LIST, each=TEXT),
        "execution?": TEXT,
        "executed?": OBJECT,
        "processes?": POSITIVE,
        "seconds": SECONDS,
        "peak_memory": optional(SECONDS),
        "metrics": replace(LIST, each=replace(record({"epoch": POSITIVE, "step": COUNT}), each=optional(NUMBER))),
        "finished": FLAG,
        "stopped_by": optional(TEXT),
        "selection": optional(_SELECTION),
        "least_rows?": POSITIVE,
        "points?": replace(LIST, each=TEXT),
    }
)
"""Header of the last checkpoint."""

BEST = _SELECTION
"""Header of the checkpoint of the best epoch."""
