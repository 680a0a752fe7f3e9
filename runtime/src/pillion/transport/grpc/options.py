"""What the gRPC server is told besides its limits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from pillion.protocol.limits import CodecLimits
from pillion.transport.body_budget import BodyBudget
from pillion.transport.management_access import ManagementAccess

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.payload.log import PayloadLog
    from pillion.tracing.tracer import Tracer
    from pillion.transport.authentication import Callers
    from pillion.transport.grpc.passing import GrpcPassing

__all__ = ["GrpcOptions", "RpcRecord"]


class RpcRecord(msgspec.Struct, frozen=True):
    """One finished call of the inference service, for the access log."""

    request_id: str
    method: str
    status: str
    """Name of the gRPC status, such as ``OK``."""
    code: str
    """The error's code, empty on success."""
    seconds: float
    trace_id: str = ""
    """Of the caller's trace, or of ours where it is sampled; empty without one."""


class GrpcOptions(msgspec.Struct, frozen=True):
    """Settings and collaborators of the gRPC server."""

    engine: str = "grpcio"
    """What carries the calls: ``grpcio`` or ``asyncio``."""
    bodies: BodyBudget = msgspec.field(default_factory=BodyBudget)
    """Bytes of messages in memory at a time, all together; grpcio has no such bound."""
    inference: bool = True
    """Whether models compute for calls; off: their methods are not there."""
    codec: CodecLimits = msgspec.field(default_factory=CodecLimits)
    management: ManagementAccess = ManagementAccess()
    """Who may load and unload models through this port; the others are told the setting."""
    api_key: Callers | None = None
    """What calls other than health must show."""
    passing: GrpcPassing | None = None
    """Passes on what is for models that other pods have; None where every pod has all."""
    clock: Callable[[], float] = time.monotonic
    """The data plane's clock, for deadlines."""
    health_poll: float = 0.25
    """Seconds between two looks at the data plane while somebody watches its health."""
    on_answer: Callable[[RpcRecord], None] | None = None
    """Called after calls of the inference service and of tasks."""
    access: float = 1.0
    """The share of these calls that it is called for, decided when they begin."""
    tracer: Tracer | None = None
    """Chooses the calls that are traced."""
    payloads: PayloadLog | None = None
    """Chooses the calls whose payload is kept, and takes it."""
