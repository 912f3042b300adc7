"""Parsers whose errors are one line."""

import difflib
from collections.abc import Sequence
from typing import Any

import jsonargparse

from dipole.errors import InputError


def parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """Return an empty parser for a command.

    Args:
        command: its name.
        description: one or two sentences for its help.
    """
    return jsonargparse.ArgumentParser(
        prog=f"dipole {command}", description=description, exit_on_error=False, allow_abbrev=False
    )


def parse(parser: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> Any:
    """Parse arguments; dashes in the names of options may be underscores.

    Raises:
        InputError: a flag or a value is wrong; the message is one line.
    """
    try:
        return parser.parse_args(underscored(arguments))
    except jsonargparse.ArgumentError as error:
        message = " ".join(str(error).split()).removeprefix("error: ")
        raise InputError(message + _suggestion(parser, arguments)) from error


def underscored(arguments: Sequence[str]) -> list[str]:
    """Write the names of options with underscores, as the parsers know them.

    Example:
        >>> underscored(["--data-root=my-data", "--method.t-positive", "2"])
        ['--data_root=my-data', '--method.t_positive', '2']
    """
    result = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
        result.append(name + equals + value)
    return result


def taken(flag: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take a flag that decides which others there are out of the arguments.

    Args:
        flag: with its dashes.
        arguments: of the command.

    Returns:
        Its value, None if it is not there, and the other arguments.

    Raises:
        InputError: the flag has no value.

    Example:
        >>> taken("--protocol", ["runs/x", "--protocol", "knn", "--protocol.k=5"])
        ('knn', ['runs/x', '--protocol.k=5'])
    """
    value, rest = None, []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == flag:
            value = next(remaining, None)
            if value is None:
                raise InputError(f"{flag} needs a value.")
        elif argument.startswith(flag + "="):
            value = argument.partition("=")[2]
        else:
            rest.append(argument)
    return value, rest


def gathered(arguments: Sequence[str], many: Sequence[str] = ()) -> list[str]:
    """Return arguments with those that belong to no flag first, so that they may stand anywhere.

    Every flag has one value. After `--` nothing is moved.

    Args:
        arguments: of the command.
        many: flags that take several values, of which all but the first are `name=content`.

    Example:
        >>> gathered(["run", "--k", "3", "corpus", "--given", "a=1", "b=2", "a query"], ["--given"])
        ['run', 'corpus', 'a query', '--k', '3', '--given', 'a=1', 'b=2']
    """
    if "--" in arguments:
        return list(arguments)
    alone: list[str] = []
    flags: list[str] = []
    flag, values = "", 0
    for argument in arguments:
        more = values == 0 or (flag in many and "=" in argument.partition(" ")[0])
        if argument.startswith("--"):
            flag, values = ("", 0) if "=" in argument or argument == "--help" else (argument, 0)
            flags.append(argument)
        elif flag and argument and more:
            values += 1
            flags.append(argument)
        else:
            flag = ""
            alone.append(argument)
    return [*alone, *flags]


def _suggestion(parser: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> str:
    """The flag that was probably meant, if one is unknown."""
    known = [option for action in parser._actions for option in action.option_strings]
    for argument in underscored(arguments):
        name = argument.partition("=")[0]
        if name.startswith("--") and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            return f" Did you mean {close[0]}?" if close else ""
    return ""
