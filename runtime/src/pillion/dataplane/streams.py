"""Answers that come item by item: the seam beside :mod:`pillion.dataplane.call` and :mod:`pillion.dataplane.tasks`.

A transport awaits :meth:`StreamPlane.stream`, which returns once the first item is there: whatever is wrong before it
(bad input, a full queue, a deadline) is an ordinary error. Then it takes items until there are none, and closes the
stream if its client leaves. The call runs as a task of its own, through the admission, deadline and executor of every
call, and holds its slot for as long as the model's code runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from pillion.errors import ErrorCode, PillionError
from pillion.execution.stream import ItemBuffer
from pillion.metrics import OK

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import Call, WireProtocol
    from pillion.dataplane.tasks import ServedTask, TaskResult
    from pillion.metrics import ModelMetrics
    from pillion.model import ModelStatus

__all__ = ["ItemStream", "StreamPlane", "TextPlane"]

_INTERNAL: Final = ErrorCode.INTERNAL.value
_CANCELLED: Final = ErrorCode.CANCELLED.value


class ItemStream:
    """One call that answers item by item. One reader, on the event loop.

    Args:
        model: who answers.
        version: of it.
        arrived: when the request reached the data plane, monotonic seconds.
        metrics: of the model.
        clock: monotonic seconds.
        ended: called once with the outcome's code, when the model's code has been let go.
    """

    __slots__ = ("_arrived", "_clock", "_code", "_driver", "_ended", "_metrics", "buffer", "model", "version")

    def __init__(
        self,
        model: str,
        version: str,
        arrived: float,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        ended: Callable[[ItemStream, str], None],
    ) -> None:
        self.model = model
        self.version = version
        self.buffer = ItemBuffer(asyncio.get_running_loop())
        self._arrived = arrived
        self._metrics = metrics
        self._clock = clock
        self._ended = ended
        self._driver: asyncio.Task[None] | None = None
        self._code = _CANCELLED

    def begin(self, running: Coroutine[Any, Any, None]) -> None:
        """Run the call that fills the buffer."""
        self._driver = asyncio.get_running_loop().create_task(running)
        # Not in the coroutine: one that is cancelled before its first step would never tell of its end.
        self._driver.add_done_callback(self._done)

    async def begun(self) -> None:
        """Wait for the first item, or for the end of a stream without any.

        Raises:
            PillionError: there is none.
        """
        try:
            await self.buffer.filled()
        except BaseException:
            self.close()
            raise
        self._metrics.first_item(self._clock() - self._arrived)

    async def take(self) -> list[Any]:
        """The items that there are by now, at least one, as plain data; none at the end.

        Raises:
            PillionError: the stream failed; the items before that have been given.
        """
        items = await self.buffer.take()
        self._metrics.items += len(items)
        return items

    def close(self) -> None:
        """The client has left: stop the model's code and give up its slot. Idempotent."""
        self._stop(_CANCELLED, None)

    def finish(self) -> None:
        """The same for a client that has all it wanted: the call counts as answered."""
        self._stop(OK, None)

    def fail(self, error: PillionError) -> None:
        """The same from the server's side: the reader is told why."""
        self._stop(error.code.value, error)

    def _stop(self, code: str, failure: PillionError | None) -> None:
        if self._driver is not None and not self._driver.done() and not self._driver.cancelling():
            self._code = code
            self.buffer.end(failure)
            self._driver.cancel()
        self.buffer.close()

    def _done(self, driver: asyncio.Task[None]) -> None:
        failure = None if driver.cancelled() else driver.exception()
        if driver.cancelled():
            code = self._code
        elif failure is None:
            code = OK
        else:
            code = failure.code.value if isinstance(failure, PillionError) else _INTERNAL
        # A call that was cancelled from elsewhere (the loop is ending) must not leave its reader waiting.
        self.buffer.end(failure if isinstance(failure, Exception) else None)
        self._ended(self, code)


class StreamPlane(Protocol):
    """What every transport may ask of the data plane about streams."""

    async def stream(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> ItemStream:
        """Begin one call of a task that streams, or of ``generate``, and wait for its first item.

        Cancelling the awaiting task cancels the call. Up to its first wait the coroutine may be driven outside of any
        task, as :meth:`pillion.dataplane.call.InferencePlane.infer`.

        Raises:
            PillionError: with the code that says why there is no first item.
        """
        ...

    def refused(self, error: PillionError, protocol: WireProtocol, model: str, version: str | None = None) -> None:
        """Count a call that a transport could not hand over (see :class:`~pillion.dataplane.call.InferencePlane`)."""
        ...


class TextPlane(StreamPlane, Protocol):
    """What protocols for language models ask of the data plane."""

    def generator(self, model: str, version: str | None = None) -> tuple[ServedTask, Generator]:
        """The model's ``generate``, as a task for :meth:`stream`.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``NOT_READY``; ``INVALID_ARGUMENT`` for a model without one.
        """
        ...

    def embedder(self, model: str, version: str | None = None) -> tuple[ServedTask, Embedder]:
        """The model's ``embed``, as a task for :meth:`perform`.

        Raises:
            PillionError: ``UNKNOWN_MODEL``, ``NOT_READY``; ``INVALID_ARGUMENT`` for a model without one.
        """
        ...

    def text_models(self) -> tuple[Mapping[str, Generator], Mapping[str, Embedder]]:
        """The models that generate and those that embed, by name. The same objects until something changes."""
        ...

    def statuses(self) -> Sequence[ModelStatus]:
        """Every known model version, by name and version."""
        ...

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """See :meth:`pillion.dataplane.call.InferencePlane.status`."""
        ...

    async def perform(self, task: ServedTask, arguments: Mapping[str, Any], call: Call) -> TaskResult:
        """See :meth:`pillion.dataplane.tasks.TaskPlane.perform`."""
        ...
