"""What one HTTP connection may ask for, and what happens beyond it.

Every limit has a setting (``limits.*``), a default, a counter (``pillion_http_refused_total{limit}``) and an error
sentence that names the setting. The values are plain so that the engine reads attributes, not a settings model.
"""

from __future__ import annotations

import msgspec

__all__ = ["HttpLimits"]


class HttpLimits(msgspec.Struct, frozen=True):
    """Limits of the HTTP engine. Sizes are bytes, times are seconds."""

    max_body_bytes: int = 64 * 1024 * 1024
    """Largest request body; one byte more is 413 before it is read."""
    max_header_bytes: int = 32 * 1024
    """Request line and header fields together; 431 (414 where the request line alone is the cause)."""
    max_header_count: int = 100
    """Header fields of one request; 431."""
    max_uri_bytes: int = 8 * 1024
    """The request target; 414."""
    header_timeout: float = 10.0
    """From the first byte of a request (or from connecting) to the end of its headers; 408, then close."""
    body_timeout: float = 30.0
    """Time a body may take on top of what its size earns by ``min_body_rate``; 408, then close."""
    min_body_rate: int = 1024
    """Bytes per second that a sender must reach once ``body_timeout`` is used up."""
    max_connections: int = 4096
    """Connections open at a time; one more is answered 503 and closed."""
    keep_alive: float = 90.0
    """How long an idle connection is kept; longer than the idle time of common proxies."""
    write_stall: float = 30.0
    """How long a client may take nothing of an answer that is ready for it, before its connection is cut."""
    uploads: dict[bytes, int] = {}
    """Largest body by path, where it is another: of routes that write what they are sent to disk while it arrives."""
    linger: float = 1.0
    """How long bytes of a refused request are read and thrown away, so that its sender sees the answer rather than a
    reset (RFC 9112, section 9.6)."""

    def body_of(self, target: bytes) -> int:
        """The largest body that a request target takes."""
        return self.uploads.get(target.partition(b"?")[0], self.max_body_bytes)
