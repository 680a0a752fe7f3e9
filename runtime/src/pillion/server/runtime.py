"""One running server: start in order, watch, drain, stop. Everything here runs on the server's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pillion.dataplane.call import ModelState
from pillion.errors import PillionError
from pillion.server.admin import AdminApp
from pillion.server.assembly import (
    admin_limits,
    build_api_keys,
    build_applications,
    build_dispatcher,
    build_grpc,
    build_passing,
    build_plane,
    http_limits,
)
from pillion.server.control import opened
from pillion.server.declared import DeclaredPlace
from pillion.server.failures import ExitCode, LostError, StartError
from pillion.server.jobs import ServerJobs
from pillion.server.life import Phase, readiness
from pillion.server.listener import HttpListener
from pillion.server.management_rights import management_warning
from pillion.server.observability import Observability
from pillion.server.ports import bind
from pillion.server.preload import import_the_rest
from pillion.server.status import status_document
from pillion.server.tls import TlsConfig
from pillion.server.tls_reload import TlsKeeper
from pillion.server.unix_socket import unix_socket
from pillion.transport.body_budget import BodyBudget
from pillion.transport.drain import DrainState
from pillion.transport.grpc.engine import GrpcTls

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pillion.authoring.text import Embedder, Generator
    from pillion.composition.graph_models import GraphClasses
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.live import LiveRequest
    from pillion.dataplane.plane import DataPlane
    from pillion.dataplane.tasks import ServedTask
    from pillion.management.deployments import Deployments
    from pillion.management.folder_watch import FolderWatch
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
_TO_SAY_SO = 0.05
"""Seconds for the errors that end open streams to leave, where nothing else is waited for."""


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
        self._tls_config = tls or TlsConfig.of(settings.tls)
        self._tls: TlsKeeper | None = None
        self._registry = registry
        self._classes = dict(classes or {})
        self._graphs: GraphClasses | None = None
        self._plane = build_plane(settings, registry, self._classes, None if place is None else place.begin.cpus)
        self._declared = DeclaredPlace(self._plane, settings.models)
        self._drain_state = DrainState()
        self._observability = Observability(settings, os.environ, registry)
        self._deployments: Deployments | None = None
        self._jobs = ServerJobs(settings.jobs, self._plane, settings.models.store, self.deployments, registry)
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
            self.deployments,
            bodies,
            self._jobs,
            self._applications,
            self.unready_reason,
            key=callers,
            passing=self._passing[0],
        )
        self._http = HttpListener(
            self.app, http_limits(settings), metrics.refused, websockets=True, backlog=settings.http.backlog
        )
        self._admin = HttpListener(AdminApp(self, registry), admin_limits(settings), metrics.refused)
        self._grpc = build_grpc(
            self._plane,
            settings,
            self._observability,
            bodies,
            self.deployments,
            self._jobs,
            shared_port=place is not None,
            key=callers,
            passing=self._passing[1],
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = contextlib.AsyncExitStack()
        self._window_over: asyncio.Event | None = None
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._grace = settings.drain.grace_seconds
        self.phase = Phase.STARTING
        self.failure: StartError | None = None
        """Why it has asked to stop by itself."""
        self.ports: dict[str, int] = {}
        metrics.http_connections(lambda: len(self._http.state.connections))

    def deployments(self) -> Deployments:
        """What deploys models by requests; made when it is asked for first."""
        if self._deployments is None:
            from pillion.management.deployments import Deployments  # noqa: PLC0415 - few servers need it
            from pillion.management.interfaces import StoreSettings  # noqa: PLC0415 - as above
            from pillion.management.retention import Retention  # noqa: PLC0415 - as above

            models = self._settings.models
            folder = _folder(models.store) if models.store else None
            kept = Retention(models.keep_versions, models.keep_seconds)
            settings = StoreSettings(folder, models.lazy, kept)
            self._deployments = Deployments(self._plane, settings, self._jobs.trainer)
        return self._deployments

    # --- what the admin port sees

    @property
    def stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._stop.is_set()

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
        # Ports first: a port in use is known in a millisecond, not after a model has been loaded.
        bound = self._bind() if self._listens and self._place is None else None
        if self._tls_config is not None:
            self._tls = TlsKeeper(self._tls_config, self._metrics, interval=self._settings.tls.poll_seconds)
        await self._plane.start()
        await self._jobs.open()
        await self._start_applications()
        if bound is not None:
            await self._open_own(*bound)
        elif self._place is not None:
            await self._place.attach(self, self._registry)
            self._stack.push_async_callback(self._place.close)
            if self._place.begin.at_once:
                await self._open_given(self._place)
        self._spawn(self._load(began, on_loaded))

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

    def _bind(self) -> tuple[socket.socket, socket.socket, socket.socket]:
        settings = self._settings
        http = bind(settings.http.host, settings.http.port, section="http", backlog=settings.http.backlog)
        self._stack.callback(http.close)
        admin = bind(settings.admin.host, settings.admin.port, section="admin")
        self._stack.callback(admin.close)
        # grpc binds by itself: this only finds out whether it will be able to.
        grpc = bind(settings.grpc.host, settings.grpc.port, section="grpc")
        self._stack.callback(grpc.close)
        return http, admin, grpc

    async def _open_own(self, http: socket.socket, admin: socket.socket, grpc: socket.socket) -> None:
        control = await opened(self._settings.control.socket, self.drain)
        if control is not None:
            self._stack.callback(control.close)
        grpc.close()
        grpc_port = await self._start_grpc()
        await self._http.open(http, None if self._tls is None else self._tls.context)
        unix = unix_socket(self._settings.http, "http")
        if unix is not None:
            await self._http.open_unix(unix.bind())
            self._stack.callback(unix.remove)
        await self._admin.open(admin, None)
        self.ports = {"http": self._http.port, "grpc": grpc_port, "admin": self._admin.port}
        self._opened()

    async def _open_given(self, place: Place) -> None:
        try:
            await self._start_grpc()
        except StartError as failure:
            place.give_up(failure)
            raise
        await self._http.open(place.http, None if self._tls is None else self._tls.context)
        self.ports = place.ports
        self._opened()

    def _opened(self) -> None:
        self._announce()
        if self._tls is not None:
            self._spawn(self._tls.watch(partial(self._swap, self._tls)))
        if self._keys is not None:
            self._stack.push_async_callback(self._keys.close)
            self._spawn(self._keys.watch())

    def _announce(self) -> None:
        mode = "plaintext" if self._tls is None else "mutual TLS" if self._tls.mutual else "TLS"
        _log.info(
            "listening with %s",
            mode,
            extra={"ports": self.ports, "host": self._settings.http.host, "tls": mode},
        )
        if warning := management_warning(self._settings):
            _log.warning("%s", warning)
        age, window = self._settings.grpc.max_connection_age_seconds, self._settings.drain.window_seconds
        if 0 < window < 1.2 * age:
            _log.warning(
                "drain.window_seconds is %g, less than 1.2 x grpc.max_connection_age_seconds (%g): gRPC clients may "
                "see a failed call when this process stops; raise the one or lower the other",
                window,
                age,
            )

    async def _load(self, began: float, on_loaded: Callable[[float], None] | None) -> None:
        await asyncio.gather(self._apply(self._models), self._declared.begin())
        if self._settings.models.store:
            await self._restore()
        watch = await self._watched() if self._settings.models.watch else None
        self._spawn(self._declared.watch())  # now: a declaration that keeps the start waiting may be corrected
        self._spawn(self._plane.watch_health())
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
        self._spawn(self._settle())
        if self._reload is not None:
            self._spawn(self._reload.watch(self._plane))
        if watch is not None:
            self._spawn(watch.watch())
        if self._desired is not None:
            reconfigure = None if self._applications is None else self._applications.reconfigure
            await self._desired.watch(self._apply, reconfigure)

    async def _apply(self, models: Sequence[DesiredModel]) -> None:
        if self._graphs is None and any(model.graph is not None for model in models):
            from pillion.composition import graph_models  # noqa: PLC0415 - few servers have graphs

            self._graphs = graph_models.GraphClasses(self._classes)
        if self._graphs is not None:
            self._graphs.follow(models)
        await self._plane.apply(models)

    async def _follow_applications(self) -> None:
        if self._applications is None:
            return
        await self._applications.check_health()
        self._started_applications = True  # and stays, when the last model is taken away
        self._spawn(self._applications.watch_health(self._lose))

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

    async def _restore(self) -> None:
        """Serve again what was deployed before; what keeps that from being done is told, and serves nothing."""
        try:
            await self.deployments().restore()
        except PillionError as error:
            _log.error("models.store %s: %s", self._settings.models.store, error)

    async def _watched(self) -> FolderWatch:
        """Serve what is in the watched folder; what follows it from then on."""
        from pillion.management.folder_watch import FolderWatch, WatchSettings  # noqa: PLC0415 - few servers watch one

        models = self._settings.models
        settings = WatchSettings(
            _folder(models.watch),
            quiet=models.watch_quiet_seconds,
            lazy=models.lazy,
            allow_pickle=models.watch_allow_pickle,
        )
        following = FolderWatch(self._plane, settings, self.deployments().note)
        await following.begin()
        return following

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.critical("a background task ended unexpectedly", exc_info=task.exception())

    # --- drain and stop

    async def drain(self, deletion: bool) -> None:  # noqa: FBT001 - the control protocol's own field
        """Begin to drain; for a deletion return when the window has ended."""
        self._metrics.draining()
        if not deletion:
            self.phase = Phase.CORDONED
            self._http.drain()
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
            self._http.drain()
            _log.info("draining: clients move on", extra={"window_seconds": window})
            asyncio.get_running_loop().call_later(window, self._window_over.set)
        await self._window_over.wait()

    def request_stop(self, grace: float | None = None) -> None:
        """Stop soon; asked for a second time, or with a grace of 0, at once."""
        if self._stop.is_set() or grace == 0:
            self._cut.set()
        if grace is not None:
            self._grace = min(self._grace, grace) if self._stop.is_set() else grace
        self._stop.set()

    async def run(self) -> None:
        """Wait for :meth:`request_stop`, then end what is in progress and stop."""
        await self._stop.wait()

    async def close(self) -> None:
        """Stop everything that was started, in reverse, whether the start was complete or not."""
        began = time.monotonic()
        self.phase = Phase.STOPPING
        self._metrics.draining()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace
        if self._applications is not None:
            self._applications.close_conversations()
        kept = 0.0 if self._applications is None else self._applications.to_end(self._grace)
        grace = 0.0 if self._cut.is_set() else self._grace - kept
        faster = asyncio.create_task(self._cut_grpc())
        ending = asyncio.create_task(self._end_streams(deadline - kept))
        if self._cut.is_set():
            await asyncio.sleep(_TO_SAY_SO)
        cut, _, _ = await asyncio.gather(
            self._http.close(deadline=deadline - kept, cut=self._cut),
            self._grpc.stop(grace),
            self._jobs.stop(grace),
        )
        if self._applications is not None:
            await self._applications.stop(0.0 if self._cut.is_set() else max(0.0, deadline - loop.time()), kept)
        faster.cancel()
        ending.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        await self._declared.close()
        for passing in self._passing:
            if passing is not None:
                await passing.close()
        if self._deployments is not None:
            await self._deployments.close(0.0 if self._cut.is_set() else max(0.0, deadline - loop.time()))
        await self._plane.stop(0.0 if self._cut.is_set() else max(0.0, deadline - loop.time()))
        if "pillion.applications.connections" in sys.modules:
            from pillion.applications.connections import close_here  # noqa: PLC0415 - few servers call others

            await close_here()
        await self._observability.close()
        await self._admin.close(deadline=loop.time() + 0.2, cut=self._cut)
        await self._stack.aclose()
        seconds = round(time.monotonic() - began, 3)
        if cut:
            _log.warning("stopped; %d requests were cut", cut, extra={"seconds": seconds, "cut": cut})
        else:
            _log.info("stopped", extra={"seconds": seconds})

    async def _start_grpc(self) -> int:
        settings = self._settings.grpc
        tls = None if self._tls is None else GrpcTls(self._tls.grpc_credentials(), self._tls.http2_context)
        try:
            unix = unix_socket(settings, "grpc") if self._place is None else None
            if unix is not None:
                self._stack.callback(unix.remove)
            return await self._grpc.start(_address(settings.host, settings.port), tls, unix)
        except OSError as error:
            raise StartError(
                ExitCode.BIND, f"{error.strerror}: choose another port with --grpc-port or PILLION_GRPC__PORT"
            ) from error

    async def _swap(self, tls: TlsKeeper, context: ssl.SSLContext) -> None:
        await self._http.swap(context)
        await self._grpc.swap(tls.http2_context)

    async def _end_streams(self, deadline: float) -> None:
        """Before connections are cut, end open streams with an error, which is no silence that looks like an end."""
        left = deadline - asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._cut.wait(), max(0.0, left - min(1.0, left / 10)))
        self._end_answers()

    def _end_answers(self) -> None:
        self._plane.end_streams()
        if self._applications is not None:
            self._applications.end_exchanges()

    async def _cut_grpc(self) -> None:
        await self._cut.wait()
        self._end_answers()
        await asyncio.sleep(_TO_SAY_SO)
        await self._grpc.stop(0)


def _folder(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
