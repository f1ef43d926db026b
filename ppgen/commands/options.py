"""Arguments of functions and classes as options of a command, with the help of their docstrings."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

REQUIRED = inspect.Parameter.empty
PLAIN = (int, float, str, bool)


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        name: Name of the argument in Python; the option is `--` and the name with hyphens.
        type: Type that a shell or a YAML file can give.
        default: Its default, or `REQUIRED`.
        help: What the docstring says.
    """

    name: str
    type: Any
    default: Any
    help: str

    @property
    def sequence(self) -> str | None:
        """`"always"` if it takes a list and nothing else, `"also"` if a list among others, None if no list."""
        union = typing.get_origin(self.type) in (typing.Union, types.UnionType)
        parts = typing.get_args(self.type) if union else (self.type,)
        lists = [typing.get_origin(part) is list for part in parts if part is not type(None)]
        return None if not any(lists) else "always" if all(lists) else "also"

    @property
    def nested(self) -> str | None:
        """A list of lists as it is typed, the default if there is one; None if the option takes no such list."""
        inner = typing.get_args(self.type) if typing.get_origin(self.type) is list else ()
        if not any(typing.get_origin(part) is list for part in inner):
            return None
        groups = self.default if isinstance(self.default, list) else [[64, 64], [32, 32]]
        return ",".join(f"[{','.join(map(str, group))}]" for group in groups)


def options_of(function: Callable[..., Any], *, skip: Sequence[str] = ()) -> list[Option]:
    """Options for the arguments of a function, or of the constructor of a class.

    Args:
        function: What is to be called.
        skip: Arguments that are no options.

    Example:
        >>> from ppgen import inference
        >>> [(option.name, option.default) for option in options_of(inference.IWAE)]
        [('num_particles', 50)]
    """
    target = function.__init__ if inspect.isclass(function) else function
    hints = typing.get_type_hints(target)
    texts = argument_help(function)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in skip or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = shell_type(hints.get(name, str))
        if kind is not None:
            default = parameter.default
            found.append(Option(name, kind, _plain(default), texts.get(name, "")))
    return found


def argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Text of each argument in a docstring of Google's style, without its markup."""
    from docstring_parser import DocstringStyle, parse

    described = parse(inspect.getdoc(function) or "", style=DocstringStyle.GOOGLE)
    return {each.arg_name: plain_text(each.description or "") for each in described.params}


def first_line(function: Callable[..., Any]) -> str:
    """The line of a docstring that says what the object is."""
    return plain_text((inspect.getdoc(function) or "").partition("\n")[0])


def plain_text(text: str) -> str:
    r"""Text of a docstring as a terminal shows it: no backquotes, one line, `%` left alone by argparse.

    Example:
        >>> plain_text('`"adam"` or `"sgd"`,\n by name')
        '"adam" or "sgd", by name'
    """
    return " ".join(text.replace("`", "").split()).replace("%", "%%")


def shell_type(annotation: Any) -> Any:
    """The part of a type that can be written on a command line; None if there is none.

    Example:
        >>> from torch import Tensor
        >>> shell_type(int | str | Tensor) == int | str
        True
        >>> shell_type(Sequence[int])
        list[int]
    """
    origin = typing.get_origin(annotation)
    if annotation is type(None) or annotation in PLAIN or origin is Literal:
        return annotation
    if annotation is Any:
        return None
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in map(shell_type, typing.get_args(annotation)) if part is not None]
        parts.sort(key=lambda part: part is str)  # a text is what nothing else can read
        parts.sort(key=lambda part: part is type(None))
        return None if all(part is type(None) for part in parts) else typing.Union[tuple(parts)]  # noqa: UP007 - a tuple
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    if isinstance(origin, type) and issubclass(origin, (Sequence, tuple)):
        inner = [shell_type(part) for part in typing.get_args(annotation) if part is not ...]
        return None if None in inner or not inner else list[inner[0]]  # type: ignore[valid-type]
    return None


def _plain(value: Any) -> Any:
    """A default as a file of options holds it: lists and plain numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
