"""What steps take and give, read from annotations; and which of them fit one another."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Any, Final

from pillion.composition.errors import CompositionError

__all__ = ["Reading", "Way", "common", "fits", "read", "shown"]

_STREAMS: Final = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator)


@unique
class Way(Enum):
    """How a callable is run."""

    PLAIN = "plain"
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def streams(self) -> bool:
        """Whether it gives its results one by one."""
        return self in {Way.GENERATOR, Way.ASYNC_GENERATOR}

    @property
    def on_loop(self) -> bool:
        """Whether it runs on the event loop."""
        return self in {Way.ASYNC, Way.ASYNC_GENERATOR}


@dataclass(frozen=True, slots=True)
class Reading:
    """What a callable says of itself. Hints are ``Any`` where it says nothing."""

    name: str
    parameter: str
    takes: Any
    gives: Any
    """Of each item where it streams."""
    way: Way


def read(target: Callable[..., Any], name: str | None = None, *, method: bool = False) -> Reading:
    """Read a callable that takes one value.

    Args:
        target: function, bound method, partial, or an object with ``__call__``.
        name: to call it, instead of its own name.
        method: whether its first parameter is ``self``.

    Raises:
        CompositionError: it does not take one value, or its annotations cannot be resolved.
    """
    function = _function(target)
    called = name or _name(target)
    try:
        parameters = list(inspect.signature(target).parameters.values())[method:]
    except (TypeError, ValueError) as error:
        if isinstance(target, type) or inspect.isbuiltin(target):  # int, str.upper: they take a value and say no more
            return Reading(called, "value", Any, target if isinstance(target, type) else Any, Way.PLAIN)
        raise CompositionError(f"step {called!r}: its signature cannot be read: {error}") from None
    parameter = _one(called, parameters)
    hints = _hints(called, function)
    way = _way(function, target)
    gives = target if isinstance(target, type) else hints.get("return", Any)
    if way.streams and gives is not Any:
        arguments = typing.get_args(gives)
        gives = arguments[0] if typing.get_origin(gives) in _STREAMS and arguments else Any
    return Reading(called, parameter.name, hints.get(parameter.name, Any), gives, way)


def _function(target: Callable[..., Any]) -> Any:  # noqa: ANN401 - functions, methods, and what decorators make of them
    while isinstance(target, functools.partial):
        target = target.func
    if isinstance(target, type):
        return inspect.getattr_static(target, "__init__")
    if inspect.isroutine(target):
        return inspect.unwrap(target)
    return inspect.unwrap(type(target).__call__)


def _name(target: Callable[..., Any]) -> str:
    while isinstance(target, functools.partial):
        target = target.func
    name = str(getattr(target, "__name__", type(target).__name__))
    return "lambda" if name == "<lambda>" else name


def _one(name: str, parameters: list[inspect.Parameter]) -> inspect.Parameter:
    taken = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [
        one.name
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    if len(needed) > 1:
        raise CompositionError(
            f"step {name!r} takes {', '.join(needed)}: a step takes one value; take a dataclass or a dict,"
            " or fix the rest with functools.partial"
        )
    if not taken:
        taken = [one for one in parameters if one.kind is one.VAR_POSITIONAL]
    if not taken or (needed and needed[0] != taken[0].name):
        raise CompositionError(f"step {name!r} takes no value by position: a step is called with the value before it")
    return taken[0]


def _hints(name: str, function: object) -> dict[str, Any]:
    if not hasattr(function, "__annotations__"):
        return {}
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise CompositionError(f"step {name!r}: {error}: import the type where it exists at run time") from None
    except TypeError:  # a builtin, or a decorator that leaves odd annotations: nothing is known then
        return {}


def _way(function: object, target: object) -> Way:
    either = (function, target)
    if any(map(inspect.isasyncgenfunction, either)):
        return Way.ASYNC_GENERATOR
    if any(map(inspect.isgeneratorfunction, either)):
        return Way.GENERATOR
    return Way.ASYNC if any(map(inspect.iscoroutinefunction, either)) else Way.PLAIN


def fits(given: Any, taken: Any) -> bool:  # noqa: ANN401 - type hints have no type of their own
    """Whether a value of one hint may be one of the other; True wherever that cannot be told."""
    given, taken = _plain(given), _plain(taken)
    if Any in (given, taken) or given == taken or object in (given, taken):
        return True
    if _is_union(given):
        return any(fits(one, taken) for one in typing.get_args(given))
    if _is_union(taken):
        return any(fits(given, one) for one in typing.get_args(taken))
    inner_given, inner_taken = typing.get_origin(given) or given, typing.get_origin(taken) or taken
    if not (isinstance(inner_given, type) and isinstance(inner_taken, type)):
        return True
    if inner_taken is float and inner_given is int:
        return True
    try:
        below = issubclass(inner_given, inner_taken) or issubclass(inner_taken, inner_given)
    except TypeError:  # a TypedDict or a protocol without run-time checks
        return True
    if not below:
        return False
    given_arguments, taken_arguments = typing.get_args(given), typing.get_args(taken)
    if inner_given is inner_taken and inner_given in (list, set, frozenset, dict):
        return all(map(fits, given_arguments, taken_arguments))
    return True


def _plain(hint: Any) -> Any:  # noqa: ANN401 - as above
    if hint is None:
        return type(None)
    if isinstance(hint, typing.TypeVar):
        return Any
    return _plain(typing.get_args(hint)[0]) if typing.get_origin(hint) is typing.Annotated else hint


def _is_union(hint: Any) -> bool:  # noqa: ANN401 - as above
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def common(hints: list[Any]) -> Any:  # noqa: ANN401 - as above
    """One hint for values of any of them; ``Any`` where one of them says nothing."""
    different: list[Any] = []
    for hint in hints:
        if hint is Any:
            return Any
        if hint not in different:
            different.append(hint)
    return typing.Union[tuple(different)] if different else Any  # noqa: UP007 - of a list that is made here


def shown(hint: Any) -> str:  # noqa: ANN401 - as above
    """A hint for messages and drawings."""
    if hint is Any:
        return "any"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
