"""One running server: start in order, watch, drain, stop. Everything here runs on the server's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import ModelState
from pillion.server.admin import AdminApp
from pillion.server.assembly import (
    build_api_keys,
    build_applications,
    build_dispatcher,
    build_grpc,
    build_passing,
    build_plane,
)
from pillion.server.background import Background
from pillion.server.declared import DeclaredPlace
from pillion.server.doors import Doors
from pillion.server.ending import Ending
from pillion.server.failures import ExitCode, LostError, StartError
from pillion.server.jobs import ServerJobs
from pillion.server.life import Phase, readiness
from pillion.server.model_sources import ModelSources
from pillion.server.observability import Observability
from pillion.server.preload import import_the_rest
from pillion.server.status import status_document
from pillion.server.tls import TlsConfig
from pillion.transport.body_budget import BodyBudget
from pillion.transport.drain import DrainState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.live import LiveRequest
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.tasks import ServedTask
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredApplication, DesiredModel
    from pillion.server.desired import DesiredModels
    from pillion.server.front.place import Place
    from pillion.server.metrics import ServerMetrics
    from pillion.server.reload import CodeReload
    from pillion.server.settings import Settings
    from pillion.worker_context import WorkerContext

__all__ = ["Runtime"]

_log = logging.getLogger(__name__)


class Runtime:
    """The parts of a server, in the order they start.

    Args:
        settings: all of them.
        models: what to serve first.
        desired: the watched file, where there is one.
        tls: replaces the settings' TLS on both data ports.
        registry: where metrics go.
        classes: models written in Python that the embedding program hands over, by name.
        reload: follows the files of models written in Python.
        place: where this is one of several front workers: its ports are given, and the admin port is the supervisor's.
        applications: what answers below paths of their own.
        objects: applications that the embedding program hands over, by name.
        context: what applications are given as their ``worker_context``.
        listens: whether it has ports; without them it is called as :attr:`app`, in tests.
    """

    def __init__(
        self,
        settings: Settings,
        models: Sequence[DesiredModel],
        desired: DesiredModels | None,
        tls: TlsConfig | None,
        registry: Registry,
        metrics: ServerMetrics,
        classes: Mapping[str, type[Any]] | None = None,
        reload: CodeReload | None = None,
        place: Place | None = None,
        *,
        applications: Sequence[DesiredApplication] = (),
        objects: Mapping[str, object] | None = None,
        context: WorkerContext | None = None,
        listens: bool = True,
    ) -> None:
        self._settings = settings
        self._listens = listens
        self._models = models
        self._desired = desired
        self._reload = reload
        self._place = place
        self._metrics = metrics
        self._registry = registry
        handed = dict(classes or {})
        self._plane = build_plane(settings, registry, handed, None if place is None else place.begin.cpus)
        self._declared = DeclaredPlace(self._plane, settings.models)
        self._drain_state = DrainState()
        self._observability = Observability(settings, os.environ, registry)
        self._sources = ModelSources(settings.models, self._plane, handed, lambda name: self._jobs.trainer(name))  # noqa: PLW0108 - jobs come later
        deployments = self._sources.deployments
        self._jobs = ServerJobs(settings.jobs, self._plane, settings.models.store, deployments, registry)
        self._keys = build_api_keys(settings)
        callers = None if self._keys is None else self._keys.asked
        bodies = BodyBudget(settings.limits.max_body_bytes_in_flight)
        self._applications = build_applications(
            applications, objects or {}, settings, registry, self._plane, bodies, context
        )
        self._started_applications = False
        elsewhere = self._declared.elsewhere(self._plane.answers, metrics.forwarded)
        self._passing = build_passing(settings, elsewhere, bodies)
        self.app = build_dispatcher(
            self._plane,
            settings,
            self._drain_state,
            registry,
            self._observability,
            deployments,
            bodies,
            self._jobs,
            self._applications,
            self.unready_reason,
            key=callers,
            passing=self._passing[0],
        )
        self._grpc = build_grpc(
            self._plane,
            settings,
            self._observability,
            bodies,
            deployments,
            self._jobs,
            shared_port=place is not None,
            key=callers,
            passing=self._passing[1],
        )
        self._doors = Doors(
            settings, self.app, AdminApp(self, registry), self._grpc, tls or TlsConfig.of(settings.tls), metrics
        )
        self._ending = Ending(
            settings.drain.grace_seconds, self._doors, self._grpc, self._plane, self._jobs, self._applications
        )
        self._background = Background()
        self._stack = contextlib.AsyncExitStack()
        self._window_over: asyncio.Event | None = None
        self.phase = Phase.STARTING
        self.failure: StartError | None = None
        """Why it has asked to stop by itself."""

    @property
    def ports(self) -> dict[str, int]:
        """Where it answers, by name; empty until it does."""
        return self._doors.ports

    # --- what the admin port sees

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._ending.asked.is_set()

    @property
    def draining(self) -> bool:
        """Whether the process is on its way out or takes no new work."""
        return self.phase in (Phase.WINDOW, Phase.CORDONED, Phase.STOPPING)

    def unready_reason(self) -> str:
        """Why this process should not get requests; empty when it should."""
        waiting = self._declared.waiting()
        # Applications without any model, or all models in other pods.
        alone = (self._started_applications or self._declared.without) and not self._plane.statuses()
        served = alone or self._plane.ready()
        waiting = waiting or ("" if self._applications is None else self._applications.unhealthy())
        return readiness(
            self.phase, plane_ready=served and not waiting, not_ready=waiting if served else self._not_ready()
        )

    def application_routes(self) -> Mapping[str, str]:
        """The applications' names by route prefix."""
        return {} if self._applications is None else self._applications.routes()

    def application_instances(self) -> Mapping[str, Any]:
        """What the authors of the applications wrote, by name."""
        return {} if self._applications is None else self._applications.instances()

    @property
    def plane(self) -> DataPlane:
        """Where the models are."""
        return self._plane

    def ready(self) -> bool:
        """Whether this process should get requests."""
        return not self.unready_reason()

    def statuses(self) -> Sequence[ModelStatus]:
        """Every known model version."""
        return self._plane.statuses()

    def live(self) -> Sequence[LiveRequest]:
        """Requests that wait or run now."""
        return self._plane.live()

    def tasks(self) -> Sequence[ServedTask]:
        """The tasks that are served."""
        return self._plane.tasks()

    def text_models(self) -> tuple[Mapping[str, Generator], Mapping[str, Embedder]]:
        """The models that generate, and those that embed."""
        return self._plane.text_models()

    def status(self) -> Mapping[str, Any]:
        """The document of ``/status``."""
        error = "" if self._desired is None else self._desired.error
        document = status_document(self.statuses(), ready=self.ready(), draining=self.draining, config_error=error)
        return {**document, **self._declared.status(), **self._jobs.status()}

    def _not_ready(self) -> str:
        statuses = self._plane.statuses()
        waiting = [status for status in statuses if status.state is not ModelState.READY]
        if not statuses:
            return "no model is declared"
        return "; ".join(f"model {s.name}: {s.reason or s.state.value.lower()}" for s in waiting)

    # --- start

    async def start(self, on_loaded: Callable[[float], None] | None = None) -> None:
        """Bind every port, open the data ports and begin to load the models.

        Args:
            on_loaded: called with the seconds since the start, when each model is loaded or has failed.

        Raises:
            StartError: with the exit code that tells which part failed.
        """
        began = time.monotonic()
        own = self._listens and self._place is None
        if own:
            self._doors.bind()
        self._doors.read_certificates()
        await self._plane.start()
        await self._jobs.open()
        await self._start_applications()
        if own:
            await self._doors.open(self.drain)
            self._opened()
        elif self._place is not None:
            await self._place.attach(self, self._registry)
            self._stack.push_async_callback(self._place.close)
            if self._place.begin.at_once:
                await self._open_given(self._place)
        self._background.begin(self._load(began, on_loaded))

    async def _start_applications(self) -> None:
        if self._applications is None:
            return
        from pillion.applications.group import ApplicationError  # noqa: PLC0415 - most servers serve models only

        try:
            await self._applications.start()
        except ApplicationError as error:
            raise StartError(ExitCode.USAGE, str(error)) from error
        # Models that are to come are not there yet: until they are declared, nobody may take us for ready.
        self._started_applications = not self._models

    async def _open_given(self, place: Place) -> None:
        await self._doors.open_given(place)
        self._opened()

    def _opened(self) -> None:
        self._background.begin(self._doors.follow_certificates())
        if self._keys is not None:
            self._stack.push_async_callback(self._keys.close)
            self._background.begin(self._keys.watch())

    async def _load(self, began: float, on_loaded: Callable[[float], None] | None) -> None:
        await asyncio.gather(self._sources.apply(self._models), self._declared.begin())
        await self._sources.restore()
        watch = await self._sources.watched()
        # Now, so that a declaration that keeps the start waiting may be corrected.
        self._background.begin(self._declared.watch())
        self._background.begin(self._plane.watch_health())
        await self._declared.tried()
        await self._follow_applications()
        if self._place is not None and not self._place.begin.at_once:
            try:
                await self._open_given(self._place)
            except StartError as failure:
                _log.error("%s", failure)
                self.request_stop(0)
                return
        if self.phase is Phase.STARTING:
            self.phase = Phase.SERVING
        self._jobs.begin()
        seconds = round(time.monotonic() - began, 3)
        if self._plane.ready():
            _log.info("ready", extra={"models": [m.name for m in self._models], "seconds": seconds})
        elif not self.unready_reason():
            _log.info("ready", extra={"applications": [*self.application_routes().values()], "seconds": seconds})
        elif not self._plane.statuses() and (self._settings.models.store or self._settings.models.watch):
            _log.info("no model yet: ready to be given one", extra={"seconds": seconds})
        else:
            _log.error("not ready: %s", self._not_ready(), extra={"seconds": seconds})
        if on_loaded is not None:
            on_loaded(time.monotonic() - began)
        self._background.begin(self._settle())
        if self._reload is not None:
            self._background.begin(self._reload.watch(self._plane))
        if watch is not None:
            self._background.begin(watch.watch())
        if self._desired is not None:
            reconfigure = None if self._applications is None else self._applications.reconfigure
            await self._desired.watch(self._sources.apply, reconfigure)

    async def _follow_applications(self) -> None:
        if self._applications is None:
            return
        await self._applications.check_health()
        self._started_applications = True  # and stays, when the last model is taken away
        self._background.begin(self._applications.watch_health(self._lose))

    def _lose(self, why: str) -> None:
        """An application cannot work, and does not come round: end, and be started again."""
        _log.critical("%s; ending, to be started again", why)
        self.failure = LostError(ExitCode.UNEXPECTED, why)
        self.request_stop()

    async def _settle(self) -> None:
        """Import what first requests would wait for."""
        if not self._listens:
            return
        await self._grpc.warm_up()
        await asyncio.to_thread(import_the_rest)

    # --- drain and stop

    async def drain(self, deletion: bool) -> None:  # noqa: FBT001 - the control protocol's own field
        """Begin to drain; for a deletion return when the window has ended."""
        self._metrics.draining()
        if not deletion:
            self.phase = Phase.CORDONED
            self._doors.drain()
            self._plane.drain()
            if self._applications is not None:
                self._applications.drain()
            self._grpc.mark_draining()
            _log.info("draining without deletion: not ready, no new work")
            return
        if self._window_over is None:
            self._window_over = asyncio.Event()
            window = self._settings.drain.window_seconds
            self.phase = Phase.WINDOW
            self._doors.drain()
            _log.info("draining: clients move on", extra={"window_seconds": window})
            asyncio.get_running_loop().call_later(window, self._window_over.set)
        await self._window_over.wait()

    def request_stop(self, grace: float | None = None) -> None:
        """Stop soon; asked for a second time, or with a grace of 0, at once."""
        self._ending.ask(grace)

    async def run(self) -> None:
        """Wait for :meth:`request_stop`, then end what is in progress and stop."""
        await self._ending.asked.wait()

    async def close(self) -> None:
        """Stop everything that was started, in reverse, whether the start was complete or not."""
        began = time.monotonic()
        self.phase = Phase.STOPPING
        self._metrics.draining()
        cut = await self._ending.end_requests()
        await self._background.end()
        await self._declared.close()
        for passing in self._passing:
            if passing is not None:
                await passing.close()
        await self._sources.close(self._ending.left)
        await self._plane.stop(self._ending.left)
        if "pillion.applications.connections" in sys.modules:
            from pillion.applications.connections import close_here  # noqa: PLC0415 - few servers call others

            await close_here()
        await self._observability.close()
        await self._doors.close(self._ending.cut)
        await self._stack.aclose()
        seconds = round(time.monotonic() - began, 3)
        if cut:
            _log.warning("stopped; %d requests were cut", cut, extra={"seconds": seconds, "cut": cut})
        else:
            _log.info("stopped", extra={"seconds": seconds})
