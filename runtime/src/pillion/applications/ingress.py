"""``@pillion.ingress``: methods of a class as routes of a FastAPI application, ``self`` being the loaded instance.

A decorator such as ``@app.get`` in the body of a class takes the bare function and makes a route of it in which
``self`` is a query parameter. :func:`ingress` takes those routes out of the application and keeps them with the class;
for an instance they are made again, around bound methods, in a copy of the application. So they are bound by function
objects rather than by names, and classes over one application do not see each other's.
"""

from __future__ import annotations

import copy
import inspect
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pillion.testing import Testing

__all__ = ["MARK", "Bound", "Ingress", "bind", "ingress"]

_Class = TypeVar("_Class", bound=type)

MARK: Final = "__pillion_ingress__"
_CLASSES: Final = "__pillion_classes__"
"""On a router: the names of the classes around it, whose routes nobody else is to see."""


class Bound(NamedTuple):
    """A class with the arguments of its constructor, or a function with some of its own; built where it is served."""

    cls: Callable[..., Any]
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def test(self, *models: type, route_prefix: str = "/", settings: Mapping[str, Any] | None = None) -> Testing:
        """See :func:`pillion.test`."""
        import pillion  # noqa: PLC0415 - what tests is above us, and imported by who tests

        return pillion.test(self, *models, route_prefix=route_prefix, settings=settings)


class Ingress(NamedTuple):
    """What a class was made of."""

    app: Any
    """The FastAPI or Starlette application, or any other that has no routes of the class."""
    routes: list[BaseRoute]
    """Its routes as they were with those of the class, where the class had any when it was complete."""

    def of(self, instance: object) -> Any:  # noqa: ANN401 - an ASGI application of the kind that was given
        """The application that answers for an instance."""
        router = _router(self.app)
        if router is None:
            return self.app
        names = _names(type(instance))
        foreign: set[tuple[str, str]] = getattr(router, _CLASSES, set()) - names
        known = set(map(id, self.routes))
        every = [*self.routes, *(route for route in router.routes if id(route) not in known)]
        routes = [route for route in every if _owned(route, names) or not _owned(route, foreign)]
        if routes == router.routes and not any(_owned(route, names) for route in routes):
            return self.app
        app = copy.copy(self.app)
        app.router = copy.copy(router)
        app.router.routes = [_bound(route, instance, foreign) for route in routes if not _is_documentation(route, app)]
        app.router.middleware_stack = app.router.app
        app.middleware_stack = None
        if hasattr(app, "openapi_schema"):
            app.openapi_schema = None
            if hasattr(app, "setup"):
                _documented(app)
        return app


def ingress(app: Any) -> Callable[[_Class], _Class]:  # noqa: ANN401 - FastAPI is imported by who uses it
    """Make a class the application: its methods that carry the routes of ``app`` answer, bound to one instance.

    Args:
        app: a FastAPI or Starlette application; with an empty class, any ASGI application.

    Raises:
        TypeError: it is no application, or what is decorated is no class.
    """
    if isinstance(app, type) or not callable(app):
        raise TypeError("@pillion.ingress takes an application: @pillion.ingress(app), with app = FastAPI()")

    def decorated(cls: _Class) -> _Class:
        if not isinstance(cls, type):
            raise TypeError(f"@pillion.ingress goes around a class, not around {cls!r}")
        router = _router(app)
        routes: list[BaseRoute] = []
        if router is not None:
            names = _names(cls)
            if any(_owned(route, names) for route in router.routes):
                routes = list(router.routes)
                _take_out(router, names)
            setattr(router, _CLASSES, getattr(router, _CLASSES, set()) | {(cls.__module__, cls.__qualname__)})
        setattr(cls, MARK, Ingress(app, routes))
        if "bind" not in vars(cls):
            cls.bind = classmethod(_bind)  # type: ignore[attr-defined]  # what type checkers cannot see of decorators
        if "test" not in vars(cls):
            cls.test = classmethod(_test)  # type: ignore[attr-defined]  # as above
        return cls

    return decorated


def bind(target: Callable[..., Any], /, *arguments: Any, **named: Any) -> Bound:  # noqa: ANN401 - the target's
    """A class with the arguments of its constructor, or a handler with some of its own, for :func:`pillion.serve`.

    It is built where it is served. An argument that is bound itself is built first: handlers get others so.

    Args:
        target: the class or function. One around which ``pillion.ingress`` was put has the same as ``.bind(...)``.
        arguments: by position; of a function these come before the request.
        named: by name.

    Raises:
        TypeError: they do not fit, or the target is neither.
    """
    if isinstance(target, type):
        inspect.signature(target).bind(*arguments, **named)  # what does not fit is said here
    elif inspect.isroutine(target):
        inspect.signature(target).bind_partial(*arguments, **named)  # the request is still to come
    else:
        raise TypeError(f"pillion.bind takes a class or a function, and {target!r} is neither: bind its class")
    return Bound(target, arguments, named)


