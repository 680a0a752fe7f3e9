"""``POST .../generate`` and ``.../generate_stream``: the generate extension over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import WireProtocol
from pillion.dataplane.completion import Completion
from pillion.errors import PillionError
from pillion.protocol.generate import (
    GenerateRequest,
    decode_generate,
    encode_failure,
    encode_final,
    encode_piece,
    encode_whole,
)
from pillion.protocol.generation import STOP, arguments, asks_for
from pillion.transport.http.answer import Answer
from pillion.transport.http.disconnect import DisconnectWatch
from pillion.transport.http.events import EVENT_STREAM, begun, event
from pillion.transport.http.posted import posted
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.streams import TextPlane
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["answer_generate"]


async def answer_generate(
    plane: TextPlane,
    options: DispatchOptions,
    target: Target,
    headers: Mapping[bytes, bytes],
    receive: Receive,
    caller: Caller,
) -> Answer:
    """Answer one request.

    Raises:
        PillionError: for the dispatcher to answer.
        ClientDisconnected: nobody is there to answer.
    """
    streams = target.route is Route.GENERATE_STREAM
    try:
        body, deadline = await posted(headers, receive, options, caller)
        request = decode_generate(body, streams=streams)
        task, generator = plane.generator(target.model, target.version)
        given = arguments(generator, asks_for(generator, request.text), request.options, request.stops)
    except PillionError as error:
        plane.refused(error, WireProtocol.REST, target.model, target.version)
        raise
    call = caller.call(WireProtocol.REST, deadline)
    stream = await begun(plane.stream(task, given, call), receive, options.disconnect_grace)
    completion = Completion(stream, request.stops, told=STOP in generator.options)
    if streams:
        return Answer(b"", content_type=EVENT_STREAM, events=_Pieces(completion, request, caller.request_id))
    try:
        with DisconnectWatch(receive, options.disconnect_grace):
            text = await completion.text()
    finally:
        stream.close()
    return Answer(encode_whole(completion, request, text))


class _Pieces:
    """See :class:`~pillion.transport.http.events.Events`."""

    def __init__(self, completion: Completion, request: GenerateRequest, request_id: str) -> None:
        self._completion = completion
        self._request = request
        self._request_id = request_id

    async def chunks(self) -> AsyncGenerator[bytes]:
        while pieces := await self._completion.take():
            yield b"".join([event(encode_piece(self._completion, self._request, piece)) for piece in pieces])
        yield event(encode_final(self._completion, self._request))

    def failed(self, error: PillionError) -> bytes:
        return event(encode_failure(error, self._request_id))

    def close(self) -> None:
        self._completion.stream.close()
