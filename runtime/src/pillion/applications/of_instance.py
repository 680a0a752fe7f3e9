"""Something that belongs to a decorated method and one instance of its class, or to a decorated function."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OfInstance", "kept_by"]

_Kept = TypeVar("_Kept")
_PREFIX: Final = "__pillion_of_"


class OfInstance(Generic[_Kept]):
    """Makes it when it is asked for first, and anew in another event loop, where the first could not be waited for.

    Args:
        name: of the method.
        make: makes it, from the method bound to the instance.
    """

    def __init__(self, function: Callable[..., Any], make: Callable[[Callable[..., Any]], _Kept]) -> None:
        self._function = function
        self._make = make
        self._name = f"{_PREFIX}{function.__name__}__"
        self._own: dict[str, Any] = {}

    def of(self, instance: object) -> _Kept:
        """That of an instance; None stands for a function."""
        loop = asyncio.get_running_loop()
        # In the instance, so that it goes with it; what has slots keeps nothing.
        there: dict[str, Any] = self._own if instance is None else _attributes(instance, self._function)
        found: tuple[asyncio.AbstractEventLoop, _Kept] | None = there.get(self._name)
        if found is None or found[0] is not loop:
            bound = self._function if instance is None else self._function.__get__(instance)
            found = there[self._name] = (loop, self._make(bound))
        return found[1]


def kept_by(instance: object) -> list[Any]:
    """All that was made for an instance."""
    named = getattr(instance, "__dict__", {})
    return [kept[1] for name, kept in named.items() if name.startswith(_PREFIX) and isinstance(kept, tuple)]


def _attributes(instance: object, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return vars(instance)
    except TypeError:
        kind = type(instance).__qualname__
        raise TypeError(f"{kind}.{function.__name__}: {kind} has slots and nowhere to keep what is shared") from None
