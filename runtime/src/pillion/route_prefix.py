"""Paths below which applications answer: how they are written, and which of several one request belongs to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = ["RESERVED", "below", "find", "normal_prefix", "normal_root", "rooted"]

_Value = TypeVar("_Value")

RESERVED: Final = ("-", "api", "management", "v2")
"""First segments that stay the runtime's own, also where an application is at ``/``."""
_PATHS_OF_OURS: Final = frozenset(
    {*RESERVED, "docs", "health", "info", "invocations", "metrics", "openai", "openapi.json", "redoc", "v1"}
)
"""First segments of all that the runtime answers itself."""


def normal_prefix(text: str) -> str:
    """The prefix as it is compared: ``/`` or ``/shop``, without a slash at its end.

    Raises:
        ValueError: it is no path, or one of the runtime's own; the text says what to write instead.
    """
    prefix = _plain(text, f"routePrefix {text!r}", "/shop")
    first = prefix.split("/")[1]
    if first in RESERVED:
        raise ValueError(f"routePrefix {text!r}: /{first} is the runtime's own: choose another, such as /shop")
    return prefix


def normal_root(text: str, name: str) -> str:
    """The path below which a proxy publishes all, without a slash at its end; empty where there is none.

    Args:
        text: as it was written.
        name: what the setting is called, for messages.

    Raises:
        ValueError: it is no path, or one that the runtime answers itself: what is below which would be unclear.
    """
    if not text:
        return ""
    root = _plain(text, f"{name} {text!r}", "/ml").rstrip("/")
    first = root.split("/")[1] if root else ""
    if first in _PATHS_OF_OURS:
        raise ValueError(
            f"{name} {text!r}: the runtime answers /{first} itself, and below such a path could not be told what is"
            " asked for: publish it below another, such as /ml"
        )
    return root


def _plain(text: str, what: str, such_as: str) -> str:
    if not text.startswith("/"):
        raise ValueError(f"{what} does not begin with a slash: write /{text.strip('/')}")
    prefix = text.rstrip("/") or "/"
    segments = prefix.split("/")[1:]
    if prefix != "/" and not all(segments):
        raise ValueError(f"{what} has an empty segment: write {'/' + '/'.join(filter(None, segments))}")
    if any(character in prefix for character in "{}?#%\\ ") or not prefix.isprintable():
        raise ValueError(f"{what}: a plain path, without parameters, query or escapes, such as {such_as}")
    if any(segment in (".", "..") for segment in segments):
        raise ValueError(f"{what} has a segment of dots, which clients take out: write it without")
    return prefix


def below(path: str, root: str) -> str:
    """The path without the one below which a proxy publishes all; unchanged where the proxy took it off already."""
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def rooted(scope: MutableMapping[str, Any], root: str) -> MutableMapping[str, Any]:
    """An ASGI scope in which the path is whole and ``root_path`` says where the server is published.

    Args:
        scope: as it came; its own root path is that of a server around this one.
        root: below which a proxy publishes all, whether it took it off or left it; without a slash at its end.
    """
    outer: str = scope.get("root_path") or ""
    if not root and not outer:
        return scope
    path: str = scope["path"]
    raw: str = (scope.get("raw_path") or path.encode()).decode("latin-1")
    mount = outer + root
    whole = [mount + below(below(one, outer), root) for one in (path, raw)]
    return {**scope, "path": whole[0], "raw_path": whole[1].encode("latin-1"), "root_path": mount}


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
