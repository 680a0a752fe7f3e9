"""Observed calls over gRPC: as :mod:`pillion.transport.http.observation`.

Source of names: OpenTelemetry semantic conventions 1.30, gRPC server spans. What is ours begins with ``pillion.``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from pillion.tracing.context import trace_id_of
from pillion.transport.grpc.errors import GRPC_STATUS
from pillion.transport.grpc.options import RpcRecord
from pillion.transport.observation import Chooser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpc.aio import ServicerContext

    from pillion.errors import PillionError
    from pillion.transport.grpc.options import GrpcOptions
    from pillion.transport.observation import Observed

    Context = ServicerContext[Any, Any]

__all__ = ["RpcObserver", "observer_of"]

PROTOBUF: Final = "application/x-protobuf"
"""The media type of a payload: the message as it went over the wire."""
_SERVER_FAULTS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Statuses that make a server's span an error."""


def observer_of(options: GrpcOptions) -> RpcObserver | None:
    """The observer of a service; None where nobody wants to know anything, which costs nothing."""
    if options.on_answer is None and options.tracer is None and options.payloads is None:
        return None
    return RpcObserver(options)


class RpcObserver:
    """Chooses calls, and tells of them when they have ended."""

    def __init__(self, options: GrpcOptions) -> None:
        access = options.access if options.on_answer is not None else 0.0
        self._chooser = Chooser(options.tracer, access, options.payloads, options.clock)
        self._on_answer = options.on_answer

    def choose(self, context: Context, *, prediction: bool) -> Observed | None:
        """What is to be known of a call that begins; None for nothing."""
        return self._chooser.choose(_headers(context), prediction=prediction)

    def request(self, observed: Observed, message: bytes, identity: str) -> None:
        """Give the message to the log of payloads where that wants it."""
        if self._chooser.payloads is not None and observed.payload is not None:
            self._chooser.payloads.request(observed.payload, PROTOBUF, message, identity)

    def response(self, observed: Observed, message: bytes) -> None:
        """The same for the answer."""
        if self._chooser.payloads is not None and observed.payload is not None:
            self._chooser.payloads.response(observed.payload, PROTOBUF, message)

    def ended(
        self,
        observed: Observed,
        context: Context,
        service: str,
        method: str,
        identity: str,
        failure: PillionError | None,
        status: grpc.StatusCode | None = None,
    ) -> None:
        """Tell of a call; ``status`` is what a failure was answered with, where it is not the usual one."""
        status = status or (grpc.StatusCode.OK if failure is None else GRPC_STATUS[failure.code])
        code = "" if failure is None else failure.code.value
        ended = self._chooser.clock()
        times = observed.times
        if observed.logged and self._on_answer is not None:
            trace_id = times.trace_id or trace_id_of(_headers(context))
            self._on_answer(RpcRecord(identity, method, status.name, code, ended - observed.began, trace_id))
        if observed.trace is None or self._chooser.tracer is None:
            return
        attributes: dict[str, str | int | float | bool] = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": status.value[0],
            "client.address": _address(context.peer()),
            "pillion.request.id": identity,
        }
        if times.model:
            attributes["pillion.model.name"], attributes["pillion.model.version"] = times.model, times.version
        if code:
            attributes["error.type"] = code
        failed = status in _SERVER_FAULTS
        name = f"{service}/{method}"
        self._chooser.tracer.ended(observed.trace, name, observed.began, ended, times, attributes, failed=failed)


def _headers(context: Context) -> Mapping[bytes, bytes]:
    """The metadata as HTTP headers are; binary ones are left out."""
    metadata = context.invocation_metadata() or ()
    return {key.encode(): value.encode() for key, value in metadata if isinstance(value, str)}


def _address(peer: str) -> str:
    """The address of a peer as gRPC writes it: ``ipv4:127.0.0.1:50000``."""
    return peer.partition(":")[2].rpartition(":")[0].strip("[]") or peer
