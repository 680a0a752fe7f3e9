"""Paths below which applications answer: how they are written, and which of several one request belongs to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RESERVED", "below", "find", "normal_prefix"]

_Value = TypeVar("_Value")

RESERVED: Final = ("-", "api", "management", "v2")
"""First segments that stay the runtime's own, also where an application is at ``/``."""


def normal_prefix(text: str) -> str:
    """The prefix as it is compared: ``/`` or ``/shop``, without a slash at its end.

    Raises:
        ValueError: it is no path, or one of the runtime's own; the text says what to write instead.
    """
    if not text.startswith("/"):
        raise ValueError(f"routePrefix {text!r} does not begin with a slash: write /{text.strip('/')}")
    prefix = text.rstrip("/") or "/"
    segments = prefix.split("/")[1:]
    if prefix != "/" and not all(segments):
        raise ValueError(f"routePrefix {text!r} has an empty segment: write {'/' + '/'.join(filter(None, segments))}")
    if any(character in prefix for character in "{}?#%\\ ") or not prefix.isprintable():
        raise ValueError(f"routePrefix {text!r}: a plain path, without parameters, query or escapes, such as /shop")
    if any(segment in (".", "..") for segment in segments):
        raise ValueError(f"routePrefix {text!r} has a segment of dots, which clients take out: write it without")
    if segments[0] in RESERVED:
        raise ValueError(f"routePrefix {text!r}: /{segments[0]} is the runtime's own: choose another, such as /shop")
    return prefix


def below(path: str, root: str) -> str:
    """The path without the one below which a proxy publishes all; unchanged where the proxy took it off already."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def find(path: str, applications: Mapping[str, _Value]) -> _Value | None:
    """Whose prefix is the longest that the path is below, segment by segment; None for paths of the runtime's own."""
    if path.split("/", 2)[1:2] and path.split("/", 2)[1] in RESERVED:
        return None
    here = path
    while here:
        found = applications.get(here)
        if found is not None:
            return found
        here = here[: here.rfind("/")]
    return applications.get("/")
