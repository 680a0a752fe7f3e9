"""The applications of one server: built and started before the first request, ended after the last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pillion.applications.health import Health, called
from pillion.applications.kinds import NoApplicationError, build
from pillion.applications.lifespan import Lifespan, LifespanError
from pillion.applications.measures import ApplicationMetrics
from pillion.applications.model_errors import answer_errors_of_models
from pillion.applications.multiplexing import Multiplexer
from pillion.applications.of_instance import kept_by
from pillion.applications.served import Served
from pillion.applications.threads import FollowedThreads, Threads, hold_places_of_threads
from pillion.authoring.context import CURRENT
from pillion.backends.api import ModelLoadError
from pillion.backends.python_source import failure_in_code, import_module
from pillion.route_prefix import find
from pillion.runtimefile import check_applications

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pillion.applications.kinds import Built
    from pillion.applications.served import ApplicationOptions
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredApplication
    from pillion.worker_context import WorkerContext

__all__ = ["ApplicationError", "Applications"]

_log: Final = logging.getLogger("pillion.applications")
CONTEXT: Final = "worker_context"
_THREADS: Final = 40
"""Threads for plain handlers of one application, as many as Starlette has for its own."""
_LONGEST_CONFIGURING: Final = 60.0
"""Seconds that a ``reconfigure`` may take."""
_LONGEST_ENDING: Final = 5.0
"""Seconds of a stop that are kept for lifespans to end, at the most."""
_SHARE_OF_ENDING: Final = 0.2
"""The share of a short stop that is."""


class ApplicationError(Exception):
    """An application cannot be served; the text names it, says why, and where."""


class Applications:
    """See the module's docstring, and :class:`~pillion.transport.http.application_access.ApplicationAccess`.

    Args:
        desired: which, with names, prefixes and limits.
        options: of all.
        registry: where metrics go.
        objects: those that the embedding program hands over, by name; the code of the others is imported.
        context: what each is given before its lifespan begins: as ``worker_context`` of the object, and of the state
            that its requests see.

    Raises:
        ApplicationError: two are in each other's way.
    """

    def __init__(
        self,
        desired: Sequence[DesiredApplication],
        options: ApplicationOptions,
        registry: Registry,
        objects: Mapping[str, object] | None = None,
        context: WorkerContext | None = None,
    ) -> None:
        try:
            check_applications(desired)
        except ValueError as error:
            raise ApplicationError(str(error)) from None
        self._desired = desired
        self._options = options
        self._objects = objects or {}
        self._context = context
        self._metrics = ApplicationMetrics(registry)
        self._served: dict[str, Served] = {}
        self._lifespans: list[Lifespan] = []
        self._pools: dict[str, Threads] = {}
        self._health: list[Health] = []
        self._configs: dict[str, dict[str, Any]] = {}
        """What each was given last."""
        self._tasks_before: Any = None
        """What made tasks before us, in a loop that is somebody else's."""
        self._work: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    def find(self, path: str) -> Served | None:
        """Whose path that is; None where it is none of theirs."""
        if path in self._options.own:
            return None
        return find(path, self._served)

    def routes(self) -> dict[str, str]:
        """Names by route prefix."""
        return {one.route_prefix: one.name for one in self._desired}

    def instances(self) -> dict[str, Any]:
        """What the users wrote, by name."""
        return {served.name: served.instance for served in self._served.values()}

    async def start(self) -> None:
        """Build each, and begin its lifespan.

        Raises:
            ApplicationError: one cannot be.
        """
        loop = asyncio.get_running_loop()
        self._tasks_before = loop.get_task_factory()
        loop.set_task_factory(self._task)  # type: ignore[arg-type]  # as protocols of keywords go
        hold_places_of_threads()
        loop.set_default_executor(FollowedThreads(thread_name_prefix="asyncio"))
        for desired in self._desired:
            served = await self._start(desired)
            self._served[desired.route_prefix] = served
            self._metrics.add(desired.name, served.measures)
            _log.info("application ready", extra={"application": desired.name, "route_prefix": desired.route_prefix})

    async def _start(self, desired: DesiredApplication) -> Served:
        folder = Path(desired.code.folder) if desired.code.folder else Path.cwd()
        pool = Threads(_THREADS, f"pillion-{desired.name}")
        self._pools[desired.name] = pool
        try:
            target = self._objects[desired.name] if desired.name in self._objects else _imported(desired)
            built = build(target, desired.args, pool)
        except (NoApplicationError, ModelLoadError) as error:
            raise ApplicationError(f"application {desired.name}: {error}") from error
        except Exception as error:
            failure = failure_in_code(error, folder, "building it")
            raise ApplicationError(f"application {desired.name} cannot be built: {failure}") from error
        served = Served(desired, built, self._options)
        if self._context is not None:
            _give(self._context, built, served)
        if desired.config:
            try:
                await self._configure(served, desired.config)
            except Exception as error:
                failure = failure_in_code(error, folder, "its reconfigure")
                raise ApplicationError(f"application {desired.name} cannot be built: {failure}") from error
        self._configs[desired.name] = desired.config
        check = getattr(built.instance, "check_health", None)
        if callable(check):
            asking = partial(called, check, pool, self._options.plane)
            health = Health(desired.name, asking, self._options.health)
            self._health.append(health)
            served.measures.healthy = lambda: not health.reason
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

    async def _configure(self, served: Served, config: Mapping[str, Any]) -> None:
        reconfigure = getattr(served.instance, "reconfigure", None)
        if not callable(reconfigure):
            raise NoApplicationError(
                "it has a config and no method reconfigure(config) that takes it: write one, or give it as args"
            )
        working = called(reconfigure, self._pools[served.name], self._options.plane, dict(config))
        try:
            await asyncio.wait_for(working, _LONGEST_CONFIGURING)
        except TimeoutError as error:
            text = str(error) or f"it did not end within {_LONGEST_CONFIGURING:g} s"
            raise TimeoutError(text) from error

    async def reconfigure(self, desired: Sequence[DesiredApplication]) -> str:
        """Give those another config whose has changed.

        Returns:
            Why some keep theirs; empty when none does.
        """
        failures = []
        served = {one.name: one for one in self._served.values()}
        for one in desired:
            if one.name not in served or one.config == self._configs[one.name]:
                continue
            try:
                await self._configure(served[one.name], one.config)
            except Exception as error:  # noqa: BLE001 - the author's own; the application goes on as it was
                _log.error("application %s kept its config", one.name, exc_info=error)
                failures.append(f"application {one.name}: reconfigure: {str(error) or type(error).__name__}")
                continue
            self._configs[one.name] = one.config
            _log.info("application reconfigured", extra={"application": one.name})
        return "; ".join(failures)

    async def check_health(self) -> None:
        """Ask each that has a ``check_health``."""
        await asyncio.gather(*(health.ask() for health in self._health))

    async def watch_health(self, lost: Callable[[str], None]) -> None:
        """Ask them for ever, until one has failed too often; then ``lost`` is told why."""
        while self._health:
            failed = next((health.reason for health in self._health if health.lost), "")
            if failed:
                lost(failed)
                return
            await asyncio.sleep(self._options.health.period)
            await self.check_health()

    def unhealthy(self) -> str:
        """Why no requests should come; empty when they should."""
        return "; ".join(health.reason for health in self._health if health.reason)

    def drain(self) -> None:
        """Take no new requests."""
        self._options.drain.draining = True

    def close_conversations(self) -> None:
        """End every WebSocket with the code that says that the server restarts, and take no more."""
        for served in self._served.values():
            served.close_conversations()

    def end_exchanges(self) -> None:
        """End the requests that are still in progress, as they are about to be cut."""
        for served in self._served.values():
            for exchange in list(served.exchanges):
                exchange.stop()

    def to_end(self, grace: float) -> float:
        """The seconds of a stop's ``grace`` that requests must leave over, for lifespans to end what they began."""
        return min(_LONGEST_ENDING, grace * _SHARE_OF_ENDING) if self._lifespans else 0.0

    async def stop(self, seconds: float, kept: float = 0.0) -> None:
        """Wait for what requests have left behind (shielded work), then end each lifespan, the last one first.

        Args:
            seconds: for all of it.
            kept: the last of these, which are the lifespans' alone.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        left = {task for task in self._work if not task.done()}
        if left:
            _, left = await asyncio.wait(left, timeout=max(0.0, seconds - kept))
        if left:
            _log.warning("%d pieces of work that requests began are cut", len(left))
        for served in self._served.values():
            for one in kept_by(served.instance):
                if isinstance(one, Multiplexer):
                    await one.end()
        for lifespan in reversed(self._lifespans):
            await lifespan.end(max(1.0, deadline - loop.time()))
        for health in self._health:
            health.end()
        loop.set_task_factory(self._tasks_before)
        for pool in self._pools.values():
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


def _give(context: WorkerContext, built: Built, served: Served) -> None:
    served.state[CONTEXT] = context.value
    for one in (built.app, built.instance):
        with contextlib.suppress(AttributeError, TypeError):  # one with slots, or of C, has the state only
            setattr(one, CONTEXT, context.value)


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
