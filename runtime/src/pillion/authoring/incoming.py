"""Parameters whose values a client sends one by one, while the method runs."""

from __future__ import annotations

import collections.abc
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args, get_origin

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StreamHint", "incoming_item"]

_ASYNCHRONOUS: Final = frozenset({collections.abc.AsyncIterator, collections.abc.AsyncIterable})


class StreamHint(NamedTuple):
    """What an annotation says of a stream."""

    item: Any
    """The type of one value."""
    make: Callable[[Any], Any] | None
    """Makes what the method is given of an iterator; None where it is that itself."""
    asynchronous: bool
    """Whether it is read with ``async for``."""


def incoming_item(hint: Any) -> StreamHint | None:  # noqa: ANN401 - type hints have no type of their own
    """What ``Iterator[T]``, ``AsyncIterator[T]`` or ``pillion.Stream[T]`` says; None for any other annotation."""
    origin = get_origin(hint) or hint
    arguments = get_args(hint)
    item = arguments[0] if arguments else Any
    if origin in _ASYNCHRONOUS or origin is collections.abc.Iterator:
        return StreamHint(item, None, origin in _ASYNCHRONOUS)
    if isinstance(origin, type) and (origin.__module__, origin.__name__) == ("pillion.authoring.stream", "Stream"):
        return StreamHint(item, lambda values: origin(lambda: values), asynchronous=False)
    return None
