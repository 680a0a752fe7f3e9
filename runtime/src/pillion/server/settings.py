"""Every setting of the serving process, in one model.

A value comes from the first of: flag, environment variable ``PILLION_SECTION__KEY``, the ``settings`` of
``runtime.yaml``, default. ``pillion config show`` prints where each came from. The values that other layers need are
handed to them as their own frozen types (:mod:`pillion.server.assembly`); nothing below the server reads this module.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from pillion.dataplane.standing import ShedWhen
from pillion.server.section import Positive, Seconds, Section, require_key
from pillion.server.settings_of_models import InferenceSettings, JobsSettings, ManagementSettings, ModelSettings
from pillion.server.settings_of_ports import (
    AdminSettings,
    ApplicationSettings,
    ControlSettings,
    DrainSettings,
    GrpcSettings,
    HttpSettings,
    TlsSettings,
)

__all__ = [
    "AdminSettings",
    "ApplicationSettings",
    "AuthSettings",
    "ControlSettings",
    "DrainSettings",
    "GrpcSettings",
    "HttpSettings",
    "InferenceSettings",
    "JobsSettings",
    "Limits",
    "LogSettings",
    "LoggerSettings",
    "ManagementSettings",
    "MetricsSettings",
    "ModelSettings",
    "Section",
    "Settings",
    "TlsSettings",
    "require_key",
]


class Limits(Section, frozen=True):
    """Bounds that protect the process; each has a counter and an error that names it."""

    max_body_bytes: Positive = 64 * 1024 * 1024
    """Largest HTTP body and gRPC message."""
    max_body_bytes_in_flight: Positive = 1024 * 1024 * 1024
    """Bytes of bodies over 64 KiB in memory at a time: of HTTP and, with ``grpc.engine: asyncio``, of gRPC requests and
    of answers that clients have not taken. A request that finds no room is answered "queue full"."""
    max_form_parts: Positive = 256
    """Parts of a ``multipart/form-data`` body."""
    max_part_header_bytes: Positive = 8 * 1024
    """Headers of one of its parts."""
    max_header_bytes: Positive = 32 * 1024
    """Request line and headers together."""
    max_header_count: Positive = 100
    """Header fields of one request."""
    max_uri_bytes: Positive = 8 * 1024
    """Length of the request target."""
    header_timeout_seconds: Seconds = 10.0
    """Time for the headers to arrive, and for a TLS handshake."""
    body_timeout_seconds: Seconds = 30.0
    """Time for a body to arrive, on top of what its size earns by min_body_rate."""
    min_body_rate: Positive = 1024
    """Bytes per second that a slow body must reach."""
    max_json_depth: Positive = 16
    """Levels of lists inside the data of a JSON body."""
    max_elements: Positive = 64 * 1024 * 1024
    """Elements of one tensor."""
    max_string_bytes: Positive = 16 * 1024 * 1024
    """Length of one BYTES element."""
    max_tensors: Positive = 1024
    """Inputs of one request, and outputs it may ask for."""
    max_in_flight: Positive = 1024
    """Requests running or waiting in the whole process; one more is answered "queue full"."""
    max_queue: Annotated[int, Meta(ge=0)] = 512
    """Requests of one model that may wait; one more is answered "queue full"."""
    shed_when: ShedWhen = ShedWhen.NEVER
    """When a queue is kept so short that one call at most ends before that of a request begins, until what is asked for
    can be done again: never; full: once it was full; standing: also once it has not been empty for a while."""
    concurrency: Literal["fixed", "auto"] = "fixed"
    """auto finds out by the time of calls how many of a model do well at a time, its maxInFlight at most."""
    priority_levels: Annotated[int, Meta(ge=0, le=16)] = 0
    """Levels of priority that requests may ask for, 1 the highest; 0: what they ask for means nothing."""
    default_priority: Annotated[int, Meta(ge=0, le=16)] = 0
    """Level of requests that ask for none, or for one that there is not; 0: the lowest."""
    max_connections: Positive = 4096
    """HTTP connections open at a time."""
    max_rpcs: Positive = 4096
    """gRPC calls in progress at a time."""
    max_streams: Positive = 256
    """gRPC calls in progress on one connection."""
    deadline_seconds: Seconds = 60.0
    """Deadline of a request that brings none; a request can only shorten it."""

    def __post_init__(self) -> None:
        """Refuse a default that is no level."""
        if self.default_priority > self.priority_levels:
            raise ValueError(
                f"limits.default_priority is {self.default_priority} and limits.priority_levels is"
                f" {self.priority_levels}: set a default from 1 to the number of levels, or 0 for the lowest"
            )


class AuthSettings(Section, frozen=True):
    """Who may call the data ports."""

    api_key: str | None = None
    """Key that callers show as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'; health stays open. Never shown."""

    api_keys: str = ""
    """Folder whose files hold such keys, one each, as a mounted Secret does: any of them is good. It is followed."""
    inference_service: str = ""
    """InferenceService whose callers show a ServiceAccount's token that may create its inferenceservices/predict."""

    def __post_init__(self) -> None:
        """Refuse what no header can carry."""
        require_key(self.api_key, "auth.api_key (PILLION_API_KEY)")


