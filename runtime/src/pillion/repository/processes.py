"""Models whose calls run in worker processes: loaded there, known here.

The server never imports the library of such a model: what its transports need (metadata, rules, names of outputs) is
told by the first worker that has loaded it. A class of the user's is the exception: its module is imported here too,
for the types of its tasks; its instance is made, and its artifact loaded, in the workers only.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from pillion.backends.api import LoadFailure, ModelLoadError
from pillion.execution.affinity import BindingError, bindings, shares
from pillion.execution.native_threads import for_worker
from pillion.execution.process import DEPTH, QUICK_SECONDS, ProcessExecutor
from pillion.execution.seats import Lifetime, WorkerPolicy
from pillion.execution.worker_process import LoadRefused, WorkerEnded, WorkerProcess
from pillion.repository.remote_model import describe, known
from pillion.repository.served import RepositorySettings, Served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.backends.api import LoadedModel
    from pillion.policy import ConsentPolicy
    from pillion.repository.remote_model import Description
    from pillion.runtimefile import DesiredModel, ExecutionSettings

__all__ = ["Order", "WorkerOrder", "load", "load_here"]

_log = logging.getLogger(__name__)
_MODULE: Final = "pillion.repository.worker"
_LEAST_GRACE: Final = 0.8
_MEASURED_CALLS: Final = 5


class WorkerOrder(Protocol):
    """What a worker process is told to load: a model, or something else that answers calls as one."""

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """To be bound to."""
        ...

    @property
    def path(self) -> tuple[str, ...]:
        """``sys.path``."""
        ...

    @property
    def log_level(self) -> int:
        """Of what is told to the server."""
        ...

    @property
    def write_bytecode(self) -> bool:
        """Whether Python may keep what it compiles."""
        ...

    def load(self) -> tuple[LoadedModel, bytes]:
        """In the worker: what it answers calls with, and what the server is told of it."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to load, and as what."""

    desired: DesiredModel
    pickle_policy: ConsentPolicy
    code_policy: ConsentPolicy
    accelerate: Literal["none", "onnx"]
    device: str
    intra_op_threads: int | None
    share: int
    """CPUs of this worker: threads that its library may start."""
    cpus: tuple[int, ...] | None
    """To be bound to."""
    path: tuple[str, ...]
    """``sys.path``: what the server can import, the worker can."""
    log_level: int
    write_bytecode: bool
    """Not where code is followed: an edit within a second of the last would be missed."""

    def load(self) -> tuple[LoadedModel, bytes]:
        """See :class:`WorkerOrder`; the description is pickled for the server."""
        served, found = load_here(self)
        return served.model, pickle.dumps(describe(served, found, _typical(served.model)), protocol=5)


def load_here(order: Order) -> tuple[Served, str]:
    """In the worker: load the model as a server without worker processes would, whatever executor it would choose.

    Raises:
        ModelLoadError: with sentence and remedy.
        Exception: whatever the library raised.
    """
    from pillion.repository import loader  # noqa: PLC0415 - it imports this module

    execution = msgspec.structs.replace(order.desired.execution, executor="inline", threads=1, max_in_flight=1)
    desired = msgspec.structs.replace(order.desired, execution=execution)
    settings = RepositorySettings(
        pickle_policy=order.pickle_policy,
        code_policy=order.code_policy,
        accelerate=order.accelerate,
        device=order.device,
        intra_op_threads=order.intra_op_threads,
    )
    served, found = loader.load(desired, settings, order.share)
    if any(task.incoming is not None for task in getattr(served.model, "tasks", {}).values()):
        raise ModelLoadError(
            "one of its tasks takes a stream, which worker processes are not sent", "leave executor: process out"
        )
    return served, found


