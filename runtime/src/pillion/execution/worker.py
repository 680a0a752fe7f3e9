"""The loop of a worker process: one call after another, each answered before the next is begun.

So a server whose worker has died knows that at most the oldest unanswered call had been begun.

Calls are computed by the main thread, which also reads the socket: there is no hop between threads. A second thread
only sleeps until the server gives a call up (:class:`~pillion.execution.given_up.GivenUp`). It asks the model's library
to stop where that can be asked, and else raises an exception in the main thread, as Ctrl-C would: Python code and
waiting stop at once, native code when it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import time
from typing import TYPE_CHECKING, Any, cast

from pillion.authoring.context import CURRENT
from pillion.execution.api import Interrupt
from pillion.execution.asking import Asking, WorkerCall
from pillion.execution.given_up import Abandoned, GivenUp
from pillion.execution.messages import CHECK_HEALTH, EXPLAIN, PREDICT, RECONFIGURE, STREAM, TASK, Result, Use
from pillion.execution.outlet import Outlet
from pillion.execution.packing import pack, unpack
from pillion.execution.remote import failed
from pillion.execution.segments import SegmentMap, SegmentPool
from pillion.execution.stream import StreamRun
from pillion.execution.values import read_value, written_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.backends.api import (
        CheckedModel,
        ConfiguredModel,
        ExplainedModel,
        LoadedModel,
        Predictor,
        StreamModel,
        TaskModel,
    )
    from pillion.execution.messages import Call, Credit
    from pillion.execution.mixed import AsyncPredictor
    from pillion.execution.segments import Segment
    from pillion.execution.worker_connection import Connection
    from pillion.tensors import Tensor

__all__ = ["Worker"]


class Worker:
    """Answers the calls that come over ``connection`` with ``model``, in the main thread.

    Args:
        connection: to the server.
        model: loaded.
        tasks: what can be called of it, by the names that the server uses.
        abandoned: descriptor of the pipe with calls that are given up.
    """

    def __init__(
        self, connection: Connection, model: LoadedModel, tasks: Mapping[str, TaskSignature], abandoned: int
    ) -> None:
        self._connection = connection
        self._model = model
        self._tasks = tasks
        self._pool = SegmentPool()
        self._released: list[int] = []
        # Writable, because a class of the user's is given arrays that it may write to: read-only ones would be copied.
        self._mapped = SegmentMap(self._released.append, writable=True)
        self._outlet: Outlet | None = None
        self._loop: asyncio.Runner | None = None
        self._given_up = GivenUp(abandoned, lambda: connection.midway)
        connection.after = self._given_up.check
        connection.on_credit = self._credit
        self._asking = Asking(connection)

    def serve(self) -> None:
        """Answer until the server closes the connection."""
        connection = self._connection
        calls = connection.calls
        with contextlib.suppress(EOFError):
            while True:
                connection.receive()
                while calls:
                    self._answer(calls.popleft())
        if self._loop is not None:
            self._loop.close()

    def _answer(self, call: Call) -> None:
        began = time.perf_counter()
        try:
            self._take_notice(call)
            value, tensors = self._run(call)
            seconds = time.perf_counter() - began
            result, segment = self._result(call, value, tensors, seconds)
        except Abandoned:
            result, segment = Result(call.id, 0.0), None
        except BaseException as error:  # noqa: BLE001 - a model may raise anything, sys.exit() too; it belongs to its caller
            self._connection.send(failed(call.id, error, self._handed_back()))
            self._given_up.forget(call.id)
            return
        self._given_up.forget(call.id)
        tensors = []  # what looks at the request's memory is to be gone before the answer says what is
        result.released = self._handed_back()
        if segment is None or segment.descriptor is None:
            self._connection.send(result)
        else:
            self._connection.send(result, [segment.descriptor])
            segment.announced()

    def _take_notice(self, call: Call) -> None:
        for number in call.released:
            self._pool.give_back(number)
        for number in call.dropped:
            self._mapped.drop(number)
        if call.segment is not None and call.segment.size:
            self._mapped.attach(call.segment.number, call.segment.size, self._connection.inbox.descriptors.popleft())

    def _handed_back(self) -> list[int]:
        """Segments of the server that nothing here looks at any more, said once."""
        count = len(self._released)  # a thread of the model's may add one meanwhile
        released = self._released[:count]
        del self._released[:count]
        return released

    def _credit(self, message: Credit) -> None:
        if self._outlet is not None:
            self._outlet.credit(message)

    def _run(self, call: Call) -> tuple[Any, list[Tensor]]:
        """The value of a task or an explanation, or the tensors."""
        whole = None if call.segment is None else self._mapped.view(call.segment.number)
        inputs = unpack(call.tensors, whole)
        del whole
        run = self._asked(call)
        asynchronous = getattr(run, "asynchronous", False)
        interrupt = Interrupt()
        working = None
        if call.circumstances is not None:
            working = WorkerCall(call.id, call.circumstances, self._asking, interrupt)
        token = CURRENT.set(working)
        if asynchronous:
            interrupt.action = _noted  # no exception may be raised in the loop's own code: it would break the next call
        try:
            self._given_up.begin(call.id, interrupt, closes=call.way == STREAM and not asynchronous)
            if asynchronous:
                tensors = self._on_loop(cast("AsyncPredictor", run), inputs, call.outputs, interrupt, working)
            else:
                tensors = run.predict(inputs, call.outputs, interrupt)
        finally:
            self._given_up.end()  # here, so that whoever calls this is never interrupted
            self._outlet = None
            CURRENT.reset(token)
        return getattr(run, "value", None), tensors

    def _asked(self, call: Call) -> Predictor:
        """What is to be run. Nothing of the model's own code has been, yet."""
        if call.way == PREDICT:
            return self._model
        if call.way == EXPLAIN:
            return cast("ExplainedModel", self._model).begin_explanation()
        if call.task == CHECK_HEALTH:
            return cast("CheckedModel", self._model).check_health()
        arguments = read_value(call.arguments, "what the worker process was sent")
        if call.task == RECONFIGURE:
            return cast("ConfiguredModel", self._model).reconfigure(arguments)
        task = self._tasks[call.task]
        if call.way == TASK:
            return cast("TaskModel", self._model).begin(task, arguments)
        self._outlet = Outlet(call.id, call.room, self._connection, self._given_up.closing)
        return StreamRun(cast("StreamModel", self._model).stream(task, arguments), self._outlet)

    def _on_loop(
        self,
        run: AsyncPredictor,
        inputs: Sequence[Tensor | None],
        outputs: tuple[str, ...],
        interrupt: Interrupt,
        working: WorkerCall | None,
    ) -> list[Tensor]:
        if self._loop is None:
            self._loop = asyncio.Runner()
        if working is not None:
            working.begin(self._loop.get_loop())
        # A runner has a context of its own, in which the one before may be seen.
        return self._loop.run(_cancellable(run, inputs, outputs, interrupt), context=contextvars.copy_context())

    def _result(
        self,
        call: Call,
        value: Any,  # noqa: ANN401 - plain data, as a task gives it
        tensors: list[Tensor],
        seconds: float,
    ) -> tuple[Result, Segment | None]:
        if call.way == STREAM:
            return Result(call.id, seconds), None
        if call.way != PREDICT:
            return Result(call.id, seconds, value=written_value(value)), None
        try:
            packed, segment = pack(tensors, self._pool)
        except TypeError as error:  # as it is, it would be taken for one about the input
            raise RuntimeError(f"the model's outputs are not what they say: {error}") from error
        result = Result(call.id, seconds, packed)
        if segment is not None:
            result.segment = Use(segment.number, 0 if segment.descriptor is None else segment.size)
        if self._pool.dropped:
            result.dropped, self._pool.dropped = self._pool.dropped, []
        return result, segment


def _noted() -> None:
    """The interrupt remembers that it was fired."""


async def _cancellable(
    model: AsyncPredictor, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt
) -> list[Tensor]:
    task = asyncio.ensure_future(model.predict_async(inputs, outputs))
    loop = asyncio.get_running_loop()
    interrupt.action = lambda: cast("None", loop.call_soon_threadsafe(task.cancel))
    if interrupt.fired:
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if interrupt.fired:
            raise Abandoned from None
        raise RuntimeError("the model's code cancelled itself") from None
