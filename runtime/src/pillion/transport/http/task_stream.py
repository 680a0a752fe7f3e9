"""Tasks that stream: server-sent events, one ``message`` with JSON an item, at most one ``error``, then the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.protocol.task_json import encode_result
from pillion.transport.http.answer import Answer
from pillion.transport.http.errors import task_error_body
from pillion.transport.http.events import EVENT_STREAM, begun, event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.call import Call
    from pillion.dataplane.streams import ItemStream
    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.errors import PillionError

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["streamed"]


async def streamed(
    plane: TaskPlane, task: ServedTask, arguments: Mapping[str, Any], call: Call, receive: Receive, grace: float
) -> Answer:
    """The answer, once its first item is there.

    Raises:
        PillionError: there is none.
        ClientDisconnected: nobody is there to answer.
    """
    stream = await begun(plane.stream(task, arguments, call), receive, grace)
    return Answer(b"", content_type=EVENT_STREAM, events=_Messages(stream, call.request_id))


class _Messages:
    """See :class:`~pillion.transport.http.events.Events`."""

    def __init__(self, stream: ItemStream, request_id: str) -> None:
        self._stream = stream
        self._request_id = request_id

    async def chunks(self) -> AsyncGenerator[bytes]:
        while items := await self._stream.take():
            yield b"".join([event(encode_result(item), "message") for item in items])

    def failed(self, error: PillionError) -> bytes:
        return event(task_error_body(error, self._request_id), "error")

    def close(self) -> None:
        self._stream.close()
