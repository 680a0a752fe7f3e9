"""Tasks over gRPC whose clients, servers or both send items one by one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import WireProtocol, new_request_id
from pillion.errors import ErrorCode, PillionError
from pillion.execution.inbound import Inbound
from pillion.protocol.task_message import decode_item, decode_request, encode_response
from pillion.transport.body_budget import SMALL
from pillion.transport.grpc.context import (
    Caller,
    Method,
    failed,
    given_request_id,
    ranked_call_of,
    succeeded,
)
from pillion.transport.grpc.ends import until_true_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from grpc.aio import ServicerContext

    from pillion.authoring.signature import Incoming, TaskSignature
    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.protocol.task_schema import TaskMethod
    from pillion.transport.grpc.observation import RpcObserver

    Context = ServicerContext[Any, Any]

__all__ = ["TaskStreams"]


class TaskStreams:
    """One method that streams, of one service.

    Args:
        plane: what answers.
        method: of the service.
        service: its name.
        find: finds the task that a call means.
        contract: the signature that the method's messages were made of.
        observer: of the service, where anybody wants to know.
        clock: of the data plane.
    """

    def __init__(
        self,
        plane: TaskPlane,
        method: TaskMethod,
        service: str,
        find: Callable[[Context], ServedTask],
        contract: TaskSignature,
        observer: RpcObserver | None,
        clock: Callable[[], float],
    ) -> None:
        self._plane = plane
        self._method = method
        self._named = Method(service, method.name, prediction=True)
        self._find = find
        self._contract = contract
        self._observer = observer
        self._clock = clock

    async def unary_stream(self, message: bytes, context: Context) -> AsyncIterator[bytes]:
        """A request, and items."""
        async with contextlib.aclosing(self._answers(_only(message), context)) as answers:
            async for answer in answers:
                yield answer

    async def stream_stream(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        """Items, and items."""
        messages = until_true_end(messages, context)
        async with contextlib.aclosing(self._answers(messages, context)) as answers:
            async for answer in answers:
                yield answer

    async def stream_unary(self, messages: AsyncIterator[bytes], context: Context) -> bytes:
        """Items, and an answer."""
        answer = b""
        messages = until_true_end(messages, context)
        async with contextlib.aclosing(self._answers(messages, context)) as answers:
            async for one in answers:
                answer = one
        return answer

    async def _answers(self, messages: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes]:
        given = given_request_id(context)
        observer = self._observer
        observed = None if observer is None else observer.choose(context, prediction=True)
        caller = Caller(given or new_request_id(), observed)
        try:
            async with contextlib.aclosing(self._called(messages, context, caller)) as answers:
                async for answer in answers:
                    if observer is not None and observed is not None:
                        observer.response(observed, answer)
                    yield answer
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the boundary: every failure has a status
            await failed(self._named, context, observer, error, caller)
        succeeded(self._named, context, observer, given, caller)

    async def _called(self, messages: AsyncIterator[bytes], context: Context, caller: Caller) -> AsyncGenerator[bytes]:
        first = await anext(messages, b"")
        if self._observer is not None and caller.observed is not None:
            self._observer.request(caller.observed, first, caller.request_id)
        try:
            task = self._find(context)
            arguments = decode_request(self._method, task.signature, first, self._contract)
            incoming = task.signature.incoming
            begun = None if incoming is None else self._item(incoming, first, task, first=True)
            call = ranked_call_of(context, caller, self._clock)
        except PillionError as error:
            self._plane.refused(error, WireProtocol.GRPC, "")
            raise
        with contextlib.ExitStack() as stack:
            if incoming is not None and begun is not None:
                inbound = stack.enter_context(Inbound())
                _call_with(context, inbound.close)
                arguments[incoming.name] = incoming.given(inbound)
                feeding = asyncio.create_task(self._feed(inbound, begun, len(first), messages, incoming, task))
                stack.callback(feeding.cancel)
            if not task.signature.streams:
                result = await self._plane.perform(task, arguments, call)
                yield encode_response(self._method, self._contract, result.value)
                return
            stream = await self._plane.stream(task, arguments, call)
            _call_with(context, stream.close)
            stack.callback(stream.close)
            while items := await stream.take():
                for item in items:
                    yield encode_response(self._method, self._contract, item)

    def _item(self, incoming: Incoming, message: bytes, task: ServedTask, *, first: bool) -> tuple[Any, bool]:
        return decode_item(self._method, incoming, message, task.signature, first=first, contract=self._contract)

    async def _feed(
        self,
        inbound: Inbound,
        begun: tuple[Any, bool],
        first: int,
        messages: AsyncIterator[bytes],
        incoming: Incoming,
        task: ServedTask,
    ) -> None:
        """Hand over what the client sends, until it has ended, or nobody wants more.

        Engines that count bytes count those of a message until the next is asked for, so large ones are not read ahead.
        """
        item, present = begun
        try:
            if present and not await inbound.put(item, until_used=first > SMALL):
                return
            async for message in messages:
                item, _ = self._item(incoming, message, task, first=False)
                if not await inbound.put(item, until_used=len(message) > SMALL):
                    return
            inbound.end()
        except PillionError as error:
            inbound.end(error)
        finally:  # whatever ended it: a thread may wait for what comes next
            inbound.end(PillionError(ErrorCode.CANCELLED, "The caller left"))


async def _only(message: bytes) -> AsyncIterator[bytes]:
    yield message


def _call_with(context: Context, close: Callable[[], None]) -> None:
    """At the end of the call, also of one cancelled while an answer is written, when nothing of ours is awaited."""

    def left(_: object) -> None:
        close()

    context.add_done_callback(left)  # type: ignore[arg-type] # the stubs have a protocol with a named argument
