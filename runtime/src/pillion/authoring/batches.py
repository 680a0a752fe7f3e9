"""Tasks whose method takes many calls at once: what of a signature is one call's, and how lists are made of calls."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import msgspec
import numpy as np

from pillion.authoring.errors import AuthoringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Batch", "item_hint", "joined", "result_hint"]

_LISTS: Final = frozenset({list, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable})


class Batch(msgspec.Struct, frozen=True):
    """Have one call of the method answer many requests::

        @task(batch=Batch(max_size=32))
        def embed(self, text: list[str]) -> list[Vector]: ...

    Each request brings one item for each parameter without a default, and gets one item of the result. Parameters with
    a default are options: requests share a call where theirs are equal. A call begins as soon as the model is free.
    """

    max_size: int = 32
    """Requests in one call."""
    max_delay_seconds: float = 0.0
    """How long a request waits for others although the model is free."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.max_size < 1 or not 0 <= self.max_delay_seconds <= 60:
            raise AuthoringError("Batch: max_size is at least 1, and max_delay_seconds lies between 0 and 60")


def item_hint(hint: Any, place: str) -> Any:  # noqa: ANN401 - type hints have no type of their own
    """The type of what one request brings for a parameter that is given a list.

    Raises:
        AuthoringError: it is given something else.
    """
    origin = get_origin(hint) or hint
    if origin not in _LISTS:
        raise AuthoringError(f"{place}: with batch= a method is given a list of what requests bring: make it list[...]")
    arguments = get_args(hint)
    return arguments[0] if arguments else Any


def result_hint(hint: Any, place: str) -> Any:  # noqa: ANN401 - as above
    """The type of what one request gets; exceptions, which mark an item that failed, left out.

    Raises:
        AuthoringError: it is no list.
    """
    if hint is Any or hint is np.ndarray or get_origin(hint) is np.ndarray:
        return hint
    item = item_hint(hint, f"{place}, return type")
    if get_origin(item) in (Union, types.UnionType):
        kept = tuple(one for one in get_args(item) if not (isinstance(one, type) and issubclass(one, BaseException)))
        return typing.cast("Any", Union)[kept] if kept else Any
    return item


def joined(calls: Sequence[Mapping[str, Any]], items: Sequence[str]) -> dict[str, Any]:
    """What the method is called with for these calls, whose other arguments are equal."""
    arguments = dict(calls[0])
    for name in items:
        arguments[name] = [call[name] for call in calls]
    return arguments
