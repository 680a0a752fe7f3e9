"""Results that come one by one: from the thread or the coroutine that makes them to the one reader on the event loop.

A sync generator runs in one thread from its beginning to its end, not item by item in whichever thread is free: what
is bound to a thread stays valid between two items (``torch.inference_mode``, database connections, contexts), and an
item costs no trip through the pool. The buffer between is short. Once it is full the generator waits, so that a slow
client slows the model's code and fills no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["ItemBuffer", "ItemSink", "StreamRun", "StreamSource"]

_MOST: Final = 16
"""Items that are made ahead of the client."""


class StreamSource(Protocol):
    """One call that gives its results one by one. Not begun yet."""

    asynchronous: bool
    """Whether it runs on the event loop."""

    def run(self, put: Callable[[Any], bool]) -> None:
        """In a thread: hand each result over as plain data, and end early where ``put`` says that nobody reads on."""
        ...

    def items_async(self) -> AsyncIterator[Any]:
        """The results of one that runs on the event loop."""
        ...


class ItemSink(Protocol):
    """Where the results of a stream go."""

    def put(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """Hand an item over, waiting for room; False where nobody reads any more."""
        ...

    async def put_async(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """The same for a writer on the event loop."""
        ...

    def close(self) -> None:
        """Nobody reads any more."""
        ...


class ItemBuffer:
    """A bounded queue from one writer, in any thread, to one reader on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int = _MOST) -> None:
        self._loop = loop
        self.most = most
        """Items that there is room for."""
        self.on_taken: Callable[[int], None] | None = None
        """Told how many items the reader has taken, for a writer that must not wait here."""
        self._owner = threading.get_ident()
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._ended = False
        self._failure: Exception | None = None
        self._waits = False
        """Whether the reader has found nothing and is to be told of the next item."""
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # --- writing

    def put(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """Hand an item over, waiting for room; False where nobody reads any more. From the writer's thread."""
        with self._changed:
            if threading.get_ident() != self._owner:  # on the loop itself waiting would be for ever
                while len(self._items) >= self.most and not self._closed:
                    self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            tell, self._waits = self._waits, False
        if tell:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:
                return False  # the loop is closed: the process is ending
        return True

    async def put_async(self, item: Any) -> bool:  # noqa: ANN401 - any plain value
        """The same for a writer on the event loop."""
        while len(self._items) >= self.most and not self._closed:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None
        if self._closed:
            return False
        self._items.append(item)
        self._wake()
        return True

    def add(self, item: Any) -> None:  # noqa: ANN401 - any plain value
        """The same from the event loop by a writer that keeps to what there is room for."""
        if not self._closed:
            self._items.append(item)
            self._wake()

    # --- reading: on the event loop

    async def take(self) -> list[Any]:
        """The items that there are, at least one; none at the end.

        Raises:
            Exception: what the writer failed with, after the items before it.
        """
        await self.filled()
        with self._changed:
            items = list(self._items)
            self._items.clear()
            self._changed.notify()
        _set(self._writer)
        if self.on_taken is not None:
            self.on_taken(len(items))
        if not items and self._failure is not None:
            raise self._failure
        return items

    async def filled(self) -> None:
        """Wait for an item or the end.

        Raises:
            Exception: what the writer failed with, where no item came before.
        """
        while True:
            with self._changed:
                if self._items or self._ended:
                    break
                self._waits = True
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        if not self._items and self._failure is not None:
            raise self._failure

    @property
    def open(self) -> bool:
        """Whether more items may come."""
        return not self._ended

    def end(self, failure: Exception | None = None) -> None:
        """No more items come; the first reason counts. Those that are there can still be read."""
        if not self._ended:
            self._ended = True
            self._failure = failure
        self._wake()

    def close(self) -> None:
        """Nobody reads any more: the writer is told so with its next item, or now where it waits for room."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        _set(self._writer)

    def _wake(self) -> None:
        _set(self._reader)


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


class StreamRun:
    """A whole stream as one call, on its way through an executor (see :class:`~pillion.backends.api.Predictor`)."""

    def __init__(self, source: StreamSource, buffer: ItemSink) -> None:
        self.source = source
        self.buffer = buffer
        self.asynchronous = source.asynchronous

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Run the code to its end, or until nobody reads on."""
        del inputs, outputs
        buffer = self.buffer
        if interrupt is not None:
            interrupt.action = buffer.close
            if interrupt.fired:  # between its making and the line before
                buffer.close()
        self.source.run(buffer.put)
        return []

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """The same on the event loop. When cancelled, so is the user's code, also where it waits between two items."""
        del inputs, outputs
        items = self.source.items_async()
        try:
            async for item in items:
                if not await self.buffer.put_async(item):
                    # The reader's leaving may be seen here before the cancelling that it leads to.
                    await _cancel(items, asyncio.CancelledError())
                    break
        except asyncio.CancelledError as error:
            await _cancel(items, error)
            raise
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()
        return []


async def _cancel(items: AsyncIterator[Any], error: asyncio.CancelledError) -> None:
    """Throw it in where the code has yielded; where it awaited something, it has had it already."""
    if hasattr(items, "athrow"):
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await items.athrow(error)
