"""The URL of a sink, taken apart. Pure: settings and the operator check it too."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

__all__ = ["SinkAddress", "sink_address"]


class SinkAddress(msgspec.Struct, frozen=True):
    """The parts of the sink's URL."""

    host: str
    port: int
    target: str
    secure: bool


def sink_address(url: str) -> SinkAddress:
    """Take the URL apart.

    Raises:
        ValueError: it is none that events can be sent to; the text says what is wrong.
    """
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("the sink's URL holds characters that have to be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url[:200]!r} is no address of a sink: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is no address of a sink: expected http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the sink's URL holds a password: give a token in logger.bearer_token")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return SinkAddress(parts.hostname, port or (443 if secure else 80), target, secure)
