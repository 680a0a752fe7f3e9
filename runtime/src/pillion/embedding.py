"""``pillion.serve``: models from within a program, a test or a notebook."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

from pillion.client.sync import Client

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from pillion.server import Server
    from pillion.server.front.messages import Settled
    from pillion.server.front.program import FrontServer
    from pillion.server.options import ServerOptions
    from pillion.server.settings import Settings
    from pillion.serving_targets import Wanted
    from pillion.worker_context import WorkerContext

__all__ = ["Serving", "serve", "server_settings"]

_START_SECONDS: Final = 600.0


class Serving:
    """A server that runs beside the program. A context manager: leaving the block ends it.

    Attributes:
        url: of the HTTP port.
        grpc: address of the gRPC port, ``host:port``.
        client: calls it.
        server_id: by which ``pillion.stop`` finds it.
    """

    def __init__(self, server: Server | FrontServer, host: str, server_id: str) -> None:
        self._server = server
        self.server_id = server_id
        ports = server.ports
        self.url = f"http://{host}:{ports['http']}"
        self.grpc = f"{host}:{ports['grpc']}"
        self.client = Client(self.url)

    def stop(self, grace_period_seconds: float | None = None) -> None:
        """End it; requests in progress may take ``grace_period_seconds`` (None: as configured). Any number of times."""
        self.client.close()
        self._server.stop(grace_period_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@overload
def serve(
    *targets: object,
    blocking: Literal[True] = True,
    host: str = ...,
    port: int | None = ...,
    grpc_port: int | None = ...,
    artifact: str | Path | None = ...,
    device: str = ...,
    route_prefix: str = ...,
    args: Mapping[str, object] | None = ...,
    settings: Mapping[str, JsonValue] | None = ...,
    workers: int = ...,
    worker_contexts: Sequence[object] | None = ...,
    backlog: int = ...,
    access_log: bool = ...,
    log_config: Mapping[str, Any] | None = ...,
    server_id: str | None = ...,
    server_options: ServerOptions | None = ...,
) -> None: ...
@overload
def serve(
    *targets: object,
    blocking: Literal[False],
    host: str = ...,
    port: int | None = ...,
    grpc_port: int | None = ...,
    artifact: str | Path | None = ...,
    device: str = ...,
    route_prefix: str = ...,
    args: Mapping[str, object] | None = ...,
    settings: Mapping[str, JsonValue] | None = ...,
    workers: int = ...,
    worker_contexts: Sequence[object] | None = ...,
    backlog: int = ...,
    access_log: bool = ...,
    log_config: Mapping[str, Any] | None = ...,
    server_id: str | None = ...,
    server_options: ServerOptions | None = ...,
) -> Serving: ...


def serve(
    *targets: object,
    blocking: bool = True,
    host: str = "127.0.0.1",
    port: int | None = None,
    grpc_port: int | None = None,
    artifact: str | Path | None = None,
    device: str = "cpu",
    route_prefix: str = "/",
    args: Mapping[str, object] | None = None,
    settings: Mapping[str, JsonValue] | None = None,
    workers: int = 1,
    worker_contexts: Sequence[object] | None = None,
    backlog: int = 128,
    access_log: bool = False,
    log_config: Mapping[str, Any] | None = None,
    server_id: str | None = None,
    server_options: ServerOptions | None = None,
) -> Serving | None:
    """Serve classes of models, and applications.

    With ``blocking=False`` the server runs beside the program, so it works inside a running event loop, too::

        with pillion.serve(Mood, blocking=False) as s:
            s.client.call("classify", text="good good bad")

    Args:
        targets: classes of models, each served under its name in kebab case; compositions, each as a model with one
            task; and one application: a FastAPI, Starlette or other ASGI application, a class that ``pillion.ingress``
            was put around, or a handler (see :mod:`pillion.applications`). Each of these, or its name, such as
            ``"service:app"`` or ``"service.py:Mood"``: found in the current folder or where packages are installed.
        blocking: True serves until SIGINT, SIGTERM or ``pillion.stop``. False returns when the models are loaded.
        host: to listen on.
        port: of HTTP; by default 8080, and any free one when not blocking.
        grpc_port: of gRPC; by default 8081, and any free one when not blocking.
        artifact: what the one class loads (``load(self, artifact)``).
        device: what ``self.device`` says.
        route_prefix: the path below which the application answers.
        args: arguments for the application's constructor, where it is a class.
        settings: further settings by dotted key, as ``pillion config show`` names them.
        workers: processes that answer on the ports, each with all targets. More than one import the targets by
            themselves, so these have to be named.
        worker_contexts: one value for each worker: before its lifespan, the application of worker ``i`` is given entry
            ``i`` as its attribute ``worker_context``, and as that of the state that requests see
            (``request.state.worker_context``). So is that of a worker which replaces it. Anything that Python can
            serialise.
        backlog: connections that the kernel holds until they are accepted.
        access_log: whether each request gets a line in the log: by the program's own handlers or, where it has none,
            on standard error.
        log_config: for :func:`logging.config.dictConfig`, here and in each worker. None leaves logging alone.
        server_id: by which ``pillion.stop`` finds it: "0", or the next number that is free where it runs beside the
            program.
        server_options: options by uvicorn's names.

    Raises:
        StartError: a port cannot be bound, or a model cannot be loaded; the text has file and line.
        ImportError: what serving needs is not installed.
        TypeError, ValueError: an argument is wrong; the text names it.
    """
    if blocking and _in_event_loop():
        raise RuntimeError("an event loop is running here, as in a notebook: serve beside it, with blocking=False")
    from pillion.server.options import settings_of  # noqa: PLC0415 - `import pillion` is to stay light
    from pillion.serving_targets import wanted  # noqa: PLC0415 - as above
    from pillion.worker_context import WorkerContext, pack  # noqa: PLC0415 - as above

    if type(workers) is not int:
        raise TypeError(f"workers is {workers!r}: give the number of processes, such as 2")
    if workers < 1:
        raise ValueError(f"workers is {workers}: at least 1 process has to answer")
    given = worker_contexts is not None
    what = wanted(targets, artifact=artifact, device=device, route_prefix=route_prefix, args=args, contexts=given)
    if workers > 1 and (what.classes or what.objects):
        name = next(iter([*what.classes, *what.objects]))
        raise TypeError(
            f"{name} is an object of this process, and with workers={workers} each process imports its own: name it, "
            f"as in pillion.serve('module:attribute', workers={workers})"
        )
    if worker_contexts is not None and not what.applications:
        raise TypeError("worker_contexts are an application's, and there is none")
    packed = None if worker_contexts is None else pack(worker_contexts, workers)
    further: dict[str, JsonValue] = {"http.backlog": backlog, **settings_of(server_options or {})}
    if access_log:
        further |= {"log.access": 1.0, "log.level": "info"}
    if log_config is not None:
        from pillion.server.logs import configure_further  # noqa: PLC0415 - as above

        configure_further(log_config)
    free = None if blocking else 0
    ports = {"http": port if port is not None else free, "grpc": grpc_port if grpc_port is not None else free}
    own = server_settings(host, ports, {**further, **(settings or {}), "workers": workers}, quiet=not blocking)
    name = _server_id(server_id, blocking=blocking)
    if workers > 1:
        return _serve_by_workers(own, what, host, name, packed, log_config, blocking=blocking)
    if access_log:
        from pillion.server.logs import show_access  # noqa: PLC0415 - as above

        show_access(own.log)
    context = None if worker_contexts is None else WorkerContext(worker_contexts[0])
    return _serve_here(own, what, host, name, context, blocking=blocking)


def _server_id(asked: str | None, *, blocking: bool) -> str:
    from pillion.running import running_ids  # noqa: PLC0415 - as above

    if asked == "":
        raise ValueError("server_id is empty: give a name, or leave it out")
    if asked is None and not blocking:
        taken = running_ids()
        return next(str(number) for number in itertools.count() if str(number) not in taken)
    return asked or "0"


def _serve_here(
    settings: Settings, what: Wanted, host: str, server_id: str, context: WorkerContext | None, *, blocking: bool
) -> Serving | None:
    from pillion.server import Server  # noqa: PLC0415 - as above

    server = Server(
        settings,
        models=what.models,
        classes=what.classes,
        applications=what.applications,
        objects=what.objects,
        server_id=server_id,
        context=context,
    )
    failed: list[str] = []
    loaded = threading.Event()

    def on_loaded(running: Server, _seconds: float) -> None:
        failed.extend(f"{status.name}: {status.reason}" for status in running.statuses() if status.reason)
        if failed and blocking:
            threading.Thread(target=running.stop, daemon=True).start()
        loaded.set()

    server.start(blocking, on_loaded=on_loaded)
    if not blocking and not loaded.wait(_START_SECONDS):
        server.stop(0)
        raise _late()
    if failed:
        server.stop(0)
        raise _start_error("; ".join(failed))
    return None if blocking else Serving(server, host, server_id)


def _serve_by_workers(
    settings: Settings,
    what: Wanted,
    host: str,
    server_id: str,
    contexts: Sequence[bytes] | None,
    log_config: Mapping[str, Any] | None,
    *,
    blocking: bool,
) -> Serving | None:
    from pillion.server.front.program import FrontServer  # noqa: PLC0415 - as above
    from pillion.server.front.supervisor import Supervisor  # noqa: PLC0415 - as above

    failed: list[str] = []
    loaded = threading.Event()

    def on_settled(said: list[Settled]) -> None:
        if not any(message.ready for message in said):
            failed.append(said[0].reason)
            supervisor.stop()
        loaded.set()

    supervisor = Supervisor(
        settings,
        settings.workers,  # type: ignore[arg-type]  # `auto` is not taken here
        models=what.models,
        applications=what.applications,
        on_settled=on_settled,
        contexts=contexts,
        server_id=server_id,
        log_config=None if log_config is None else dict(log_config),
    )
    server = FrontServer(supervisor)
    if blocking:
        supervisor.run()
    else:
        server.start(loaded)
        if not loaded.wait(_START_SECONDS):
            server.stop(0)
            raise _late()
    if failed or server.failure is not None:
        if not blocking:
            server.stop(0)
        raise server.failure or _start_error(failed[0])
    return None if blocking else Serving(server, host, server_id)


def _late() -> TimeoutError:
    return TimeoutError(f"the models did not load within {_START_SECONDS:g} s")


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def server_settings(
    host: str, ports: Mapping[str, int | None], further: Mapping[str, JsonValue], *, quiet: bool
) -> Settings:
    """The settings of a server inside a program, over those of the environment."""
    from pillion.server.sources import load_settings  # noqa: PLC0415 - as above

    flags: dict[str, JsonValue] = {"http.host": host, "grpc.host": host, "admin.host": host}
    flags |= {f"{name}.port": port for name, port in ports.items() if port is not None}
    flags |= further
    if quiet:
        flags.setdefault("admin.port", 0)
    file: dict[str, JsonValue] = {
        "control.socket": "",
        "drain.window_seconds": 0,
        "drain.grace_seconds": 5,
        "log.level": "warning",
    }
    return load_settings(flags=flags, file=file, file_name="pillion.serve").settings


def _start_error(message: str) -> Exception:
    from pillion.server.failures import ExitCode, StartError  # noqa: PLC0415 - as above

    return StartError(ExitCode.USAGE, message)
