"""Handing each layer the values it owns: the one place that knows both the settings and the layers' own types."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from pillion.dataplane.plane import DataPlane
from pillion.dataplane.settings import PlaneSettings
from pillion.metrics import RuntimeMetrics
from pillion.protocol.limits import CodecLimits
from pillion.repository.repository import ModelRepository
from pillion.repository.served import RepositorySettings
from pillion.route_prefix import normal_root
from pillion.server.failures import ExitCode, StartError
from pillion.server.logs import ABOUT
from pillion.server.management_rights import management_access, management_token
from pillion.transport.grpc.limits import GrpcLimits
from pillion.transport.grpc.options import GrpcOptions
from pillion.transport.grpc.runtime_services import RuntimeParts
from pillion.transport.grpc.server import GrpcServer
from pillion.transport.http.app import Fallback
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.limits import HttpLimits
from pillion.transport.http.options import DispatchOptions
from pillion.transport.management_access import ManagementOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp

    from pillion.applications.group import Applications
    from pillion.applications.served import ApplicationRecord
    from pillion.authoring.context import Working
    from pillion.authoring.project import Project
    from pillion.execution.messages import Ask
    from pillion.management.deployments import Deployments
    from pillion.metrics import Registry
    from pillion.runtimefile import DesiredApplication
    from pillion.server.api_keys import ApiKeys
    from pillion.server.jobs import ServerJobs
    from pillion.server.observability import Observability
    from pillion.server.settings import Settings
    from pillion.transport.authentication import Callers
    from pillion.transport.body_budget import BodyBudget
    from pillion.transport.drain import DrainState
    from pillion.transport.elsewhere import Elsewhere
    from pillion.transport.grpc.options import RpcRecord
    from pillion.transport.grpc.passing import GrpcPassing
    from pillion.transport.http.forwarded import TrustedProxies
    from pillion.transport.http.guard import Guard
    from pillion.transport.http.options import AnswerRecord
    from pillion.transport.http.passing import HttpPassing
    from pillion.worker_context import WorkerContext

__all__ = [
    "admin_limits",
    "build_api_keys",
    "build_applications",
    "build_dispatcher",
    "build_grpc",
    "build_passing",
    "build_plane",
    "http_limits",
]

_LEAST_PATIENCE = 300.0
"""Seconds: streams of a model may be silent for long."""
_access = logging.getLogger("pillion.access")


def http_limits(settings: Settings) -> HttpLimits:
    """Bounds of the HTTP data port."""
    limits = settings.limits
    return HttpLimits(
        max_body_bytes=limits.max_body_bytes,
        max_header_bytes=limits.max_header_bytes,
        max_header_count=limits.max_header_count,
        max_uri_bytes=limits.max_uri_bytes,
        header_timeout=limits.header_timeout_seconds,
        body_timeout=limits.body_timeout_seconds,
        min_body_rate=limits.min_body_rate,
        max_connections=limits.max_connections,
        uploads={b"/management/models": settings.management.max_upload_bytes} if settings.management.enabled else {},
        keep_alive=settings.http.keep_alive_timeout,
    )


def admin_limits(settings: Settings) -> HttpLimits:
    """Bounds of the admin port: it takes no bodies, and has connections of its own so that probes get through."""
    return msgspec.structs.replace(http_limits(settings), max_body_bytes=1024, max_connections=128)


def codec_limits(settings: Settings) -> CodecLimits:
    """Bounds on the content of a request."""
    limits = settings.limits
    return CodecLimits(
        max_elements=limits.max_elements,
        max_tensors=limits.max_tensors,
        max_json_depth=limits.max_json_depth,
        max_string_bytes=limits.max_string_bytes,
    )


def build_plane(
    settings: Settings, registry: Registry, classes: Mapping[str, type[Any]], cpus: int | None = None
) -> DataPlane:
    """The data plane with an empty repository; ``classes`` are those that the embedding program hands over, ``cpus``
    the processors to use where those of this process's quota are shared.
    """
    limits = settings.limits
    accepted = settings.models
    return DataPlane(
        repository=ModelRepository(
            RepositorySettings(
                pickle_policy=accepted.pickle_policy,
                code_policy=accepted.code_policy,
                accelerate=accepted.accelerate,
                device=accepted.device,
                intra_op_threads=accepted.intra_op_threads or None,
                cpus=cpus,
                classes=classes,
                memory_budget=accepted.budget(),
                measure=bool(accepted.pod),
                unload_grace_seconds=settings.drain.grace_seconds,
                health_period_seconds=accepted.health_period_seconds,
                health_timeout_seconds=accepted.health_timeout_seconds,
                health_failures=accepted.health_failures,
            )
        ),
        metrics=RuntimeMetrics(registry, settings.metrics.compatibility),
        settings=PlaneSettings(
            timeout_seconds=limits.deadline_seconds,
            max_queue=limits.max_queue,
            max_in_flight=limits.max_in_flight,
            shed_when=limits.shed_when,
            priority_levels=limits.priority_levels,
            default_priority=limits.default_priority,
            adaptive=limits.concurrency == "auto",
        ),
        answer=_answer,
    )


async def _answer(working: Working, ask: Ask) -> Any:  # noqa: ANN401 - as the model answers
    from pillion.applications.asked import answer  # noqa: PLC0415 - few models call others

    return await answer(working, ask)


def build_dispatcher(
    plane: DataPlane,
    settings: Settings,
    drain: DrainState,
    registry: Registry,
    observability: Observability,
    deployments: Callable[[], Deployments],
    bodies: BodyBudget,
    jobs: ServerJobs | None = None,
    applications: Applications | None = None,
    unready: Callable[[], str] = str,
    *,
    key: Callers | None = None,
    passing: HttpPassing | None = None,
) -> Dispatcher | Guard | TrustedProxies:
    """The ASGI application of the HTTP data port; ``deployments`` is called by the first request that manages."""

    def management() -> ASGIApp:
        from pillion.transport.http.management import ManagementApp  # noqa: PLC0415 - most servers never need it

        return ManagementApp(
            deployments(),
            plane,
            ManagementOptions(
                access=management_access(settings, settings.http.host),
                max_json_bytes=settings.limits.max_body_bytes,
                max_upload_bytes=settings.management.max_upload_bytes,
            ),
        )

    def project() -> Project | None:
        from pillion.authoring.project import project_of  # noqa: PLC0415 - only for who asks for the OpenAPI document

        return project_of([definition.cls for _, definition in plane.definitions()])

    dispatcher = Dispatcher(
        plane,
        Fallback(
            plane,
            settings.admin.port,
            plane,
            plane,
            registry if settings.metrics.on_data_port else None,
            management,
            jobs,
            project,
            manages=settings.management.enabled,
            inference=settings.inference.enabled,
        ),
        DispatchOptions(
            max_body_bytes=settings.limits.max_body_bytes,
            bodies=bodies,
            inference=settings.inference.enabled,
            max_form_parts=settings.limits.max_form_parts,
            max_part_header_bytes=settings.limits.max_part_header_bytes,
            compress_min_bytes=settings.http.compress_min_bytes,
            websocket_idle=settings.http.websocket_idle_seconds,
            codec=codec_limits(settings),
            management=management_access(settings, settings.http.host),
            callers=key,
            drain=drain,
            root_path=normal_root(settings.http.root_path, "http.root_path"),
            unready=unready,
            passing=passing,
            on_answer=_log_answer if settings.log.access > 0 else None,
            access=settings.log.access,
            tracer=observability.tracer,
            payloads=observability.payloads,
        ),
        tasks=plane,
        texts=plane,
        jobs=jobs,
        applications=applications,
    )
    app = _guarded(dispatcher, key, plane)
    if not settings.http.trusted_proxies:
        return app
    from pillion.transport.http.forwarded import TrustedProxies  # noqa: PLC0415 - only where there are any

    return TrustedProxies(app, settings.http.trusted_proxies, settings.http.proxy_headers)


def _guarded(dispatcher: Dispatcher, key: Callers | None, plane: DataPlane) -> Dispatcher | Guard:
    if key is None:
        return dispatcher
    from pillion.transport.http.guard import Guard  # noqa: PLC0415 - only where there is a key

    return Guard(dispatcher, key, plane)


def build_passing(
    settings: Settings, elsewhere: Elsewhere | None, bodies: BodyBudget
) -> tuple[HttpPassing | None, GrpcPassing | None]:
    """What passes requests for models of other pods on, by protocol; nothing where every pod has every model."""
    if elsewhere is None:
        return None, None
    from pillion.transport.grpc.passing import GrpcPassing  # noqa: PLC0415 - few servers have a placement
    from pillion.transport.http.passing import HttpPassing  # noqa: PLC0415 - as above

    limit = settings.limits.max_body_bytes
    patience = max(_LEAST_PATIENCE, settings.limits.deadline_seconds + 5)
    return (
        HttpPassing(elsewhere, settings.http.port, limit, bodies, patience),
        GrpcPassing(elsewhere, settings.grpc.port, limit),
    )


def build_applications(
    desired: Sequence[DesiredApplication],
    objects: Mapping[str, object],
    settings: Settings,
    registry: Registry,
    plane: DataPlane,
    bodies: BodyBudget,
    context: WorkerContext | None = None,
) -> Applications | None:
    """The applications, not started yet; None where there are none.

    Raises:
        StartError: two are in each other's way.
    """
    if not desired:
        return None
    import random  # noqa: PLC0415 - most servers serve models only

    from pillion.applications.group import ApplicationError, Applications  # noqa: PLC0415 - as above
    from pillion.applications.health import HealthOptions  # noqa: PLC0415 - as above
    from pillion.applications.served import ApplicationOptions  # noqa: PLC0415 - as above

    asked = settings.applications
    http, limits, share = settings.http, settings.limits, settings.log.access
    options = ApplicationOptions(
        own=frozenset({"/metrics"}) if settings.metrics.on_data_port else frozenset(),
        timeout=http.request_timeout_seconds,
        first_byte=http.first_byte_timeout_seconds,
        idle=http.stream_idle_seconds,
        max_ongoing=limits.max_in_flight,
        max_queued=limits.max_queue,
        websocket_idle=http.websocket_idle_seconds,
        compress_min_bytes=http.compress_min_bytes,
        bodies=bodies,
        health=HealthOptions(asked.health_period_seconds, asked.health_timeout_seconds, asked.health_failures),
        plane=plane,
        on_ended=_log_application if share > 0 else None,
        choose=None if share <= 0 else lambda: share >= 1 or random.random() < share,  # noqa: S311 - a sample
    )
    try:
        return Applications(desired, options, registry, objects, context)
    except ApplicationError as error:
        raise StartError(ExitCode.USAGE, str(error)) from None


def _log_application(record: ApplicationRecord) -> None:
    """The line of a request of an application."""
    _access.info(
        "%s %s %d",
        record.method,
        record.path,
        record.status,
        extra={
            "request_id": record.request_id,
            "application": record.application,
            "route": record.route,
            "status": record.status,
            "ms": round(record.seconds * 1000, 3),
            "bytes": record.bytes,
            **_about(record),
        },
    )


def _about(record: ApplicationRecord | AnswerRecord) -> dict[str, object]:
    """What the message of a line has already or only some formats have: see :mod:`pillion.server.access_log`."""
    return {ABOUT: {"method": record.method, "path": record.path, "client": record.client, "version": record.version}}


def build_grpc(
    plane: DataPlane,
    settings: Settings,
    observability: Observability,
    bodies: BodyBudget,
    deployments: Callable[[], Deployments],
    jobs: ServerJobs,
    *,
    shared_port: bool = False,
    key: Callers | None = None,
    passing: GrpcPassing | None = None,
) -> GrpcServer:
    """The server of the gRPC data port, which other processes listen on, too, where it is a ``shared_port``."""
    limits = settings.limits
    return GrpcServer(
        plane,
        GrpcLimits(
            max_message_bytes=limits.max_body_bytes,
            max_metadata_bytes=limits.max_header_bytes,
            max_concurrent_rpcs=limits.max_rpcs,
            max_concurrent_streams=limits.max_streams,
            max_connection_age=settings.grpc.max_connection_age_seconds,
            # A call that is in progress when its connection has aged may use all of its time.
            max_connection_age_grace=max(300.0, limits.deadline_seconds),
            shared_port=shared_port,
            max_connections=limits.max_connections,
            handshake_timeout=limits.header_timeout_seconds,
            message_timeout=limits.body_timeout_seconds,
            min_message_rate=limits.min_body_rate,
        ),
        GrpcOptions(
            engine=settings.grpc.engine,
            inference=settings.inference.enabled,
            bodies=bodies,
            codec=codec_limits(settings),
            management=management_access(settings, settings.grpc.host),
            api_key=key,
            passing=passing,
            on_answer=_log_rpc if settings.log.access > 0 else None,
            access=settings.log.access,
            tracer=observability.tracer,
            payloads=observability.payloads,
        ),
        tasks=plane,
        texts=plane,
        runtime=RuntimeParts(deployments, jobs, plane, settings.management.max_upload_bytes),
    )


def build_api_keys(settings: Settings) -> ApiKeys | None:
    """What both data ports ask callers for; None where they ask for nothing.

    Raises:
        StartError: what is to be asked for is not there.
    """
    auth = settings.auth
    if auth.api_key is None and not auth.api_keys and not auth.inference_service:
        return None
    from pillion.server.api_keys import ApiKeys  # noqa: PLC0415 - only where callers are asked

    return ApiKeys(settings, management_token(settings))


def _log_rpc(record: RpcRecord) -> None:
    """The line of a call over gRPC."""
    about = {"method": "POST", "path": record.method, "version": "2"}
    _access.info("%s %s", record.method, record.status, extra={**_fields(record), ABOUT: about})


def _log_answer(record: AnswerRecord) -> None:
    """The line of a request over HTTP."""
    _access.info(
        "%s %s %d",
        record.method,
        record.path,
        record.status,
        extra={**_fields(record), "model": record.model, "bytes": record.bytes, **_about(record)},
    )


def _fields(record: AnswerRecord | RpcRecord) -> dict[str, object]:
    fields: dict[str, object] = {
        "request_id": record.request_id,
        "status": record.status,
        "code": record.code,
        "ms": round(record.seconds * 1000, 3),
    }
    return {**fields, "trace_id": record.trace_id} if record.trace_id else fields
