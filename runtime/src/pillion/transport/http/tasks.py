"""``POST /{task}``, ``/{model}/{task}`` and ``/api/v1/task/{task}``: typed calls of models written in Python.

What reads arguments is imported with the first call: with pydantic it is much, and a server without tasks never gets
there.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.names import same_task
from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.transport.http.answer import Answer
from pillion.transport.http.caller import client_of
from pillion.transport.http.disconnect import finish_watched, watched
from pillion.transport.http.posted import FORM, posted
from pillion.transport.http.routes import Route, Target, resolve_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.dataplane.tasks import ServedTask, TaskPlane, TaskResult
    from pillion.protocol.task_form import FormPart
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions

    Decode = Callable[[TaskSignature], dict[str, Any]]
    Scope = MutableMapping[str, Any]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["BegunTask", "TaskHandler", "answer_of"]

_STREAMING: Final = ("server-streaming-", "client-streaming-", "bidi-streaming-")


class TaskHandler:
    """Tasks over HTTP."""

    def __init__(self, plane: TaskPlane, options: DispatchOptions) -> None:
        self._plane = plane
        self._options = options

    def target(self, path: str, method: str) -> tuple[Target | None, bool]:
        """The route of a path that is none of the protocols', and whether it leads to a task that there is.

        In a server with tasks a POST that leads nowhere is answered here, with what there is; everything else that
        leads nowhere is the fallback's.
        """
        tasks = self._plane.tasks()
        target = resolve_task(path) if self._plane.expects_tasks() else None
        if target is None:
            return None, False
        known = any(_means(target, task) for task in tasks)
        if not known and target.route is Route.TASK_ENVELOPE and target.task.startswith(_STREAMING):
            # Clients of caikit name the kind of stream as well.
            plain = target._replace(task=target.task.partition("-streaming-")[2])
            if any(_means(plain, task) for task in tasks):
                return plain, True
        return (target, known) if known or method == "POST" else (None, False)

    async def answer(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One call.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        try:
            if headers.get(b"content-type", b"")[: len(FORM)].lower() == FORM:
                from pillion.transport.http.form import read_form  # noqa: PLC0415 - most requests are JSON

                parts, deadline = await read_form(headers, receive, self._options, caller)
                model, decode = _from_form(target, parts)
                slow = any(part.file is not None and not part.file.in_memory for part in parts)
            else:
                body, deadline = await posted(headers, receive, self._options, caller)
                model, decode = _from_json(target, body)
                slow = False
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, target.model)
            raise
        task, arguments = await self._decoded(target, model, decode, slow=slow)
        call = caller.call(WireProtocol.TASK, deadline)
        if task.signature.streams:
            from pillion.transport.http.task_stream import streamed  # noqa: PLC0415 - most tasks do not stream

            return await streamed(self._plane, task, arguments, call, receive, self._options.disconnect_grace)
        running = self._plane.perform(task, arguments, call)
        result = await watched(running, receive, self._options.disconnect_grace)
        return answer_of(result.value)

    def begin(
        self, target: Target, body: bytes, request_id: str, client: Callable[[], str] | None = None
    ) -> bytes | Answer | BegunTask | None:
        """A call in JSON without slow headers, answered now or begun; None for one that goes the ordinary way.

        As :meth:`pillion.transport.http.infer.InferHandler.begin`: ``async`` methods that wait for nothing are answered
        in the turn that received the request. Bytes are an answer in JSON.

        Raises:
            PillionError: for the dispatcher to answer.
        """
        try:
            model, decode = _from_json(target, body)
            task = self._plane.find(target.task, model or None)
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, target.model)
            raise
        signature = task.signature
        if signature.streams or signature.converts or signature.incoming is not None:
            return None
        try:
            arguments = decode(signature)
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, task.model)
            raise
        call = Call(WireProtocol.TASK, request_id, client=client)
        running = self._plane.perform(task, arguments, call)
        try:
            waiting = running.send(None)
        except StopIteration as finished:
            return _outcome(finished.value.value)
        return BegunTask(running, waiting, call, self._options.disconnect_grace)

    async def connect(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket connection."""
        from pillion.transport.http.task_socket import converse  # noqa: PLC0415 - see the module's docstring

        target, _ = self.target(path, "POST")
        if target is None:
            target = Target(Route.TASK, task=path.strip("/"))
        await converse(self._plane, self._options, target, scope, receive, send)

    async def _decoded(
        self, target: Target, model: str | None, decode: Decode, *, slow: bool
    ) -> tuple[ServedTask, dict[str, Any]]:
        """The task, and its arguments. Nothing waits between finding the one and beginning with the other.

        A reload would put another class in its place.

        Args:
            target: what was asked for.
            model: that the body names.
            decode: makes the arguments.
            slow: files on disk are read for it, where a parameter is their content: in a thread.
        """
        name = model or ""
        try:
            task = self._plane.find(target.task, model or None)
            while True:
                name = task.model
                if task.signature.incoming is not None:
                    raise _needs_stream(task.signature.name, task.signature.incoming.name)
                if not (task.signature.converts or slow):
                    return task, decode(task.signature)
                arguments = await asyncio.to_thread(decode, task.signature)
                found = self._plane.find(target.task, model or None)
                if found.signature is task.signature:
                    return found, arguments
                task = found
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, name)
            raise


