"""Every setting of the serving process, in one model.

A value comes from the first of: flag, environment variable ``PILLION_SECTION__KEY``, the ``settings`` of
``runtime.yaml``, default. ``pillion config show`` prints where each came from. The values that other layers need are
handed to them as their own frozen types (:mod:`pillion.server.assembly`); nothing below the server reads this module.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from pillion.dataplane.standing import ShedWhen
from pillion.policy import ConsentPolicy
from pillion.route_prefix import normal_root
from pillion.runtimefile import DEVICE

__all__ = ["Limits", "Section", "Settings"]

Port = Annotated[int, Meta(ge=0, le=65535)]
"""A TCP port; 0 lets the system choose."""
SocketMode = Annotated[str, Meta(pattern=r"^0?[0-7]{3}$")]
Positive = Annotated[int, Meta(gt=0)]
_LARGEST_IN_A_DATABASE: Final = 1000 * 1024 * 1024
"""A value of PostgreSQL takes 1 GiB."""
_UNITS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
Seconds = Annotated[float, Meta(gt=0)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that belong together. msgspec, not pydantic: a server that starts cold imports it six times quicker."""


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


class ManagementSettings(Section, frozen=True):
    """Changes through the data ports."""

    enabled: bool = False
    """Whether models may be deployed, loaded and unloaded through the data ports."""
    token: str | None = None
    """Key for that, shown as auth.api_key is; asked for where it is set, and needed beyond loopback and where callers
    have keys of their own. Never shown."""
    max_upload_bytes: Positive = 16 * 1024 * 1024 * 1024
    """Largest model that is sent as multipart/form-data; it is written to disk as it arrives."""

    def __post_init__(self) -> None:
        """Refuse what no header can carry."""
        require_key(self.token, "management.token (PILLION_MANAGEMENT__TOKEN)")


class ModelSettings(Section, frozen=True):
    """What is accepted of artifacts."""

    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Formats that can run code while they are loaded: deny, perObject (where a model says allowPickle) or allow."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """Classes that were fetched like a model: deny, perObject (where a model says trustCode) or allow."""
    accelerate: Literal["none", "onnx"] = "none"
    """onnx: scikit-learn models are computed by ONNX Runtime where that was seen to give equal answers faster."""
    device: Annotated[str, Meta(pattern=DEVICE)] = "auto"
    """Where models compute that say nothing of it and can: cpu, cuda, cuda:1; auto: by CUDA where there is a device."""
    intra_op_threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads inside one call, of models that say nothing of it; 0: their share of the CPU quota."""
    store: str = ""
    """Folder of the models that requests deploy; they are served again after a restart. Empty: none can be deployed."""
    watch: str = ""
    """Folder whose files and folders are models: what appears in it is served, what goes is not. Empty: none."""
    watch_quiet_seconds: Seconds = 2.0
    """How long a file or folder in it must not have changed, so that no half copied model is loaded."""
    watch_allow_pickle: bool = False
    """Whether formats that can run code are loaded from it, where the policy leaves that to owners."""
    lazy: bool = False
    """Whether models that are deployed, or found in a watched folder, are loaded by their first request."""
    keep_versions: Annotated[int, Meta(ge=0)] = 0
    """Versions of a model that stay in the store, the newest; deployed ones and those with an alias stay. 0: all."""
    keep_seconds: Annotated[float, Meta(ge=0)] = 0.0
    """How long versions stay in the store; the newest, deployed ones and those with an alias stay. 0: for ever."""
    memory_budget: str = ""
    """Memory for models, 4Gi or bytes: above it, lazy ones not used for longest are unloaded. Empty: no bound."""
    declared: str = "/etc/pillion/models/models.json"
    """File of models that are declared while the server runs, followed where its folder is there. Empty: none."""
    declared_folder: str = ""
    """Where their files are kept; by default a folder for temporary files."""
    declared_sources: str = "/mnt/sources"
    """Folder of the mounted volumes, KIND/NAME, that declared models may be taken from. Empty: from none."""
    declared_stores: str = "/etc/pillion/stores"
    """Folder of the entries that describe stores of declared models, a file each, as in the Secret storage-config."""
    health_period_seconds: Seconds = 10.0
    """Seconds between two calls of a model's check_health. While it fails, the model is not ready."""
    health_timeout_seconds: Seconds = 10.0
    """Seconds that it may take."""
    health_failures: Annotated[int, Meta(ge=0)] = 3
    """Failures in a row after which the model is loaded anew, or its worker process replaced; 0: never."""
    bundled: str = ""
    """A runtime.yaml of an image that brings its own models: they are served beside those of --config. Empty: none."""

    def __post_init__(self) -> None:
        """Refuse what is no number of bytes."""
        self.budget()

    def budget(self) -> int | None:
        """The memory budget in bytes."""
        text = self.memory_budget.strip()
        if not text:
            return None
        number = text.rstrip("KMGTi")
        unit = _UNITS.get(text[len(number) :])
        if unit is None or not number.isdecimal() or int(number) == 0:
            raise ValueError(f"models.memory_budget: expected bytes, or a number with Ki, Mi, Gi or Ti, got {text!r}")
        return int(number) * unit


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


