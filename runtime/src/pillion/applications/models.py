"""``pillion.models``: the models of the same server, called by the code of applications without a network between.

A call goes through the data plane as one that came by HTTP does: its limits, queue, batches and metrics are the
model's. It is cancelled with the request that it is made for, and its deadline is that request's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from pillion.applications.context import CURRENT
from pillion.dataplane.call import Call, InferRequest, WireProtocol
from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_json import invalid_arguments
from pillion.tensors import Tensor, datatype_of, dtype_of

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator

    from pillion.applications.context import Working
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.tasks import ServedTask

__all__ = ["ModelHandle", "Models", "Pending", "models"]

_Value = TypeVar("_Value")


class Pending(Generic[_Value]):
    """A call that is made when somebody waits for it: ``await`` it, or ask :meth:`result` in a plain function."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, _Value]], working: Working, *, shield: bool) -> None:
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
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("this is code on the event loop: await the call instead of asking for its result")
        future = asyncio.run_coroutine_threadsafe(self._begin(), self._working.loop)
        if not self._shield:
            self._follow(future)
        return future.result()

    def _follow(self, future: concurrent.futures.Future[_Value]) -> None:
        """Cancel it when the request ends; looked after on the loop, where requests end."""
        nested = self._working.nested
        nested.add(future)
        future.add_done_callback(nested.discard)
        if self._working.over:
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
            shield: go on when the request is over.
            arguments: by name.

        Raises (when it is waited for):
            PillionError: the model or task is unknown, the arguments do not fit, the queue is full, and so on. Who does
                not catch it has its request answered as a call of the model itself would be.
        """

        async def perform() -> Any:  # noqa: ANN401 - the task's own
            served, checked = self._checked(task, arguments)
            return (await self._plane.perform(served, checked, self._call())).value

        return Pending(perform, self._working, shield=shield)

    async def stream(self, task: str, /, **arguments: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - as declared
        """The items of a task that yields, as they come."""
        served, checked = self._checked(task, arguments)
        items = await self._plane.stream(served, checked, self._call())
        try:
            while taken := await items.take():
                for item in taken:
                    yield item
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
            response = await self._plane.infer(InferRequest(model=self._name, inputs=tensors), self._call())
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

    def _call(self) -> Call:
        return Call(WireProtocol.INTERNAL, self._working.request_id, self._working.deadline)


class Models:
    """The models of this server by name: ``pillion.models["iris"]``."""

    def __getitem__(self, name: str) -> ModelHandle:
        """A model, whether it is there or not: that is told when it is called.

        Raises:
            RuntimeError: no request of an application is being worked on.
        """
        working = CURRENT.get()
        if working is None or working.plane is None:
            raise RuntimeError("pillion.models is for the code of an application that works for a request")
        return ModelHandle(name, working, working.plane)


models: Final = Models()
