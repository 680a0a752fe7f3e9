"""Tasks over WebSocket, at the path that they have for POST: for clients that send item by item.

The client sends JSON objects as text. The first has the arguments, and may have the first item; each further one has
an item, by the name of the parameter that is a stream. Items that are bytes or files may be sent as they are, as
binary messages. An empty message, or ``null``, says that no more come. Each answer is a message of JSON; the connection
then ends with code 1000. A failure is a message as the body of an error, and code 4000 and the HTTP status: 4422.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from pillion.authoring.file import File
from pillion.authoring.values import FileOf
from pillion.dataplane.call import Call, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.execution.inbound import Inbound
from pillion.protocol.task_json import decode_arguments, encode_result, invalid_arguments
from pillion.transport.http.answer import task_error_answer
from pillion.transport.http.body import ClientDisconnected
from pillion.transport.http.caller import client_of
from pillion.transport.http.errors import task_error_body, task_status
from pillion.transport.http.headers import priority, request_id, timeout_seconds
from pillion.transport.http.routes import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from pillion.authoring.signature import Incoming
    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.transport.http.departure import Departure
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

__all__ = ["converse"]

_FIRST: Final = 60.0
"""Seconds for the first message. From then on the deadline of the call runs."""
_LONGEST_REASON: Final = 120


async def converse(
    plane: TaskPlane, options: DispatchOptions, target: Target, scope: Scope, receive: Receive, send: Send
) -> None:
    """One connection: one call of a task."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    identity = request_id(headers)
    await receive()  # the request for a connection
    departure: Departure | None = scope.pop("pillion.departure", None)
    talk = _Conversation(plane, options, target, receive, send, departure)
    try:
        seconds = timeout_seconds(headers)
        asked = priority(headers)
        task = plane.find(target.task, target.model or None)
    except PillionError as error:
        plane.refused(error, WireProtocol.TASK, target.model)
        await _reject(send, error, identity)
        return
    await send({"type": "websocket.accept", "headers": [(b"x-request-id", identity.encode())]})
    deadline = None if seconds is None else options.clock() + seconds
    call = Call(WireProtocol.TASK, identity, deadline, None, lambda: client_of(scope), asked)
    try:
        await talk.hold(task, call)
    except ClientDisconnected:
        return
    except PillionError as error:
        await talk.fail(error, identity)
    else:
        await talk.end(1000, "")


async def _reject(send: Send, error: PillionError, identity: str) -> None:
    """Answer as any request is answered, instead of making the connection."""
    answer = task_error_answer(error, identity)
    head = [(b"content-type", b"application/json"), (b"x-request-id", identity.encode()), *answer.headers]
    await send({"type": "websocket.http.response.start", "status": answer.status, "headers": head})
    await send({"type": "websocket.http.response.body", "body": answer.body})


