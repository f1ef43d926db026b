"""Directives whose content is made from the code at build time: legality, the registry, folders, commands' output."""

import ast
import io
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from ppgen import cli, inference, registry
from scripts.names.sources import folder_of

ROOT = Path(__file__).parents[2]


def table(head: list[str], rows: list[list[str]], caption: str = "") -> list[str]:
    """Lines of a reStructuredText list table."""
    lines = [f".. list-table:: {caption}".rstrip(), "   :header-rows: 1", ""]
    for row in [head, *rows]:
        lines += [f"   {'  -' if number else '* -'} {cell}" for number, cell in enumerate(row)]
    return [*lines, ""]


class _Generated(Directive):
    """Parses the lines that `lines` returns as if they stood on the page."""

    def lines(self) -> list[str]:
        raise ValueError(f"{type(self).__name__} makes no lines.")

    def run(self) -> list[nodes.Node]:
        node = nodes.container()
        self.state.nested_parse(StringList(self.lines(), source=type(self).__name__), 0, node)
        return node.children


class LegalityTable(_Generated):
    """The legality table, objective by objective; with `instead`, the advice of its illegal rows."""

    optional_arguments = 1

    def lines(self) -> list[str]:
        rules = inference.legality()
        if self.arguments == ["instead"]:
            illegal = dict.fromkeys((rule.part, rule.site, rule.instead) for rule in rules if not rule.legal)
            rows = [[f"``{part}``", site, _literal(advice)] for part, site, advice in illegal]
            return table(["part", "site", "what to use instead"], rows)
        lines = []
        for objective in dict.fromkeys(rule.objective for rule in rules):
            lines += _square(objective, [rule for rule in rules if rule.objective == objective])
        return lines


def _square(objective: str, rules: list[inference.Rule]) -> list[str]:
    """Parts of the inference down, kinds of site across."""
    sites = list(dict.fromkeys(rule.site for rule in rules))
    parts = list(dict.fromkeys(rule.part for rule in rules))
    found = {(rule.part, rule.site): "yes" if rule.legal else "**no**" for rule in rules}
    rows = [[f"``{part}``", *(found.get((part, site), "") for site in sites)] for part in parts]
    return table(["part", *sites], rows, caption=f"Under {objective}")


def _literal(text: str) -> str:
    """The text of an error message with its code set as code."""
    return re.sub(r'(\w[\w.]*\([^()]*\)|\w+=(?:"[^"]*"|\{[^}]*\}))', r"``\1``", text)


class RegistryTable(_Generated):
    """Registered names of one kind with the first line of their docstrings."""

    required_arguments = 1
    final_argument_whitespace = True

    def lines(self) -> list[str]:
        kind = self.arguments[0]
        rows = []
        for name, path in registry.TABLES[kind].items():
            module, _, attribute = path.partition(":")
            summary = (registry.load(path).__doc__ or "").strip().partition("\n")[0]
            rows.append([f"``{name}``", f":py:obj:`{_public(module, attribute)}`", summary])
        return table(["Name", "Object", ""], rows)


def _public(module: str, attribute: str) -> str:
    """Shortest path under which a registered object is documented."""
    packages = [module.rsplit(".", levels)[0] for levels in range(module.count("."), 0, -1)]
    known = (each for each in packages if attribute in getattr(sys.modules[each], "__all__", []))
    return f"{next(known, module)}.{attribute}"


class FilesTable(_Generated):
    """Files of the folder of a package, with the first line of each."""

    required_arguments = 1

    def lines(self) -> list[str]:
        paths = [path for path in sorted(folder_of(ROOT, self.arguments[0]).glob("*.py")) if path.stem != "__init__"]
        rows = [[f"``{path.relative_to(ROOT)}``", _first_line(path)] for path in paths]
        return table(["File", ""], rows) if rows else ["All lie in the folders below it."]


class FoldersTable(_Generated):
    """Folders of a package, each with a link to its page and the first line of its `__init__.py`."""

    required_arguments = 1

    def lines(self) -> list[str]:
        package = self.arguments[0]
        name = package.rpartition(".")[2]
        paths = sorted(folder_of(ROOT, package).glob("*/__init__.py"))
        rows = [[f":doc:`{name}/{path.parent.name}`", _first_line(path)] for path in paths]
        return table(["Page", ""], rows)


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


class CommandOutput(Directive):
    """What `ppgen ARGUMENTS` prints, run at build time in this process, which has imported what it needs."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        arguments, printed = self.arguments[0].split(), io.StringIO()
        with mock.patch.dict(os.environ, COLUMNS="92"), redirect_stdout(printed):
            code = cli.main(arguments)
        if code:
            raise self.error(f"ppgen {' '.join(arguments)} failed with code {code}.")
        plain = printed.getvalue().replace(" \b", "").strip()  # a terminal's backspace
        text = "\n".join(line.rstrip() for line in plain.splitlines())
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("legality-table", LegalityTable)
    app.add_directive("registry-table", RegistryTable)
    app.add_directive("files-table", FilesTable)
    app.add_directive("folders-table", FoldersTable)
    app.add_directive("command-output", CommandOutput)
    return {"parallel_read_safe": True}
