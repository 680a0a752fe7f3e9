"""``POST /{task}``, ``/{model}/{task}`` and ``/api/v1/task/{task}``: typed calls of models written in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.authoring.names import same_task
from pillion.dataplane.call import WireProtocol
from pillion.errors import PillionError
from pillion.transport.http.answer import Answer
from pillion.transport.http.disconnect import watched
from pillion.transport.http.posted import posted
from pillion.transport.http.routes import Route, resolve_task

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from pillion.dataplane.tasks import ServedTask, TaskPlane
    from pillion.transport.http.caller import Caller
    from pillion.transport.http.options import DispatchOptions
    from pillion.transport.http.routes import Target

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

__all__ = ["TaskHandler"]


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
        return (target, known) if known or method == "POST" else (None, False)

    async def answer(self, target: Target, headers: Mapping[bytes, bytes], receive: Receive, caller: Caller) -> Answer:
        """One call.

        Raises:
            PillionError: for the dispatcher to answer.
            ClientDisconnected: nobody is there to answer.
        """
        # With pydantic it is much to import, and a server without tasks never gets here.
        from pillion.protocol.task_json import decode_arguments, encode_result, open_envelope  # noqa: PLC0415 - as said

        model = target.model
        try:
            body, deadline = await posted(headers, receive, self._options, caller)
            # Nothing waits between finding the task and beginning it: a reload would put another class in its place.
            envelope = open_envelope(body) if target.route is Route.TASK_ENVELOPE else None
            task = self._plane.find(target.task, (model if envelope is None else envelope.model) or None)
            model, signature = task.model, task.signature
            arguments = decode_arguments(signature, body) if envelope is None else envelope.arguments(signature)
        except PillionError as error:
            self._plane.refused(error, WireProtocol.TASK, model)
            raise
        call = caller.call(WireProtocol.TASK, deadline)
        if signature.streams:
            from pillion.transport.http.task_stream import streamed  # noqa: PLC0415 - most tasks do not stream

            return await streamed(self._plane, task, arguments, call, receive, self._options.disconnect_grace)
        running = self._plane.perform(task, arguments, call)
        result = await watched(running, receive, self._options.disconnect_grace)
        return Answer(encode_result(result.value))


def _means(target: Target, task: ServedTask) -> bool:
    named = target.task == task.signature.name or same_task(target.task) == same_task(task.signature.name)
    return named and target.model in ("", task.model)
