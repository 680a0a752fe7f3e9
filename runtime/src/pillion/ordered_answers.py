"""Answers to many requests in the order of the requests, as they are read: of compositions and clients."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable

__all__ = ["Begun", "answers", "plain_answers"]


class Begun(Protocol):
    """What is in progress: a future, or what is waited for like one."""

    def result(self) -> Any:  # noqa: ANN401 - an answer
        """Wait for the answer, and give or raise it."""
        ...

    def cancel(self) -> object:
        """Give it up."""
        ...


def plain_answers(
    begin: Callable[[Any], Begun], inputs: Iterable[Any], concurrency: int, *, pairs: bool, kept: bool
) -> Generator[Any, None, None]:
    """As :func:`answers`, for plain code: nothing is begun before the first answer is asked for.

    Args:
        begin: has the answer to one made elsewhere.
        inputs: as those of :func:`answers`, like the rest.
        concurrency: see there.
        pairs: see there.
        kept: see there.
    """
    source = iter(inputs)
    begun: deque[tuple[Any, Begun]] = deque()
    failure: Exception | None = None
    answer: Any = None
    more = True
    try:
        while more or begun:
            while more and len(begun) < concurrency:
                try:
                    x = next(source)
                except StopIteration:
                    more = False
                except Exception as error:  # noqa: BLE001 - raised below, after the answers before it
                    more, failure = False, error
                else:
                    begun.append((x, begin(x)))
            if begun:
                try:
                    answer = begun[0][1].result()
                except Exception as error:
                    if not kept:
                        raise
                    answer = error
                x = begun.popleft()[0]
                yield (x, answer) if pairs else answer
        if failure is not None:
            raise failure
    finally:
        while begun:
            begun.popleft()[1].cancel()
        # What a frame holds that its own exception leads to lives until garbage is collected.
        failure = answer = None


async def answers(
    ask: Callable[[Any], Coroutine[Any, Any, Any]],
    inputs: Iterable[Any] | AsyncIterable[Any],
    concurrency: int,
    *,
    pairs: bool,
    kept: bool,
) -> AsyncGenerator[Any, None]:
    """Ask for each input, and give the answers in order.

    Args:
        ask: gives the answer to one.
        inputs: read no further ahead than ``concurrency``. What they raise ends the answers, after those to what came
            before.
        concurrency: how many are in progress, or wait for being read.
        pairs: give ``(input, answer)``.
        kept: give an exception in the place of its answer; else it ends the answers.
    """
    begun: asyncio.Queue[tuple[Any, asyncio.Task[Any]] | Exception | None] = asyncio.Queue()
    room = asyncio.Semaphore(concurrency)
    tasks: dict[asyncio.Task[Any], None] = {}  # in their order, in which they are cancelled

    async def feed() -> None:
        try:
            async with aclosing(_each(inputs, room)) as items:
                async for x in items:
                    task = asyncio.create_task(ask(x))
                    tasks[task] = None
                    begun.put_nowait((x, task))
        except Exception as error:  # noqa: BLE001 - raised below, after the answers before it
            begun.put_nowait(error)
        else:
            begun.put_nowait(None)

    feeding = asyncio.create_task(feed())
    one: tuple[Any, asyncio.Task[Any]] | Exception | None = None
    answer: Any = None
    try:
        while (one := await begun.get()) is not None:
            if isinstance(one, Exception):
                raise one
            try:
                answer = await one[1]
            except Exception as error:
                if not kept:
                    raise
                answer = error
            tasks.pop(one[1])
            yield (one[0], answer) if pairs else answer
            room.release()
    finally:
        for task in (feeding, *tasks):
            task.cancel()
        await asyncio.gather(feeding, *tasks, return_exceptions=True)
        one = answer = None  # as above
        tasks.clear()


async def _each(inputs: Iterable[Any] | AsyncIterable[Any], room: asyncio.Semaphore) -> AsyncGenerator[Any, None]:
    """The inputs, each when there is room for it."""
    if isinstance(inputs, AsyncIterable):
        items = aiter(inputs)
        while True:
            await room.acquire()
            try:
                x = await anext(items)
            except StopAsyncIteration:
                return
            yield x
    else:
        plain = iter(inputs)
        while True:
            await room.acquire()
            try:
                x = next(plain)
            except StopIteration:
                return
            yield x
