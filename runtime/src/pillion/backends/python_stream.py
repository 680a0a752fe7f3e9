"""One call of a method that gives its results one by one: tasks that stream, and ``generate``."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from pillion.authoring.errors import ResultError
from pillion.authoring.finish import Finish
from pillion.authoring.results import maker
from pillion.backends.python_results import undeclared
from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from pillion.authoring.signature import TaskSignature

__all__ = ["PythonStream", "text_of"]


class PythonStream:
    """See :class:`~pillion.execution.stream.StreamSource`.

    Args:
        method: bound to its instance.
        task: its signature.
        arguments: validated, by name.
        generates: whether it is ``generate``, whose items are text and at most one :class:`Finish`.
    """

    def __init__(
        self, method: Callable[..., Any], task: TaskSignature, arguments: Mapping[str, Any], *, generates: bool
    ) -> None:
        self._method = method
        self._task = task
        self._arguments = arguments
        self._generates = generates
        self._make = maker(task.returns)
        self.asynchronous = task.asynchronous

    def run(self, put: Callable[[Any], bool]) -> None:
        """Call the method and hand over what it gives; a generator is closed where nobody reads on."""
        answer = self._method(**self._arguments)
        if self._whole(answer):
            put(self._plain(answer))
            return
        iterator = iter(answer)
        try:
            for item in iterator:
                if not put(self._plain(item)):
                    break
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    async def items_async(self) -> AsyncIterator[Any]:
        """The same on the event loop."""
        answer = self._method(**self._arguments)
        if inspect.isawaitable(answer):
            answer = await answer
        if self._whole(answer):
            yield self._plain(answer)
            return
        iterator = answer.__aiter__() if hasattr(answer, "__aiter__") else _stepped(iter(answer))
        try:
            async for item in iterator:
                try:
                    yield self._plain(item)
                except asyncio.CancelledError as error:
                    # Thrown in by who reads: the author's code is where it yielded, and is to see it there.
                    if hasattr(iterator, "athrow"):
                        with contextlib.suppress(StopAsyncIteration):
                            await iterator.athrow(error)
                    raise
        finally:
            if hasattr(iterator, "aclose"):
                await iterator.aclose()

    def _whole(self, answer: Any) -> bool:  # noqa: ANN401 - what a user's code returned
        """Whether it is no stream but all of it: a ``generate`` may return text."""
        if self._generates and isinstance(answer, str):
            return True
        if hasattr(answer, "__aiter__" if self.asynchronous else "__iter__") or hasattr(answer, "__iter__"):
            return False
        raise self._wrong(f"returned {type(answer).__name__}, and a stream is declared")

    def _plain(self, item: Any) -> Any:  # noqa: ANN401 - what a user's code yielded
        if self._generates:
            try:
                return text_of(item)
            except TypeError as error:
                raise self._wrong(str(error)) from None
        try:
            return self._make(item)
        except ResultError as error:
            raise undeclared(error, self._task, "yielded") from None

    def _wrong(self, problem: str) -> PillionError:
        place = f"{self._task.owner}.{self._task.method}"
        return PillionError(ErrorCode.MODEL_FAILED, f"{place} {problem}", remedy="return what is declared")


def text_of(item: Any) -> str | Finish:  # noqa: ANN401 - what a user's code yielded
    """An item of ``generate``: a piece of text, or how it ended.

    Raises:
        TypeError: neither.
    """
    if isinstance(item, Finish):
        return item
    if isinstance(item, str):
        return item if type(item) is str else str.__str__(item)
    raise TypeError(f"yielded {type(item).__name__}, and text is wanted: str, or a pillion.Finish at the end")


async def _stepped(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
