"""What a composition holds while it is open, and one call on its way through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from pillion.authoring.context import CURRENT, Endings
from pillion.composition.measures import distribution
from pillion.execution.thread import ThreadExecutor

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from pillion.authoring.context import Thread, Working
    from pillion.composition.step import Step
    from pillion.dataplane.plane import DataPlane
    from pillion.metrics import Distribution
    from pillion.tracing.nested import Trace

__all__ = ["FlowCall", "Session"]

_LEAST_THREADS = 8
_MOST_GENERATORS = 4096
"""Plain generators that run at a time, each in a thread."""


class FlowCall(Endings):
    """One call, or one plain step of it (see :class:`~pillion.authoring.context.Working`).

    Args:
        session: of the composition.
        loop: that it runs on.
        deadline: when its time is up, on the monotonic clock; None: never.
        outer: what it is made for: a request, or the call that it is a step of.
    """

    def __init__(
        self, session: Session, loop: asyncio.AbstractEventLoop, deadline: float | None, outer: Working | None
    ) -> None:
        super().__init__()
        self.session = session
        self.loop = loop
        self.nested: set[concurrent.futures.Future[Any]] = set()
        self._outer = outer
        self._ended = False
        self.trace = None if outer is None else outer.trace
        limits = [one for one in (deadline, None if outer is None else outer.deadline) if one is not None]
        self.deadline = min(limits, default=None)

    @property
    def over(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return self._ended or (self._outer is not None and self._outer.over)

    @property
    def request_id(self) -> str:
        """Of the request that it is made for; empty where there is none."""
        return "" if self._outer is None else self._outer.request_id

    @property
    def plane(self) -> DataPlane | None:
        """Where the models of the server are; None outside of one."""
        return None if self._outer is None else self._outer.plane

    @property
    def path(self) -> tuple[str, ...]:
        """The models whose code waits for it, the outermost first."""
        return () if self._outer is None else self._outer.path

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """ASGI's, of the request that it is made for."""
        return getattr(self._outer, "scope", None)

    def at_end(self, call: Callable[[], None]) -> None:
        """Have something called when it has ended, or the request that it is made for."""
        outer: Callable[[Callable[[], None]], None] = getattr(self._outer, "at_end", super().at_end)
        outer(call)

    def hold(self, thread: Thread) -> None:
        """See :class:`Endings`; the request's own end waits for threads, where there is one."""
        hold: Callable[[Thread], None] = getattr(self._outer, "hold", super().hold)
        hold(thread)

    @property
    def in_threads(self) -> bool:
        """See :class:`Endings`."""
        return bool(getattr(self._outer, "in_threads", super().in_threads))

    def end(self) -> None:
        """Nobody waits for it any more."""
        self._ended = True
        self.end_all()
        for future in list(self.nested):
            future.cancel()

    @contextlib.contextmanager
    def traced(self, trace: Trace, label: str) -> Iterator[FlowCall]:
        """One of its steps, noted in a trace."""
        inner = self.step()
        with trace.span("pillion.step", {"pillion.step.name": label}) as inner.trace:
            try:
                yield inner
            finally:
                inner.end()

    def step(self) -> FlowCall:
        """The same for one of its plain steps, which may be given up by itself."""
        return FlowCall(self.session, self.loop, None, self)


