"""Steps: the callables of the user's as what compositions run."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import time
from abc import ABC, abstractmethod
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from pillion.authoring.context import CURRENT
from pillion.authoring.model import Model
from pillion.authoring.task import options_of
from pillion.composition.errors import CompositionError
from pillion.composition.hints import Reading, Way, read
from pillion.execution.stream import ItemBuffer, StreamRun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pillion.backends.api import Predictor
    from pillion.composition.session import FlowCall
    from pillion.execution.api import Executor, Interrupt
    from pillion.execution.stream import StreamSource
    from pillion.tensors import Tensor
    from pillion.tracing.nested import Trace

__all__ = ["Function", "ModelStep", "Step", "as_step", "buffered", "method_of"]


class Step(ABC):
    """One part of a composition. What it is never changes, so none can contain itself."""

    name: str
    takes: Any = Any
    gives: Any = Any
    """Of each item where it streams."""
    parameter: str = "value"
    """What its value is called, where it is served."""
    streams: bool = False
    """Whether its results come one by one."""
    kind: str = "step"
    children: tuple[Step, ...] = ()

    def prepare(self, closing: Callable[[Callable[[], None]], None]) -> Any:  # noqa: ANN401 - the step's own
        """Make it ready; blocks. ``closing`` is given what is to be done at the end."""
        del closing

    async def perform(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as the step declares
        """Run it, counted; an exception says which step it came from."""
        began = time.perf_counter()
        try:
            if call.trace is not None and (label := call.session.label(self)):
                return await self._traced(value, call, call.trace, label)
            return await self.run(value, call)
        except Exception as error:
            error.add_note(f"in step {self.name!r}")
            raise
        finally:
            call.session.observe(self, time.perf_counter() - began)

    async def _traced(self, value: Any, call: FlowCall, trace: Trace, label: str) -> Any:  # noqa: ANN401 - as above
        with call.traced(trace, label) as inner:
            token = CURRENT.set(inner)
            try:
                return await self.run(value, inner)
            finally:
                CURRENT.reset(token)

    async def flowing(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """The same for one that streams."""
        began = time.perf_counter()
        try:
            label = "" if call.trace is None else call.session.label(self)
            with call.traced(call.trace, label) if call.trace is not None and label else nullcontext(call) as inner:
                async with aclosing(self.yielding(value, inner)) as items:  # type: ignore[type-var]  # async generators, all
                    async for item in items:
                        yield item
        except Exception as error:
            error.add_note(f"in step {self.name!r}")
            raise
        finally:
            call.session.observe(self, time.perf_counter() - began)

    @abstractmethod
    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """What it makes of the value."""

    def yielding(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """The same one by one."""
        raise NotImplementedError(f"{self.name} does not stream")


class _Read(Step):
    """A step that is a callable."""

    def __init__(self, reading: Reading) -> None:
        self.name = reading.name
        self.takes = reading.takes
        self.gives = reading.gives
        self.parameter = reading.parameter
        self.way = reading.way
        self.streams = reading.way.streams

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as above
        """Await it on the loop, or wait for a thread."""
        target = call.session.ready(self)
        if self.way is Way.ASYNC:
            return await target(value)
        work = _ThreadCall(target, value, call)
        await call.session.threads.run(work, (), (), None)
        # A plain function may give what is to be awaited: the call of another model, for one.
        return await work.value if inspect.isawaitable(work.value) else work.value

    async def yielding(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """Iterate it on the loop, or in one thread from its beginning to its end."""
        target = call.session.ready(self)
        if self.way is Way.ASYNC_GENERATOR:
            async with aclosing(target(value)) as given:
                async for item in given:
                    yield item
            return
        source = _GeneratorInThread(target, value, call)
        async with aclosing(buffered(call.session.generators, source)) as taken:  # type: ignore[type-var]  # an async generator
            async for item in taken:
                yield item


class Function(_Read):
    """A function, a method of an object, or an object with ``__call__``."""

    def __init__(self, target: Callable[..., Any], name: str | None = None) -> None:
        super().__init__(read(target, name))
        self._target = target

    def prepare(self, closing: Callable[[Callable[[], None]], None]) -> Any:  # noqa: ANN401 - a callable
        """There already."""
        del closing
        return self._target


class ModelStep(_Read):
    """A class of models: an instance is made and loaded when the composition opens."""

    kind = "model"

    def __init__(self, cls: type[Model], name: str | None = None) -> None:
        self._cls = cls
        self._method = method_of(cls)
        super().__init__(read(getattr(cls, self._method), name or cls.__name__, method=True))

    def prepare(self, closing: Callable[[Callable[[], None]], None]) -> Any:  # noqa: ANN401 - a callable
        """Load it."""
        del closing
        instance = self._cls()
        instance.load()
        return getattr(instance, self._method)


def method_of(cls: type[Model]) -> str:
    """The one method that a class of models is called by.

    Raises:
        CompositionError: it has none, or several.
    """
    marked = [name for name in dir(cls) if options_of(inspect.getattr_static(cls, name)) is not None]
    if not marked and callable(getattr(cls, "predict", None)):
        return "predict"
    if len(marked) == 1:
        return marked[0]
    if not marked:
        raise CompositionError(f"{cls.__name__} has neither a task nor predict: it cannot be a step")
    raise CompositionError(
        f"{cls.__name__} has the tasks {', '.join(marked)}: make and load an instance, and give a method"
    )


def as_step(thing: object) -> Step:
    """What was given as a step of a composition: ``("name", step)`` names it.

    Raises:
        CompositionError: it cannot be one.
    """
    name: str | None = None
    if isinstance(thing, tuple):
        if len(thing) != 2 or not isinstance(thing[0], str) or not thing[0]:
            raise CompositionError(f"a named step is written ('name', step), not {thing!r}")
        name, thing = thing
    if isinstance(thing, Step):
        if name is not None and name != thing.name:
            raise CompositionError(f"step {thing.name!r} has a name already: give name={name!r} where it is made")
        return thing
    if isinstance(thing, type) and issubclass(thing, Model):
        return ModelStep(thing, name)
    if isinstance(thing, Model):
        return Function(getattr(thing, method_of(type(thing))), name or type(thing).__name__)
    if options_of(thing) is not None and not inspect.ismethod(thing):
        place = getattr(thing, "__qualname__", repr(thing))
        raise CompositionError(f"{place} is a method without its object: give the class, or an instance's method")
    if not callable(thing):
        raise CompositionError(f"a step is a callable, a Model or a composition, not {type(thing).__name__}: {thing!r}")
    return Function(thing, name)


class _ThreadCall:
    """A plain function on its way through an executor (see :class:`~pillion.backends.api.Predictor`)."""

    def __init__(self, target: Callable[[Any], Any], value: Any, call: FlowCall) -> None:  # noqa: ANN401 - as above
        self._target = target
        self._input = value
        self._call = call.step()
        self._context = contextvars.copy_context()
        self.value: Any = None

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Call it; one that is given up can ask ``pillion.cancelled()``."""
        del inputs, outputs
        _follow(interrupt, self._call)
        self._context.run(CURRENT.set, self._call)
        self.value = self._context.run(self._target, self._input)
        return []


