"""What one gRPC connection may ask for, and how long it lives."""

from __future__ import annotations

import msgspec

__all__ = ["GrpcLimits"]


class GrpcLimits(msgspec.Struct, frozen=True):
    """Limits of the gRPC server. Sizes are bytes, times are seconds; each is a setting."""

    max_message_bytes: int = 64 * 1024 * 1024
    """Largest request message; a larger one is RESOURCE_EXHAUSTED before it reaches us. Answers are not limited."""
    max_metadata_bytes: int = 32 * 1024
    """Metadata of one call."""
    max_concurrent_rpcs: int = 4096
    """Calls in progress on the whole server; one more is RESOURCE_EXHAUSTED at once."""
    max_concurrent_streams: int = 256
    """Calls in progress on one connection; one more waits on the client's side."""
    max_connection_age: float = 20.0
    """After this (give or take a tenth, at random) a connection is asked to end, so that clients find new pods and
    leave old ones. It has to be on from the start: it cannot be set when draining begins."""
    max_connection_age_grace: float = 300.0
    """How long calls in progress may go on after that; at least the longest deadline."""
    keepalive_time: float = 60.0
    """An idle connection with calls in progress is pinged after this."""
    keepalive_timeout: float = 20.0
    """A connection that does not answer the ping by then is closed."""
    min_ping_interval: float = 5.0
    """Clients that ping more often are told to stop."""

    shared_port: bool = False
    """Whether other processes of this server listen on the port, too."""
    max_connections: int = 4096
    """Connections open at a time; grpcio has no such bound."""
    handshake_timeout: float = 10.0
    """For a TLS handshake and the beginning of HTTP/2, and for a block of metadata to end."""
    message_timeout: float = 30.0
    """For a message to arrive, on top of what its size earns by ``min_message_rate``, and for a client to take an
    answer; grpcio has no such bounds but the call's deadline and the connection's age."""
    min_message_rate: float = 1024.0
    """Bytes per second that a slow message must reach."""

    def channel_arguments(self) -> list[tuple[str, int]]:
        """The limits as gRPC core's channel arguments. Unless the port is shared, a second server on it must fail."""
        return [
            ("grpc.so_reuseport", int(self.shared_port)),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            ("grpc.max_connection_age_ms", _milliseconds(self.max_connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.max_connection_age_grace)),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_time)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.http2.min_ping_interval_without_data_ms", _milliseconds(self.min_ping_interval)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake_timeout)),
        ]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