class _Awaited:
    """A call that a task awaits now."""

    __slots__ = ("cancelling", "cut", "ended", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.cancelling = task.cancelling()
        self.cut = False
        self.ended: asyncio.Future[None] = task.get_loop().create_future()


class Session:
    """An open composition: its threads, its loaded models, its worker processes.

    Args:
        root: the whole of it.
        name: of the flow in metrics; by default the root's own.
    """

    def __init__(self, root: Step, name: str | None = None) -> None:
        self._root = root
        self.threads = ThreadExecutor(root.name, max(_LEAST_THREADS, 2 * (os.cpu_count() or 1)))
        self.generators = ThreadExecutor(f"{root.name}-items", _MOST_GENERATORS)
        """Of their own: a generator holds its thread as long as it is read, and steps after it need one meanwhile."""
        self._ready: dict[Step, Any] = {}
        self._closing: list[Callable[[], None]] = []
        self._left: set[asyncio.Task[Any]] = set()
        self._awaited: dict[FlowCall, _Awaited] = {}
        self._labels = {step: label for label, step in labelled(root)}
        self._times: dict[Step, Distribution] = {
            step: distribution(name or root.name, label) for step, label in self._labels.items()
        }

    def open(self) -> None:
        """Load models and start workers; blocks.

        Raises:
            Exception: what one of them failed with; the others are closed.
        """
        try:
            for step in walk(self._root):
                if step not in self._ready:
                    self._ready[step] = step.prepare(self._closing.append)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End what :meth:`open` began; on the event loop that calls ran on, where there were any. Idempotent."""
        for task in self._left:
            task.cancel()
        closing, self._closing[:] = self._closing[:], []
        for close in reversed(closing):
            close()
        self.threads.close()
        self.generators.close()

    async def cut_off(self) -> None:
        """End the calls that are awaited now: who awaits them is told that the composition was left."""
        awaited = [one for one in self._awaited.values() if one.task is not asyncio.current_task()]
        for one in awaited:
            one.cut = True
            one.task.cancel()
        if awaited:
            await asyncio.wait([one.ended for one in awaited])

    async def left(self) -> None:
        """Wait for the steps that were given up."""
        if self._left:
            await asyncio.gather(*self._left, return_exceptions=True)

    def ready(self, step: Step) -> Any:  # noqa: ANN401 - what that step prepared
        """What a step prepared for itself."""
        return self._ready[step]

    def observe(self, step: Step, seconds: float) -> None:
        """Count how long a step took."""
        if (times := self._times.get(step)) is not None:
            times.observe(seconds)

    def label(self, step: Step) -> str:
        """What a step is called in metrics and traces; empty for the whole."""
        return self._labels.get(step, "")

    def leave(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Give steps up whose answers nobody needs any more."""
        for task in tasks:
            task.cancel()
            self._left.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio would report it as lost

    async def call(self, value: Any, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109 - the composition's own; asyncio.timeout() would not tell its steps when
        """The answer to one value.

        Raises:
            TimeoutError: there is none after ``timeout`` seconds; what ran has been cancelled.
        """
        with self._working(timeout) as call:
            try:
                with self._until_left(call):
                    async with asyncio.timeout(timeout):
                        return await self._root.perform(value, call)
            except TimeoutError as error:
                raise self._late(error, call, timeout) from None

    async def items(self, value: Any, timeout: float | None = None) -> AsyncIterator[Any]:  # noqa: ANN401, ASYNC109 - as above
        """The answers of a composition that streams, as they come; ``timeout`` is for all of them."""
        call = FlowCall(self, asyncio.get_running_loop(), _deadline(timeout), CURRENT.get())
        items = self._root.flowing(value, call)
        try:
            while True:
                # Set for each item, as each may be asked for in another task.
                token = CURRENT.set(call)
                try:
                    rest = None if call.deadline is None else max(0.0, call.deadline - time.monotonic())
                    with self._until_left(call):
                        async with asyncio.timeout(rest):
                            item = await anext(items)
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise self._late(error, call, timeout) from None
                finally:
                    CURRENT.reset(token)
                yield item
        finally:
            call.end()
            await items.aclose()  # type: ignore[attr-defined]  # made by an async generator

    @contextlib.contextmanager
    def _working(self, seconds: float | None) -> Iterator[FlowCall]:
        call = FlowCall(self, asyncio.get_running_loop(), _deadline(seconds), CURRENT.get())
        token = CURRENT.set(call)
        try:
            yield call
        finally:
            CURRENT.reset(token)
            call.end()

    @contextlib.contextmanager
    def _until_left(self, call: FlowCall) -> Iterator[None]:
        """What is awaited within ends when the composition is left; only that, as with :func:`asyncio.timeout`."""
        task = asyncio.current_task()
        if task is None:  # driven by hand: nobody could cancel it
            yield
            return
        one = self._awaited[call] = _Awaited(task)
        try:
            yield
        except asyncio.CancelledError:
            if one.cut and task.uncancel() <= one.cancelling:
                raise RuntimeError(f"{self._root.name} was left while it was awaited") from None
            raise
        finally:
            del self._awaited[call]
            one.ended.set_result(None)

    def _late(self, error: TimeoutError, call: FlowCall, seconds: float | None) -> TimeoutError:
        if seconds is None or call.deadline is None or time.monotonic() < call.deadline:
            return error  # a step's own
        return TimeoutError(f"{self._root.name}: no answer within {seconds:g} s")


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def walk(step: Step) -> Iterator[Step]:
    """A step and all below it."""
    yield step
    for child in step.children:
        yield from walk(child)


def labelled(root: Step, path: str = "") -> Iterator[tuple[str, Step]]:
    """All steps below it with the paths of their names; where one of several is another's, with a number."""
    seen: dict[str, int] = {}
    for child in root.children:
        count = seen[child.name] = seen.get(child.name, 0) + 1
        label = f"{path}{child.name}" if count == 1 else f"{path}{child.name}-{count}"
        yield label, child
        yield from labelled(child, f"{label}.")