class BegunTask:
    """A call that has begun and waits (see :class:`~pillion.transport.http.infer.Begun`)."""

    __slots__ = ("_call", "_grace", "_running", "_waiting")

    def __init__(self, running: Coroutine[Any, Any, TaskResult], waiting: object, call: Call, grace: float) -> None:
        self._running = running
        self._waiting = waiting
        self._call = call
        self._grace = grace

    def finish(self) -> bytes | Answer | None:
        """The answer, if what it waits for has come; None while it has not.

        Raises:
            PillionError: for the dispatcher to answer.
        """
        waiting = self._waiting
        if not (isinstance(waiting, asyncio.Future) and waiting.done()):
            return None
        try:
            self._waiting = self._running.send(None)
        except StopIteration as finished:
            return _outcome(finished.value.value)
        return None

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """Wait for the answer.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        self._call.client = partial(client_of, scope)
        result = await finish_watched(self._running, self._waiting, receive, self._grace)
        return answer_of(result.value)


def _from_json(target: Target, body: bytes | memoryview) -> tuple[str | None, Decode]:
    """The model that a body names, and what makes arguments of it."""
    from pillion.protocol.task_json import decode_arguments, open_envelope  # noqa: PLC0415 - see the module's docstring

    if target.route is not Route.TASK_ENVELOPE:
        return target.model, lambda signature: decode_arguments(signature, body)
    envelope = open_envelope(body)
    return envelope.model, envelope.arguments


def _from_form(target: Target, parts: Sequence[FormPart]) -> tuple[str | None, Decode]:
    from pillion.protocol.task_form import form_arguments, form_model  # noqa: PLC0415 - see the module's docstring

    envelope = target.route is Route.TASK_ENVELOPE
    model = form_model(parts) if envelope else target.model
    return model, lambda signature: form_arguments(parts, signature, envelope=envelope)


def _needs_stream(task: str, parameter: str) -> PillionError:
    return PillionError(
        ErrorCode.INVALID_ARGUMENT,
        f"{parameter}: task {task!r} is sent these one by one",
        field=parameter,
        remedy="connect to this path by WebSocket, or call it by gRPC",
    )


def answer_of(value: Any) -> Answer:  # noqa: ANN401 - plain data
    """The answer to a task: JSON, or a file as it is."""
    outcome = _outcome(value)
    return Answer(outcome) if isinstance(outcome, bytes) else outcome


def _outcome(value: Any) -> bytes | Answer:  # noqa: ANN401 - plain data
    from pillion.authoring.file import File  # noqa: PLC0415 - see the module's docstring
    from pillion.protocol.task_json import encode_result  # noqa: PLC0415 - see the module's docstring

    if type(value) is File:
        from pillion.transport.http.download import download  # noqa: PLC0415 - most tasks give no file

        return download(value)
    return encode_result(value)


def _means(target: Target, task: ServedTask) -> bool:
    named = target.task == task.signature.name or same_task(target.task) == same_task(task.signature.name)
    return named and target.model in ("", task.model)