class _GeneratorInThread:
    """A plain generator (see :class:`~pillion.execution.stream.StreamSource`)."""

    asynchronous = False

    def __init__(self, target: Callable[[Any], Any], value: Any, call: FlowCall) -> None:  # noqa: ANN401 - as above
        self._target = target
        self._value = value
        self._call = call.step()
        self._context = contextvars.copy_context()

    def run(self, put: Callable[[Any], bool]) -> None:
        """Iterate it, until nobody reads on."""
        self._context.run(CURRENT.set, self._call)
        self._context.run(self._iterate, put)

    def _iterate(self, put: Callable[[Any], bool]) -> None:
        given = self._target(self._value)
        try:
            for item in given:
                if not put(item):
                    break
        finally:
            self._call.end()
            given.close()

    def items_async(self) -> AsyncIterator[Any]:
        """Never called: it runs in a thread."""
        raise RuntimeError("this stream runs in a thread")


def _follow(interrupt: Interrupt | None, call: FlowCall) -> None:
    if interrupt is not None:
        interrupt.action = call.end
        if interrupt.fired:  # between its making and the line before
            call.end()


async def buffered(
    executor: Executor, source: StreamSource, within: Callable[[StreamRun], Predictor] = lambda run: run
) -> AsyncIterator[Any]:
    """What an executor makes of a stream, item by item, a few of them ahead of the reader."""
    buffer = ItemBuffer(asyncio.get_running_loop())

    async def drive() -> None:
        try:
            await executor.run(within(StreamRun(source, buffer)), (), (), None)
        except Exception as error:  # noqa: BLE001 - it is the reader's
            buffer.end(error)
        else:
            buffer.end()

    driver = asyncio.get_running_loop().create_task(drive())
    try:
        while taken := await buffer.take():
            for item in taken:
                yield item
    finally:
        buffer.close()
        driver.cancel()
        await asyncio.gather(driver, return_exceptions=True)
