"""``pillion.Process``: a step in worker processes, for code that holds the interpreter's lock, crashes, or hangs."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from pillion.arguments import check_count
from pillion.authoring.model import Model
from pillion.composition.errors import CompositionError, checked
from pillion.composition.hints import read
from pillion.composition.step import Step, buffered, method_of
from pillion.composition.step_order import CALL, VALUE, StepOrder
from pillion.execution.native_threads import for_worker
from pillion.execution.process import ProcessExecutor
from pillion.execution.remote import RemoteStream, RemoteTask
from pillion.execution.seats import WorkerPolicy
from pillion.execution.within import Within
from pillion.execution.worker_process import LoadRefused, WorkerEnded, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pillion.backends.api import Predictor
    from pillion.composition.session import FlowCall

__all__ = ["Process"]

_MODULE: Final = "pillion.repository.worker"
_GRACE_SECONDS: Final = 1.0


class Process(Step):
    """A function or class of models in worker processes; a worker computes one call at a time.

    Each is a clean interpreter that imports the step by its module and name, and keeps its model loaded. One that dies
    is replaced; its call fails, with the exception and its traceback as text. A call that is given up is stopped.

    Args:
        step: a function or :class:`~pillion.Model` at the top of a module; or ``("name", step)``.
        workers: processes.
        retry: whether the call of a worker that died is computed again by another, once.

    Raises:
        CompositionError: other processes cannot import it.
    """

    kind = "process"

    def __init__(self, step: object, *, workers: int = 1, retry: bool = False) -> None:
        name: str | None = None
        if isinstance(step, tuple) and len(step) == 2:
            name, step = step
        with checked("Process"):
            check_count("workers", workers, "processes")
        if not isinstance(retry, bool):
            raise CompositionError(f"Process: retry is True or False, and not a {type(retry).__name__}")
        if isinstance(step, type) and issubclass(step, Model):
            reading = read(getattr(step, method_of(step)), name or step.__name__, method=True)
        elif callable(step):
            reading = read(step, name)
        else:
            raise CompositionError(f"Process takes a function or a class of models, not {type(step).__name__}")
        self.name, self.parameter = reading.name, reading.parameter
        self.takes, self.gives, self.streams = reading.takes, reading.gives, reading.way.streams
        self.workers = workers
        self._retry = retry
        self._module, self._attribute = _importable(step, self.name)

    def prepare(self, closing: Callable[[Callable[[], None]], None]) -> Any:  # noqa: ANN401 - its executor
        """Start the workers, all at the same time."""
        policy = WorkerPolicy(retry=self._retry, grace_seconds=_GRACE_SECONDS)
        executor = ProcessExecutor(self.name, self._started(), self._launch, policy)
        closing(executor.close)
        return executor

    async def run(self, value: Any, call: FlowCall) -> Any:  # noqa: ANN401 - as the step declares
        """See :class:`~pillion.composition.step.Step`."""
        task = RemoteTask(CALL, {VALUE: value})
        executor: ProcessExecutor = call.session.ready(self)
        await executor.run(_Placed(task, call), (), (), None)
        return task.value

    async def yielding(self, value: Any, call: FlowCall) -> AsyncIterator[Any]:  # noqa: ANN401 - as above
        """See :class:`~pillion.composition.step.Step`."""
        source = RemoteStream(CALL, {VALUE: value})
        async with aclosing(buffered(call.session.ready(self), source, lambda run: _Placed(run, call))) as items:  # type: ignore[type-var]  # an async generator
            async for item in items:
                yield item

    def _started(self) -> list[WorkerProcess]:
        started: list[WorkerProcess] = []
        failures: list[Exception] = []

        def start(index: int) -> None:
            try:
                started.append(self._launch(index))
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)

        # Threads that do not keep a program from ending while a step loads.
        threads = [threading.Thread(target=start, args=(index,), daemon=True) for index in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            for process in started:
                process.end_soon()
            raise failures[0]
        return started

    def _launch(self, _index: int) -> WorkerProcess:
        share = max(1, len(os.sched_getaffinity(0)) // self.workers)
        order = StepOrder(
            self._module,
            self._attribute,
            path=tuple(sys.path),
            log_level=logging.getLogger().getEffectiveLevel(),
            write_bytecode=not sys.dont_write_bytecode,
        )
        process = WorkerProcess(_MODULE, for_worker(share, os.environ))
        try:
            process.load(pickle.dumps(order, protocol=5))
        except LoadRefused as refused:
            process.end(1.0)
            unable = refused.unable
            raise RuntimeError(
                f"step {self.name!r} cannot be loaded in its worker process: {unable.kind}: {unable.message}"
                f"\n{unable.traceback}"
            ) from None
        except WorkerEnded as ended:
            raise RuntimeError(f"step {self.name!r}: {ended}") from None
        return process


class _Placed(Within):
    """The work for a call: its code can call models of the server that it is made in."""

    __slots__ = ("_call",)

    def __init__(self, work: Predictor, call: FlowCall) -> None:
        super().__init__(work, None if call.plane is None else call.plane.answer)
        self._call = call

    @property
    def working(self) -> FlowCall:
        """See :class:`~pillion.execution.within.Within`."""
        return self._call


def _importable(step: Any, name: str) -> tuple[str, str]:  # noqa: ANN401 - a function or a class
    module, attribute = getattr(step, "__module__", None), getattr(step, "__qualname__", None)
    remedy = "write it at the top of a module and import it"
    if not module or not attribute or "<" in attribute:
        raise CompositionError(f"step {name!r}: worker processes import it by name, and it has none: {remedy}")
    if module == "__main__":
        raise CompositionError(
            f"step {name!r} is in the program itself, which worker processes do not import: {remedy}"
        )
    found: Any = sys.modules.get(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is not step:
        raise CompositionError(f"step {name!r}: {module}.{attribute} is something else: {remedy}")
    return module, attribute
