"""Which route of an application took a request, as a label with few values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["template_of"]


def template_of(scope: Mapping[str, Any], root: str) -> str:
    """The path's template with its parameters' names, such as ``/shop/items/{item}``; empty where no route is known.

    Args:
        scope: after the application is done with it: FastAPI's and Starlette's routers write into it what they chose.
        root: below which a proxy publishes all, which is left out.
    """
    route = scope.get("route")
    if route is None:
        return ""
    own = getattr(route, "path_format", None)
    # Of a route that came by include_router, FastAPI keeps what it is called here beside it.
    effective = (scope.get("fastapi") or {}).get("effective_route_context")
    if effective is not None:
        starlette = getattr(effective, "starlette_route", None)
        own = getattr(starlette, "path_format", None) or getattr(effective, "path_format", None) or own
    if not isinstance(own, str):
        return ""
    above: str = scope.get("root_path") or ""
    if not hasattr(route, "methods") and not hasattr(route, "endpoint"):
        # A mount, which has moved what it is called into the root path already.
        own = "/{path}"
    elif own == "/" and above:
        own = ""
    return (above.removeprefix(root) + own) or "/"