def require_key(key: str | None, setting: str) -> None:
    """Refuse what is no key.

    Raises:
        ValueError: names the setting, or the file, that holds it.
    """
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise ValueError(
            f"{setting} is empty, or has white space or characters beyond ASCII, which no "
            "header can carry; a Secret made from a file often ends with a line break: make it with --from-literal"
        )


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


class JobsSettings(Section, frozen=True):
    """Prediction jobs and trainings."""

    folder: str = ""
    """Where jobs, their results, logs and checkpoints are kept, for one server at a time. Empty: none are taken."""
    database: str | None = None
    """URL of a PostgreSQL database (postgresql://...) that servers of one service share, instead. Never shown."""
    database_schema: Annotated[str, Meta(pattern="^[a-z_][a-z0-9_]{0,62}$")] = "pillion"
    """Schema of its tables, one for each service."""
    lease_seconds: Annotated[float, Meta(ge=1, le=600)] = 15.0
    """How long a server that shares them may be silent before its jobs are taken up by others."""
    make_when_needed: bool = False
    """Whether the folder may be left alone until the first job; else it is opened, and checked, at the start."""
    predictions_enabled: bool = True
    """Whether tasks can be called as jobs; off: there are no such routes."""
    trainings_enabled: bool = True
    """Whether classes can be trained; off: there are no such routes."""
    predictions: Annotated[int, Meta(ge=1, le=256)] = 2
    """Prediction jobs that run at a time."""
    trainings: Annotated[int, Meta(ge=1, le=64)] = 1
    """Trainings that run at a time."""
    roots: tuple[str, ...] = ()
    """Folders that trainings may read file: data from, and write output_path below, besides the jobs' and the code's
    own."""
    max_queued: Positive = 100_000
    """Jobs of a kind that may wait; one more is answered "queue full"."""
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    """Runs that may be lost in a row (the server or the process killed) before a job is ERRORED."""
    prediction_seconds: Seconds = 3600.0
    """How long a prediction job may run."""
    keep_seconds: Seconds = 7 * 86400.0
    """How long jobs are kept after their end."""
    keep_jobs: Positive = 10_000
    """Ended jobs that are kept at most: of more the oldest go."""
    inline_bytes: Annotated[int, Meta(ge=0, le=16 * 1024 * 1024)] = 64 * 1024
    """Inputs and results of at most so many bytes are kept in the store itself, larger ones as files."""
    max_result_bytes: Positive = 256 * 1024 * 1024
    """Largest result of a prediction job; at most 1000 MiB in a database."""
    max_stored_bytes: Positive = 16 * 1024**3
    """Inputs and results of all jobs that are kept: one more that would go beyond is refused."""
    cancel_grace_seconds: Seconds = 10.0
    """How long a training that is told to stop may take before its processes are killed."""
    max_memory_bytes: Annotated[int, Meta(ge=0)] = 0
    """Memory (address space) of a training's process; 0: as much as there is."""
    max_cpu_seconds: Annotated[int, Meta(ge=0)] = 0
    """Processor time of a training's process; 0: as much as it takes."""
    max_log_bytes: Annotated[int, Meta(ge=4096)] = 16 * 1024 * 1024
    """Output of a training that is kept: of more the oldest goes."""

    def __post_init__(self) -> None:
        """Refuse two places, and a database that is none."""
        if self.database is None:
            return
        if not self.database.startswith(("postgresql://", "postgres://")):
            raise ValueError("jobs.database: write a URL, postgresql://USER@HOST:5432/DATABASE")
        if self.folder:
            raise ValueError("jobs.folder and jobs.database are two places for the same jobs: name one")
        if self.max_result_bytes > _LARGEST_IN_A_DATABASE:
            raise ValueError("jobs.max_result_bytes: a database takes 1048576000 (1000 MiB) at most")


class ControlSettings(Section, frozen=True):
    """The unix socket through which preStop asks for the drain."""

    socket: str = "/run/pillion/control.sock"
    """Path of the socket; the file is readable by this user only. Empty: no control socket."""


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
