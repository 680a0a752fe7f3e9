"""Many calls at once, their results in the order of the inputs, with bounds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

from pillion.ordered_answers import answers, plain_answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["ordered", "ordered_async"]

X = TypeVar("X")


def ordered(
    call: Callable[[X], Any],
    inputs: Iterable[X],
    *,
    return_x: bool = False,
    return_exceptions: bool = False,
    concurrency: int = 16,
    timeout: float | None = None,
) -> Iterator[Any]:
    """The results of ``call`` for each input, in their order.

    Lazy: nothing is taken from ``inputs`` before the first result is asked for, and at most ``concurrency`` inputs are
    ahead of the result that is read. A failure of ``inputs`` itself always ends it, after the results of what came
    before. Leaving the loop lets the calls in progress end, and begins no other.

    Args:
        call: of one input; from several threads.
        inputs: any number of them.
        return_x: give pairs of input and result.
        return_exceptions: give a call's exception in the place of its result, instead of raising it.
        concurrency: calls at once.
        timeout: seconds for each call, from its begin; None: as long as the call takes. A thread cannot be stopped:
            a call that is late is left to end by itself, so give it a time of its own, too.

    Raises:
        ValueError: concurrency is below 1.
        TimeoutError: a call was late.
    """
    _check(concurrency)
    return _ordered(call, inputs, return_x, return_exceptions, concurrency, timeout)


def _ordered(
    call: Callable[[X], Any],
    inputs: Iterable[X],
    return_x: bool,  # noqa: FBT001 - private
    return_exceptions: bool,  # noqa: FBT001 - private
    concurrency: int,
    timeout: float | None,
) -> Iterator[Any]:
    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="pillion-stream")
    try:
        yield from plain_answers(
            lambda x: _InTime(threads.submit(call, x), timeout),
            inputs,
            concurrency,
            pairs=return_x,
            kept=return_exceptions,
        )
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


class _InTime:
    """A call in a thread, which may be late."""

    def __init__(self, future: Future[Any], timeout: float | None) -> None:
        self._future = future
        self._timeout = timeout
        self._began = time.monotonic()

    def result(self) -> Any:  # noqa: ANN401 - what the call gives
        left = None if self._timeout is None else max(0.0, self._began + self._timeout - time.monotonic())
        if not wait([self._future], left).done:
            raise TimeoutError(f"a call took longer than {self._timeout:g} s")
        try:
            return self._future.result()
        finally:
            del self  # whose future has the exception that leads to this frame

    def cancel(self) -> bool:
        return self._future.cancel()


def ordered_async(
    call: Callable[[X], Awaitable[Any]],
    inputs: Iterable[X] | AsyncIterable[X],
    *,
    return_x: bool = False,
    return_exceptions: bool = False,
    concurrency: int = 16,
    timeout: float | None = None,
) -> AsyncIterator[Any]:
    """As :func:`ordered`, on the event loop; calls that are late, or that nobody waits for any more, are cancelled."""
    _check(concurrency)
    return _ordered_async(call, inputs, return_x, return_exceptions, concurrency, timeout)


async def _ordered_async(
    call: Callable[[X], Awaitable[Any]],
    inputs: Iterable[X] | AsyncIterable[X],
    return_x: bool,  # noqa: FBT001 - private
    return_exceptions: bool,  # noqa: FBT001 - private
    concurrency: int,
    timeout: float | None,  # noqa: ASYNC109 - as above
) -> AsyncIterator[Any]:
    async def one(x: X) -> Any:  # noqa: ANN401 - what the call gives
        async with asyncio.timeout(timeout):
            return await call(x)

    asked = answers(one, inputs, concurrency, pairs=return_x, kept=return_exceptions)
    async with contextlib.aclosing(asked) as found:
        async for result in found:
            yield result


def _check(concurrency: int) -> None:
    if concurrency < 1:
        raise ValueError("concurrency: at least 1")
