"""The transports over gRPC, imported where a ``grpc://`` URL is used."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.client.errors import CallError, ClientError, ConnectionLost, NeverSent, error_of
from pillion.client.exchange import Answer, GrpcCall
from pillion.client.tls import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pillion.client.address import Address
    from pillion.client.exchange import Request

__all__ = ["GrpcAsync", "GrpcSync"]

_STATUS: Final = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "FAILED_PRECONDITION": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


class _Channel:
    """Calls over one channel, made anew when certificates change; the old one ends with its calls."""

    def __init__(self, address: Address, library: Any) -> None:  # noqa: ANN401 - grpc, or grpc.aio
        self._address = address
        self._library = library
        self._lock = threading.Lock()
        self._watch = None if address.tls is None else Watch(address.tls)
        self._channel = self._made()

    def _made(self) -> Any:  # noqa: ANN401 - of either library
        unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        chosen: list[tuple[str, int]] = [*unbounded, ("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
        if not self._address.secure:
            return self._library.insecure_channel(self._address.base, chosen)
        read = (None, None, None) if self._address.tls is None else self._address.tls.read()
        return self._library.secure_channel(self._address.base, grpc.ssl_channel_credentials(*read), chosen)

    def called(self, request: Request | GrpcCall, timeout: float) -> Any:  # noqa: ANN401 - an answer, or what awaits it
        if not isinstance(request, GrpcCall):
            raise ClientError(
                f"{self._address.url} speaks gRPC, by which tasks and rows are not called: that goes by http(s)://"
            )
        with self._lock:
            if self._watch is not None and self._watch.changed():
                self._channel = self._made()
            channel = self._channel
        kind = ("stream" if request.uploads else "unary") + (
            "_stream" if request.collects or request.streams else "_unary"
        )
        call = getattr(channel, kind)(
            f"/{request.service}/{request.method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=request.answer.FromString,
        )
        headers = {**self._address.headers, **request.headers}
        sent = request.message() if request.uploads else request.message
        # A stream that is followed takes as long as what it tells of.
        limit = None if request.streams else timeout
        return call(sent, timeout=limit, metadata=tuple(headers.items()))

    def close(self) -> Any:  # noqa: ANN401 - None, or what awaits it
        return self._channel.close()


class GrpcSync(_Channel):
    """Blocking; from any thread."""

    def __init__(self, address: Address) -> None:
        super().__init__(address, grpc)

    def send(self, request: Request | GrpcCall, timeout: float) -> Answer:
        """The answer, within ``timeout`` seconds.

        Raises:
            ClientError: there is none, or an error.
        """
        try:
            answer = self.called(request, timeout)
            return Answer({}, live=list(answer) if request.collects else answer)  # type: ignore[union-attr] # looked at there
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None

    def events(self, answer: Answer, _timeout: float) -> Iterator[tuple[str, Any]]:
        """Those of a training that is followed; ended early, the server sees its client leave."""
        try:
            for event in answer.live:
                yield event_of(event)
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None
        finally:
            answer.live.cancel()


class GrpcAsync(_Channel):
    """On an event loop."""

    def __init__(self, address: Address) -> None:
        from grpc import aio  # noqa: PLC0415 - only for this one

        super().__init__(address, aio)

    async def send(self, request: Request | GrpcCall, timeout: float) -> Answer:  # noqa: ASYNC109 - the server is told it
        """As :meth:`GrpcSync.send`."""
        try:
            answer = self.called(request, timeout)
            if isinstance(request, GrpcCall) and request.collects:
                return Answer({}, live=[one async for one in answer])
            return Answer({}, live=answer if request.streams else await answer)
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None

    async def events(self, answer: Answer, _timeout: float) -> AsyncIterator[tuple[str, Any]]:
        """As :meth:`GrpcSync.events`."""
        try:
            async for event in answer.live:
                yield event_of(event)
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None
        finally:
            answer.live.cancel()


def event_of(event: Any) -> tuple[str, Any]:  # noqa: ANN401 - pillion.runtime.TrainingEvent
    """What a followed training tells, as the events over HTTP have it."""
    return ("log", {"text": event.log}) if event.WhichOneof("what") == "log" else ("state", {})


def _failure(error: Any, address: Address) -> ClientError:  # noqa: ANN401 - of either library
    name, said = error.code().name, error.details() or ""
    trailers = {str(key): str(value) for key, value in (error.trailing_metadata() or ())}
    if name == "UNAVAILABLE" and not trailers:
        # gRPC's own sentence: it comes from no server.
        if "failed to connect" in said.lower() or "name resolution" in said.lower() or "handshak" in said.lower():
            return NeverSent(f"cannot connect to {address.url}: {said}")
        return ConnectionLost(f"{address.url}: {said}")
    status = _STATUS.get(name, 500)
    known = error_of(status, trailers, b"")
    kind: type[CallError] = type(known)
    return kind(status, said, name, known.id, retry_after=known.retry_after)
