"""Settings of where the server listens, for how long, and how it stops; see :mod:`pillion.server.settings`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pillion.route_prefix import normal_root
from pillion.server.section import Port, Seconds, Section, SocketMode

__all__ = [
    "AdminSettings",
    "ApplicationSettings",
    "ClientTls",
    "ControlSettings",
    "DrainSettings",
    "GrpcSettings",
    "HttpSettings",
    "ServerTls",
    "TlsSettings",
]


class HttpSettings(Section, frozen=True):
    """The HTTP(S) data port."""

    host: str = "0.0.0.0"  # noqa: S104 - the default of a container; `pillion serve` binds loopback
    """Address to listen on."""
    port: Port = 8080
    """Port to listen on; 0 lets the system choose."""
    socket: str = ""
    """Path of a unix socket that answers as the port does, in plaintext, for programs of this machine. Empty: none."""
    socket_mode: SocketMode = "600"
    """Permission bits of its file, octal: who may connect."""
    backlog: Annotated[int, Meta(ge=1, le=65535)] = 2048
    """Connections that the kernel holds for the server before it accepts them; the kernel's own limit may be lower."""
    keep_alive_timeout: Seconds = 90.0
    """Seconds an idle connection is kept; proxies idle for longer than the usual 5 s."""
    compress_min_bytes: Annotated[int, Meta(ge=0)] = 8 * 1024
    """Answers of at least so many bytes are compressed for clients that name one coding they want; 0: none are."""
    request_timeout_seconds: Seconds | None = None
    """The longest a request of an application may take; the request itself can only shorten it. Absent: any time."""
    first_byte_timeout_seconds: Seconds | None = None
    """How long an application may take to begin its answer; what it streams may take longer. Absent: any time."""
    stream_idle_seconds: Seconds | None = None
    """How long an application may take from one piece of an answer to the next. Absent: any time."""
    websocket_idle_seconds: Seconds = 300.0
    """Seconds without a message in either direction after which a WebSocket of an application is closed."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies (10.0.0.0/8; unix for the unix socket) whose word about clients is taken."""
    proxy_headers: tuple[Literal["for", "proto", "host", "prefix", "forwarded"], ...] = ("for", "proto")
    """Headers that these proxies write themselves: X-Forwarded-For and so on; forwarded: RFC 7239's instead of the
    first three. One that they only pass on is the client's to forge."""
    root_path: str = ""
    """The path below which a proxy publishes the server, such as /ml; whether it takes it off or not."""

    def __post_init__(self) -> None:
        """Refuse what is no path, or hides one of ours, and what is no network."""
        normal_root(self.root_path, "http.root_path")
        if self.trusted_proxies:
            from pillion.transport.http.forwarded import networks  # noqa: PLC0415 - only who has proxies needs it

            try:
                networks(self.trusted_proxies)
            except ValueError as error:
                raise ValueError(f"http.trusted_proxies: {error}") from None


class ApplicationSettings(Section, frozen=True):
    """Applications that say how they are, by a method ``check_health``."""

    health_period_seconds: Seconds = 10.0
    """Seconds between two calls of it. From the first failure until it does not fail, the server is not ready."""
    health_timeout_seconds: Seconds = 10.0
    """Seconds that it may take."""
    health_failures: Annotated[int, Meta(ge=0)] = 3
    """Failures in a row after which the process ends, so that it is started again; 0: it stays, not ready."""


class GrpcSettings(Section, frozen=True):
    """The gRPC data port."""

    host: str = "0.0.0.0"  # noqa: S104 - as above
    """Address to listen on."""
    port: Port = 8081
    """Port to listen on; 0 lets the system choose."""
    socket: str = ""
    """Path of a unix socket that answers as the port does, in plaintext, for programs of this machine. Empty: none."""
    socket_mode: SocketMode = "600"
    """Permission bits of its file, octal: who may connect."""
    engine: Literal["grpcio", "asyncio"] = "grpcio"
    """What carries the calls: gRPC's C core, or Pillion's own HTTP/2 on the event loop, which takes less processor
    time."""
    max_connection_age_seconds: Seconds = 20.0
    """Age at which a connection is asked to reconnect, so that clients leave a draining pod by themselves."""


class AdminSettings(Section, frozen=True):
    """The admin port: metrics, probes and status, read-only."""

    host: str = "0.0.0.0"  # noqa: S104 - as above
    """Address to listen on."""
    port: Port = 8082
    """Port to listen on; 0 lets the system choose."""


class ServerTls(Section, frozen=True):
    """Our own certificate."""

    cert: str | None = None
    """Certificate chain: a path, or PEM text that starts with -----BEGIN."""
    key: str | None = None
    """Private key: a path, or PEM text that starts with -----BEGIN."""


class ClientTls(Section, frozen=True):
    """What clients must show."""

    cert: str | None = None
    """CA that signs client certificates (path or PEM); when set, clients must show one."""


class TlsSettings(Section, frozen=True):
    """TLS of both data ports."""

    server: ServerTls = ServerTls()
    """Our own certificate and key."""
    client: ClientTls = ClientTls()
    """CA of client certificates."""
    poll_seconds: Seconds = 0.5
    """Seconds between looks at the files for a renewed certificate."""

    def __post_init__(self) -> None:
        """Refuse half a pair."""
        if (self.server.cert is None) != (self.server.key is None):
            given, missing = ("cert", "key") if self.server.cert is not None else ("key", "cert")
            raise ValueError(f"tls.server.{given} is set and tls.server.{missing} is not: set both, or none")
        if self.client.cert is not None and self.server.cert is None:
            raise ValueError("tls.client.cert is set without tls.server.cert and tls.server.key: set them as well")


class DrainSettings(Section, frozen=True):
    """How the process stops."""

    window_seconds: Annotated[float, Meta(ge=0)] = 24.0
    """How long the preStop hook lets clients move on before SIGTERM; at least 1.2 x grpc.max_connection_age_seconds."""
    grace_seconds: Seconds = 60.0
    """How long requests in progress may take after SIGTERM, or once their model is taken out, before they are cut; and
    how long those in a worker process may keep another config of their model waiting, before that is refused."""


class ControlSettings(Section, frozen=True):
    """The unix socket through which preStop asks for the drain."""

    socket: str = "/run/pillion/control.sock"
    """Path of the socket; the file is readable by this user only. Empty: no control socket."""
