"""What the dispatcher is told by the server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from pillion.protocol.limits import CodecLimits
from pillion.transport.body_budget import BodyBudget
from pillion.transport.drain import DrainState
from pillion.transport.http.content_coding import Expander
from pillion.transport.management_access import ManagementAccess

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.payload.log import PayloadLog
    from pillion.tracing.tracer import Tracer
    from pillion.transport.authentication import Callers
    from pillion.transport.http.passing import HttpPassing

__all__ = ["AnswerRecord", "DispatchOptions"]


class AnswerRecord(msgspec.Struct, frozen=True):
    """One finished request, for the access log. ``status`` 499 means that the client left before the answer."""

    request_id: str
    method: str
    path: str
    status: int
    code: str
    """The error's code, empty on success."""
    seconds: float
    model: str = ""
    trace_id: str = ""
    """Of the caller's trace, or of ours where it is sampled; empty without one."""
    client: str = ""
    """The address of who asked."""
    version: str = "1.1"
    """Of HTTP."""
    bytes: int = 0
    """Of the answer's body; 0 for a stream, which is written elsewhere."""


class DispatchOptions(msgspec.Struct, frozen=True):
    """Settings and collaborators of the HTTP dispatcher."""

    max_body_bytes: int = 64 * 1024 * 1024
    """Larger bodies are answered 413, by their stated length or as soon as they pass it."""
    bodies: BodyBudget = msgspec.field(default_factory=BodyBudget)
    """Bodies in memory at a time, all together (see :mod:`pillion.transport.http.budget`)."""
    inference: bool = True
    """Whether models compute for requests; off: their routes are not there."""
    max_form_parts: int = 256
    """Parts of a ``multipart/form-data`` body."""
    max_part_header_bytes: int = 8 * 1024
    """Of the headers of each part."""
    compress_min_bytes: int = 8 * 1024
    """Answers of at least so many bytes are compressed for clients that name one coding they want; 0: none are."""
    websocket_idle: float = 300.0
    """Seconds that a task may wait for a message of its client over WebSocket."""
    codec: CodecLimits = msgspec.field(default_factory=CodecLimits)
    management: ManagementAccess = ManagementAccess()
    """Who may load and unload models through this port; the others are told the setting."""
    callers: Callers | None = None
    """Who may call, and what they are called; None where everybody may."""
    root_path: str = ""
    """Below which a proxy publishes all, without a slash at its end."""
    drain: DrainState = msgspec.field(default_factory=DrainState)
    unready: Callable[[], str] = str
    """Why the server should get no requests, for ``/-/healthz``; empty when it should."""
    passing: HttpPassing | None = None
    """Passes on what is for models that other pods have; None where every pod has all."""
    clock: Callable[[], float] = time.monotonic
    """The data plane's clock, for deadlines."""
    disconnect_grace: float = 0.01
    """Seconds a call may run before the connection is watched for the client's leaving."""
    expander: Expander = msgspec.field(default_factory=lambda: Expander(0))
    """Expands bodies to at most ``max_body_bytes``; one for all routes, since it bounds how many do at a time."""
    on_answer: Callable[[AnswerRecord], None] | None = None
    """Called after requests that the dispatcher answers itself."""
    access: float = 1.0
    """The share of these requests that it is called for, decided when they begin: the others go the quick way."""
    tracer: Tracer | None = None
    """Chooses the requests that are traced."""
    payloads: PayloadLog | None = None
    """Chooses the requests whose payload is kept, and takes it."""

    def __post_init__(self) -> None:
        """Bind the expander to the limit."""
        msgspec.structs.force_setattr(self, "expander", Expander(self.max_body_bytes))
