"""Passing calls over gRPC on to the pod that has the model: messages as they are, deadline and cancelling with them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from pillion.dataplane.call import new_request_id
from pillion.protocol.proto_wire import cut_bytes_field
from pillion.transport.elsewhere import ABSENT, CONNECT_SECONDS, FORWARDED
from pillion.transport.grpc.context import given_request_id
from pillion.transport.grpc.errors import GRPC_STATUS, trailing_metadata
from pillion.transport.grpc.names import INFERENCE_SERVICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from grpc.aio import ServicerContext

    from pillion.errors import PillionError
    from pillion.placementfile import Peer
    from pillion.transport.elsewhere import Elsewhere

    Context = ServicerContext[Any, Any]

__all__ = ["GrpcPassing", "model_of"]

_BY_MODEL: Final = frozenset({"ModelInfer", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"})
"""Methods with one message, whose first field is the model's name."""
_STREAM: Final = "ModelStreamInfer"
_MOST_CHANNELS: Final = 256
_CLOSING_SECONDS: Final = 60.0


def model_of(message: bytes) -> str:
    """The name in the first field of a message; empty where there is none that can be read."""
    if len(message) > 2 and message[0] == 0x0A and message[1] < 0x80 and len(message) >= 2 + message[1]:
        name = message[2 : 2 + message[1]]  # where every library puts it
    else:
        found = cut_bytes_field(message, 1)
        name = bytes(found[1][-1]) if found is not None and found[1] else b""
    return name.decode(errors="replace")


