"""Arguments of a loader beside the folder: options of the data set, which are part of what it is."""

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any


def bound_options(
    name: str, loader: Callable[..., Any], options: Mapping[str, Any], known: list[str]
) -> dict[str, Any]:
    """All options of a loader by name, those that were not given at their defaults.

    Args:
        name: Name of the data set, for messages.
        loader: Function of a folder and of options.
        options: What was given.
        known: Arguments of `load`, of which an unknown option may be a misspelling.

    Raises:
        TypeError: If the loader has no such option, needs one that is not given, or a value is no plain one.

    Example:
        >>> bound_options("patches", lambda root=None, size=8, colour=False: None, {"size": 12}, [])
        {'size': 12, 'colour': False}
    """
    _, *parameters = inspect.signature(loader).parameters.values()  # the first is the folder
    own = [each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    names = [each.name for each in own]
    for each in names:
        if each in known:
            raise TypeError(
                f"The loader of data set {name!r} has an option {each!r}, and load an argument of that name, which "
                "would hide it: give the option another name."
            )
    if not any(each.kind is each.VAR_KEYWORD for each in parameters):
        for given in options:
            if given not in names:
                takes = f"its options are {', '.join(names)}" if names else "it has no options"
                raise TypeError(f"Data set {name!r} has no option {given!r}: {takes}.{_meant(given, [*names, *known])}")
    missing = [each.name for each in own if each.default is each.empty and each.name not in options]
    if missing:
        raise TypeError(
            f"Data set {name!r} needs the option {missing[0]!r}: give datasets.load({name!r}, {missing[0]}=...)."
        )
    bound = {each.name: options.get(each.name, each.default) for each in own} | dict(options)
    return {key: _plain(name, key, value) for key, value in bound.items()}


def refuse_options(options: Mapping[str, Any], known: list[str]) -> None:
    """Raise where files and arrays of the user's own are given options.

    Raises:
        TypeError: Names the first.
    """
    for given in options:
        raise TypeError(
            f"load has no argument {given!r}, and only registered data sets have options of their own."
            f"{_meant(given, known)}"
        )


def digested(options: Mapping[str, Any]) -> bytes:
    """What options add to the checksum of a data set: nothing where there are none."""
    return json.dumps(dict(options), sort_keys=True).encode() if options else b""


def _plain(name: str, key: str, value: Any) -> Any:
    """The value as a configuration holds it."""
    if isinstance(value, (list, tuple)):
        return [_plain(name, key, each) for each in value]
    if value is not None and type(value) not in (bool, int, float, str):
        raise TypeError(
            f"Option {key!r} of data set {name!r} must be a number, a text, true or false, or a list of those, so that "
            f"a configuration can hold it; got {type(value).__name__}."
        )
    return value


def _meant(given: str, names: list[str]) -> str:
    close = difflib.get_close_matches(given, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
