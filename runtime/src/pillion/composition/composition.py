"""What all compositions can do: be opened, called, fed from an iterator, and served as a model."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pillion.applications.connections import close_here
from pillion.arguments import check_count, check_seconds, check_text
from pillion.composition.errors import checked
from pillion.composition.session import Session
from pillion.composition.step import Step
from pillion.loop_beside import LoopBeside
from pillion.ordered_answers import answers, plain_answers

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

    from pillion.authoring.model import Model

__all__ = ["Composition"]

_IN_PROGRESS = 16


class Composition(Step):
    """Steps put together. A context manager, plain or ``async``: entering loads its models and starts its worker
    processes, leaving cancels what runs and ends them::

        with pillion.Sequential(clean, Mood) as flow:
            flow.call("good good")
            for answer in flow.stream(lines):
                ...
    """

    def __init__(self, name: str) -> None:
        with checked():
            check_text("name", name, "sentiment")
        self.name = name
        self._session: Session | None = None
        self._beside: LoopBeside | None = None

    # --- life

    def __enter__(self) -> Self:
        session = self._opened()
        session.open()
        self._session, self._beside = session, LoopBeside(f"{self.name}-loop")
        return self

    def __exit__(self, *_: object) -> None:
        session, beside = self._session, self._beside
        self._session = self._beside = None
        if session is not None and beside is not None:
            beside.begin(_ended(session)).result()
            beside.stop()

    async def __aenter__(self) -> Self:
        session = self._opened()
        opening = asyncio.ensure_future(asyncio.to_thread(session.open))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(lambda ended: _unwanted(session, ended))  # a thread cannot be stopped
            raise
        self._session = session
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.cut_off()
            session.close()
            await session.left()

    def _opened(self) -> Session:
        if self._session is not None:
            raise RuntimeError(f"{self.name} is open already")
        return Session(self)

    # --- calls

    def call(self, value: Any, *, timeout: float | None = None) -> Any:  # noqa: ANN401 - as the steps declare
        """The answer to one value, waited for.

        Args:
            value: what the first step takes.
            timeout: seconds for all steps together; None waits.

        Raises:
            TimeoutError: there is no answer in time; the steps that ran have been cancelled.
            TypeError, ValueError: the time is none.
            EnsembleError, MapError: see there.
            Exception: what a step raised, with a note that names the step.
        """
        check_seconds("timeout", timeout)
        session, beside = self._plain()
        self._whole()
        return beside.run(session.call(value, timeout))

    async def acall(self, value: Any, *, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - as above; asyncio.timeout() would not tell the steps when
        """The same awaited; cancelled with who awaits it."""
        check_seconds("timeout", timeout)
        self._whole()
        if self._beside is not None:
            session, beside = self._plain()
            return await asyncio.wrap_future(beside.begin(session.call(value, timeout)))
        return await self._open().call(value, timeout)

    def items(self, value: Any, *, timeout: float | None = None) -> Generator[Any, None, None]:  # noqa: ANN401 - as above
        """The answers of a composition with a step that yields, one by one; not reading on ends its steps.

        Args:
            value: what the first step takes.
            timeout: seconds until the last of them.
        """
        check_seconds("timeout", timeout)
        session, beside = self._plain()
        self._parts()
        items = session.items(value, timeout)
        try:
            while (item := beside.run(anext(items, _END))) is not _END:
                yield item
        finally:
            if self._beside is beside:
                beside.run(items.aclose())  # type: ignore[attr-defined]  # an async generator

    async def aitems(self, value: Any, *, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ANN401, ASYNC109 - as above
        """The same for ``async for``, in a composition that was entered by ``async with``."""
        check_seconds("timeout", timeout)
        self._parts()
        async with aclosing(self._open().items(value, timeout)) as items:  # type: ignore[type-var]  # an async generator
            async for item in items:
                yield item

    def stream(
        self,
        inputs: Iterable[Any],
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        concurrency: int = _IN_PROGRESS,
        timeout: float | None = None,
    ) -> Iterator[Any]:
        """Answers to many values, in their order, as they are read: at most ``concurrency`` are in progress.

        Args:
            inputs: read no further ahead than that. An exception of theirs ends the stream, after the answers to what
                came before.
            return_x: give ``(value, answer)``.
            return_exceptions: give a value's exception in the place of its answer; else it ends the stream.
            concurrency: how many values are in progress, or wait for being read.
            timeout: seconds for each value, from when it begins.
        """
        self._many(concurrency, timeout)
        if not _iterable(inputs):
            remedy = ": read them by astream()" if hasattr(inputs, "__aiter__") else ""
            raise TypeError(f"inputs are values to iterate over, and not a {type(inputs).__name__}{remedy}")
        session, beside = self._plain()

        def begin(value: object) -> concurrent.futures.Future[Any]:
            return beside.begin(session.call(value, timeout))

        return plain_answers(begin, iter(inputs), concurrency, pairs=return_x, kept=return_exceptions)

    async def astream(
        self,
        inputs: Iterable[Any] | AsyncIterable[Any],
        *,
        return_x: bool = False,
        return_exceptions: bool = False,
        concurrency: int = _IN_PROGRESS,
        timeout: float | None = None,  # noqa: ASYNC109 - of each value, as acall()
    ) -> AsyncGenerator[Any, None]:
        """The same for ``async for``; ``inputs`` may be an async iterable, and answers come while it waits."""
        self._many(concurrency, timeout)
        if not (_iterable(inputs) or hasattr(inputs, "__aiter__")):
            raise TypeError(f"inputs are values to iterate over, and not a {type(inputs).__name__}")
        async with aclosing(
            answers(partial(self.acall, timeout=timeout), inputs, concurrency, pairs=return_x, kept=return_exceptions)
        ) as found:
            async for answer in found:
                yield answer

    def _many(self, concurrency: int, timeout: float | None) -> None:
        check_count("concurrency", concurrency, "values in progress")
        check_seconds("timeout", timeout)
        self._whole()

    def _plain(self) -> tuple[Session, LoopBeside]:
        if self._session is None or self._beside is None:
            raise RuntimeError(f"{self.name} is not open: call it within `with {self.name}:`")
        return self._session, self._beside

    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError(f"{self.name} is not open: await it within `async with {self.name}:`")
        return self._session

    def _whole(self) -> None:
        if self.streams:
            raise TypeError(f"{self.name} has a step that yields: read it by items() or aitems()")

    def _parts(self) -> None:
        if not self.streams:
            raise TypeError(f"{self.name} has no step that yields: use call() or acall()")

    # --- served

    def __pillion_model__(self, name: str | None = None) -> type[Model]:
        """The class that it is served as; ``name`` is what it is called where it has no name of its own."""
        from pillion.composition.serving import model_of  # noqa: PLC0415 - programs without a server need none

        return model_of(self, name)


_END: Any = object()


def _iterable(inputs: object) -> bool:
    return hasattr(inputs, "__iter__") or hasattr(inputs, "__getitem__")


def _unwanted(session: Session, opening: asyncio.Future[None]) -> None:
    """Close what was opened for somebody who is gone; what could not be opened has closed itself."""
    if not opening.cancelled() and opening.exception() is None:
        session.close()


async def _ended(session: Session) -> None:
    """Cancel what runs on its loop, and close it there."""
    running = asyncio.all_tasks() - {asyncio.current_task()}
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    session.close()
    await session.left()
    await close_here()
