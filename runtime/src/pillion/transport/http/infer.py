"""``POST .../infer``, ``:predict``, ``/invocations``: body in, data plane, body out. Every prediction over HTTP.

Written for few calls per request: with a model of some microseconds each look-up and each coroutine shows in the
requests per second. What is rare (several chunks, limits to check early, deadlines, raw tensors) is kept out of the way
in functions of its own.
"""

from __future__ import annotations

from asyncio import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.classification import classify
from pillion.protocol.oip_json import OipJsonDecoder
from pillion.protocol.oip_json_answer import encode_answer
from pillion.protocol.parameters import lower, sooner
from pillion.transport.http.answer import Answer
from pillion.transport.http.body import read_body, too_large
from pillion.transport.http.caller import client_of
from pillion.transport.http.content_coding import content_coding
from pillion.transport.http.disconnect import finish_watched, watched
from pillion.transport.http.headers import (
    ACCEPTED_MEDIA,
    RARE_HEADERS,
    check_content_type,
    header_length,
    priority,
    timeout_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping

    from pillion.dataplane.call import InferencePlane, InferRequest, InferResponse
    from pillion.model import ModelMetadata
    from pillion.protocol.answer import AnswerForm
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["Begun", "InferHandler"]

_REST: Final = WireProtocol.REST


class Begun:
    """A request of the Open Inference Protocol whose computation has begun and waits."""

    __slots__ = ("_call", "_form", "_grace", "_request", "_running", "_waiting")

    def __init__(
        self,
        running: Coroutine[Any, Any, InferResponse],
        waiting: object,
        request: InferRequest,
        form: AnswerForm,
        call: Call,
        grace: float,
    ) -> None:
        self._running = running
        self._waiting = waiting
        self._request = request
        self._form = form
        self._call = call
        self._grace = grace

    def finish(self) -> bytes | Answer | None:
        """The answer, if what it waits for has come; None while it has not. Bytes as from :meth:`InferHandler.begin`.

        Raises:
            PillionError: for the dispatcher to answer.
        """
        waiting = self._waiting
        if not (isinstance(waiting, Future) and waiting.done()):
            return None
        try:
            self._waiting = self._running.send(None)
        except StopIteration as finished:
            return _whole(finished.value, self._request, self._form)
        return None

    async def answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        """Wait for the answer.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        if self._call.client is None:
            self._call.client = partial(client_of, scope)
        response = await finish_watched(self._running, self._waiting, receive, self._grace)
        return _encode(response, self._request, self._form)


class InferHandler:
    """Inference over the Open Inference Protocol, over V1 and over MLflow's scoring protocol."""

    def __init__(self, plane: InferencePlane, options: DispatchOptions) -> None:
        self._plane = plane
        self._options = options
        self._decode = OipJsonDecoder(options.codec).decode
        self._limit = options.max_body_bytes

    async def infer(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One request of the Open Inference Protocol.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        deadline = json_bytes = coding = None
        try:
            if not RARE_HEADERS.isdisjoint(headers):
                deadline, json_bytes, coding = self._rare(headers, caller)
            media = headers.get(b"content-type")
            if media not in ACCEPTED_MEDIA:
                check_content_type(media)
            body: bytes | memoryview
            message = await receive()
            if message.get("more_body") or "body" not in message:
                body = await read_body(receive, message, headers, self._limit, json_bytes or 0)
            else:
                body = message["body"]
                if len(body) > self._limit:
                    raise too_large(self._limit)
            if coding is not None:
                body = await self._options.expander.expand(body, coding, caller.held)
            request, form = self._decode(body, target.model, target.version, json_bytes)
            if request.parameters:
                deadline = sooner(deadline, request.parameters, self._options.clock())
                caller.priority = lower(caller.priority, request.parameters)
        except PillionError as error:
            self._plane.refused(error, _REST, target.model, target.version)
            raise
        running = self._plane.infer(request, caller.call(_REST, deadline))
        return _encode(await watched(running, receive, self._options.disconnect_grace), request, form)

    def begin(
        self,
        target: Target,
        headers: Mapping[bytes, bytes],
        body: bytes,
        request_id: str,
        client: Callable[[], str] | None = None,
    ) -> bytes | Answer | Begun:
        """A request of the Open Inference Protocol without slow headers, answered now or begun.

        The data plane's coroutine is driven by hand up to its first wait; small models answer before that. Bytes are
        the JSON document of an answer that has nothing else to it.

        Raises:
            PillionError: for the dispatcher to answer.
        """
        try:
            request, form = self._decode(body, target.model, target.version, header_length(headers))
        except PillionError as error:
            self._plane.refused(error, _REST, target.model, target.version)
            raise
        call = Call(_REST, request_id, None, None, client)
        if request.parameters:
            call.deadline = sooner(None, request.parameters, self._options.clock())
            call.priority = lower(0, request.parameters)
        running = self._plane.infer(request, call)
        try:
            waiting = running.send(None)
        except StopIteration as finished:
            return _whole(finished.value, request, form)
        return Begun(running, waiting, request, form, call, self._options.disconnect_grace)

    async def predict(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One request of V1, read against what the model says of its inputs.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        from pillion.protocol.v1 import decode_v1  # noqa: PLC0415 - imported when the server is ready

        return await self._rows(target.model, decode_v1, WireProtocol.V1, headers, receive, caller)

    async def explain(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One request of V1 for the reasons of a prediction; of models that know them.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        self._check_explains(target.model)
        from pillion.protocol.task_json import encode_result  # noqa: PLC0415 - as for tasks: few servers need it
        from pillion.protocol.v1 import decode_v1  # noqa: PLC0415 - as above

        request, call = await self._row_request(target.model, decode_v1, WireProtocol.V1, headers, receive, caller)
        result = await watched(self._plane.explain(request, call), receive, self._options.disconnect_grace)
        return Answer(encode_result({"explanations": result.value}))

    async def invoke(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One request of MLflow's scoring protocol: of the model in the path, else of the only one there is.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        from pillion.protocol.invocations import decode_invocation  # noqa: PLC0415 - as for predict

        model = target.model or self._only_model()
        return await self._rows(model, decode_invocation, WireProtocol.MLFLOW, headers, receive, caller)

    async def _rows(
        self,
        model: str,
        decode: Callable[..., InferRequest],
        protocol: WireProtocol,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        caller: Caller,
    ) -> Answer:
        from pillion.protocol.v1 import encode_v1  # noqa: PLC0415 - as for predict

        request, call = await self._row_request(model, decode, protocol, headers, receive, caller)
        return Answer(
            encode_v1(await watched(self._plane.infer(request, call), receive, self._options.disconnect_grace))
        )

    async def _row_request(
        self,
        model: str,
        decode: Callable[..., InferRequest],
        protocol: WireProtocol,
        headers: Mapping[bytes, bytes],
        receive: Receive,
        caller: Caller,
    ) -> tuple[InferRequest, Call]:
        try:
            deadline, _, coding = self._rare(headers, caller)
            check_content_type(headers.get(b"content-type"))
            body = await read_body(receive, await receive(), headers, self._limit)
            if coding is not None:
                body = await self._options.expander.expand(body, coding, caller.held)
            metadata = await self._described(model, deadline)
            request = decode(body, model=model, metadata=metadata, limits=self._options.codec)
        except PillionError as error:
            self._plane.refused(error, protocol, model)
            raise
        return request, caller.call(protocol, deadline)

    def _check_explains(self, model: str) -> None:
        try:
            explains = self._metadata(model).explains
        except PillionError as error:
            self._plane.refused(error, WireProtocol.V1, model)
            raise
        if not explains:
            refusal = PillionError(
                ErrorCode.UNIMPLEMENTED,
                f"model {model!r} does not explain its predictions",
                remedy="use :predict; a class of your own explains them by a method explain beside predict",
            )
            self._plane.refused(refusal, WireProtocol.V1, model)
            raise refusal

    def _only_model(self) -> str:
        names = sorted({status.name for status in self._plane.statuses()})
        if len(names) != 1:
            known = f"the models here are {', '.join(names)}" if names else "there is no model here"
            raise PillionError(
                ErrorCode.UNKNOWN_MODEL, f"Request for unknown model: {known}", remedy="POST /invocations/{model}"
            )
        return names[0]

    async def _described(self, model: str, deadline: float | None) -> ModelMetadata:
        """The metadata of a model, which is loaded for it where it sleeps."""
        status = self._plane.status(model)
        if status.asleep:
            await self._plane.awake(model, deadline)
        return self._metadata(model) if status.metadata is None else status.metadata

    def _metadata(self, model: str) -> ModelMetadata:
        status = self._plane.status(model)
        if status.metadata is None:
            raise PillionError(ErrorCode.NOT_READY, status.reason or f"Model {model!r} is {status.state.value.lower()}")
        return status.metadata

    def _rare(self, headers: Mapping[bytes, bytes], caller: Caller) -> tuple[float | None, int | None, bytes | None]:
        """The deadline, the bytes of JSON in front of raw tensors, and the body's coding; the caller's priority."""
        coding = content_coding(headers)
        caller.priority = priority(headers)
        seconds = timeout_seconds(headers)
        deadline = None if seconds is None else self._options.clock() + seconds
        return deadline, header_length(headers), coding


def _whole(response: InferResponse, request: InferRequest, form: AnswerForm) -> bytes | Answer:
    response.id = request.id
    if request.classes:
        classify(response, request.classes)
    document, parts = encode_answer(response, form)
    return _raw(document, parts) if parts else document


def _encode(response: InferResponse, request: InferRequest, form: AnswerForm) -> Answer:
    response.id = request.id
    if request.classes:
        classify(response, request.classes)
    document, parts = encode_answer(response, form)
    return _raw(document, parts) if parts else Answer(document)


def _raw(document: bytes, parts: list[memoryview]) -> Answer:
    extra = ((b"inference-header-content-length", b"%d" % len(document)),)
    return Answer(document, content_type=b"application/octet-stream", headers=extra, parts=parts)
