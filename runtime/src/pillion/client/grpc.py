"""The transports over gRPC, imported where a ``grpc://`` URL is used."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.client.address import unreachable
from pillion.client.errors import (
    CallError,
    ClientError,
    ConnectionLost,
    DeadlineExceeded,
    Untrusted,
    error_of,
)
from pillion.client.events import RENEWED
from pillion.client.exchange import Answer, GrpcCall
from pillion.client.grpc_services import event_of
from pillion.client.tls import Watch, system_authorities
from pillion.client.uploads import Ends, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pillion.client.address import Address
    from pillion.client.events import Event
    from pillion.client.exchange import Request

__all__ = ["GrpcAsync", "GrpcSync"]

_RENEWED_SECONDS: Final = 60.0
"""After which a stream that is followed gives way to another one. A server that hangs, or whose machine is gone, does
not end a stream; but a new one is answered at once, with the job as it is, by whoever lives."""

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

    _later = "__call__"
    """Of a call: begins one that is waited for later."""

    def __init__(self, address: Address, library: Any) -> None:  # noqa: ANN401 - grpc, or grpc.aio
        self._address = address
        self._library = library
        self._lock = threading.Lock()
        self._watch = None if address.tls is None else Watch(address.tls)
        self._channel = self._made()

    def _made(self) -> Any:  # noqa: ANN401 - of either library
        unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        chosen: list[tuple[str, int | str]] = [*unbounded, ("grpc.enable_retries", 0)]
        # A server that restarts is found again soon: by itself gRPC waits for up to two minutes.
        chosen.append(("grpc.max_reconnect_backoff_ms", 5000))
        # Which proxy it is has been chosen in the address, and not by gRPC, which reads other variables.
        proxy = self._address.proxy
        chosen.append(("grpc.enable_http_proxy", 0) if proxy is None else ("grpc.http_proxy", proxy))
        tls = self._address.tls
        if tls is not None and tls.server_name is not None:
            chosen.append(("grpc.ssl_target_name_override", tls.server_name))
        if not self._address.secure:
            return self._library.insecure_channel(self._address.base, chosen)
        if tls is not None:
            tls.context()  # what cannot be used is said now, and in words: gRPC logs it and never connects
        ca, key, cert = (None, None, None) if tls is None else tls.read()
        credentials = grpc.ssl_channel_credentials(ca or system_authorities(), key, cert)
        return self._library.secure_channel(self._address.base, credentials, chosen)

    def called(self, request: Request | GrpcCall, timeout: float, put_off: Callable[[], object]) -> Any:  # noqa: ANN401 - an answer, or what awaits it
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
        metadata = tuple(headers.items())
        if request.upload is not None:
            # Its time begins anew with each message, which a deadline of gRPC does not.
            return getattr(call, self._later)(_counted(request, put_off), metadata=metadata)
        # A stream that is followed takes as long as what it tells of.
        limit = None if request.streams else timeout
        return call(request.message, timeout=limit, metadata=metadata)

    def close(self) -> Any:  # noqa: ANN401 - None, or what awaits it
        return self._channel.close()


class GrpcSync(_Channel):
    """Blocking; from any thread."""

    _later = "future"

    def __init__(self, address: Address) -> None:
        super().__init__(address, grpc)

    def send(self, request: Request | GrpcCall, timeout: float) -> Answer:
        """The answer, within ``timeout`` seconds; of an upload after its last piece.

        Raises:
            ClientError: there is none, or an error.
        """
        ends = Ends(timeout)
        try:
            answer = self.called(request, timeout, ends.put_off)
            if request.upload is not None:
                return Answer({}, live=self._uploaded(answer, ends, timeout))
            return Answer({}, live=list(answer) if request.collects else answer)  # type: ignore[union-attr] # looked at there
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None

    def _uploaded(self, call: Any, ends: Ends, timeout: float) -> Any:  # noqa: ANN401 - a call of gRPC, and its answer
        try:
            while True:
                try:
                    return call.result(max(0.0, ends.left))
                except grpc.FutureTimeoutError:
                    if ends.left <= 0:
                        raise _late(self._address, timeout) from None
        finally:
            call.cancel()  # where nobody waits any more, as after Ctrl-C; it does nothing to one that has ended

    def events(self, answer: Answer) -> Iterator[Event]:
        """Those of a training that is followed, and :data:`RENEWED` where it is time to follow it anew; ended early,
        the server sees its client leave.
        """
        stream = _Followed(answer.live, self._address)
        timer = threading.Timer(_RENEWED_SECONDS, stream.renew)
        timer.daemon = True
        timer.start()
        try:
            for event in answer.live:
                stream.heard = True
                yield event_of(event)
        except grpc.RpcError as error:
            if not stream.over:
                raise _failure(error, self._address) from None
        finally:
            timer.cancel()
            answer.live.cancel()
        if stream.over:
            yield stream.renewed()


class GrpcAsync(_Channel):
    """On an event loop."""

    def __init__(self, address: Address) -> None:
        from grpc import aio  # noqa: PLC0415 - only for this one

        super().__init__(address, aio)

    async def send(self, request: Request | GrpcCall, timeout: float) -> Answer:  # noqa: ASYNC109 - the server is told it
        """As :meth:`GrpcSync.send`."""
        try:
            if request.upload is not None:
                return await self._uploaded(request, timeout)
            answer = self.called(request, timeout, lambda: None)
            if isinstance(request, GrpcCall) and request.collects:
                return Answer({}, live=[one async for one in answer])
            return Answer({}, live=answer if request.streams else await answer)
        except grpc.RpcError as error:
            raise _failure(error, self._address) from None

    async def _uploaded(self, request: Request | GrpcCall, timeout: float) -> Answer:  # noqa: ASYNC109 - said in the failure
        try:
            async with asyncio.timeout(timeout) as limit:
                loop = asyncio.get_running_loop()
                return Answer(
                    {}, live=await self.called(request, timeout, lambda: limit.reschedule(loop.time() + timeout))
                )
        except TimeoutError:
            raise _late(self._address, timeout) from None

    async def events(self, answer: Answer) -> AsyncIterator[Event]:
        """As :meth:`GrpcSync.events`."""
        stream = _Followed(answer.live, self._address)
        timer = asyncio.get_running_loop().call_later(_RENEWED_SECONDS, stream.renew)
        try:
            async for event in answer.live:
                stream.heard = True
                yield event_of(event)
        except grpc.RpcError as error:
            if not stream.over:
                raise _failure(error, self._address) from None
        except asyncio.CancelledError:  # of the call, by which gRPC tells it, or of who reads
            task = asyncio.current_task()
            if not stream.over or (task is not None and task.cancelling()):
                raise
        finally:
            timer.cancel()
            answer.live.cancel()
        if stream.over:
            yield stream.renewed()


class _Followed:
    """A stream that is followed for a while.

    Attributes:
        heard: whether anything came by it.
        over: whether its while is over.
    """

    def __init__(self, call: Any, address: Address) -> None:  # noqa: ANN401 - a call of gRPC
        self._call = call
        self._address = address
        self.heard = False
        self.over = False

    def renew(self) -> None:
        """End it."""
        self.over = True
        self._call.cancel()

    def renewed(self) -> Event:
        """What its end means.

        Raises:
            DeadlineExceeded: nothing came by it, not even the job.
        """
        if not self.heard:
            raise _late(self._address, _RENEWED_SECONDS)
        return RENEWED


def _counted(request: GrpcCall, put_off: Callable[[], object]) -> Iterator[Any]:
    upload = request.upload or Upload()
    upload.begins()
    for message in request.message():
        yield message
        if size := len(message.data):
            upload.sent(size)
        put_off()


def _late(address: Address, timeout: float) -> DeadlineExceeded:
    return DeadlineExceeded(504, f"{address.url}: no answer within {timeout:.3g} s", "deadline_exceeded")


def _failure(error: Any, address: Address) -> ClientError:  # noqa: ANN401 - of either library
    name, said = error.code().name, error.details() or ""
    trailers = {str(key): str(value) for key, value in (error.trailing_metadata() or ())}
    if name == "UNAVAILABLE" and not trailers:
        # gRPC's own sentence: it comes from no server.
        if "CERTIFICATE_VERIFY" in said:
            return Untrusted(address.url, said)
        if "failed to connect" in said.lower() or "name resolution" in said.lower() or "handshak" in said.lower():
            return unreachable(address, said)
        return ConnectionLost(f"{address.url}: {said}")
    status = _STATUS.get(name, 500)
    known = error_of(status, trailers, b"")
    kind: type[CallError] = type(known)
    return kind(status, said, name, known.id, retry_after=known.retry_after)