def load(desired: DesiredModel, settings: RepositorySettings, cpus: int) -> tuple[Served, str]:
    """Start the workers, each with the model loaded; also the name of the format that was found.

    Raises:
        ModelLoadError: with sentence and remedy.
        RuntimeError: what the library raised in the worker.
    """
    if desired.name in settings.classes:
        raise ModelLoadError(
            f"{desired.name} was handed over by a running program, and worker processes import their classes by name",
            "serve its module: pillion serve service.py:Class --executor process",
        )
    execution = desired.execution
    count = execution.processes or cpus
    try:
        bound = bindings(execution.cpus, os.sched_getaffinity(0), count, spreading=execution.affinity == "spread")
    except BindingError as error:
        raise ModelLoadError(str(error)) from None
    launcher = _Launcher(desired, settings, bound, shares(bound, cpus))
    began = time.monotonic()
    started = _started(launcher, count)
    seconds = time.monotonic() - began
    description = started[0][1]
    try:
        model = known(description, desired, settings)
    except BaseException:
        for process, _ in started:
            process.end_soon()
        raise
    grace = execution.abandoned_grace_seconds
    policy = WorkerPolicy(
        retry=not description.own_code if execution.idempotent is None else execution.idempotent,
        grace_seconds=max(_LEAST_GRACE, seconds) if grace is None else grace,
        lifetime=_lifetime(execution),
    )
    executor = ProcessExecutor(
        f"{desired.name}/{desired.version}",
        [process for process, _ in started],
        lambda index: launcher.start(index)[0],
        policy,
    )
    typical = description.typical_seconds
    depth = DEPTH if typical is None or typical < QUICK_SECONDS else 1
    if description.generates:
        depth = 1  # a call holds its worker for as long as its reader likes
    if description.shares_calls:
        depth = min(depth, 2)  # what waits behind these is computed together
    served = Served(
        desired,
        model,
        executor,
        count * depth,
        shares_calls=description.shares_calls,
        acceleration=description.acceleration,
    )
    return served, description.format


def _typical(model: LoadedModel) -> float | None:
    """Seconds of a call with generated input; None for a class of the user's and for models that refuse such input."""
    if hasattr(model, "tasks") or not model.default_outputs:
        return None
    from pillion.repository.rows import sample_input  # noqa: PLC0415 - as above

    inputs = [None if rule.spec.optional else sample_input(rule) for rule in model.rules]
    seconds: list[float] = []
    try:
        for _ in range(_MEASURED_CALLS):
            began = time.perf_counter()
            model.predict(inputs, model.default_outputs, None)
            seconds.append(time.perf_counter() - began)
    except Exception:  # noqa: BLE001 - zeros may be no valid input for a sound model; loading has told that in the log
        return None
    return min(seconds)


def _lifetime(execution: ExecutionSettings) -> Lifetime | None:
    calls, rss = execution.max_calls_per_worker, execution.max_rss_per_worker
    return None if calls is None and rss is None else Lifetime(calls, rss)


def _started(launcher: _Launcher, count: int) -> list[tuple[WorkerProcess, Description]]:
    """All workers, started at the same time: in threads that do not keep a stopping server from ending.

    Raises:
        ModelLoadError, RuntimeError: the first that could not be started; the others are ended.
    """
    started: list[tuple[WorkerProcess, Description]] = []
    failures: list[Exception] = []

    def body(index: int) -> None:
        try:
            started.append(launcher.start(index))
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=body, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        for process, _ in started:
            process.end_soon()
        raise failures[0]
    return started


class _Launcher:
    """Starts worker processes of one model."""

    def __init__(
        self,
        desired: DesiredModel,
        settings: RepositorySettings,
        bound: Sequence[tuple[int, ...] | None],
        threads: Sequence[int],
    ) -> None:
        self._desired = desired
        self._settings = settings
        self._bound = bound
        self._threads = threads

    def start(self, index: int) -> tuple[WorkerProcess, Description]:
        """One process with the model loaded. Blocks.

        Raises:
            ModelLoadError: with sentence and remedy.
            RuntimeError: what the library raised in the worker, or how the worker died.
        """
        environment = for_worker(self._threads[index], os.environ)
        try:
            process = WorkerProcess(_MODULE, environment)
            return process, pickle.loads(process.load(self._order(index)))  # noqa: S301 - written by our own worker
        except LoadRefused as refused:
            process.end(1.0)
            unable = refused.unable
            if unable.expected:
                cause = LoadFailure(unable.cause) if unable.cause else None
                error = ModelLoadError(unable.message, unable.remedy, cause)
                error.files = unable.files
                raise error from None
            _log.error("model %s failed to load in its worker process:\n%s", self._desired.name, unable.traceback)
            raise _named(unable.kind)(unable.message) from None
        except WorkerEnded as ended:
            raise ModelLoadError(
                str(ended), "see the server's log; is there enough memory for all processes?"
            ) from None

    def _order(self, index: int) -> bytes:
        order = Order(
            desired=self._desired,
            pickle_policy=self._settings.pickle_policy,
            code_policy=self._settings.code_policy,
            accelerate=self._settings.accelerate,
            device=self._settings.device,
            intra_op_threads=self._settings.intra_op_threads,
            share=self._threads[index],
            cpus=self._bound[index],
            path=tuple(sys.path),
            log_level=logging.getLogger().getEffectiveLevel(),
            write_bytecode=not sys.dont_write_bytecode,
        )
        return pickle.dumps(order, protocol=5)


def _named(kind: str) -> type[RuntimeError]:
    """A type of that name, so that the owner reads which exception it was."""
    return type(kind, (RuntimeError,), {})
