"""FastAPI's part of the HTTP port: interactive docs, the OpenAPI document, and a 404 that helps.

The assets of the docs come from the ``fastapi-offline`` package: nothing is fetched from elsewhere.
"""

from __future__ import annotations

import asyncio
import importlib.resources
from typing import TYPE_CHECKING, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException

from pillion._version import __version__
from pillion.errors import ErrorCode, PillionError
from pillion.route_prefix import below
from pillion.transport.http.errors import HTTP_STATUS, error_body, retry_after, task_error_body
from pillion.transport.http.headers import request_id
from pillion.transport.http.openapi import document
from pillion.transport.http.openapi_management import management_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.authoring.project import Project
    from pillion.dataplane.call import InferencePlane
    from pillion.dataplane.streams import TextPlane
    from pillion.dataplane.tasks import TaskPlane
    from pillion.transport.job_access import JobAccess

__all__ = ["create_app"]

_OF_TASKS: Final = ("/api/", "/management/", "/info/")
"""Where clients read errors of the shape that tasks have, also those of routes that are none."""
_ASSETS: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}


def create_app(
    plane: InferencePlane,
    admin_port: int,
    tasks: TaskPlane | None = None,
    texts: TextPlane | None = None,
    manages: bool | None = None,  # noqa: FBT001 - None where there is no model management
    jobs: JobAccess | None = None,
    project: Callable[[], Project | None] = lambda: None,
    *,
    inference: bool = True,
) -> FastAPI:
    """The application. Its errors have the shape of the inference routes.

    ``manages`` says whether models may be changed by requests, and is None where nothing answers for them;
    ``project`` looks up whose models are served, which may read files; ``inference`` whether they compute for requests.
    """
    app = FastAPI(title="Pillion", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)

    async def openapi(request: Request) -> Response:
        described = document(
            plane.statuses(),
            () if tasks is None else tasks.tasks(),
            ({}, {}) if texts is None else texts.text_models(),
            root_path=_root(request),
            jobs=jobs,
            project=await asyncio.to_thread(project),
            inference=inference,
        )
        if manages is not None:
            paths, schemas = management_document(enabled=manages)
            described["paths"].update(paths)
            described["components"]["schemas"].update(schemas)
        return Response(orjson.dumps(described), media_type="application/json")

    async def metrics(_: Request) -> Response:
        raise PillionError(
            ErrorCode.NOT_FOUND,
            "metrics are not on this port",
            remedy=f"they are on the admin port: http://HOST:{admin_port}/metrics",
        )

    for path, endpoint in (
        ("/openapi.json", openapi),
        ("/docs", _docs),
        ("/redoc", _redoc),
        ("/docs/assets/{name}", _asset),
        ("/metrics", metrics),
    ):
        app.add_route(path, endpoint, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(PillionError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
    return app


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root


async def _docs(request: Request) -> Response:
    root = _root(request)
    return get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="Pillion",
        swagger_js_url=f"{root}/docs/assets/swagger-ui-bundle.js",
        swagger_css_url=f"{root}/docs/assets/swagger-ui.css",
        swagger_favicon_url=f"{root}/docs/assets/favicon.png",
    )


async def _redoc(request: Request) -> Response:
    root = _root(request)
    return get_redoc_html(
        openapi_url=f"{root}/openapi.json",
        title="Pillion",
        redoc_js_url=f"{root}/docs/assets/redoc.standalone.js",
        redoc_favicon_url=f"{root}/docs/assets/favicon.png",
        with_google_fonts=False,
    )


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:
        raise PillionError(ErrorCode.NOT_FOUND, f"no such asset: {name[:100]}")
    file = importlib.resources.files("fastapi_offline") / "static" / name
    content = await asyncio.to_thread(file.read_bytes)
    return Response(content, media_type=_ASSETS[name], headers={"cache-control": "public, max-age=86400"})


async def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        problem = PillionError(ErrorCode.METHOD_NOT_ALLOWED, f"{request.method} is not allowed here, only GET")
    elif isinstance(error, PillionError):
        problem = error
    else:
        problem = PillionError(
            ErrorCode.NOT_FOUND,
            f"no such route: {request.scope['path'][:200]}",
            remedy="/docs lists the routes and / the models",
        )
    identity = request_id(dict(request.scope["headers"]))
    wait = retry_after(problem)
    headers = {"x-request-id": identity} | ({} if wait is None else {"retry-after": wait.decode()})
    path = below(request.scope["path"], _root(request))
    body = task_error_body if path.startswith(_OF_TASKS) else error_body
    return Response(
        body(problem, identity),
        status_code=HTTP_STATUS[problem.code],
        media_type="application/json",
        headers=headers,
    )