class GrpcPassing:
    """Passes calls on.

    Args:
        elsewhere: whose models are where.
        port: on which the other pods listen where the placement names none.
        limit: bytes of a message.
    """

    def __init__(self, elsewhere: Elsewhere, port: int, limit: int) -> None:
        self._elsewhere = elsewhere
        self._port = port
        self._options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.enable_http_proxy", 0),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        self._channels: dict[str, grpc.aio.Channel] = {}
        """By address, those used last at the end."""
        self._closing: set[asyncio.Future[None]] = set()

    def wrap(self, name: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method of the inference service, which passes on what is for others."""
        inner: Any = handler
        if name == _STREAM:
            return grpc.stream_stream_rpc_method_handler(self._streaming(inner.stream_stream))
        if name in _BY_MODEL:
            return grpc.unary_unary_rpc_method_handler(self._single(name, inner.unary_unary))
        return handler

    async def close(self) -> None:
        """Let go of the connections."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()
        for task in tuple(self._closing):
            task.cancel()

    def _single(self, name: str, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        path = f"/{INFERENCE_SERVICE}/{name}"

        async def method(message: bytes, context: Context) -> bytes:
            model = model_of(message)
            if not self._elsewhere.has(model):
                answer: bytes = await behaviour(message, context)
                return answer
            await self._refuse_twice(model, context)
            for peer in self._elsewhere.candidates(model):
                channel = await self._connected(peer)
                if channel is None:
                    continue
                call = channel.unary_unary(path)(message, metadata=self._metadata(context), timeout=_left(context))
                try:
                    answer = await call
                except grpc.aio.AioRpcError as error:
                    if _is_absent(error):
                        continue
                    return await self._ended_as(error, model, context)
                finally:
                    call.cancel()  # where our own client has left
                if answered := _pairs(await call.trailing_metadata()):
                    context.set_trailing_metadata(answered)
                self._elsewhere.count("answered")
                return answer
            return await self._nowhere(model, context)

        return method

    def _streaming(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        path = f"/{INFERENCE_SERVICE}/{_STREAM}"

        async def method(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            """A stream goes to the pod that has the model of its first message, all of it."""
            first = await anext(aiter(messages), None)
            model = "" if first is None else model_of(first)
            if first is None or not self._elsewhere.has(model):
                async with contextlib.aclosing(behaviour(_chained(first, messages), context)) as answers:
                    async for answer in answers:
                        yield answer
                return
            await self._refuse_twice(model, context)
            for peer in self._elsewhere.candidates(model):
                channel = await self._connected(peer)
                # Asked first, with what costs nothing: messages of a stream cannot be sent a second time.
                if channel is None or not await self._there(channel, model, context):
                    continue
                call = channel.stream_stream(path)(
                    _chained(first, messages), metadata=self._metadata(context), timeout=_left(context)
                )
                try:
                    async for answer in call:
                        yield answer
                    if answered := _pairs(await call.trailing_metadata()):
                        context.set_trailing_metadata(answered)
                except grpc.aio.AioRpcError as error:
                    await self._ended_as(error, model, context)
                finally:
                    call.cancel()
                self._elsewhere.count("answered")
                return
            await self._nowhere(model, context)

        return method

    async def _there(self, channel: Any, model: str, context: Context) -> bool:  # noqa: ANN401 - as below
        """Whether the pod has the model now."""
        asked = b"\x0a" + _varint(len(model.encode())) + model.encode()  # ModelReadyRequest.name
        call = channel.unary_unary(f"/{INFERENCE_SERVICE}/ModelReady")
        try:
            await call(asked, metadata=self._metadata(context), timeout=_left(context))
        except grpc.aio.AioRpcError as error:
            return not _is_absent(error) and error.code() is not grpc.StatusCode.UNAVAILABLE
        return True

    async def _refuse_twice(self, model: str, context: Context) -> None:
        if any(key == FORWARDED for key, _ in context.invocation_metadata() or ()):
            self._elsewhere.count("absent")
            await _abort(self._elsewhere.absent(model), context, ((ABSENT, "1"),))

    async def _nowhere(self, model: str, context: Context) -> bytes:
        self._elsewhere.count("nowhere")
        return await _abort(self._elsewhere.nowhere(model), context)

    async def _ended_as(self, error: grpc.aio.AioRpcError, model: str, context: Context) -> bytes:
        """End as the other pod ended the call, or lost it."""
        trailing = _pairs(error.trailing_metadata())
        self._elsewhere.count("answered" if trailing else "lost")
        if not trailing and error.code() is grpc.StatusCode.UNAVAILABLE:
            # gRPC's own words of that connection, which clients would take for words of theirs, as if nothing was sent.
            return await _abort(self._elsewhere.lost(model), context)
        return await context.abort(error.code(), error.details() or "", trailing)

    async def _connected(self, peer: Peer) -> Any:  # noqa: ANN401 - the stubs' calls cannot be told their messages
        """A channel to the pod that is connected, so that a call which fails on it was begun; None where none is."""
        host = f"[{peer.address}]" if ":" in peer.address else peer.address
        address = f"{host}:{peer.grpc or self._port}"
        channel = self._channels.pop(address, None)
        if channel is None:
            while len(self._channels) >= _MOST_CHANNELS:
                self._let_go(self._channels.pop(next(iter(self._channels))))  # unused for longest
            channel = grpc.aio.insecure_channel(address, options=self._options)
        self._channels[address] = channel
        if channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
            try:
                await asyncio.wait_for(channel.channel_ready(), CONNECT_SECONDS)
            except TimeoutError:
                self._elsewhere.avoid(peer)
                return None
        return channel

    def _let_go(self, channel: grpc.aio.Channel) -> None:
        """Close a channel once its calls have ended, which nobody else waits for."""
        task = asyncio.ensure_future(channel.close(_CLOSING_SECONDS))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _metadata(self, context: Context) -> list[tuple[str, str | bytes]]:
        pairs = [
            (key, value)
            for key, value in context.invocation_metadata() or ()
            if not key.startswith((":", "grpc-")) and key not in {"user-agent", "content-type", "te", "x-request-id"}
        ]
        identity = given_request_id(context) or new_request_id()
        return [*pairs, (FORWARDED, self._elsewhere.pod), ("x-request-id", identity)]


def _left(context: Context) -> float | None:
    """Seconds to the client's deadline; the stubs leave None out."""
    remaining: float | None = context.time_remaining()
    return remaining


def _is_absent(error: grpc.aio.AioRpcError) -> bool:
    return any(key == ABSENT for key, _ in error.trailing_metadata() or ())


def _pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:  # noqa: ANN401 - the stubs have several types for it
    return tuple((key, value) for key, value in metadata or ())


async def _chained(first: bytes | None, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first is not None:
        yield first
    async for message in rest:
        yield message


async def _abort(error: PillionError, context: Context, more: tuple[tuple[str, str], ...] = ()) -> bytes:
    identity = given_request_id(context) or new_request_id()
    return await context.abort(GRPC_STATUS[error.code], str(error), (*trailing_metadata(error, identity), *more))


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
