"""Data of a training: items one after the other, as often as they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Stream"]

Item = TypeVar("Item")


class Stream(Generic[Item]):
    """Items that a training goes through, once for each epoch if it wants: ``for example in data``.

    Nothing is kept in memory that was not there before: data from files is read again each time. In a test, make one
    of a list: ``Stream([Example(...), Example(...)])``.

    Args:
        source: the items, or what begins to read them.
        length: how many there are, where that is known.
    """

    def __init__(self, source: Iterable[Item] | Callable[[], Iterator[Item]], length: int | None = None) -> None:
        self._begin: Callable[[], Iterator[Item]] = source if callable(source) else source.__iter__
        if length is None and isinstance(source, (list, tuple)):
            length = len(source)
        self.length = length
        """How many there are; None where nobody counted them."""

    def __iter__(self) -> Iterator[Item]:
        """The items from the first."""
        return iter(self._begin())

    def batches(self, size: int) -> Iterator[list[Item]]:
        """The items in lists of ``size``; the last may be shorter."""
        if size < 1:
            raise ValueError("size: at least 1")
        batch: list[Item] = []
        for item in self:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
