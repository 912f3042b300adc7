"""The calls that the examples of public functions make, as a start for calls that are less sensible."""

import doctest
import functools
import inspect
import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np


def recorded_call(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of the last call that a function's own example makes, by parameter; none if there is no example."""
    calls: list[dict[str, Any]] = [] if inspect.signature(function).parameters else [{}]

    @functools.wraps(function)
    def recorder(*arguments: Any, **named: Any) -> Any:
        bound = inspect.signature(function).bind(*arguments, **named)
        calls.append(dict(bound.arguments))
        return function(*arguments, **named)

    module = inspect.getmodule(function)
    assert module is not None
    names = {**vars(module), name: recorder}
    example = doctest.DocTestParser().get_doctest(inspect.getdoc(function) or "", names, name, None, None)
    with redirect_stdout(io.StringIO()):
        for step in example.examples:
            exec(compile(step.source, name, "single"), example.globs)
            example.globs[name] = recorder  # an example may import it
    arguments = calls[-1] if calls else {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(parameter.name, {}))
    return arguments


def changed(value: Any, change: Callable[[Any], Any], draw: np.random.Generator) -> Any:
    """The value with one of its leaves changed, wherever in a sequence or a mapping it lies."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*changed(list(value), change, draw))
    if isinstance(value, list | tuple) and value and not isinstance(value[0], str):
        place = int(draw.integers(len(value)))
        return type(value)([*value[:place], changed(value[place], change, draw), *value[place + 1 :]])
    if isinstance(value, Mapping) and value:
        key = list(value)[int(draw.integers(len(value)))]
        return {**value, key: changed(value[key], change, draw)}
    if inspect.isfunction(value):
        return lambda *arguments, **named: change(value(*arguments, **named))
    return change(value)