class _Conversation:
    """The messages of one connection."""

    def __init__(
        self,
        plane: TaskPlane,
        options: DispatchOptions,
        target: Target,
        receive: Receive,
        send: Send,
        departure: Departure | None,
    ) -> None:
        self._plane = plane
        self._options = options
        self._target = target
        self._receive = receive
        self._send = send
        self._departure = departure
        self._working: asyncio.Task[Any] | None = None
        self._gone = False
        self._last = 0.0
        """When the last message went or came."""

    async def hold(self, task: ServedTask, call: Call) -> None:
        """Answer the call.

        Raises:
            PillionError: what the client is to be told.
            ClientDisconnected: it has left.
        """
        incoming = task.signature.incoming
        try:
            async with asyncio.timeout(_FIRST):
                message = await self._next()
            arguments, begun = self._opened(task, message)
        except TimeoutError:
            raise PillionError(ErrorCode.REQUEST_TIMEOUT, f"no message came within {_FIRST:g} s") from None
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, task.model, task.version)
            raise
        self._working = asyncio.current_task()
        with contextlib.ExitStack() as stack:
            if self._departure is not None:
                self._departure.watchers.add(self)
                stack.callback(self._departure.watchers.discard, self)
            inbound = stack.enter_context(Inbound())
            if incoming is not None:
                arguments[incoming.name] = incoming.given(inbound)
                looking = asyncio.create_task(self._look(inbound))
                stack.callback(looking.cancel)
            reading = asyncio.create_task(self._read(inbound, begun, _is_end(message), incoming, task))
            stack.callback(reading.cancel)
            try:
                await self._answer(task, arguments, call)
            except asyncio.CancelledError:
                # As asyncio.timeout does: take back our own request for cancellation, and let a foreign one through.
                if self._gone and self._working is not None and self._working.uncancel() == 0:
                    raise ClientDisconnected from None
                raise

    async def _answer(self, task: ServedTask, arguments: dict[str, Any], call: Call) -> None:
        if not task.signature.streams:
            result = await self._plane.perform(task, arguments, call)
            await self._say(encode_result(result.value))
            return
        stream = await self._plane.stream(task, arguments, call)
        try:
            while items := await stream.take():
                for item in items:
                    await self._say(encode_result(item))
        finally:
            stream.close()

    async def _read(
        self,
        inbound: Inbound,
        begun: list[Any],
        ended: bool,  # noqa: FBT001 - whether the first message was the last
        incoming: Incoming | None,
        task: ServedTask,
    ) -> None:
        """Hand over what the client sends; when it leaves, end the call."""
        try:
            for item in begun:
                await inbound.put(item)
            if ended:
                inbound.end()
            while True:
                message = await self._next()
                if _is_end(message) or incoming is None:
                    inbound.end()
                elif not await inbound.put(self._item(incoming, task, message)):
                    incoming = None  # only to see it leave
        except ClientDisconnected:
            self.left()
        except PillionError as error:
            inbound.end(error)
        finally:  # whatever ended it: a thread may wait for what comes next
            inbound.end(PillionError(ErrorCode.CANCELLED, "The caller left"))

    def left(self) -> None:
        """The client has left: end the call. It may be told of this twice."""
        if not self._gone and self._working is not None:
            self._gone = True
            self._working.cancel()

    async def _look(self, inbound: Inbound) -> None:
        """End the stream of a client that the task waits for, and that has nothing to say."""
        idle = self._options.websocket_idle
        loop = asyncio.get_running_loop()
        left = idle
        while left > 0:
            await asyncio.sleep(left)
            since, now = inbound.awaited_since, loop.time()
            left = idle if since is None else max(self._last, since) + idle - now
        text = f"the task waited {idle:g} s for a message (http.websocket_idle_seconds)"
        inbound.end(PillionError(ErrorCode.REQUEST_TIMEOUT, text))

    async def _next(self) -> str | bytes:
        message = await self._receive()
        self._last = asyncio.get_running_loop().time()
        if message["type"] == "websocket.disconnect":
            raise ClientDisconnected
        text: str | None = message.get("text")
        data: bytes | None = message.get("bytes")
        return text if text is not None else data or b""

    def _opened(self, task: ServedTask, message: str | bytes) -> tuple[dict[str, Any], list[Any]]:
        """The arguments and the items of a first message."""
        incoming = task.signature.incoming
        if isinstance(message, bytes) and incoming is not None:
            return decode_arguments(task.signature, b"{}"), [self._item(incoming, task, message)]
        document = _object(message if message not in ("", "null") else "{}")
        items = []
        if self._target.route is Route.TASK_ENVELOPE:
            document = self._flat(task, document)
        if incoming is not None and incoming.name in document:
            items.append(self._valid(incoming, task, {incoming.name: document.pop(incoming.name)}))
        return decode_arguments(task.signature, orjson.dumps(document)), items

    def _flat(self, task: ServedTask, document: dict[str, Any]) -> dict[str, Any]:
        """A message of the envelope with its fields side by side."""
        incoming = task.signature.incoming
        required = [parameter.name for parameter in task.signature.parameters if parameter.required]
        names = [*required, incoming.name] if incoming is not None else required
        inputs = document.get("inputs")
        parameters = document.get("parameters") or {}
        if len(names) == 1:
            inputs = {} if inputs is None else {names[0]: inputs}
        inputs = {} if inputs is None else inputs
        if not isinstance(inputs, dict) or not isinstance(parameters, dict):
            raise PillionError(ErrorCode.INVALID_ARGUMENT, "inputs and parameters: should be JSON objects")
        return inputs | parameters

    def _item(self, incoming: Incoming, task: ServedTask, message: str | bytes) -> Any:  # noqa: ANN401 - as declared
        if isinstance(message, bytes):
            value: Any = File(message) if isinstance(incoming.type, FileOf) else message
            try:
                return incoming.item.validate_python({incoming.name: value})[incoming.name]
            except ValidationError as error:
                raise invalid_arguments(error, task.signature) from None
        document = _object(message)
        if self._target.route is Route.TASK_ENVELOPE and "inputs" in document:
            inputs = document["inputs"]
            named = isinstance(inputs, dict) and inputs.keys() == {incoming.name}
            document = inputs if named else {incoming.name: inputs}
        return self._valid(incoming, task, document)

    def _valid(self, incoming: Incoming, task: ServedTask, document: dict[str, Any]) -> Any:  # noqa: ANN401 - as declared
        try:
            return incoming.item.validate_json(orjson.dumps(document))[incoming.name]
        except ValidationError as error:
            raise invalid_arguments(error, task.signature) from None

    async def _say(self, text: bytes) -> None:
        try:
            await self._send({"type": "websocket.send", "text": text.decode()})
        except OSError:
            raise ClientDisconnected from None
        self._last = asyncio.get_running_loop().time()

    async def fail(self, error: PillionError, identity: str) -> None:
        """Tell of a failure, and end."""
        with contextlib.suppress(ClientDisconnected):
            await self._say(task_error_body(error, identity))
            await self.end(4000 + task_status(error), str(error))

    async def end(self, code: int, reason: str) -> None:
        """Close the connection."""
        short = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
        with contextlib.suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": short})


def _is_end(message: str | bytes) -> bool:
    return not message or message == "null"


def _object(message: str | bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"the message is not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise PillionError(ErrorCode.INVALID_ARGUMENT, "the message: should be a JSON object")
    return document
