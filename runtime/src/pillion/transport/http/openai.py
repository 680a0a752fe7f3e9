"""``/v1/chat/completions``, ``/v1/completions``, ``/v1/embeddings`` and ``/openai/v1/models`` for OpenAI's clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import Call, WireProtocol
from pillion.dataplane.completion import Completion
from pillion.errors import PillionError
from pillion.protocol.documents import model_entry, models_document
from pillion.protocol.generation import STOP
from pillion.protocol.openai import TextRequest, decode_chat, decode_completion, decode_embedding
from pillion.protocol.openai_answer import DONE, TextAnswer, encode_embeddings
from pillion.transport.http.answer import Answer, json_answer
from pillion.transport.http.disconnect import DisconnectWatch
from pillion.transport.http.errors import openai_error_body
from pillion.transport.http.events import EVENT_STREAM, begun, event
from pillion.transport.http.posted import posted
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.streams import ItemStream, TextPlane
    from pillion.dataplane.tasks import ServedTask
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["answer_openai"]


async def answer_openai(
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
    if target.route is Route.OPENAI_MODELS:
        return json_answer(models_document(plane.statuses()))
    if target.route is Route.OPENAI_MODEL:
        return json_answer(model_entry(plane.status(target.model)))
    if target.route is Route.OPENAI_EMBEDDINGS:
        return await _embed(plane, options, headers, receive, caller)
    return await _generate(plane, options, target.route is Route.OPENAI_CHAT, headers, receive, caller)


async def _embed(
    plane: TextPlane, options: DispatchOptions, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller
) -> Answer:
    model = ""
    try:
        body, deadline = await posted(headers, receive, options, caller)
        request = decode_embedding(body)
        model = request.model
        task, embedder = plane.embedder(model)
        arguments = request.arguments(embedder)
    except PillionError as error:
        plane.refused(error, WireProtocol.OPENAI, model)
        raise
    with DisconnectWatch(receive, options.disconnect_grace):
        result = await plane.perform(task, arguments, caller.call(WireProtocol.OPENAI, deadline))
    return Answer(encode_embeddings(result.value, len(request.texts), model, as_base64=request.base64))


async def _generate(
    plane: TextPlane,
    options: DispatchOptions,
    chat: bool,  # noqa: FBT001 - which of two protocols
    headers: Mapping[bytes, bytes],
    receive: Receive,
    caller: Caller,
) -> Answer:
    model = ""
    try:
        body, deadline = await posted(headers, receive, options, caller)
        request = (decode_chat if chat else decode_completion)(body)
        model = request.model
        task, generator = plane.generator(model)
        calls = request.calls(generator)
    except PillionError as error:
        plane.refused(error, WireProtocol.OPENAI, model)
        raise
    answer = TextAnswer(model, caller.request_id, chat, request.include_usage)
    told = STOP in generator.options
    choices = _Choices(plane, task, request, calls, caller.call(WireProtocol.OPENAI, deadline), answer, told=told)
    await choices.begin(receive, options.disconnect_grace)
    if request.stream:
        return Answer(b"", content_type=EVENT_STREAM, events=choices)
    try:
        with DisconnectWatch(receive, options.disconnect_grace):
            return Answer(await choices.whole())
    finally:
        choices.close()


class _Choices:
    """The texts of one answer, one after another: a client holds one slot, however many it asks for.

    See :class:`~pillion.transport.http.events.Events`.
    """

    def __init__(
        self,
        plane: TextPlane,
        task: ServedTask,
        request: TextRequest,
        calls: list[dict[str, Any]],
        call: Call,
        answer: TextAnswer,
        *,
        told: bool,
    ) -> None:
        self._plane = plane
        self._task = task
        self._request = request
        self._calls = calls
        self._call = call
        self._answer = answer
        self._told = told
        self._open: ItemStream | None = None

    async def begin(self, receive: Receive, grace: float) -> None:
        """Wait for the first piece of the first text."""
        self._open = await begun(self._plane.stream(self._task, self._calls[0], self._call), receive, grace)

    async def _completions(self) -> AsyncGenerator[tuple[int, Completion]]:
        for index, arguments in enumerate(self._calls):
            if index:
                self._open = await self._plane.stream(self._task, arguments, self._call)
            if self._open is None:
                return
            completion = Completion(self._open, self._request.stops, told=self._told)
            yield index, completion
            self._answer.count(completion, same_prompt=index % self._request.n != 0)

    async def whole(self) -> bytes:
        """All of them as one document."""
        texts = [(await completion.text(), completion.finish) async for _, completion in self._completions()]
        return self._answer.whole(texts)

    async def chunks(self) -> AsyncGenerator[bytes]:
        answer = self._answer
        async for index, completion in self._completions():
            first = answer.first(index)
            if first is not None:
                yield event(first)
            while pieces := await completion.take():
                yield b"".join([event(answer.piece(index, piece)) for piece in pieces])
            yield b"".join([event(one) for one in answer.last(index, completion.finish)])
        usage = answer.usage()
        if usage is not None:
            yield event(usage)
        yield event(DONE)

    def failed(self, error: PillionError) -> bytes:
        # Their clients raise it where an event has "error"; the end follows as ever.
        return event(openai_error_body(error, self._call.request_id)) + event(DONE)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
