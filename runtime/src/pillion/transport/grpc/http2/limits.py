"""Bounds of the asyncio engine's connections."""

from __future__ import annotations

import msgspec

__all__ = ["ConnectionLimits"]


class ConnectionLimits(msgspec.Struct, frozen=True):
    """Sizes are bytes, times are seconds. Those of :class:`~pillion.transport.grpc.limits.GrpcLimits` are its own."""

    max_message_bytes: int
    max_metadata_bytes: int
    max_streams: int
    header_timeout: float
    """For the preface, and for a header block."""
    body_timeout: float
    """For a message, on top of what its size earns by ``min_body_rate``, and for a client to take an answer."""
    min_body_rate: float
    keepalive_time: float
    keepalive_timeout: float
    min_ping_interval: float
    max_age_grace: float
    stream_window: int = 1024 * 1024
    """Bytes that wait for a call to read them."""
    connection_window: int = 4 * 1024 * 1024
    """Bytes on the way, of all streams."""
    max_untaken: int = 16 * 1024 * 1024
    """Bytes of answers that wait for the client to take them; then no more of its calls begin."""
    ping_strikes: int = 2
    """Pings too many that are overlooked."""
    free_frames: int = 1000
    """Frames that say nothing (empty ones, priorities, settings, unknown ones, data of ended streams), at once."""
    free_frames_per_second: float = 100.0
    resets: int = 1000
    """Calls in progress that the client ends by RST_STREAM, at once."""
    resets_per_second: float = 200.0