class LogSettings(Section, frozen=True):
    """Logs on standard error."""

    format: Literal["auto", "json", "text"] = "auto"
    """json: one object a line; text: for people; auto: text on a terminal, else json."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    access: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of requests that get a line of their own: 0 none, 1 all, 0.01 one in a hundred."""
    access_format: str = ""
    """How these lines look: common, json, or a template such as {client} {method} {path} {status} {ms}. Empty: as
    format says."""

    def __post_init__(self) -> None:
        """Refuse a template with unknown fields."""
        if self.access_format not in ("", "json"):
            from pillion.server.access_log import template_of  # noqa: PLC0415 - only who has one needs it

            try:
                template_of(self.access_format)
            except ValueError as error:
                raise ValueError(f"log.access_format: {error}") from None


class MetricsSettings(Section, frozen=True):
    """What is counted, and where it is shown."""

    compatibility: tuple[Literal["triton", "mlserver", "kserve"], ...] = ()
    """Servers whose metric names are shown beside our own, for dashboards made for them."""
    on_data_port: bool = False
    """Whether /metrics is answered on the HTTP data port too, for scrapers that reach no other."""


class LoggerSettings(Section, frozen=True):
    """Requests and answers sent to a sink as CloudEvents, as KServe's logger does."""

    url: str = ""
    """The sink, http:// or https://. Empty: payloads are not sent anywhere."""
    mode: Literal["all", "request", "response"] = "all"
    """What is sent."""
    share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of requests that are sent, 0.01 for one in a hundred."""
    encoding: Literal["binary", "structured"] = "binary"
    """How events are put into HTTP: attributes as headers, or all as one JSON object."""
    metadata_headers: tuple[str, ...] = ()
    """Request headers copied into the events; never those that hold credentials."""
    annotations: tuple[str, ...] = ()
    """NAME=VALUE, told with every event."""
    source: str = ""
    """The events' source; by default the host's name, which is the pod's."""
    service: str = ""
    """Name of the InferenceService, told with every event."""
    namespace: str = ""
    """Its namespace."""
    component: str = "predictor"
    """Its component."""
    endpoint: str = "default"
    """default or canary."""
    max_events: Positive = 1000
    """Events that may wait to be sent; one more is dropped and counted."""
    max_bytes: Positive = 64 * 1024 * 1024
    """Bytes of payload that may wait to be sent."""
    connections: Annotated[int, Meta(ge=1, le=64)] = 2
    """Connections to the sink."""
    timeout_seconds: Seconds = 10.0
    """How long the sink may take to accept a connection, and to answer."""
    ca: str = ""
    """File of the CA that signs the sink's certificate, instead of the system's."""
    bearer_token: str | None = None
    """Token shown to the sink. Never shown."""
    allow_loopback: bool = False
    """Whether the sink may be on this machine or in this pod. Metadata services never may."""

    def __post_init__(self) -> None:
        """Refuse what no event could be sent to."""
        if self.url:
            from pillion.web_address import web_address  # noqa: PLC0415 - only who has a sink needs it

            web_address(self.url, of="a sink")
        for entry in self.annotations:
            if "=" not in entry:
                raise ValueError(f"logger.annotations: expected NAME=VALUE, got {entry!r}")


class Settings(Section, frozen=True):
    """The settings of the serving process."""

    workers: Annotated[int, Meta(ge=1, le=64)] | Literal["auto"] = 1
    """Processes that answer on the same ports, each with all models; auto: one for each processor of the quota."""
    http: HttpSettings = HttpSettings()
    """The HTTP(S) data port."""
    applications: ApplicationSettings = ApplicationSettings()
    """How applications are."""
    grpc: GrpcSettings = GrpcSettings()
    """The gRPC data port."""
    admin: AdminSettings = AdminSettings()
    """The admin port."""
    tls: TlsSettings = TlsSettings()
    """TLS of both data ports."""
    drain: DrainSettings = DrainSettings()
    """How the process stops."""
    limits: Limits = Limits()
    """Bounds that protect the process."""
    inference: InferenceSettings = InferenceSettings()
    """Calls of models through the data ports."""
    management: ManagementSettings = ManagementSettings()
    """Changes through the data ports."""
    models: ModelSettings = ModelSettings()
    """What is accepted of artifacts."""
    auth: AuthSettings = AuthSettings()
    """Who may call the data ports."""
    log: LogSettings = LogSettings()
    """Logs."""
    metrics: MetricsSettings = MetricsSettings()
    """Metrics."""
    logger: LoggerSettings = LoggerSettings()
    """The log of payloads."""
    jobs: JobsSettings = JobsSettings()
    """Prediction jobs and trainings."""
    control: ControlSettings = ControlSettings()
    """The unix socket for the drain."""

    def __post_init__(self) -> None:
        """Refuse sockets that several processes would have to share."""
        if self.workers != 1 and (self.http.socket or self.grpc.socket):
            which = "http" if self.http.socket else "grpc"
            raise ValueError(
                f"{which}.socket is set and workers is {self.workers}: a unix socket is one process's; set workers to"
                " 1, or leave it empty"
            )
