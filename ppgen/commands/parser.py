"""A jsonargparse parser that speaks in one line, and command lines in the forms that people write."""

import difflib
import json
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, ArgumentParser

from ppgen.commands.errors import UsageError, one_line
from ppgen.commands.options import REQUIRED, Option

FLAGS = ("--help", "--print-config", "--quiet", "--overwrite")
NAMED = ("inference", "estimator", "negative_phase")
"""Options that name a part of the inference; the part's own arguments follow a dot."""

_MOST_BYTES, _MOST_VALUES = 2**20, 100_000
_OPENED = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


class Parser(ArgumentParser):
    """Parser whose errors are one line each and whose options may be written with hyphens or underscores.

    Args:
        prog: What the command line begins with.
        description: What the command does.
        config: Whether it has `--config` and `--print-config`.
    """

    def __init__(self, prog: str, description: str, *, config: bool = False, **kwargs: Any) -> None:
        super().__init__(prog=prog, description=description, print_config="--print-%s", allow_abbrev=False, **kwargs)
        self._sequences: dict[str, str] = {}
        self._nested: dict[str, str] = {}
        if config:
            self.add_argument(
                "--config", action=ActionConfigFile, help="YAML file of options; those of the command line win."
            )

    def add_options(self, group: Any, options: Sequence[Option], prefix: str = "") -> None:
        """Add options to a group, under a dotted prefix if there is one."""
        for option in options:
            flag = f"--{prefix}{option.name}".replace("_", "-")
            if option.sequence:
                self._sequences[flag] = option.sequence
            text = option.help
            if option.nested:
                self._nested[flag] = option.nested
                text = f"{text} Written as {flag} {option.nested}."
            needed: dict[str, Any] = {"default": option.default}
            if option.default is REQUIRED:
                needed = {"required": True}
            group.add_argument(flag, type=option.type, help=text, **needed)

    def read(self, arguments: Sequence[str], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Values of all options: the defaults, over them the config, over it the command line.

        Raises:
            UsageError: If an option is unknown, missing or of the wrong type.
        """
        words = [self._listed(*pair) for pair in _pairs(tidy(arguments))]
        flat = [word for pair in words for word in pair]
        if config:
            flat = ["--config", json.dumps(config), *flat]
        values: dict[str, Any] = self.parse_args(flat).as_dict()
        _check_integers(values)
        return values

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line.

        Raises:
            UsageError: Always.
        """
        raise UsageError(f"{self._condensed(message)} (See {self.prog} --help.)") from None

    def format_help(self, *args: Any) -> str:
        """Help in which the name of an inference is `--inference NAME`."""
        text = super().format_help(*args)
        for name in NAMED:
            flag = name.replace("_", "-")
            text = text.replace(f"--{flag}.name NAME", f"--{flag} NAME")
        return re.sub(r", --[\w.-]+\+ (\[ITEM,\.\.\.\]|[A-Z_]+)", "", text)  # appending to lists is not for people

    def _listed(self, flag: str, value: str | None) -> list[str]:
        if value is None:
            return [flag]
        several = re.fullmatch(r"[-+\d.eE\s]+,[-+\d.eE,\s]*|\[(?!\s*\[).*\]\s*,\s*\[.*\]", value)
        one = self._sequences.get(flag) == "always" and re.fullmatch(r"[-+\d.eE]+", value)
        return [flag, f"[{value}]" if flag in self._sequences and (several or one) else value]

    def _condensed(self, message: str) -> str:
        unknown = re.search(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted", message)
        if unknown:
            flag = unknown[1] or f"--{unknown[2].replace('_', '-')}"
            if not flag.startswith("-"):
                return f"unexpected argument {flag!r}"
            close = difflib.get_close_matches(flag, [*self._option_string_actions], n=1)
            return f"unknown option {shown(flag)}." + (f" Did you mean {shown(close[0])}?" if close else "")
        missing = re.search(r"the following arguments are required: (\S+?),?(?:\s|$)", message)
        if missing:
            needed = missing[1]
            positional = any(action.dest == needed and not action.option_strings for action in self._actions)
            return f"{needed.upper() if positional else option_of(needed)} is required"
        key = re.search(r'Parser key "([^"]+)":\s*(.*)', message, re.DOTALL)
        if key:
            nested = self._nested.get(f"--{key[1].replace('_', '-')}")
            expected = f"expected lists in brackets, such as {nested}" if nested else _expectation(key[2])
            return f"{option_of(key[1])}: {expected}"
        return one_line(message.replace("/--hidden+", ""))


def _check_integers(values: Any, name: str = "") -> None:
    """Raise if a number is one that no tensor can hold."""
    if isinstance(values, int) and not -(2**63) <= values < 2**63:
        raise UsageError(f"{option_of(name)} must be less than 2^63, got {values}")
    parts = values.items() if isinstance(values, dict) else ()
    for part, value in parts:
        _check_integers(value, f"{name}.{part}" if name else part)
    for value in values if isinstance(values, list) else ():
        _check_integers(value, name)


def tidy(arguments: Sequence[str]) -> list[str]:
    """Option names with hyphens, values in words of their own, `--inference iwae` as `--inference.name iwae`.

    Example:
        >>> tidy(["--batch_size=3", "--inference", "iwae"])
        ['--batch-size', '3', '--inference.name', 'iwae']
    """
    found: list[str] = []
    for word in arguments:
        flag, equals, value = word.partition("=")
        if word == "-h":
            flag = "--help"
        elif not (flag.startswith("--") and re.fullmatch(r"--[A-Za-z][\w.-]*", flag)):
            found.append(word)
            continue
        flag = flag.replace("_", "-")
        if flag[2:].replace("-", "_") in NAMED:
            flag += ".name"
        found.append(flag)
        if equals and flag in ("--print-config",):
            found[-1] += f"={value}"
        elif equals:
            found.append(value)
    return found


def _pairs(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Options with their values, and what stands alone."""
    found: list[tuple[str, str | None]] = []
    waiting = False
    for word in words:
        if waiting and not re.match("--[A-Za-z]", word):  # else an option without its value, or one that there is not
            found[-1] = (found[-1][0], word)
            waiting = False
        else:
            found.append((word, None))
            waiting = word.startswith("--") and word.partition("=")[0] not in FLAGS
    return found


def split_positional(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words that belong to no option, and the rest.

    Example:
        >>> split_positional(["--data", "digits", "VAE", "--quiet"])
        (['VAE'], ['--data', 'digits', '--quiet'])
    """
    alone, rest = [], []
    for flag, value in _pairs(tidy(arguments)):
        if value is None and not flag.startswith("-"):
            alone.append(flag)
        else:
            rest += [flag] if value is None else [flag, value]
    return alone, rest


def given(arguments: Sequence[str], name: str) -> str | None:
    """Value of an option on a command line, the last one if there are several; None if it is not there."""
    flag = f"--{name}".replace("_", "-")
    values = [value for found, value in _pairs(tidy(arguments)) if found == flag]
    return values[-1] if values else None


def without(arguments: Sequence[str], name: str) -> list[str]:
    """The command line without an option."""
    flag = f"--{name}".replace("_", "-")
    kept = [(found, value) for found, value in _pairs(tidy(arguments)) if found != flag]
    return [word for pair in kept for word in pair if word is not None]


def read_config(path: str) -> dict[str, Any]:
    """Options of a YAML file; `inference: iwae` stands for `inference: {name: iwae}`.

    Raises:
        UsageError: If it is missing, no YAML, no mapping, or too large.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(_text(Path(path).expanduser()))
        _check_size(content)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(f"--config {path} is not YAML of options: {error}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UsageError(f"--config {path} must map options to values, as ppgen fit --print-config prints them")
    config = {key.replace("-", "_"): value for key, value in content.items()}
    for name in NAMED:
        if name in config and not isinstance(config[name], dict):
            config[name] = {"name": config[name]}
    return config


def _text(path: Path) -> str:
    """The text of a file, or of what a shell has opened (`--config <(...)`), without waiting for what may never come.

    Raises:
        OSError: If it cannot be opened.
        ValueError: If it is too large, no text, or a pipe that nobody has opened.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not str(path).startswith(_OPENED):
        raise ValueError("it is no regular file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes")
    return content.decode("utf-8")


def _check_size(content: Any) -> None:
    """Count what aliases stand for, each time that they stand for it: a few lines of them may mean billions of values.

    Raises:
        ValueError: If there are too many values, or a value holds itself.
    """
    counts: dict[int, int | None] = {}

    def count(value: Any) -> int:
        if not isinstance(value, (dict, list)):
            return 1
        if id(value) not in counts:
            counts[id(value)] = None
            parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            counts[id(value)] = 1 + sum(map(count, parts))
        found = counts[id(value)]
        if found is None:
            raise ValueError("an alias stands inside of what it stands for")
        return found

    if count(content) > _MOST_VALUES:
        raise ValueError(f"it stands for {count(content)} values, and no command has more than {_MOST_VALUES}")


def option_of(key: str) -> str:
    """Option of a key of the configuration, as it is typed."""
    return shown(f"--{key.replace('_', '-')}")


def shown(flag: str) -> str:
    """Option as it is typed."""
    return flag.removesuffix(".name") if flag[2:].removesuffix(".name").replace("-", "_") in NAMED else flag


_WRITTEN = {"NoneType": ("null",), "Sequence": ("list",), "bool": ("true", "false")}
"""What is written on a command line for a value of a type, where that is not the name of the type."""


def _expectation(text: str) -> str:
    value = re.search(r"(?:Got value|Given value): (.*)", text)
    kinds: dict[str, None] = {}
    for kind, words in re.findall(r"Expected an? (?:<class '(?:[\w.]*\.)?(\w+)'>|typing\.Literal\[(.*?)\])", text):
        written = _WRITTEN.get(kind, (kind,)) if kind else words.replace("'", "").split(", ")
        kinds |= dict.fromkeys(written)
    choices = re.search(r"Expected one of (.*?)\.?(?: Got|$)", one_line(text))
    if choices and not kinds:
        kinds = {f"one of {choices[1]}": None}
    if not (value and kinds):
        return one_line(text)
    *others, last = kinds
    expected = f"{', '.join(others)} or {last}" if others else last
    return f"expected {expected}, got {value[1].strip()!r}"
