"""``@pillion.batch``: calls of an ``async`` method with one item each become calls with several.

Callers do not hear of each other: an item may fail alone, and who leaves takes only its own item away. The call that
serves them is nobody's request; it is cancelled when all of its callers have left.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from pillion.applications.of_instance import OfInstance
from pillion.authoring.context import CURRENT, Shared

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pillion.authoring.context import Working

__all__ = ["batch"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Waiting(NamedTuple):
    item: Any
    answer: asyncio.Future[Any]
    since: float
    working: Working | None


class _Batcher:
    """The items of one instance's method.

    Args:
        call: the method, of a list.
        most: items of one call.
        wait: seconds that the first of these waits for others.
        concurrent: calls at a time.
    """

    def __init__(self, call: Callable[..., Awaitable[Any]], most: int, wait: float, concurrent: int) -> None:
        self._call = call
        self._most = most
        self._wait = wait
        self._concurrent = concurrent
        self._loop = asyncio.get_running_loop()
        self._items: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def add(self, item: Any) -> Any:  # noqa: ANN401 - the user's
        """The result for one item."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._items.append(_Waiting(item, answer, self._loop.time(), CURRENT.get()))
        if len(self._items) >= self._most:
            self._look()
        elif self._timer is None and len(self._running) < self._concurrent:
            # Without time to wait, too: what is on its way in this turn of the loop is taken along.
            self._timer = self._loop.call_later(self._wait, self._due)
        return await answer

    def _due(self) -> None:
        self._timer = None
        self._look()

    def _look(self) -> None:
        """Begin what is due; else look again when it is."""
        while self._items and len(self._running) < self._concurrent:
            due = self._items[0].since + self._wait
            if len(self._items) < self._most and due > self._loop.time():
                if self._timer is None:
                    self._timer = self._loop.call_at(due, self._due)
                return
            taken = [self._items.popleft() for _ in range(min(self._most, len(self._items)))]
            taken = [one for one in taken if not one.answer.done()]  # the others have left
            if taken:
                self._begin(taken)

    def _begin(self, taken: list[_Waiting]) -> None:
        task = self._loop.create_task(self._run(taken))
        self._running.add(task)
        task.add_done_callback(self._ended)
        waiting = len(taken)

        def left(answer: asyncio.Future[Any]) -> None:
            nonlocal waiting
            waiting -= 1
            if answer.cancelled() and not waiting:
                task.cancel()  # nobody wants it any more

        for one in taken:
            one.answer.add_done_callback(left)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._look()

    async def _run(self, taken: list[_Waiting]) -> None:
        working = _shared([one.working for one in taken])
        mark = CURRENT.set(working)
        try:
            results = _checked(await self._call([one.item for one in taken]), len(taken))
        except asyncio.CancelledError:
            for one in taken:
                one.answer.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - it is the callers'
            results = [error] * len(taken)
        finally:
            CURRENT.reset(mark)
            working.over = True
            working.end_all()
        for one, result in zip(taken, results, strict=True):
            if one.answer.done():
                continue
            if isinstance(result, BaseException):
                one.answer.set_exception(_raisable(result))
            else:
                one.answer.set_result(result)


def _shared(workings: list[Working | None]) -> Shared:
    """What the work for several requests is: as long as the one that has most time."""
    known = [working for working in workings if working is not None]
    if not known:
        return Shared(None)
    deadlines = [working.deadline for working in known]
    latest = None if len(known) < len(workings) else max((d for d in deadlines if d is not None), default=None)
    return Shared(known[0].plane, None if None in deadlines else latest, known[0].request_id)


def _checked(results: Any, wanted: int) -> Sequence[Any]:  # noqa: ANN401 - the user's
    """The results, one for each item.

    Raises:
        TypeError: they are not.
    """
    if isinstance(results, (str, bytes, dict)) or not hasattr(results, "__len__"):
        kind = type(results).__qualname__
        raise TypeError(f"a method with @pillion.batch returns a list with a result for each item, not a {kind}")
    if len(results) != wanted:
        raise TypeError(f"a method with @pillion.batch was given {wanted} items and returned {len(results)} results")
    return list(results)


def _raisable(error: BaseException) -> BaseException:
    """The error for one caller, with a traceback of its own; no future takes a StopIteration."""
    if isinstance(error, StopIteration):
        return RuntimeError(f"the batch raised {error!r}")
    return error


class _Batched(Generic[_Item, _Result]):
    """The decorated function or method."""

    def __init__(
        self, function: Callable[..., Awaitable[Sequence[_Result]]], most: int, wait: float, concurrent: int
    ) -> None:
        functools.update_wrapper(self, function)
        self._batchers = OfInstance(function, lambda bound: _Batcher(bound, most, wait, concurrent))

    def __get__(self, instance: object, owner: type) -> Callable[[_Item], Awaitable[_Result]]:
        return self if instance is None else functools.partial(self._add, instance)

    def __call__(self, item: _Item) -> Awaitable[_Result]:
        """Of a function."""
        return self._add(None, item)

    async def _add(self, instance: object, item: _Item) -> _Result:
        result: _Result = await self._batchers.of(instance).add(item)
        return result


@overload
def batch(function: Callable[..., Awaitable[Sequence[Any]]], /) -> Any: ...  # noqa: ANN401 - a method of one item
@overload
def batch(
    *, max_batch_size: int = ..., wait: float = ..., concurrent: int = ...
) -> Callable[[Callable[..., Awaitable[Sequence[Any]]]], Any]: ...
def batch(
    function: Callable[..., Awaitable[Sequence[Any]]] | None = None,
    /,
    *,
    max_batch_size: int = 32,
    wait: float = 0.0,
    concurrent: int = 1,
) -> Any:
    """Have an ``async`` method that takes a list called with one item by each of many callers.

    It returns a list with a result for each item; one that is an exception is raised for the caller of that item only.
    A caller that leaves does not end the call for the others::

        @pillion.batch(max_batch_size=16, wait=0.005)
        async def embed(self, texts: list[str]) -> list[list[float]]: ...


        vector = await self.embed("one text")

    Args:
        function: the method or function, where the decorator has no arguments.
        max_batch_size: items of one call at most.
        wait: seconds that the first item waits for others; while calls run, items gather in any case.
        concurrent: calls of one instance at a time.

    Raises:
        TypeError: it is no ``async`` function.
        ValueError: a number is out of range.
    """
    if max_batch_size < 1 or concurrent < 1 or not 0 <= wait <= 60:
        raise ValueError("@pillion.batch: max_batch_size and concurrent are 1 or more, wait is 0 to 60 seconds")

    def decorated(wrapped: Callable[..., Awaitable[Sequence[Any]]]) -> Any:  # noqa: ANN401 - as above
        if not inspect.iscoroutinefunction(wrapped):
            raise TypeError(f"@pillion.batch goes around an async function of a list, not around {wrapped!r}")
        return _Batched[Any, Any](wrapped, max_batch_size, wait, concurrent)

    return decorated if function is None else decorated(function)
