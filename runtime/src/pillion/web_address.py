"""A URL that this process posts to, taken apart. Pure: settings and the operator check such URLs too."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

__all__ = ["WebAddress", "web_address"]


class WebAddress(msgspec.Struct, frozen=True):
    """Its parts; ``target`` is path and query."""

    host: str
    port: int
    target: str
    secure: bool


def web_address(url: str, *, of: str) -> WebAddress:
    """Take a URL apart.

    Args:
        url: http:// or https://.
        of: whose it is, for messages: "a sink".

    Raises:
        ValueError: it is none that anything can be sent to; the text says what is wrong.
    """
    if not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(f"the URL of {of} holds characters that have to be percent-encoded")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url[:200]!r} is no address of {of}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is no address of {of}: expected http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the URL of {of} holds a password: it would be shown with it; give a token by itself")
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(parts.hostname, port or (443 if secure else 80), target, secure)