def _bind(cls: type, *arguments: Any, **named: Any) -> Bound:  # noqa: ANN401 - the constructor's
    return bind(cls, *arguments, **named)


def _test(cls: type, /, *models: type, **named: Any) -> Testing:  # noqa: ANN401 - those of pillion.test
    import pillion  # noqa: PLC0415 - as above

    return pillion.test(cls, *models, **named)


def _router(app: Any) -> Any:  # noqa: ANN401 - Starlette's or FastAPI's, whose further attributes are asked for
    """That of an application, where it has one whose routes are to be had."""
    router = getattr(app, "router", None)
    return router if isinstance(router, Router) else None


def _names(cls: type) -> set[tuple[str, str]]:
    """By which functions tell that they are of a class or one that it inherits from."""
    return {(base.__module__, base.__qualname__) for base in cls.__mro__}


def _function(route: BaseRoute) -> FunctionType | None:
    endpoint = getattr(route, "endpoint", None)
    return endpoint if isinstance(endpoint, FunctionType) else None


def _included(route: BaseRoute) -> Router | None:
    """The router that was included, which newer releases of FastAPI keep as it is."""
    router = getattr(route, "original_router", None)
    return router if isinstance(router, Router) else None


def _owned(route: BaseRoute, names: set[tuple[str, str]]) -> bool:
    """Whether a route, or one of a router that was included, is a method of one of those classes."""
    function = _function(route)
    if function is not None:
        return (function.__module__, function.__qualname__.rpartition(".")[0]) in names
    router = _included(route)
    return router is not None and any(_owned(inner, names) for inner in router.routes)


def _take_out(router: Any, names: set[tuple[str, str]]) -> None:  # noqa: ANN401 - Starlette's or FastAPI's
    kept = [route for route in router.routes if not _owned(route, names)]
    router.routes[:] = kept
    if hasattr(router, "_routes_version"):
        router._routes_version += 1


def _is_documentation(route: BaseRoute, app: Any) -> bool:  # noqa: ANN401 - as above
    """Whether a route is one of FastAPI's own pages, which describe the application that they were made in."""
    function = _function(route)
    return function is not None and function.__module__ == "fastapi.applications" and hasattr(app, "setup")


def _documented(app: Any) -> None:  # noqa: ANN401 - FastAPI's
    """Make the pages again. A router asks its routes in turn, and few requests are for the pages: so they come last,
    but where they were, in front, if a route might take the path of one.
    """
    routes, app.router.routes = app.router.routes, []
    app.setup()
    pages = app.router.routes
    hidden = any(_may_take(route, page.path) for route in routes for page in pages)
    app.router.routes = [*pages, *routes] if hidden else [*routes, *pages]
    if hasattr(app.router, "_routes_version"):
        app.router._routes_version += 1


def _may_take(route: BaseRoute, path: str) -> bool:
    """False where a route is none for a path: of hosts, included routers and kinds of the user's own nobody knows."""
    pattern = getattr(route, "path_regex", None)
    return pattern is None or pattern.match(path) is not None


def _bound(route: BaseRoute, instance: object, foreign: set[tuple[str, str]]) -> BaseRoute:
    """The route with its method bound to the instance; others as they are. Of routers without those of others."""
    if not _owned(route, _names(type(instance))):
        return route
    router = _included(route)
    if router is not None:
        inner = copy.copy(router)
        inner.routes = [_bound(one, instance, foreign) for one in router.routes if not _owned(one, foreign)]
        inner.middleware_stack = inner.app
        context = copy.copy(route.include_context)  # type: ignore[attr-defined]  # as only FastAPI's have it
        context.included_router = inner
        return type(route)(original_router=inner, include_context=context)  # type: ignore[call-arg]  # as above
    function = _function(route)
    if function is None:
        return route
    if isinstance(inspect.getattr_static(type(instance), function.__name__, None), staticmethod):
        return route
    return _again(route, MethodType(function, instance))


def _again(route: BaseRoute, endpoint: Callable[..., Any]) -> BaseRoute:
    """A route of the same kind and settings around another function."""
    given: dict[str, Any] = {}
    for name in inspect.signature(type(route).__init__).parameters:
        if name not in ("self", "endpoint", "middleware", "max_body_size") and hasattr(route, name):
            given[name] = getattr(route, name)
    if isinstance(route, Route) and given.get("methods") is not None:
        given["methods"] = list(given["methods"])
    if not isinstance(route, (Route, WebSocketRoute)):
        return route
    if getattr(route, "max_body_size", None) is not None:
        given["max_body_size"] = route.max_body_size  # type: ignore[union-attr]  # asked above
    return type(route)(endpoint=endpoint, **given)
