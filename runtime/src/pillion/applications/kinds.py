"""What an object that somebody wants to serve is, and the ASGI application that is made of it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from pillion.applications.ingress import MARK, Bound, Ingress
from pillion.applications.raw import RawApplication
from pillion.authoring.model import Model

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping
    from concurrent.futures import Executor

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

__all__ = ["Built", "NoApplicationError", "build"]

_ASGI = 3
_WSGI = 2
_REMEDY = (
    "give an ASGI application (FastAPI, Starlette), a function or object that takes a request or nothing, or a class "
    "of one of these"
)


class NoApplicationError(TypeError):
    """An object that cannot be served; the text says why and what can."""


class Built(NamedTuple):
    """What answers."""

    app: ASGIApp
    raw: bool
    """Whether it is a handler, whose answers are ours."""
    instance: Any
    """What the user wrote: the object whose methods are routes, the handler, or the application itself."""


def build(target: object, arguments: Mapping[str, Any], threads: Executor) -> Built:
    """The application that an object is, built where it is a class.

    Args:
        target: the object.
        arguments: for its constructor, where it is a class.
        threads: where plain handlers run.

    Raises:
        NoApplicationError: it cannot be served, or takes no arguments.
        Exception: its constructor's own.
    """
    if isinstance(target, Bound):
        if arguments and not isinstance(target.cls, type):
            raise NoApplicationError("args are for the constructor of a class, and this is a function: bind them")
        return _of_instance(_unbound(target, arguments, {}), threads)
    if isinstance(target, type):
        try:
            inspect.signature(target).bind(**arguments)
        except TypeError as error:
            raise NoApplicationError(f"the constructor of {target.__qualname__}: {error}: see its args") from None
        return _of_instance(target(**arguments), threads)
    if arguments:
        raise NoApplicationError(f"args are for the constructor of a class, and this is a {_kind(target)}")
    return _of_instance(target, threads)


def _unbound(bound: Bound, further: Mapping[str, Any], made: dict[int, Any]) -> Any:  # noqa: ANN401 - an instance, or a function
    """What was bound, built: its arguments first, where these were bound themselves."""
    given = [_argument(value, made) for value in bound.arguments]
    named = {name: _argument(value, made) for name, value in {**bound.named, **further}.items()}
    if not isinstance(bound.cls, type):
        return functools.partial(bound.cls, *given, **named)
    return bound.cls(*given, **named)


def _argument(value: Any, made: dict[int, Any]) -> Any:  # noqa: ANN401 - whatever a constructor takes
    """An argument, built where it was bound, also in lists, tuples and dicts. What is given twice is built once.

    Args:
        value: as it was given.
        made: what has been built, by the identity of what it was built of.
    """
    kind = type(value)
    if kind not in (Bound, list, tuple, dict):
        return value
    if id(value) in made:
        return made[id(value)]
    made[id(value)] = value  # for a list that contains itself
    if kind is Bound:
        made[id(value)] = built = _unbound(value, {}, made)
        if isinstance(built, Model):
            _load(built)
    elif kind is dict:
        inner = {key: _argument(one, made) for key, one in value.items()}
        if any(inner[key] is not one for key, one in value.items()):
            made[id(value)] = inner
    else:
        ones = [_argument(one, made) for one in value]
        if any(new is not old for new, old in zip(ones, value, strict=True)):
            made[id(value)] = kind(ones)
    return made[id(value)]


def _load(model: Model) -> None:
    """Make it ready. One that needs an artifact is for its owner to load, who knows the path."""
    if inspect.iscoroutinefunction(model.load):
        raise NoApplicationError(f"{type(model).__name__}.load: has to be a plain method, not async")
    try:
        inspect.signature(model.load).bind()
    except TypeError:
        return
    model.load()


def _of_instance(instance: Any, threads: Executor) -> Built:  # noqa: ANN401 - whatever was given
    made: Ingress | None = getattr(type(instance), MARK, None)
    if made is not None:
        return Built(made.of(instance), raw=False, instance=instance)
    if not callable(instance):
        raise NoApplicationError(f"a {_kind(instance)} is no application: {_REMEDY}")
    try:
        parameters = list(inspect.signature(instance).parameters.values())
    except ValueError:
        raise NoApplicationError(f"it cannot be told what a {_kind(instance)} takes: {_REMEDY}") from None
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) == _ASGI or (not needed and any(p.kind is p.VAR_POSITIONAL for p in parameters)):
        return Built(instance, raw=False, instance=instance)
    if len(needed) == _WSGI:
        raise NoApplicationError(
            f"a {_kind(instance)} that takes two arguments looks like WSGI: wrap it, as with a2wsgi.WSGIMiddleware"
        )
    if len(needed) > _ASGI or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        raise NoApplicationError(f"a {_kind(instance)} that takes {len(needed)} arguments is none: {_REMEDY}")
    return Built(RawApplication(instance, threads), raw=True, instance=instance)


def _kind(value: object) -> str:
    return "function" if inspect.isroutine(value) else type(value).__qualname__
