"""``pillion.models``: the models of the same server, called by code of the user's without a network between.

By applications, models and steps of flows, on the event loop, in threads and in worker processes. A call goes through
the data plane as one that came by HTTP does: its limits, queue, batches and metrics are the model's. It is cancelled
with the request that it is made for, and its deadline is that request's.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from pillion.arguments import check_text
from pillion.authoring.context import CURRENT
from pillion.dataplane.call import Call, InferRequest, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.execution.asking import WorkerCall
from pillion.execution.messages import PREDICT, TASK
from pillion.protocol.task_json import invalid_arguments
from pillion.tensors import Tensor, datatype_of, dtype_of

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator

    from pillion.authoring.context import Working
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.tasks import ServedTask
    from pillion.execution.messages import Ask
    from pillion.tracing.nested import Trace

__all__ = ["ModelHandle", "Models", "Pending", "WorkerHandle", "models"]

_Value = TypeVar("_Value")


class Pending(Generic[_Value]):
    """A call that is made when somebody waits for it: ``await`` it, or ask :meth:`result` in a plain function."""

    def __init__(
        self, begin: Callable[[], Coroutine[Any, Any, _Value]], working: Working | None, *, shield: bool
    ) -> None:
        self._begin = begin
        self._working = working
        self._shield = shield

    def __await__(self) -> Generator[Any, None, _Value]:
        """The value; cancelled with who awaits, unless the call is shielded."""
        if self._shield:
            return asyncio.shield(asyncio.ensure_future(self._begin())).__await__()
        return self._begin().__await__()

    def result(self) -> _Value:
        """The value, waited for in a plain function, which runs in a thread.

        Raises:
            RuntimeError: in code on the event loop, which would wait for itself: ``await`` the call there.
            concurrent.futures.CancelledError: the request that it was made for is over.
        """
        self.refuse_loop()
        working = self._working
        if working is None:
            raise RuntimeError("no request is being worked on")
        future = asyncio.run_coroutine_threadsafe(self._begin(), working.loop)
        if not self._shield:
            _follow(future, working)
        return future.result()

    def refuse_loop(self) -> None:
        """Refuse to wait in code that others wait for.

        Raises:
            RuntimeError: this is code on the event loop.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise RuntimeError("this is code on the event loop: await the call instead of asking for its result")


def _follow(future: concurrent.futures.Future[Any], working: Working) -> None:
    """Cancel it when the request ends; looked after on the loop, where requests end."""
    nested = working.nested
    nested.add(future)
    future.add_done_callback(nested.discard)
    if working.over:
        future.cancel()


