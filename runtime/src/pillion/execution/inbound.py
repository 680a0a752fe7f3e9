"""Values that a client sends while the method runs: from the event loop to whoever reads, in a thread or on the loop.

The buffer is short. Once it is full the transport stops reading from the connection, so that a client that is quicker
than the model waits instead of filling memory.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["Inbound"]

_MOST: Final = 16
"""Values that are received ahead of the method."""


class Inbound:
    """A bounded queue from the transport to one reader, which iterates over it, with ``for`` or with ``async for``."""

    def __init__(self, most: int = _MOST) -> None:
        self._loop = asyncio.get_running_loop()
        self._owner = threading.get_ident()
        self._most = most
        self._values: deque[Any] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._failure: Exception | None = None
        self._closed = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._put = 0
        self._asked = 0
        """How often the reader came for a value."""
        self._asked_at = 0.0
        """When it came last, on the loop's clock."""

    # --- writing: on the event loop

    async def put(self, value: Any, *, until_used: bool = False) -> bool:  # noqa: ANN401 - a validated value
        """Hand a value over, waiting for room; False where nobody reads any more.

        Args:
            value: for the reader.
            until_used: also wait until the reader has come for the next one, so that whoever counts the bytes of large
                values counts them for as long as they are kept.
        """
        while not self._closed and not self._ended:
            with self._changed:
                if len(self._values) < self._most:
                    self._values.append(value)
                    self._put += 1
                    self._changed.notify()
                    break
                self._writer = self._loop.create_future()
            await self._writer
        _set(self._reader)
        number = self._put
        while until_used and not self._closed and not self._ended:
            with self._changed:
                if self._asked > number:
                    break
                self._writer = self._loop.create_future()
            await self._writer
        return not (self._closed or self._ended)

    def end(self, failure: Exception | None = None) -> None:
        """No more values come; the first reason counts. A failure is raised where the method reads on."""
        with self._changed:
            if not self._ended:
                self._ended, self._failure = True, failure
            self._changed.notify_all()
        _set(self._reader)
        _set(self._writer)

    def close(self) -> None:
        """The method has ended, or is left alone: whoever would still send is told so, and code that reads on, such as
        a thread that nobody waits for, does not take what it has got for all there is.
        """
        self._closed = True
        self.end(PillionError(ErrorCode.CANCELLED, "The caller left"))

    @property
    def awaited_since(self) -> float | None:
        """Since when the reader waits for a value, on the loop's clock; None while it does not."""
        return self._asked_at if not self._ended and self._asked > self._put - len(self._values) else None

    # --- reading

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:  # noqa: ANN401 - a validated value
        if threading.get_ident() == self._owner:
            raise RuntimeError("this stream is read with `for` on the event loop, which it would stop: use `async for`")
        with self._changed:
            self._asked += 1
            self._asked_at = self._loop.time()
            if self._writer is not None and not self._values and not self._ended:
                self._loop.call_soon_threadsafe(self._room)
            while not self._values and not self._ended:
                self._changed.wait()
            if self._values:
                value = self._values.popleft()
                self._loop.call_soon_threadsafe(self._room)
                return value
        raise self._failure or StopIteration

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401 - a validated value
        self._asked += 1
        self._asked_at = self._loop.time()
        if not self._values:
            self._room()
        while not self._values and not self._ended:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            except BaseException:  # such as the end of its patience: it does not wait any more, and may come again
                self._asked -= 1
                raise
            finally:
                self._reader = None
        if self._values:
            value = self._values.popleft()
            self._room()
            return value
        raise self._failure or StopAsyncIteration

    def _room(self) -> None:
        _set(self._writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
