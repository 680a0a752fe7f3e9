"""``pillion.serve``: models from within a program, a test or a notebook."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

from pillion.authoring.names import model_name
from pillion.client import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from pillion.runtimefile import DesiredApplication
    from pillion.server import Server
    from pillion.server.settings import Settings

__all__ = ["Serving", "serve"]

_START_SECONDS: Final = 600.0


class Serving:
    """A server that runs beside the program. A context manager: leaving the block ends it.

    Attributes:
        url: of the HTTP port.
        grpc: address of the gRPC port, ``host:port``.
        client: calls it.
    """

    def __init__(self, server: Server, host: str) -> None:
        self._server = server
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
) -> Serving | None:
    """Serve classes of models, and applications.

    With ``blocking=False`` the server runs in a thread of its own, so it works inside a running event loop, too::

        with pillion.serve(Mood, blocking=False) as s:
            s.client.call("classify", text="good good bad")

    Args:
        targets: classes of models, each served under its name in kebab case; and one application: a FastAPI, Starlette
            or other ASGI application, a class that ``pillion.ingress`` was put around, or a handler (see
            :mod:`pillion.applications`).
        blocking: True serves until SIGINT or SIGTERM. False returns when the models are loaded.
        host: to listen on.
        port: of HTTP; by default 8080, and any free one when not blocking.
        grpc_port: of gRPC; by default 8081, and any free one when not blocking.
        artifact: what the one class loads (``load(self, artifact)``).
        device: what ``self.device`` says.
        route_prefix: the path below which the application answers.
        args: arguments for the application's constructor, where it is a class.
        settings: further settings by dotted key, as ``pillion config show`` names them.

    Raises:
        StartError: a port cannot be bound, or a model cannot be loaded; the text has file and line.
        ImportError: what serving needs is not installed.
    """
    from pillion.runtimefile import DesiredModel  # noqa: PLC0415 - `import pillion` is to stay light
    from pillion.server import Server  # noqa: PLC0415 - as above

    if blocking and _in_event_loop():
        raise RuntimeError("an event loop is running here, as in a notebook: serve beside it, with blocking=False")
    from pillion.authoring.model import Model  # noqa: PLC0415 - as above

    for target in targets:
        if isinstance(target, Model):
            name = type(target).__name__
            raise TypeError(f"pillion.serve takes classes, not {name}: write pillion.serve({name})")
    applications = [target for target in targets if not _is_model(target)]
    if len(applications) > 1:
        raise TypeError("pillion.serve takes one application: several go into a manifest, each with its routePrefix")
    if not applications and (route_prefix != "/" or args is not None):
        raise TypeError("route_prefix and args are an application's, and there is none")
    classes = _named(tuple(target for target in targets if _is_model(target)), alone=not applications)
    if artifact is not None and len(classes) != 1:
        raise ValueError("artifact is what one class loads: serve one class")
    path = "" if artifact is None else str(Path(artifact).resolve())
    parameters: dict[str, JsonValue] = {"device": device}
    desired = [DesiredModel(name=name, path=path, format="python", parameters=parameters) for name in classes]
    free = None if blocking else 0
    ports = {"http": port if port is not None else free, "grpc": grpc_port if grpc_port is not None else free}
    named = {_application_name(application): application for application in applications}
    wanted = [_desired(name, route_prefix, args or {}) for name in named]
    server = Server(
        _settings(host, ports, settings or {}, quiet=not blocking),
        models=desired,
        classes=classes,
        applications=wanted,
        objects=named,
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
        raise TimeoutError(f"the models did not load within {_START_SECONDS:g} s")
    if failed:
        server.stop(0)
        raise _start_error("; ".join(failed))
    return None if blocking else Serving(server, host)


def _is_model(target: object) -> bool:
    from pillion.authoring.model import Model  # noqa: PLC0415 - `import pillion` is to stay light

    return isinstance(target, type) and issubclass(target, Model)


def _application_name(application: object) -> str:
    """What an application is called in logs and metrics: as its class or function, or as the kind of it."""
    cls: object = getattr(application, "cls", application)  # of a class that was bound to arguments
    if isinstance(application, type) or not hasattr(type(application), "router"):
        name = getattr(cls, "__name__", None) or type(application).__name__
    else:
        name = type(application).__name__
    return model_name(str(name).strip("_<>") or "app")[:63]


def _desired(name: str, route_prefix: str, args: Mapping[str, object]) -> DesiredApplication:
    from pillion.runtimefile import Code, DesiredApplication  # noqa: PLC0415 - as above

    code = Code(module=name, folder=str(Path.cwd()))  # told where it fails; the object is there already
    return DesiredApplication(name=name, code=code, route_prefix=route_prefix, args=dict(args))


def _named(models: tuple[Any, ...], *, alone: bool) -> Mapping[str, type[Any]]:
    if not models and alone:
        raise TypeError("pillion.serve: name the class or application: pillion.serve(Mood)")
    named: dict[str, type[Any]] = {}
    for cls in models:
        name = model_name(cls.__name__)
        if name in named:
            raise ValueError(f"two classes are called {cls.__name__}: serve them one by one")
        named[name] = cls
    return named


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _settings(host: str, ports: Mapping[str, int | None], further: Mapping[str, JsonValue], *, quiet: bool) -> Settings:
    from pillion.server.sources import load_settings  # noqa: PLC0415 - as above

    flags: dict[str, JsonValue] = {"http.host": host, "grpc.host": host, "admin.host": host}
    flags |= {f"{name}.port": port for name, port in ports.items() if port is not None}
    flags |= further
    if quiet:
        flags.setdefault("admin.port", 0)
    file: dict[str, JsonValue] = {"control.socket": "", "drain.window_seconds": 0, "drain.grace_seconds": 5}
    return load_settings(flags=flags, file=file, file_name="pillion.serve").settings


def _start_error(message: str) -> Exception:
    from pillion.server.failures import ExitCode, StartError  # noqa: PLC0415 - as above

    return StartError(ExitCode.USAGE, message)