class ModelHandle:
    """One model, for the request that is being worked on."""

    def __init__(self, name: str, working: Working, plane: DataPlane) -> None:
        self._name = name
        self._working = working
        self._plane = plane

    def task(self, task: str, /, *, shield: bool = False, **arguments: Any) -> Pending[Any]:  # noqa: ANN401 - as declared
        """Call a task; arguments are checked by its signature.

        Args:
            task: its name.
            shield: go on when the request is over, also by its time.
            arguments: by name.

        Raises (when it is waited for):
            PillionError: the model or task is unknown, the arguments do not fit, the queue is full, and so on. Who does
                not catch it has its request answered as a call of the model itself would be.
        """
        check_text("task", task, "classify")

        async def perform() -> Any:  # noqa: ANN401 - the task's own
            served, checked = self._checked(task, arguments)
            with self._traced(task) as trace:
                call = self._call(trace, shield=shield)
                return (await self._plane.perform(served, checked, call)).value

        return Pending(perform, self._working, shield=shield)

    async def stream(self, task: str, /, **arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as declared
        """The items of a task that yields, as they come."""
        check_text("task", task, "classify")
        async with contextlib.aclosing(self.parts(task, arguments)) as parts:
            async for items in parts:
                for item in items:
                    yield item

    async def parts(self, task: str, arguments: dict[str, Any]) -> AsyncGenerator[list[Any], None]:
        """The same, as many at a time as there are."""
        served, checked = self._checked(task, arguments)
        with self._traced(task) as trace:
            items = await self._plane.stream(served, checked, self._call(trace))
            try:
                while taken := await items.take():
                    yield taken
            finally:
                items.close()

    def predict(
        self,
        data: Any = None,  # noqa: ANN401 - whatever numpy takes
        /,
        *,
        shield: bool = False,
        **inputs: Any,  # noqa: ANN401 - as above
    ) -> Pending[Any]:
        """Compute outputs from arrays.

        Args:
            data: of the model's one input; whatever ``numpy.asarray`` takes.
            shield: go on when the request is over.
            inputs: by name, for models with several.

        Returns:
            The one output as array, or several by name.
        """

        async def infer() -> Any:  # noqa: ANN401 - an array, or several by name
            tensors = self._tensors(data, inputs)
            request = InferRequest(model=self._name, inputs=tensors)
            with self._traced("predict") as trace:
                response = await self._plane.infer(request, self._call(trace, shield=shield))
            outputs = {tensor.name: tensor.data for tensor in response.outputs}
            return next(iter(outputs.values())) if len(outputs) == 1 else outputs

        return Pending(infer, self._working, shield=shield)

    def _checked(self, task: str, arguments: dict[str, Any]) -> tuple[ServedTask, dict[str, Any]]:
        served = self._plane.find(task, self._name)
        try:
            return served, served.signature.arguments.validate_python(arguments)
        except ValidationError as error:
            raise invalid_arguments(error, served.signature) from None

    def _tensors(self, data: Any, inputs: dict[str, Any]) -> list[Tensor]:  # noqa: ANN401 - as in predict
        metadata = self._plane.status(self._name).metadata
        specs = () if metadata is None else metadata.inputs
        if data is not None:
            if len(specs) != 1 or inputs:
                names = ", ".join(spec.name for spec in specs) or "none that are known"
                raise PillionError(
                    ErrorCode.INVALID_ARGUMENT, f"model {self._name!r}: name the inputs, they are: {names}"
                )
            inputs = {specs[0].name: data}
        wanted = {spec.name: spec.datatype for spec in specs}
        tensors = []
        for name, value in inputs.items():
            array = np.asarray(value)
            if name in wanted and array.dtype.kind in "fiub" and wanted[name].value != "BYTES":
                array = array.astype(dtype_of(wanted[name]), copy=False)
            tensors.append(Tensor(name, datatype_of(array.dtype), array))
        return tensors

    def _traced(self, what: str) -> contextlib.AbstractContextManager[Trace | None]:
        trace = self._working.trace
        if trace is None:
            return contextlib.nullcontext()
        return trace.span("pillion.call", {"pillion.model.name": self._name, "pillion.task.name": what})

    def _call(self, trace: Trace | None, *, shield: bool = False) -> Call:
        """What goes on when the request is over has the model's own time rather than that of the request."""
        working = self._working
        deadline = None if shield else working.deadline
        return Call(WireProtocol.INTERNAL, working.request_id, deadline, callers=working.path, trace=trace)


class WorkerHandle:
    """The same in a worker process: the server makes the calls."""

    def __init__(self, name: str, working: WorkerCall) -> None:
        self._name = name
        self._working = working

    def task(self, task: str, /, *, shield: bool = False, **arguments: Any) -> Pending[Any]:  # noqa: ANN401 - as declared
        """See :meth:`ModelHandle.task`."""
        check_text("task", task, "classify")
        return _Asked(self._working, self._working.ask(self._name, TASK, task, arguments, shield=shield))

    def predict(
        self,
        data: Any = None,  # noqa: ANN401 - whatever numpy takes
        /,
        *,
        shield: bool = False,
        **inputs: Any,  # noqa: ANN401 - as above
    ) -> Pending[Any]:
        """See :meth:`ModelHandle.predict`."""
        given = inputs if data is None else {"": data, **inputs}
        return _Asked(self._working, self._working.ask(self._name, PREDICT, "", given, shield=shield))

    def stream(self, task: str, /, **arguments: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - as declared
        """See :meth:`ModelHandle.stream`."""
        return self._working.items(self._name, task, arguments)


class _Asked(Pending[Any]):
    """A call that the server of this worker process makes."""

    def __init__(self, working: WorkerCall, ask: Ask) -> None:
        super().__init__(lambda: working.answer(ask), working, shield=ask.shield)
        self._call = working
        self._ask = ask

    def result(self) -> Any:  # noqa: ANN401 - the task's own
        """See :meth:`Pending.result`."""
        return self._call.wait(self._ask) if self._call.waits_here else super().result()


class Models:
    """The models of this server by name: ``pillion.models["iris"]``."""

    def __getitem__(self, name: str) -> ModelHandle | WorkerHandle:
        """A model, whether it is there or not: that is told when it is called.

        Raises:
            RuntimeError: no request is being worked on.
            TypeError, ValueError: that is no name.
        """
        check_text("the name of a model", name, "iris")
        working = CURRENT.get()
        if isinstance(working, WorkerCall):
            return WorkerHandle(name, working)
        if working is None or working.plane is None:
            raise RuntimeError(
                "pillion.models is for code that works for a request: of an application, a task, predict or a flow"
            )
        return ModelHandle(name, working, working.plane)


models: Final = Models()
