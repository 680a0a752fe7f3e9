"""ModelInfer and ModelStreamInfer: messages as bytes in and out, so that tensors are not copied on the way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError

from pillion.dataplane.call import WireProtocol, new_request_id
from pillion.errors import PillionError
from pillion.protocol.classification import classify
from pillion.protocol.parameters import lower, sooner
from pillion.protocol.proto_templates import InferCodec
from pillion.protocol.proto_wire import append_bytes_field
from pillion.protocol.protos import open_inference_pb2 as pb
from pillion.transport.grpc.context import (
    Caller,
    Method,
    call_of,
    failed,
    failure_of,
    given_id_and_priority,
    priority_of,
    succeeded,
)
from pillion.transport.grpc.names import INFERENCE_SERVICE
from pillion.transport.grpc.observation import observer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc.aio import ServicerContext

    from pillion.dataplane.call import Call, InferencePlane, InferRequest
    from pillion.dataplane.streams import ItemStream, TextPlane
    from pillion.transport.grpc.options import GrpcOptions

    Context = ServicerContext[Any, Any]

__all__ = ["TEXT_INPUT", "InferMethods"]

_INFER: Final = Method(INFERENCE_SERVICE, "ModelInfer", prediction=True)
TEXT_INPUT: Final = "text_input"
"""The input by which a model that generates is asked for pieces of text (see :mod:`.decoupled`)."""
_INFER_RESPONSE: Final = pb.ModelStreamInferResponse.INFER_RESPONSE_FIELD_NUMBER


class InferMethods:
    """The inference calls of ``inference.GRPCInferenceService``."""

    def __init__(self, plane: InferencePlane, options: GrpcOptions, texts: TextPlane | None = None) -> None:
        self._plane = plane
        self._texts = texts
        self._options = options
        self._codec = InferCodec(options.codec)
        self._observer = observer_of(options)

    async def model_infer(self, message: bytes, context: Context) -> bytes:
        """One request, one answer. The client's cancelling ends the data plane's call."""
        given, asked = given_id_and_priority(context)
        observer = self._observer
        observed = None if observer is None else observer.choose(context, prediction=True)
        caller = Caller(given or new_request_id(), observed)
        try:
            if observed is not None and observer is not None:
                observer.request(observed, message, caller.request_id)
            request, raw = self._decode(message)
            call = call_of(context, caller, self._options.clock)
            if asked is not None or request.parameters:
                self._bound(call, request, asked)
            response = await self._plane.infer(request, call)
            response.id = request.id
            if request.classes:
                classify(response, request.classes)
            answer = self._codec.encode(response, raw=raw)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the boundary: every failure has a status
            return await failed(_INFER, context, observer, error, caller)
        if observed is not None and observer is not None:
            observer.response(observed, answer)
        succeeded(_INFER, context, observer, given, caller)
        return answer

    async def model_stream_infer(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """One answer for each request, in order, or several of a model that generates; a request that fails is answered
        ``error_message`` and the stream goes on. Requests are taken one at a time: who sends faster is slowed down by
        flow control.

        Streams live long, so each of their requests is observed as if it were a call.
        """
        given, asked = given_id_and_priority(context)
        identity = given or new_request_id()
        context.set_trailing_metadata((("x-request-id", identity),))
        observer = self._observer
        open_streams = _closed_with(context)
        async for message in messages:
            observed = None if observer is None else observer.choose(context, prediction=True)
            if observed is not None and observer is not None:
                observer.request(observed, message, identity)
            call = call_of(context, Caller(identity, observed), self._options.clock)
            failure: PillionError | None = None
            answer: bytes | None = None
            try:
                request, raw = self._decode(message)
                self._bound(call, request, asked)
                if self._texts is not None and _asks_for_text(self._texts, request):
                    from pillion.transport.grpc.decoupled import generated  # noqa: PLC0415 - servers start without

                    async with contextlib.aclosing(generated(self._texts, request, call, open_streams)) as pieces:
                        async for piece in pieces:
                            yield _wrapped(self._codec.encode(piece, raw=raw))
                else:
                    response = await self._plane.infer(request, call)
                    response.id = request.id
                    if request.classes:
                        classify(response, request.classes)
                    answer = self._codec.encode(response, raw=raw)
            except Exception as error:  # noqa: BLE001  # the boundary: one bad request must not end its neighbours' stream
                failure = failure_of(error, identity)
                yield _failed(str(failure), message)
            else:
                if answer is not None:
                    yield _wrapped(answer)
            if observed is not None and observer is not None:
                if failure is None and answer is not None:
                    observer.response(observed, answer)
                observer.ended(observed, context, INFERENCE_SERVICE, "ModelStreamInfer", identity, failure)

    def _bound(self, call: Call, request: InferRequest, asked: str | bytes | None) -> None:
        """What metadata and parameters say of deadline and priority."""
        if asked is not None:
            call.priority = priority_of(asked)
        if request.parameters:
            call.deadline = sooner(call.deadline, request.parameters, self._options.clock())
            call.priority = lower(call.priority, request.parameters)

    def _decode(self, message: bytes) -> tuple[InferRequest, bool]:
        try:
            return self._codec.decode(message)
        except PillionError as error:
            self._plane.refused(error, WireProtocol.GRPC, *_addressed(message))
            raise


def _asks_for_text(plane: TextPlane, request: InferRequest) -> bool:
    inputs = request.inputs
    return len(inputs) > 0 and inputs[0].name == TEXT_INPUT and request.model in plane.text_models()[0]


def _wrapped(answer: bytes) -> bytes:
    return append_bytes_field(b"", _INFER_RESPONSE, [memoryview(answer)])


def _closed_with(context: Context) -> set[ItemStream]:
    """Streams of items that are closed when the call ends, also one cancelled while an answer is written, when nothing
    of ours is awaited. One callback for all of a call: grpc.aio keeps each until then.
    """
    open_streams: set[ItemStream] = set()

    def left(_: object) -> None:
        for stream in list(open_streams):
            stream.close()

    context.add_done_callback(left)  # type: ignore[arg-type] # the stubs have a protocol with a named argument
    return open_streams


def _addressed(message: bytes) -> tuple[str, str | None]:
    """Model and version that an unusable request is for; no name where not even that can be read."""
    with contextlib.suppress(DecodeError):
        request = pb.ModelInferRequest.FromString(message)
        return request.model_name, request.model_version or None
    return "", None


def _failed(sentence: str, message: bytes) -> bytes:
    """An answer with the id of the request that failed, so that its sender knows which; empty if it is unreadable."""
    answer = pb.ModelStreamInferResponse(error_message=sentence)
    with contextlib.suppress(DecodeError):
        answer.infer_response.id = pb.ModelInferRequest.FromString(message).id
    return answer.SerializeToString()
