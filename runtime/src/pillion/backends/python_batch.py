"""Calls of tasks whose method takes many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pillion.authoring.batches import joined
from pillion.authoring.errors import ResultError
from pillion.backends.python_results import undeclared
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.execution.api import Interrupt
    from pillion.tensors import Tensor

__all__ = ["PythonBatchRun", "alone"]


class PythonBatchRun:
    """Many calls as one (see :class:`~pillion.backends.api.BatchRun`)."""

    __slots__ = ("_calls", "_make", "_method", "_task", "asynchronous", "values")

    def __init__(
        self,
        method: Callable[..., Any],
        task: TaskSignature,
        calls: Sequence[Mapping[str, Any]],
        make: Callable[[Any], Any],
    ) -> None:
        self._method = method
        self._task = task
        self._calls = calls
        self._make = make
        self.asynchronous = task.asynchronous
        self.values: list[Any] = []

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Call the method, in a thread."""
        del inputs, outputs, interrupt
        return self._keep(self._method(**joined(self._calls, self._task.items)))

    async def predict_async(self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...]) -> list[Tensor]:
        """Await the method, on the event loop."""
        del inputs, outputs
        return self._keep(await self._method(**joined(self._calls, self._task.items)))

    def _keep(self, answer: Any) -> list[Tensor]:  # noqa: ANN401 - what a user's code returned
        for one in results_of(answer, len(self._calls), self._task):
            if isinstance(one, BaseException):
                self.values.append(one)
                continue
            try:
                self.values.append(self._make(one))
            except ResultError as error:
                self.values.append(undeclared(error, self._task, "returned"))
        return []


def results_of(answer: Any, calls: int, task: TaskSignature) -> Sequence[Any]:  # noqa: ANN401 - what a user's code returned
    """One result for each call.

    Raises:
        PillionError: ``MODEL_FAILED``: there are more or fewer.
    """
    place = f"{task.owner}.{task.method}"
    remedy = "return a list with one result for each item, in their order"
    if isinstance(answer, str | bytes | dict) or not hasattr(answer, "__len__"):
        problem = f"{place} returned {type(answer).__name__}, and was given {calls} items"
        raise PillionError(ErrorCode.MODEL_FAILED, problem, remedy=remedy)
    if len(answer) != calls:
        problem = f"{place} returned {len(answer)} results for {calls} items"
        raise PillionError(ErrorCode.MODEL_FAILED, problem, remedy=remedy)
    results: Sequence[Any] = answer
    return results


def alone(method: Callable[..., Any], task: TaskSignature) -> Callable[..., Any]:
    """The method for one call: it is given lists of one."""

    def only(answer: Any) -> Any:  # noqa: ANN401 - what a user's code returned
        (result,) = results_of(answer, 1, task)
        if isinstance(result, BaseException):
            raise result
        return result

    def call(**arguments: Any) -> Any:  # noqa: ANN401 - of the user's method
        return only(method(**joined([arguments], task.items)))

    async def call_async(**arguments: Any) -> Any:  # noqa: ANN401 - as above
        return only(await method(**joined([arguments], task.items)))

    return call_async if task.asynchronous else call
