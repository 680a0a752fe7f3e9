"""The applications of one server: built and started before the first request, ended after the last."""

from __future__ import annotations

import asyncio
import logging
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.applications.context import CURRENT
from pillion.applications.conversation import RESTARTING
from pillion.applications.kinds import NoApplicationError, build
from pillion.applications.lifespan import Lifespan, LifespanError
from pillion.applications.measures import ApplicationMetrics
from pillion.applications.model_errors import answer_errors_of_models
from pillion.applications.served import Served
from pillion.backends.api import ModelLoadError
from pillion.backends.python_source import failure_in_code, import_module
from pillion.route_prefix import below, find
from pillion.runtimefile import check_applications

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from pillion.applications.served import ApplicationOptions
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredApplication

__all__ = ["ApplicationError", "Applications"]

_log: Final = logging.getLogger("pillion.applications")
_THREADS: Final = 40
"""Threads for plain handlers of one application, as many as Starlette has for its own."""


class ApplicationError(Exception):
    """An application cannot be served; the text names it, says why, and where."""


class Applications:
    """See the module's docstring, and :class:`~pillion.transport.http.application_access.ApplicationAccess`.

    Args:
        desired: which, with names, prefixes and limits.
        options: of all.
        registry: where metrics go.
        objects: those that the embedding program hands over, by name; the code of the others is imported.

    Raises:
        ApplicationError: two are in each other's way.
    """

    def __init__(
        self,
        desired: Sequence[DesiredApplication],
        options: ApplicationOptions,
        registry: Registry,
        objects: Mapping[str, object] | None = None,
    ) -> None:
        try:
            check_applications(desired)
        except ValueError as error:
            raise ApplicationError(str(error)) from None
        self._desired = desired
        self._options = options
        self._objects = objects or {}
        self._metrics = ApplicationMetrics(registry)
        self._root = options.root_path.rstrip("/")
        self._served: dict[str, Served] = {}
        self._lifespans: list[Lifespan] = []
        self._pools: list[ThreadPoolExecutor] = []
        self._work: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def find(self, path: str) -> Served | None:
        """Whose path that is; None where it is none of theirs."""
        if path in self._options.own:
            return None
        return find(below(path, self._root) if self._root else path, self._served)

    def routes(self) -> dict[str, str]:
        """Names by route prefix."""
        return {one.route_prefix: one.name for one in self._desired}

    async def start(self) -> None:
        """Build each, and begin its lifespan.

        Raises:
            ApplicationError: one cannot be.
        """
        asyncio.get_running_loop().set_task_factory(self._task)  # type: ignore[arg-type]  # as protocols of keywords go
        for desired in self._desired:
            served = await self._start(desired)
            self._served[desired.route_prefix] = served
            self._metrics.add(desired.name, served.measures)
            _log.info("application ready", extra={"application": desired.name, "route_prefix": desired.route_prefix})

    async def _start(self, desired: DesiredApplication) -> Served:
        folder = Path(desired.code.folder) if desired.code.folder else Path.cwd()
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"pillion-{desired.name}")
        self._pools.append(pool)
        try:
            target = self._objects[desired.name] if desired.name in self._objects else _imported(desired)
            built = build(target, desired.args, pool)
        except (NoApplicationError, ModelLoadError) as error:
            raise ApplicationError(f"application {desired.name}: {error}") from error
        except Exception as error:
            failure = failure_in_code(error, folder, "building it")
            raise ApplicationError(f"application {desired.name} cannot be built: {failure}") from error
        served = Served(desired, built.app, self._options, raw=built.raw)
        if not built.raw:
            answer_errors_of_models(built.app)
            lifespan = Lifespan(desired.name, built.app, served.state)
            self._lifespans.append(lifespan)
            try:
                await lifespan.begin()
            except LifespanError as error:
                raise ApplicationError(
                    f"application {desired.name} failed to start: {_place(error, folder)}"
                ) from error
        return served

    def drain(self) -> None:
        """Take no new requests."""
        self._options.drain.draining = True

    def close_conversations(self) -> None:
        """End every WebSocket with the code that says that the server restarts."""
        for served in self._served.values():
            for conversation in list(served.conversations):
                conversation.end(RESTARTING, "the server stops")

    def end_exchanges(self) -> None:
        """End the requests that are still in progress, as they are about to be cut."""
        for served in self._served.values():
            for exchange in list(served.exchanges):
                exchange.stop()

    async def stop(self, seconds: float) -> None:
        """Wait for what requests have left behind (shielded work), then end each lifespan, the last one first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        left = {task for task in self._work if not task.done()}
        if left:
            _, left = await asyncio.wait(left, timeout=seconds)
        if left:
            _log.warning("%d pieces of work that requests began are cut", len(left))
        for lifespan in reversed(self._lifespans):
            await lifespan.end(max(1.0, deadline - loop.time()))
        loop.set_task_factory(None)
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

    def _task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any],
        **named: Any,  # noqa: ANN401 - asyncio's
    ) -> asyncio.Task[Any]:
        """Make a task, and remember those that a request begins: what is shielded is waited for before a stop."""
        task = asyncio.Task(work, loop=loop, **named)
        if CURRENT.get() is not None:
            self._work.add(task)
        return task


def _imported(desired: DesiredApplication) -> object:
    module = import_module(desired.code)
    found: object = module
    for part in (desired.code.class_name or "app").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [name for name in vars(module) if not name.startswith("_")]
            raise NoApplicationError(
                f"{desired.code.module} has no {desired.code.class_name or 'app'}; it has: {', '.join(public[:20])}"
            ) from None
    return found


def _place(error: LifespanError, folder: Path) -> str:
    """Where a lifespan failed, and how."""
    if error.__cause__ is not None:
        return str(failure_in_code(error.__cause__, folder, "its lifespan"))
    return str(error).strip().rpartition("\n")[2]
