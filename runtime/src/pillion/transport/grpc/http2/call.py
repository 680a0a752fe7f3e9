"""One call: runs the method's handler, as grpc.aio would, and is the context that the handler sees."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Never, cast

import grpc
import grpc.aio

from pillion.transport.grpc.http2.messages import MessageFault
from pillion.transport.grpc.http2.request import metadata_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from pillion.transport.grpc.http2.request import Metadata
    from pillion.transport.grpc.http2.stream import Stream

    Handler = grpc.RpcMethodHandler[Any, Any]

__all__ = ["ServedCall"]

_log: Final = logging.getLogger("pillion.grpc")
_CARDINALITY: Final = "A method that takes one message was sent another number of them"


class ServedCall(grpc.aio.ServicerContext[Any, Any]):
    """The context of a call. Of grpc's interface it has what asynchronous handlers use; compression is not among it.

    Args:
        stream: what the call came in on.
        handler: of its method.
    """

    tells_leaving: Final = True
    """The messages of a client that leaves do not end (see :mod:`pillion.transport.grpc.ends`)."""

    def __init__(self, stream: Stream, handler: Handler) -> None:
        self._stream = stream
        self._handler = handler
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: Metadata = ()
        self._callbacks: list[Callable[[Any], None]] | None = None
        self._ended = False

    # --- running

    async def run(self, message: bytes | None) -> None:
        """Answer. ``message`` is the request of a method that takes one, where it is there already."""
        stream, handler = self._stream, self._handler
        try:
            if not handler.request_streaming and not handler.response_streaming and message is not None:
                answer = await cast("Any", handler.unary_unary)(self._decoded(message), self)
                message = None
                if self._code is not None and self._code is not grpc.StatusCode.OK:
                    self._end(self._code, self._details)
                elif not stream.answer_whole(self._encoded(answer), self._trailers()):
                    stream.inbox.release()
                    await stream.send(self._encoded(answer))
                    self._end(grpc.StatusCode.OK, "")
            else:
                await self._run_stream()
                self._end(self._code or grpc.StatusCode.OK, self._details)
        except grpc.aio.AbortError:
            self._end(self._code or grpc.StatusCode.UNKNOWN, self._details)
        except MessageFault as fault:
            self._end(fault.status, str(fault))
        except asyncio.CancelledError:
            # By the client, the deadline or the end of the server, each of which has said so to whom it concerns.
            stream.abandon()
        except Exception:  # noqa: BLE001 - the boundary: every failure has a status
            _log.exception("a method failed outside of its own handling of errors")
            self._end(grpc.StatusCode.UNKNOWN, "Internal error; the server's log has it")
        finally:
            self._ended = True
            if self._callbacks is not None:
                for callback in self._callbacks:
                    callback(self)

    async def _run_stream(self) -> None:
        handler, stream = cast("Any", self._handler), self._stream
        message = None
        if handler.request_streaming:
            requests: Any = self._requests()
        else:
            message = await stream.inbox.receive()
            if message is None or not stream.inbox.drained:
                raise MessageFault(grpc.StatusCode.UNIMPLEMENTED, _CARDINALITY)
            requests = self._decoded(message)
        if not handler.response_streaming:
            behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
            answer = await behaviour(requests, self)
            requests = message = None
            if self._code in (None, grpc.StatusCode.OK):
                stream.inbox.release()
                await stream.send(self._encoded(answer))
            return
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        answers = behaviour(requests, self)
        try:
            async for answer in answers:
                await stream.send(self._encoded(answer))
        finally:
            if hasattr(answers, "aclose"):
                await answers.aclose()

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self._stream.inbox.receive()) is not None:
            yield self._decoded(message)

    def _decoded(self, message: bytes) -> Any:  # noqa: ANN401 - whatever the method's deserializer makes
        deserialize = self._handler.request_deserializer
        if deserialize is None:
            return message
        try:
            return deserialize(message)
        except Exception as error:  # a deserializer raises what it likes; what it means is always the same
            raise MessageFault(grpc.StatusCode.INTERNAL, "The request message cannot be read") from error

    def _encoded(self, answer: Any) -> bytes:  # noqa: ANN401 - whatever the method's serializer takes
        serialize = self._handler.response_serializer
        return cast("bytes", answer if serialize is None else serialize(answer))

    def _end(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        self._stream.end(code, details, self._trailers())

    def _trailers(self) -> bytes:
        return metadata_fields(self._trailing) if self._trailing else b""

    # --- what handlers see

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> Never:  # noqa: ANN401 - grpc's own
        """End the call with this status, now."""
        if code is grpc.StatusCode.OK:
            raise ValueError("a call is not aborted with OK")
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = tuple(trailing_metadata)
        raise grpc.aio.AbortError

    async def abort_with_status(self, status: grpc.Status) -> Never:
        """The same."""
        await self.abort(status.code, status.details, status.trailing_metadata)

    async def read(self) -> Any:  # noqa: ANN401 - grpc's own
        """The next message, or ``grpc.aio.EOF``."""
        message = await self._stream.inbox.receive()
        return grpc.aio.EOF if message is None else self._decoded(message)

    async def write(self, message: Any) -> None:  # noqa: ANN401 - grpc's own
        """Send an answer, as soon as the client has room for it."""
        await self._stream.send(self._encoded(message))

    async def send_initial_metadata(self, initial_metadata: Any) -> None:  # noqa: ANN401 - grpc's own
        """Send metadata before the first answer."""
        self._stream.begin_answer(metadata_fields(tuple(initial_metadata)))

    def add_done_callback(self, callback: Any) -> None:  # noqa: ANN401 - grpc's own
        """Have it called when the call has ended, however."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:  # noqa: ANN401 - grpc's own
        """Metadata behind the answer."""
        self._trailing = tuple(trailing_metadata)

    def invocation_metadata(self) -> Any:  # noqa: ANN401 - grpc's stubs have a class of their own for pairs
        """What the client sent along, in its order."""
        return self._stream.request.metadata

    def time_remaining(self) -> Any:  # noqa: ANN401 - the stubs leave None out
        """Seconds to the client's deadline; None where it has none."""
        return self._stream.time_remaining()

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status that the call ends with."""
        self._code = code

    def set_details(self, details: str) -> None:
        """The sentence beside it."""
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Refused: answers are not compressed (docs/adr/0032)."""
        raise NotImplementedError("answers over gRPC are not compressed")

    def disable_next_message_compression(self) -> None:
        """Nothing: no message is compressed."""

    def peer(self) -> str:
        """The client's address as gRPC writes it."""
        return self._stream.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        """None: what a client's certificate says is not passed on."""
        return None

    def peer_identity_key(self) -> str | None:
        """None, as above."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Empty, as above."""
        return {}

    def trailing_metadata(self) -> Any:  # noqa: ANN401 - as above
        """What was set."""
        return self._trailing

    def code(self) -> grpc.StatusCode:
        """The status, once there is one."""
        return self._code or grpc.StatusCode.OK

    def details(self) -> str:
        """The sentence beside it."""
        return self._details

    def cancelled(self) -> bool:
        """Whether the client left, or the time is over."""
        return self._stream.closed and not self._stream.answered

    def done(self) -> bool:
        """Whether the call has ended."""
        return self._ended
