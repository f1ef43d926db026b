"""`ppgen list`: what can be named on a command line, read from the registry and from the docstrings."""

import ast
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

from ppgen import extension, registry
from ppgen.commands.errors import UsageError

_USAGE = """usage: ppgen list [models|datasets|inference]

List the models, data sets and inferences, each in one line; `ppgen list inference` adds the table of what goes together
for which kind of site."""

_INFERENCE = (
    "algorithm",
    "objective",
    "estimator",
    "baseline",
    "schedule",
    "negative phase",
    "update",
    "kernel",
    "unit",
)


def main(arguments: Sequence[str]) -> int:
    """Run `ppgen list`."""
    if any(word in ("-h", "--help") for word in arguments):
        print(_USAGE)
        return 0
    topics = {"models": models, "datasets": datasets, "inference": inference}
    unknown = [word for word in arguments if word not in topics]
    if unknown or len(arguments) > 1:
        what = f"unknown topic {unknown[0]!r}" if unknown else "name one topic"
        raise UsageError(f"{what}. Known: {', '.join(topics)} (or nothing for all three)")
    if arguments:
        blocks = topics[arguments[0]]()
    else:
        blocks = [*models(), *datasets(), *_parts(), "ppgen list inference shows which parts go together."]
    print("\n\n".join(blocks))
    return 0


def models() -> list[str]:
    """The models and how to see their options."""
    return [_section("models", "model"), "ppgen fit MODEL --help shows the options of a model."]


def datasets() -> list[str]:
    """The data sets and how to name one's own."""
    return [
        _section("data sets", "data set"),
        "Your own: --data FILE.npy or FILE.npz. Bits from grey levels: --binarize threshold, fixed or dynamic.",
    ]


def inference() -> list[str]:
    """The parts of an inference and the table of what goes together."""
    return [*_parts(), legality_table()]


def _parts() -> list[str]:
    return [_section(f"{kind}s", kind) for kind in _INFERENCE]


def legality_table() -> str:
    """Which objective goes with which estimator or negative phase, at which kind of site."""
    from ppgen.inference import legality

    rows = [("objective", "estimator or negative phase", "site", "legal")]
    rules = legality()
    notes = dict.fromkeys(rule.instead for rule in rules if rule.instead)
    marks = {text: f"[{number}]" for number, text in enumerate(notes, start=1)}
    for rule in rules:
        rows.append(
            (rule.objective, rule.part, rule.site, "yes" if rule.legal else f"no {marks.get(rule.instead, '')}")
        )
    lines = ["which go together, for which kind of site", *_columns(rows)]
    lines += [f"  {mark} {text}" for text, mark in marks.items()]
    return "\n".join(lines)


def _section(title: str, kind: str) -> str:
    paths = {**extension.announced(kind), **registry.TABLES[kind]}
    rows = [(name, docstring_line(paths[name])) for name in paths]
    own = extension.registered(kind).items()
    rows += [(name, _first_line(found.__doc__)) for name, found in own if name not in paths]
    return "\n".join([title, *_columns(rows)])


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def docstring_line(path: str) -> str:
    """First line of the docstring at a registered `"module:attribute"`, read without importing PyTorch.

    Example:
        >>> docstring_line("ppgen.models.boltzmann.rbm:RBM")
        'Restricted Boltzmann machine of binary visible units, and of binary or real hidden ones.'
    """
    module, _, attribute = path.partition(":")
    # Of the packages above a module only the two uppermost are asked, whose import brings nothing with it.
    names = module.split(".")
    known = min(2, len(names) - 1)
    found = importlib.util.find_spec(".".join(names[:known])) if known else None
    for folder in (found.submodule_search_locations or []) if found else []:
        source = Path(folder, *names[known:]).with_suffix(".py")
        if source.exists():
            for node in ast.parse(source.read_text(encoding="utf-8")).body:
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == attribute:
                    return _first_line(ast.get_docstring(node))
    return _first_line(registry.load(path).__doc__)


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].replace("`", "")
