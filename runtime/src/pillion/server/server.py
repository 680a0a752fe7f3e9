"""The server object: what ``python -m pillion.server`` runs and what a Python program can embed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from typing import TYPE_CHECKING, Any, Self

import uvloop

from pillion.metrics import Collectors
from pillion.server.desired import DesiredModels, merged, read_bundled, read_runtime_file
from pillion.server.failures import ExitCode, StartError
from pillion.server.metrics import ServerMetrics
from pillion.server.runtime import Runtime
from pillion.server.settings import Settings
from pillion.server.signals import handled

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from starlette.types import ASGIApp

    from pillion.authoring.text import Embedder, Generator
    from pillion.dataplane.call import ModelStatus
    from pillion.dataplane.tasks import ServedTask
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredApplication, DesiredModel
    from pillion.server.front.place import Place
    from pillion.server.reload import CodeReload
    from pillion.server.tls import TlsConfig
    from pillion.worker_context import WorkerContext

__all__ = ["Server"]

_log = logging.getLogger(__name__)


class Server:
    """Serves models over HTTP and gRPC until stopped.

    Args:
        settings: by default those of the environment and the defaults are *not* read: pass what
            :func:`pillion.server.sources.load_settings` returns for that.
        models: what to serve; where ``config`` is given, its models are used.
        config: a runtime.yaml to read models from and to follow. Its ``settings`` are the caller's to layer.
        tls: replaces the settings' TLS, on HTTP and gRPC alike.
        registry: where metrics go; by default one of its own.
        classes: models written in Python, by name; ``models`` says how each is to be run.
        reload: follows the files of models written in Python and loads them again when they change.
        place: where this is one of several front workers.
        applications: what answers below paths of their own; where ``config`` is given, its applications are used.
        objects: applications that the program hands over, by the name that ``applications`` has for them; the code of
            the others is imported.
        server_id: by which ``pillion.stop`` finds it; empty: it does not.
        context: what the application is given as its ``worker_context``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        models: Sequence[DesiredModel] = (),
        config: Path | None = None,
        tls: TlsConfig | None = None,
        registry: Registry | None = None,
        classes: Mapping[str, type[Any]] | None = None,
        reload: CodeReload | None = None,
        place: Place | None = None,
        applications: Sequence[DesiredApplication] = (),
        objects: Mapping[str, object] | None = None,
        server_id: str = "",
        context: WorkerContext | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._server_id = server_id
        self._context = context
        self._place = place
        self._models = models
        self._applications = applications
        self._objects = objects
        self._config = config
        self._tls = tls
        self._classes = classes
        self._reload = reload
        self._registry = registry or Collectors()
        self._metrics = ServerMetrics(self._registry)
        self._runtime: Runtime | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()
        self._started = threading.Event()
        self._lock = threading.RLock()  # a signal's handler may come while its thread has it
        self._failure: BaseException | None = None
        self._pending_stop: tuple[float | None] | None = None
        self._asked_to_stop = False
        self._signalled = False
        self._registration = contextlib.ExitStack()

    @property
    def app(self) -> ASGIApp:
        """The ASGI application, for mounting and tests.

        The inference routes of the Open Inference Protocol and V1 are answered by the dispatcher in front and do not
        pass through middleware that is added to the application behind it.
        """
        return self._running().app

    @property
    def ports(self) -> dict[str, int]:
        """The real ports by name (``http``, ``grpc``, ``admin``), also where 0 was asked for."""
        return dict(self._running().ports)

    def ready(self) -> bool:
        """Whether every model is loaded and the server takes requests."""
        return self._runtime is not None and self._runtime.ready()

    def unready_reason(self) -> str:
        """Why it takes no requests; empty when it does."""
        return "it has not been started" if self._runtime is None else self._runtime.unready_reason()

    def application_routes(self) -> Mapping[str, str]:
        """The applications' names by route prefix."""
        return {} if self._runtime is None else self._runtime.application_routes()

    def statuses(self) -> Sequence[ModelStatus]:
        """Every known model version and its state."""
        return () if self._runtime is None else self._runtime.statuses()

    def tasks(self) -> Sequence[ServedTask]:
        """The tasks of models written in Python that are loaded now."""
        return () if self._runtime is None else self._runtime.tasks()

    def text_models(self) -> tuple[Mapping[str, Generator], Mapping[str, Embedder]]:
        """The models that generate text, and those that embed texts, by name."""
        return ({}, {}) if self._runtime is None else self._runtime.text_models()

    def start(
        self,
        blocking: bool = True,  # noqa: FBT001 - start(blocking=False) is the contract
        *,
        on_loaded: Callable[[Server, float], None] | None = None,
    ) -> None:
        """Start serving.

        Args:
            blocking: True returns after the server has stopped, and handles SIGTERM and SIGINT when called in the main
                thread. False serves from a thread of its own, returns once the ports are bound, and leaves signals to
                the program around it.
            on_loaded: called on the server's loop when each first model is loaded or has failed, with the seconds
                it took.

        Raises:
            StartError: a port, a file or a certificate cannot be used, or the settings ask for several workers.
            RuntimeError: it has been started before.
        """
        if self._settings.workers != 1 and self._place is None:
            raise StartError(
                ExitCode.USAGE,
                f"workers is {self._settings.workers}, and a server inside a program is one process: set it to 1, or "
                "use `pillion serve --workers N`",
            )
        with contextlib.ExitStack() as registration, self._lock:
            if self._thread is not None or self._loop is not None or self._finished.is_set():
                raise RuntimeError("this server has been started already: make another one")
            if self._server_id:
                from pillion.running import registered  # noqa: PLC0415 - most pods have no application

                registration.enter_context(registered(self._server_id, self.stop_soon))
            self._registration = registration.pop_all()
            if not blocking:
                self._thread = threading.Thread(
                    target=self._serve, args=(on_loaded,), name="pillion-server", daemon=True
                )
        if self._thread is not None:
            self._thread.start()
            self._started.wait()
            if self._failure is not None:
                self._thread.join()
                raise self._failure
            return
        with handled(self._on_signal):
            self._serve(on_loaded)
        if self._failure is not None:
            raise self._failure

    def stop(self, grace_period_seconds: float | None = None) -> None:
        """Stop, and wait until stopped. Any thread may call it, any number of times.

        Args:
            grace_period_seconds: how long requests in progress may take; None is the setting, 0 cuts them now.
        """
        with self._lock:
            loop, runtime = self._loop, self._runtime
            again = self._asked_to_stop and grace_period_seconds is None  # it would cut what is let end
            if runtime is None or loop is None:
                if self._thread is not None and not self._finished.is_set():
                    self._pending_stop = (grace_period_seconds,)
                elif self._thread is None:
                    return
        if runtime is not None and loop is not None and not again:
            try:
                loop.call_soon_threadsafe(runtime.request_stop, grace_period_seconds)
            except RuntimeError:
                _log.debug("the loop has ended already")
        if threading.get_ident() != getattr(self, "_ident", None):
            self._finished.wait()
            if self._thread is not None:
                self._thread.join()

    def stop_soon(self) -> None:
        """Have it stop within the configured grace, and return at once. Any thread, any number of times.

        As one of several front workers it has all of them stop.
        """
        with self._lock:
            loop, runtime, asked = self._loop, self._runtime, self._asked_to_stop
            self._asked_to_stop = True
            if asked:
                return  # a second request would cut what the first one lets end
            if loop is None or runtime is None:
                self._pending_stop = (None,)
                return
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            if self._place is None:
                loop.call_soon_threadsafe(_stop_once, runtime)
            else:
                loop.call_soon_threadsafe(self._place.ask_stop)

    # --- the loop's own thread

    def _serve(self, on_loaded: Callable[[Server, float], None] | None) -> None:
        self._ident = threading.get_ident()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main(on_loaded))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller of start()
            if self._started.is_set() and self._thread is not None:
                _log.critical("the server ended unexpectedly", exc_info=error)
            self._failure = error
        finally:
            with self._lock:
                self._loop = None
            self._registration.close()
            self._finished.set()
            self._started.set()

    async def _main(self, on_loaded: Callable[[Server, float], None] | None) -> None:
        models, desired, applications = self._models, None, self._applications
        if self._config is not None:
            file = read_runtime_file(self._config)
            bundled = read_bundled(self._settings.models.bundled)
            models, applications = merged(bundled, file.models), file.applications
            desired = DesiredModels(self._config, file, self._metrics, bundled=bundled)
        runtime = Runtime(
            self._settings,
            models,
            desired,
            self._tls,
            self._registry,
            self._metrics,
            classes=self._classes,
            reload=self._reload,
            place=self._place,
            applications=applications,
            objects=self._objects,
            context=self._context,
        )
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._runtime = runtime
            if self._pending_stop is not None:
                runtime.request_stop(*self._pending_stop)
        try:
            if await _begun(runtime, None if on_loaded is None else functools.partial(on_loaded, self)):
                self._started.set()
                await runtime.run()
        finally:
            await runtime.close()
        if runtime.failure is not None:
            raise runtime.failure

    def _on_signal(self, number: signal.Signals) -> None:
        loop, runtime = self._loop, self._runtime
        # The first signal cuts nothing, also where the program has asked for the stop before it.
        again, self._signalled = self._signalled, True
        if loop is None or runtime is None:
            self._pending_stop = (None,)
            return

        def react() -> None:
            _log.info("received %s%s", number.name, "; again: cutting what is left" if again else "")
            if again:
                runtime.request_stop()
            else:
                _stop_once(runtime)

        loop.call_soon_threadsafe(react)

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise RuntimeError("the server has not been started")
        return self._runtime

    def __enter__(self) -> Self:
        self.start(blocking=False)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stop_once(runtime: Runtime) -> None:
    """Have it stop; where it does already, it would be cut."""
    if not runtime.stopping:
        runtime.request_stop()


async def _begun(runtime: Runtime, on_loaded: Callable[[float], None] | None) -> bool:
    """Start, unless a stop is asked for first: an application may take any time to start, or hang.

    Raises:
        StartError: as :meth:`Runtime.start`.
    """
    starting = asyncio.ensure_future(runtime.start(on_loaded))
    stop = asyncio.ensure_future(runtime.run())
    try:
        await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            return True
        return False
    finally:
        stop.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
